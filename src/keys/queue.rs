//! The keys of a task queue start with `<ns>~queue:{<name>}:`, so all of one queue are of one slot:
//!
//! | rest of the key | Redis type | what |
//! |---|---|---|
//! | `jobs` | hash | by id: the job as it was added |
//! | `run` | hash | by id: state, lease, attempts, times, result; none for a job that waits for its first attempt |
//! | `more` | hash | `p<id>`: progress; `s<id>`: stacks of failed attempts; `g<id>`: how many tombstones it has in `wait`; `n<id>`: the job that follows it |
//! | `wait` | list | ids that wait, next first; also ids of jobs that have left early, each with a tombstone |
//! | `ranked` | sorted set | ids that wait with a priority, by priority and order |
//! | `group:<group>` | sorted set | ids of a group that wait, by priority and order |
//! | `ring` | list | groups that have waiting jobs, next first; an empty name stands for the jobs without a group |
//! | `blocked` | set | groups that have as many active jobs as they may |
//! | `busy` | hash | by group: how many of its jobs are active |
//! | `delayed` | sorted set | ids by when they are due, ms |
//! | `parked` | sorted set | ids that wait for children, by when they were added, ms |
//! | `completed`, `failed` | sorted set | ids by when they finished, ms |
//! | `leases` | sorted set | owner tokens of workers by when their lease ends, ms |
//! | `owners` | hash | by owner: `<epoch> <worker id>` of those that are registered in a registry |
//! | `held:<owner>` | set | ids that a worker holds |
//! | `idle` | sorted set | owners that wait for jobs, by until when that counts, ms |
//! | `cancels` | hash | by id: the lease and the reason of a cancellation that its worker has not heard of |
//! | `rate` | list | starts within the window of the rate limit: `<ms> <count>` |
//! | `meta` | hash | `paused`; counters `gone` (tombstones), `grouped` (waiting jobs with groups), `order` (of adding), `shared` (jobs with later parents), `mail` (messages), `rated` (starts in `rate`), `mended` (damage to report); `heard` until when events are written, `told` number of the last event, `born` token of the events, `asleep` where a subscriber wants a wake-up; `look` next page of parents to check; `longest` lease, ms |
//! | `events` | stream | what happened, bounded; written while there are subscribers |
//! | `outbox` | hash | messages for other queues that may not have been delivered |
//! | `inbox` | sorted set | messages of other queues that were accepted, by until when that is remembered, ms |
//! | `schedules` | hash | by id: the schedule, JSON |
//! | `ticks` | sorted set | ids of schedules by their next tick, ms |
//! | `log:<id>` | list | log lines of a job |
//! | `log:<id>\1` | string | a large result of a job that was not kept, for a minute |
//! | `kids:<id>` | hash | by child: pending, failed, or its result; how many have not completed; where those in other queues are |
//! | `kids:\1<id>` | sorted set | parents that were added after the job, as JSON, in the order of adding |
//! | `kids:\4<number>` | sorted set | parents of a job that is over, which still get that update |
//! | `kids:\2` | sorted set | keys of dedupe ids that are held although the job is over, by until when, ms |
//! | `once:<id>` | string | the job that holds a dedupe id; where that job is over, after it how it ended |
//! | `damaged:<part>` | any | a key that a stranger overwrote with another type |
//! | `wake`, `wake:<owner>`, `told` | channels | wake-ups of all workers, of one worker, of subscribers to events |

use bytes::Bytes;

use super::Namespace;
use super::parts::{join, parts};

parts! {
    /// A key with a fixed name. Most scripts get those up to `Outbox`, in this order: `src/queue/lua/part/base.lua`.
    Part {
        Jobs = "jobs",
        Run = "run",
        More = "more",
        Wait = "wait",
        Ranked = "ranked",
        Delayed = "delayed",
        Parked = "parked",
        Completed = "completed",
        Failed = "failed",
        Leases = "leases",
        Idle = "idle",
        Meta = "meta",
        Events = "events",
        Ring = "ring",
        Blocked = "blocked",
        Busy = "busy",
        Outbox = "outbox",
        Owners = "owners",
        Cancels = "cancels",
        Rate = "rate",
        Schedules = "schedules",
        Ticks = "ticks",
        Inbox = "inbox",
        // The sorted set of keys of dedupe ids that are held although the job is over. No id has such a character.
        Holding = "kids:\x02",
    }
}

impl Part {
    /// What most scripts get first.
    pub const BASE: &'static [Self] = Self::ALL.split_at(Self::Outbox as usize + 1).0;

    /// What `append.lua` gets, in the order of `src/queue/lua/part/append_keys.lua`.
    pub const APPEND: [Self; 5] = [Self::Jobs, Self::Wait, Self::Idle, Self::Meta, Self::Events];

    /// What `renew.lua` gets, before the key of the ids that the worker holds.
    pub const RENEW: [Self; 12] = {
        use Part::{Cancels, Delayed, Idle, Leases, Meta, Outbox, Owners, Parked, Ranked, Ring, Ticks, Wait};
        [Leases, Cancels, Idle, Ticks, Delayed, Outbox, Wait, Ranked, Ring, Owners, Parked, Meta]
    };

