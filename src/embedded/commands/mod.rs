//! The commands: one file per family, one table that names them all.

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

/// How a command came to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    /// Inside EXEC: nothing may wait.
    Exec,
    /// Inside a script: nothing may wait.
    Script,
    /// A waiting client's command, run again.
    Retry,
}

/// What a handler works with.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) core: &'a mut Core,
    /// The client the command belongs to.
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

        /// The value at the key, made if there is none. Whoever calls this must end with [`Cx::changed`].
        #[allow(dead_code, reason = "not every kind is made this way")]
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

    /// Must be called after every edit in place: counts, removes an empty collection, notes the change for watching and waiting clients.
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

    /// Puts a container, or removes the key if it is empty.
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

    /// Makes the client wait for `keys`, or answers `empty` where nothing may wait.
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

/// What a container says of arguments its subcommand cannot take.
pub(super) fn bad_subcommand(args: Args<'_>) -> Fault {
    let name = args[0].to_ascii_uppercase();
    Fault::new(
        [b"ERR unknown subcommand or wrong number of arguments for '", args[1], b"'. Try ", &name, b" HELP."].concat(),
    )
}

/// Whether an option word is this one.
pub(super) fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument that must be an integer.
pub(super) fn int_arg(arg: &[u8]) -> Result<i64, Fault> {
    number::integer(arg).ok_or(Fault::NOT_INTEGER)
}

/// A timeout in seconds, as a deadline in engine time; 0 is for ever.
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

/// A zero-based range as Redis clamps it; `None` if it is empty.
pub(super) fn clamp(start: i64, stop: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len_i = i64::try_from(len).ok()?;
    let from = if start < 0 { (start.saturating_add(len_i)).max(0) } else { start };
    let to = if stop < 0 { stop.saturating_add(len_i) } else { stop.min(len_i - 1) };
    if from > to || from >= len_i {
        return None;
    }
    Some(usize::try_from(from).ok()?..usize::try_from(to).ok()? + 1)
}

/// Redis' check of a `numkeys` argument.
pub(super) fn positive(arg: &[u8], text: &'static str) -> Result<usize, Fault> {
    match number::integer(arg) {
        Some(n) if n > 0 => usize::try_from(n).map_err(|_| Fault::of(text)),
        _ => Err(Fault::of(text)),
    }
}
