//! The fields of a row of the table.

use super::keys::Keys;

/// What a command may do, and when it is allowed. Each is a flag of `COMMAND` in the server, unless its comment says otherwise.
pub mod flag {
    pub const WRITE: u16 = 1;
    pub const READ: u16 = 1 << 1;
    /// Refused beyond `maxmemory`.
    pub const DENY_OOM: u16 = 1 << 2;
    pub const NO_SCRIPT: u16 = 1 << 3;
    pub const BLOCKING: u16 = 1 << 4;
    /// Not allowed between MULTI and EXEC.
    pub const NO_MULTI: u16 = 1 << 5;
    /// Runs at once between MULTI and EXEC. The server has this in its code, not in its table.
    pub const NOT_QUEUED: u16 = 1 << 6;
    /// Allowed to a RESP2 client that is subscribed. The server has this in its code.
    pub const WHILE_SUBSCRIBED: u16 = 1 << 7;
    /// Has subcommands, which have rows of their own. The server lists them in the row of their command.
    pub const CONTAINER: u16 = 1 << 8;
    /// Not a write, but held back by CLIENT PAUSE WRITE. The server does not show this flag.
    pub const MAY_REPLICATE: u16 = 1 << 9;
    /// Answered before a password is given.
    pub const NO_AUTH: u16 = 1 << 10;
    /// Not shown to MONITOR. The server's own flag has another meaning: whether the command or its caller shows it.
    pub const UNSEEN: u16 = 1 << 11;
    /// Answered while a script runs for too long.
    pub const WHILE_BUSY: u16 = 1 << 12;
    /// Changes nothing, although the server does not flag it as a read. The command may be sent twice.
    pub const REPEATABLE: u16 = 1 << 13;
}

/// Where a blocking command has its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    LastSeconds,
    FirstSeconds,
    /// After the word `BLOCK`, in milliseconds; without it the command does not block.
    BlockOption,
}

/// Whether a connection that many callers share can carry a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    /// The command blocks, and needs a connection of its own.
    Alone(Timeout),
    /// The command blocks, but is about the writes of its own connection.
    Waits,
    /// The command would change or end the connection for the others. The text says what to use instead.
    Refused(&'static str),
}

/// Which masters of a cluster execute a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The master of the first key's slot; any master for a command without a key.
    OneMaster,
    /// The masters of all keys' slots, each with a part of the command.
    BySlot(Merge),
    EveryMaster(Merge),
    /// One master after another; the cursor says which.
    InTurn,
}

/// How the answers of several masters become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The elements of arrays, each at its key's place.
    Array,
    /// All elements of all arrays.
    Concat,
    /// All texts, concatenated.
    Text,
    Sum,
    Least,
    /// The least of the elements at each place of the arrays.
    LeastOfEach,
    /// The first answer.
    AllOk,
}

/// The properties of a command or a subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name in lower case. The name of a subcommand starts with its command: `client|list`.
    pub name: &'static str,
    /// The number of words, with the name; a negative number is a minimum.
    pub arity: i8,
    pub flags: u16,
    pub keys: Keys,
    pub sharing: Sharing,
    pub reach: Reach,
    /// The index in the table.
    pub number: u16,
}

impl Spec {
    pub(super) const fn new(name: &'static str, arity: i8, flags: u16, keys: Keys) -> Self {
        Self { name, arity, flags, keys, sharing: Sharing::Shared, reach: Reach::OneMaster, number: 0 }
    }

    pub(super) const fn alone(mut self, timeout: Timeout) -> Self {
        self.sharing = Sharing::Alone(timeout);
        self
    }

    pub(super) const fn waits(mut self) -> Self {
        self.sharing = Sharing::Waits;
        self
    }

    pub(super) const fn refused(mut self, why: &'static str) -> Self {
        self.sharing = Sharing::Refused(why);
        self
    }

    pub(super) const fn by_slot(mut self, merge: Merge) -> Self {
        self.reach = Reach::BySlot(merge);
        self
    }

    pub(super) const fn every_master(mut self, merge: Merge) -> Self {
        self.reach = Reach::EveryMaster(merge);
        self
    }

    pub(super) const fn in_turn(mut self) -> Self {
        self.reach = Reach::InTurn;
        self
    }

    /// Has the command one of these flags?
    #[must_use]
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    #[must_use]
    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// Can the command have this number of words, with its name?
    #[must_use]
    pub fn fits(&self, words: usize) -> bool {
        let words = i32::try_from(words).unwrap_or(i32::MAX);
        let arity = i32::from(self.arity);
        if arity < 0 { words >= -arity } else { words == arity }
    }
}