    /// The Redis type, as `TYPE` says it.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Jobs | Self::Run | Self::More | Self::Meta | Self::Busy => "hash",
            Self::Outbox | Self::Owners | Self::Cancels | Self::Schedules => "hash",
            Self::Wait | Self::Ring | Self::Rate => "list",
            Self::Blocked => "set",
            Self::Events => "stream",
            Self::Ranked | Self::Delayed | Self::Parked | Self::Completed | Self::Failed => "zset",
            Self::Leases | Self::Idle | Self::Ticks | Self::Inbox | Self::Holding => "zset",
        }
    }
}

parts! {
    /// What most scripts get after their keys, in this order: prefixes of names that an id completes, and a channel.
    Prefix {
        Log = "log:",
        Kids = "kids:",
        Group = "group:",
        Wake = "wake:",
        // The channel of the subscribers to events.
        EventChannel = "told",
    }
}

impl Prefix {
    /// What `append.lua` gets, in the order of `src/queue/lua/part/append_keys.lua`.
    pub const APPEND: [Self; 2] = [Self::Wake, Self::EventChannel];
}

/// The keys of one task queue.
#[derive(Clone, Debug)]
pub struct QueueKeys {
    /// The start of every key.
    start: Bytes,
    parts: Vec<Bytes>,
    prefixes: Vec<Bytes>,
}

impl QueueKeys {
    pub(super) fn of(namespace: &Namespace, name: &str) -> Self {
        let start = namespace.with(&[b"~queue:{", name.as_bytes(), b"}:"]);
        let parts = Part::ALL.iter().map(|part| join(&start, part.text(), b"")).collect();
        let prefixes = Prefix::ALL.iter().map(|prefix| join(&start, prefix.text(), b"")).collect();
        Self { start, parts, prefixes }
    }

    #[must_use]
    pub fn key(&self, part: Part) -> &Bytes {
        &self.parts[part as usize]
    }

    /// Several keys, in the order of a script.
    #[must_use]
    pub fn keys<const N: usize>(&self, parts: [Part; N]) -> [&Bytes; N] {
        parts.map(|part| self.key(part))
    }

    #[must_use]
    pub fn prefix(&self, prefix: Prefix) -> &Bytes {
        &self.prefixes[prefix as usize]
    }

    /// What most scripts of a queue get first: the keys of [`Part::BASE`].
    #[must_use]
    pub fn base(&self) -> &[Bytes] {
        &self.parts[..Part::BASE.len()]
    }

    /// What most scripts of a queue get after their keys: all of [`Prefix`].
    #[must_use]
    pub fn prefixes(&self) -> &[Bytes] {
        &self.prefixes
    }

    /// What `append.lua` gets: the keys of [`Part::APPEND`], then [`Prefix::APPEND`].
    pub fn append(&self) -> impl Iterator<Item = &Bytes> {
        Part::APPEND.iter().map(|part| self.key(*part)).chain(Prefix::APPEND.iter().map(|prefix| self.prefix(*prefix)))
    }

    /// The start of new names for keys of a wrong type.
    #[must_use]
    pub fn aside_prefix(&self) -> Bytes {
        self.with("damaged", b"")
    }

    /// The new name of `key`, where it was of a wrong type.
    #[must_use]
    pub fn aside(&self, key: &[u8]) -> Bytes {
        self.with("damaged:", key.strip_prefix(&self.start[..]).unwrap_or(key))
    }

    #[must_use]
    pub fn held(&self, owner: &str) -> Bytes {
        self.with("held:", owner.as_bytes())
    }

    #[must_use]
    pub fn held_prefix(&self) -> Bytes {
        self.with("held:", b"")
    }

    /// The large result of a job that was not kept. No id has such a character.
    #[must_use]
    pub fn result(&self, id: &[u8]) -> Bytes {
        self.with(Prefix::Log.text(), &[id, b"\x01"].concat())
    }

    #[must_use]
    pub fn log(&self, id: &[u8]) -> Bytes {
        self.with(Prefix::Log.text(), id)
    }

    #[must_use]
    pub fn kids(&self, id: &[u8]) -> Bytes {
        self.with(Prefix::Kids.text(), id)
    }

    /// The sorted set of the parents that were added after a job. No id has such a character.
    #[must_use]
    pub fn others(&self, id: &[u8]) -> Bytes {
        self.with("kids:\x01", id)
    }

    #[must_use]
    pub fn group(&self, group: &[u8]) -> Bytes {
        self.with(Prefix::Group.text(), group)
    }

    #[must_use]
    pub fn once(&self, dedupe: &[u8]) -> Bytes {
        self.with("once:", dedupe)
    }

    /// The channel of every worker's wake-ups.
    #[must_use]
    pub fn wake_all(&self) -> Bytes {
        self.with("wake", b"")
    }

    /// The channel of one worker's wake-ups.
    #[must_use]
    pub fn wake(&self, owner: &str) -> Bytes {
        self.with(Prefix::Wake.text(), owner.as_bytes())
    }

    fn with(&self, part: &str, rest: &[u8]) -> Bytes {
        join(&self.start, part, rest)
    }
}
