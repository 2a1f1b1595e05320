//! The scripts of `lua/`, their calls, and the names under which their durations are recorded.

use std::sync::LazyLock;

use bytes::Bytes;

use super::Core;
use crate::connection::{Command, Packed, Script, scripts};
use crate::keys::queue::Part;
use crate::resp::Reply;
use crate::telemetry::Operation;

scripts! {
    before ["part/base.lua" "part/clock.lua" "part/events.lua" "part/waiting.lua" "part/enqueue.lua" "part/delete_jobs.lua" "part/parents.lua" "part/trim.lua"];
    ADD = "part/remove_from_state.lua" "part/append.lua" "add.lua";
    STEP = "part/settle.lua" "part/claim.lua" "step.lua";
    RECOVER = "part/settle.lua" "recover.lua";
    CHILD_UPDATES = "child_updates.lua";
    CHANGE = "part/remove_from_state.lua" "change.lua";
    BULK_CHANGE = "part/remove_from_state.lua" "bulk_change.lua";
    OBLITERATE = "obliterate.lua";
    CHECK_PARENTS = "check_parents.lua";
    CHECK_CHILDREN = "check_children.lua";
    REMAINING_PARENTS = "remaining_parents.lua";
}

scripts! {
    APPEND = "part/append_keys.lua" "part/clock.lua" "part/events.lua" "part/waiting.lua" "part/append.lua" "append.lua";
    SET_ASIDE = "set_aside.lua";
    DELIVERED = "delivered.lua";
    UPDATE = "part/base.lua" "part/clock.lua" "part/events.lua" "update.lua";
    RENEW = "renew.lua";
    END_LEASE = "end_lease.lua";
    HELD = "held.lua";
    GET = "get.lua";
    WAIT_STATUS = "wait_status.lua";
    COUNTS = "counts.lua";
    LIST = "list.lua";
    LIST_NAMES = "list_names.lua";
    LIST_JOBS = "list_jobs.lua";
    PAUSE = "pause.lua";
    READ_EVENTS = "read_events.lua";
    DUE_SCHEDULES = "due_schedules.lua";
    SCHEDULE = "schedule.lua";
    TICK = "part/base.lua" "part/clock.lua" "part/events.lua" "part/waiting.lua" "part/enqueue.lua" "tick.lua";
}

/// A call of a script whose first keys and arguments are those of `part/base.lua`.
pub(super) struct ScriptCall<'a> {
    core: &'a Core,
    script: &'static Script,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
    size: usize,
}

impl<'a> ScriptCall<'a> {
    /// A call with the keys and prefixes of `part/base.lua` only.
    pub(super) fn of(core: &'a Core, script: &'static Script) -> Self {
        Self { core, script, keys: Vec::new(), args: Vec::new(), size: core.base_size }
    }

    pub(super) fn part(self, part: Part) -> Self {
        let key = self.core.key(part).clone();
        self.key(key)
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
        let (base, prefixes) = (self.core.keys.base(), self.core.keys.prefixes());
        let mut packed = Packed::sized(self.size).script(
            self.script,
            base.len() + self.keys.len(),
            prefixes.len() + self.args.len(),
        );
        for word in base.iter().chain(&self.keys).chain(prefixes).chain(&self.args) {
            packed = packed.word(word);
        }
        packed
    }
}

/// A call of a script with exactly these keys and arguments.
pub(super) fn plain(script: &'static Script, keys: &[&Bytes], args: &[&[u8]]) -> Packed {
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

/// A number that a script returned, as a number or as text.
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

/// The operations whose durations are recorded. Different verbs may share an operation.
pub(super) mod operation {
    use super::{LazyLock, Operation};

    pub(in crate::queue) static ADD: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.add"));
    pub(in crate::queue) static ADMIN: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.admin"));
    pub(in crate::queue) static CHANGE: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.change"));
    pub(in crate::queue) static EVENTS: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.hear"));
    pub(in crate::queue) static READ: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.read"));
    pub(in crate::queue) static RENEW: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.renew"));
    pub(in crate::queue) static SCHEDULE: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.schedule"));
    pub(in crate::queue) static STEP: LazyLock<Operation> = LazyLock::new(|| Operation::named("queue.turn"));
}

#[cfg(test)]
mod tests {
    use crate::keys::parts::lua;
    use crate::keys::queue::{Part, Prefix};

    fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
        names.enumerate().map(|(at, name)| (at + 1, name)).collect()
    }

    fn headed(parts: &[Part]) -> Vec<(&'static str, &'static str)> {
        let kind = |part: &Part| if part.kind() == "zset" { "sorted set" } else { part.kind() };
        parts.iter().map(|part| (kind(part), part.text())).collect()
    }

    /// The names of the prefixes in Lua: the prefix `log:` is called `log_of`.
    fn in_lua(prefixes: &[Prefix]) -> Vec<String> {
        let named = |prefix: &Prefix| match prefix {
            Prefix::EventChannel => "event_channel".to_owned(),
            other => other.text().replace(':', "_of"),
        };
        prefixes.iter().map(named).collect()
    }

    #[test]
    fn scripts_take_the_keys_in_the_order_in_which_they_are_given() {
        let base = include_str!("lua/part/base.lua");
        assert_eq!(lua::names(base, "KEYS"), numbered(Part::BASE.iter().map(|part| part.text())));
        assert_eq!(lua::header(base), headed(Part::BASE));
        assert_eq!(lua::names(base, "ARGV"), numbered(in_lua(Prefix::ALL).iter().map(String::as_str)));
        let append = include_str!("lua/part/append_keys.lua");
        assert_eq!(lua::names(append, "KEYS"), numbered(Part::APPEND.iter().map(|part| part.text())));
        assert_eq!(lua::names(append, "ARGV"), numbered(in_lua(&Prefix::APPEND).iter().map(String::as_str)));
        let renewed = lua::header(include_str!("lua/renew.lua"));
        assert_eq!(renewed[..renewed.len() - 1], headed(&Part::RENEW));
    }
}
