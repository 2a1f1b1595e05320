//! The scripts of `lua/`, how they are called, and the names under which durations are recorded.

use std::sync::LazyLock;

use bytes::Bytes;

use super::Core;
use crate::connection::{Command, Packed, Script};
use crate::resp::Reply;
use crate::telemetry::Operation;

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("lua/", $file))),+))
        });)*
    };
}

scripts! {
    ADD = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "part/depart.lua" "part/append.lua" "add.lua";
    APPEND = "part/few.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/append.lua" "append.lua";
    TURN = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "part/settle.lua" "part/take.lua" "turn.lua";
    RELEASE = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "part/settle.lua" "release.lua";
    CHILD = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "child.lua";
    CHANGE = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "part/depart.lua" "change.lua";
    SWEEP_OUT = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "part/depart.lua" "sweep_out.lua";
    OBLITERATE = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "obliterate.lua";
    LOOK = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "look.lua";
    ASK = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "ask.lua";
    REST = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "part/forget.lua" "part/kin.lua" "part/trim.lua" "rest.lua";
    MEND = "mend.lua";
    DELIVERED = "delivered.lua";
    NOTE = "part/base.lua" "part/clock.lua" "part/tell.lua" "note.lua";
    RENEW = "renew.lua";
    LEAVE = "leave.lua";
    HELD = "held.lua";
    GET = "get.lua";
    STANDS = "stands.lua";
    COUNTS = "counts.lua";
    LIST = "list.lua";
    NAMES = "names.lua";
    PICK = "pick.lua";
    PAUSE = "pause.lua";
    HEAR = "hear.lua";
    DUE = "due.lua";
    SCHEDULE = "schedule.lua";
    TICK = "part/base.lua" "part/clock.lua" "part/tell.lua" "part/line.lua" "part/enter.lua" "tick.lua";
}

/// A call of a script with the keys that every script of a queue begins with.
pub(super) struct Call<'a> {
    core: &'a Core,
    script: &'static Script,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
    size: usize,
}

impl<'a> Call<'a> {
    /// With the keys and prefixes of `part/base.lua`.
    pub(super) fn of(core: &'a Core, script: &'static Script) -> Self {
        Self { core, script, keys: Vec::new(), args: Vec::new(), size: core.base_size }
    }

    pub(super) fn key(mut self, key: Bytes) -> Self {
        self.size += key.len() + 16;
        self.keys.push(key);
        self
    }

    pub(super) fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.add(arg);
        self
    }

    pub(super) fn add(&mut self, arg: impl Into<Bytes>) {
        let arg = arg.into();
        self.size += arg.len() + 16;
        self.args.push(arg);
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }

    pub(super) fn writes(self, operation: Operation) -> Command {
        let script = self.script;
        self.packed().runs(operation, script)
    }

    fn packed(self) -> Packed {
        let core = self.core;
        let mut packed = Packed::sized(self.size).script(
            self.script,
            core.base.len() + self.keys.len(),
            core.prefixes.len() + self.args.len(),
        );
        for word in core.base.iter().chain(&self.keys).chain(&core.prefixes).chain(&self.args) {
            packed = packed.word(word);
        }
        packed
    }
}

/// A call of a script with these keys and arguments only.
pub(super) fn plain(script: &'static Script, keys: &[Bytes], args: &[&[u8]]) -> Packed {
    let size =
        keys.iter().map(|key| key.len() + 16).sum::<usize>() + args.iter().map(|arg| arg.len() + 16).sum::<usize>();
    let mut packed = Packed::sized(size).script(script, keys.len(), args.len());
    for key in keys {
        packed = packed.word(key);
    }
    for arg in args {
        packed = packed.word(arg);
    }
    packed
}

/// The parts of an array reply.
pub(super) fn array(reply: Reply) -> Option<Vec<Reply>> {
    match reply {
        Reply::Array(items) => Some(items),
        _ => None,
    }
}

/// A number that a script gave, as one or as its text.
pub(super) fn integer(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Int(n) => Some(*n),
        Reply::Bulk(text) => {
            let text = std::str::from_utf8(text).ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "a score is a whole number of milliseconds")]
            text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|n| n as i64))
        }
        _ => None,
    }
}

/// Bytes, or `None` for nil.
pub(super) fn bytes(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

/// Interned names, one static each.
pub(super) mod operation {
    use super::{LazyLock, Operation};

    macro_rules! operations {
        ($($name:ident = $text:literal,)*) => {
            $(pub(in crate::queue) static $name: LazyLock<Operation> = LazyLock::new(|| Operation::named($text));)*
        };
    }

    operations! {
        ADD = "queue.add",
        ADMIN = "queue.admin",
        CHANGE = "queue.change",
        HEAR = "queue.hear",
        READ = "queue.read",
        RENEW = "queue.renew",
        SCHEDULE = "queue.schedule",
        TURN = "queue.turn",
    }
}
