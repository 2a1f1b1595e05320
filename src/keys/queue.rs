//! The keys of a task queue start with `<ns>~queue:{<name>}:`, so all of one queue are of one slot:
//!
//! | rest of the key | Redis type | what |
//! |---|---|---|
//! | `jobs` | hash | by id: the job as it was added |
//! | `run` | hash | by id: state, lease, attempts, times, result; none for a job that waits for its first attempt |
//! | `more` | hash | `p<id>`: progress; `s<id>`: stacks of failed attempts; `g<id>`: how often it is in `wait` as a ghost; `n<id>`: the job that follows it |
//! | `wait` | list | ids that wait, next first; may hold ghosts of some that have gone |
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
//! | `idle` | sorted set | owners that wait for jobs, by until when that is believed, ms |
//! | `cancels` | hash | by id: the lease and the reason of a cancellation that its worker has not heard of |
//! | `rate` | list | starts within the window of the rate limit: `<ms> <count>` |
//! | `meta` | hash | paused, counters, who listens |
//! | `events` | stream | what happened, bounded; written while somebody listens |
//! | `outbox` | hash | messages for other queues that may not have been delivered |
//! | `inbox` | sorted set | messages of other queues that were taken, by until when that is remembered, ms |
//! | `schedules` | hash | by id: the schedule, JSON |
//! | `ticks` | sorted set | ids of schedules by their next tick, ms |
//! | `log:<id>` | list | log lines of a job |
//! | `log:<id>\1` | string | a large result of a job that was not kept, for a minute |
//! | `kids:<id>` | hash | by child: pending, failed, or its result; how many have not completed; where those in other queues are |
//! | `kids:\1<id>` | sorted set | jobs that wait for one that was there before them, as JSON, in the order of adding |
//! | `kids:\4<number>` | sorted set | those that wait for a job that is over, and have not all been told so |
//! | `kids:\2` | sorted set | keys of dedupe ids that are held though the job is over, by until when, ms |
//! | `once:<id>` | string | the job that holds a dedupe id; after it how that has ended, where it is over |
//! | `damaged:<part>` | any | a key that somebody wrote over with one of another type |
//! | `wake`, `wake:<owner>`, `told` | channels | wake-ups of all workers, of one, of listeners |

use bytes::Bytes;

use super::Namespace;
use super::parts::{join, parts};

parts! {
    /// A key whose name is whole. Those up to `Outbox` are given to most scripts, in this order: `src/queue/lua/part/base.lua`.
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
        // The sorted set of keys of dedupe ids that are held though the job is over: no id has such a character.
        Holding = "kids:\x02",
    }
}

impl Part {
    /// Those that most scripts are given first.
    pub const BASE: &'static [Self] = Self::ALL.split_at(Self::Outbox as usize + 1).0;

    /// What `append.lua` is given, in the order of `src/queue/lua/part/few.lua`.
    pub const FEW: [Self; 5] = [Self::Jobs, Self::Wait, Self::Idle, Self::Meta, Self::Events];

    /// What `renew.lua` is given, before the key of what the worker holds.
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
    /// What most scripts are given behind their keys, in this order: the start of names that an id completes, and a channel.
    Prefix {
        Log = "log:",
        Kids = "kids:",
        Group = "group:",
        Wake = "wake:",
        // The channel of those who listen to events.
        Told = "told",
    }
}

impl Prefix {
    /// What `append.lua` is given, in the order of `src/queue/lua/part/few.lua`.
    pub const FEW: [Self; 2] = [Self::Wake, Self::Told];
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

    /// Several keys, in the order in which a script takes them.
    #[must_use]
    pub fn keys<const N: usize>(&self, parts: [Part; N]) -> [&Bytes; N] {
        parts.map(|part| self.key(part))
    }

    #[must_use]
    pub fn prefix(&self, prefix: Prefix) -> &Bytes {
        &self.prefixes[prefix as usize]
    }

    /// What most scripts of a queue are given first: the keys of [`Part::BASE`].
    #[must_use]
    pub fn base(&self) -> &[Bytes] {
        &self.parts[..Part::BASE.len()]
    }

    /// What most scripts of a queue are given behind their keys: all of [`Prefix`].
    #[must_use]
    pub fn prefixes(&self) -> &[Bytes] {
        &self.prefixes
    }

    /// What `append.lua` is given: the keys of [`Part::FEW`], then [`Prefix::FEW`].
    pub fn few(&self) -> impl Iterator<Item = &Bytes> {
        Part::FEW.iter().map(|part| self.key(*part)).chain(Prefix::FEW.iter().map(|prefix| self.prefix(*prefix)))
    }

    /// The start of names for keys of a wrong type that were put aside.
    #[must_use]
    pub fn aside(&self) -> Bytes {
        self.with("damaged", b"")
    }

    /// The name under which the key was put aside that is called so.
    #[must_use]
    pub fn put_aside(&self, key: &[u8]) -> Bytes {
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

    /// What is left of a job that was not kept: no id has such a character.
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

    /// The sorted set of those that wait for a job that was there before them: no id has such a character.
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
