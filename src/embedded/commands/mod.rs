//! The commands: one file for each group, and one table of all handlers.

#![expect(clippy::unnecessary_wraps, reason = "every handler has the table's signature")]

mod acl;
pub(super) mod auth;
mod bitfield;
mod bits;
pub(super) mod client;
pub(super) mod config;
mod dump;
mod generic;
mod geo;
mod geo_search;
mod hash;
mod hyperloglog;
mod keys;
mod lcs;
mod list;
pub(super) mod lookup;
pub(super) mod monitor;
mod numeric;
pub(super) mod pubsub;
mod scan;
pub(super) mod script;
pub(super) mod server;
mod set;
mod sort;
mod stream;
mod stream_groups;
mod stream_info;
mod string;
mod table;
pub(super) mod transaction;
mod zset;
mod zset_range;
mod zset_store;

use super::keyspace::{Db, Entry};
use super::list::List;
use super::number;
use super::reply::{Fault, Outcome, Reply, Wait};
use super::state::Core;
use super::stream::Stream;
use super::value::{Hash, Set, Str, Value};
use super::zset::Zset;

/// The context in which a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    /// Inside EXEC, where commands do not wait.
    Exec,
    /// Inside a script, where commands do not wait.
    Script,
    /// The command of a waiting client runs again.
    Retry,
}

/// The context of a handler.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) core: &'a mut Core,
    /// The slot of the client that sent the command.
    pub(super) slot: usize,
    pub(super) db: usize,
    /// Whether the reader of the reply (client or script) speaks RESP3.
    pub(super) resp3: bool,
    pub(super) mode: Mode,
}

pub(super) type Args<'a> = &'a [&'a [u8]];
pub(super) type Handler = fn(&mut Cx<'_>, Args<'_>) -> Outcome;

macro_rules! typed {
    ($($variant:ident, $existing:ident, $or_new:ident, $type:ty;)*) => {$(
        /// The value at the key, if there is one.
        pub(super) fn $existing(&mut self, key: &[u8]) -> Result<Option<&mut $type>, Fault> {
            match self.entry(key).map(|e| &mut e.value) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(Fault::WRONG_TYPE),
            }
        }

        /// The value at the key, created if there is none. The caller must call [`Cx::changed`] afterwards.
        #[allow(dead_code, reason = "the macro declares it for every type, and not every type uses it")]
        pub(super) fn $or_new(&mut self, key: &[u8]) -> Result<&mut $type, Fault> {
            if self.entry(key).is_none() {
                let now = self.core.now;
                self.db().put(key, Value::$variant(Default::default()), now);
            }
            self.$existing(key)?.ok_or(Fault::NO_KEY)
        }
    )*};
}

impl Cx<'_> {
    pub(super) fn db(&mut self) -> &mut Db {
        &mut self.core.dbs[self.db]
    }

    pub(super) fn now(&self) -> i64 {
        self.core.now
    }

    pub(super) fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let (db, now) = (self.db, self.core.now);
        if self.core.dbs[db].is_overdue(key, now) {
            self.core.dbs[db].remove(key);
            self.core.expired(db, key);
        }
        self.core.dbs[db].live(key, now)
    }

    pub(super) fn exists(&mut self, key: &[u8]) -> bool {
        self.entry(key).is_some()
    }

    typed! {
        Str, string, string_or_new, Str;
        List, list, list_or_new, List;
        Hash, hash, hash_or_new, Hash;
        Set, set, set_or_new, Set;
        Zset, zset, zset_or_new, Zset;
        Stream, stream, stream_or_new, Stream;
    }

    /// Must be called after every change in place. Counts the memory, removes an empty collection, and tells watching and waiting
    /// clients.
    pub(super) fn changed(&mut self, key: &[u8]) {
        self.db().recount(key);
        self.core.touch(self.db, key);
    }

    pub(super) fn put(&mut self, key: &[u8], value: Value) {
        let now = self.core.now;
        self.db().put(key, value, now);
        self.core.touch(self.db, key);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let removed = self.exists(key) && self.db().remove(key).is_some();
        if removed {
            self.core.touch(self.db, key);
        }
        removed
    }

    /// Sets a collection, or removes the key if the collection is empty.
    pub(super) fn put_or_remove(&mut self, key: &[u8], value: Value) {
        if value.is_empty() {
            self.remove(key);
        } else {
            self.put(key, value);
        }
    }

    pub(super) fn may_wait(&self) -> bool {
        matches!(self.mode, Mode::Direct | Mode::Retry)
    }

    /// Makes the client wait for `keys`, or replies `empty` if the command may not wait.
    pub(super) fn wait(&mut self, keys: &[&[u8]], deadline: Option<i64>, empty: Reply, args: Args<'_>) -> Outcome {
        if !self.may_wait() {
            return Ok(empty);
        }
        Ok(Reply::Block(Box::new(Wait {
            keys: keys.iter().map(|k| k.to_vec()).collect(),
            deadline,
            empty,
            args: args.iter().map(|a| a.to_vec()).collect(),
        })))
    }
}

/// The error for wrong arguments of a subcommand.
pub(super) fn bad_subcommand(args: Args<'_>) -> Fault {
    let name = args[0].to_ascii_uppercase();
    Fault::new(
        [b"ERR unknown subcommand or wrong number of arguments for '", args[1], b"'. Try ", &name, b" HELP."].concat(),
    )
}

/// Whether an argument is the option `word`, in any case.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// Reads an argument that must be an integer.
pub(super) fn int_arg(arg: &[u8]) -> Result<i64, Fault> {
    number::integer(arg).ok_or(Fault::NOT_INTEGER)
}

/// Reads a timeout in seconds. Gives the deadline in engine time; `None` for the timeout 0, which has no end.
pub(super) fn timeout(cx: &Cx<'_>, arg: &[u8]) -> Result<Option<i64>, Fault> {
    let seconds = number::float(arg).ok_or(Fault::of("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(Fault::of("ERR timeout is negative"));
    }
    let millis = (seconds * 1000.0).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "range checked")]
    let millis = if millis < 9.0e18 {
        millis as i64
    } else {
        return Err(Fault::of("ERR timeout is out of range"));
    };
    if millis == 0 {
        return Ok(None);
    }
    cx.now().checked_add(millis).map(Some).ok_or(Fault::of("ERR timeout is out of range"))
}

/// A zero-based range, clamped to the length as by Redis; `None` if it is empty.
pub(super) fn clamp(start: i64, stop: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len_i = i64::try_from(len).ok()?;
    let from = if start < 0 { (start.saturating_add(len_i)).max(0) } else { start };
    let to = if stop < 0 { stop.saturating_add(len_i) } else { stop.min(len_i - 1) };
    if from > to || from >= len_i {
        return None;
    }
    Some(usize::try_from(from).ok()?..usize::try_from(to).ok()? + 1)
}

/// Reads and checks a `numkeys` argument as Redis does.
pub(super) fn positive(arg: &[u8], text: &'static str) -> Result<usize, Fault> {
    match number::integer(arg) {
        Some(n) if n > 0 => usize::try_from(n).map_err(|_| Fault::of(text)),
        _ => Err(Fault::of(text)),
    }
}
