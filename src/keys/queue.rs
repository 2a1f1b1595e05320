//! The keys of a task queue begin with `<ns>~queue:{<name>}:`, so all of one queue are of one slot:
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

use bytes::{Bytes, BytesMut};

use super::Namespace;

/// The begin of every key of one task queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueKeys(Bytes);

impl QueueKeys {
    pub(super) fn of(namespace: &Namespace, name: &str) -> Self {
        Self(namespace.with(&[b"~queue:{", name.as_bytes(), b"}:"]))
    }

    /// Keys whose names are whole, in the order in which scripts are given them.
    const PARTS: [&'static str; 17] = [
        "jobs",
        "run",
        "more",
        "wait",
        "ranked",
        "delayed",
        "parked",
        "completed",
        "failed",
        "leases",
        "idle",
        "meta",
        "events",
        "ring",
        "blocked",
        "busy",
        "outbox",
    ];

    /// What every script of a queue is given: the keys it may touch, in the order of `src/queue/lua/part/base.lua`.
    #[must_use]
    pub fn base(&self) -> Vec<Bytes> {
        Self::PARTS.iter().map(|part| self.part(part)).collect()
    }

    /// Every key whose name is whole, and its Redis type: first `meta` and `leases`.
    #[must_use]
    pub fn typed(&self) -> Vec<(Bytes, &'static [u8])> {
        const TYPES: [(&str, &[u8]); 24] = [
            ("meta", b"hash"),
            ("leases", b"zset"),
            ("jobs", b"hash"),
            ("run", b"hash"),
            ("more", b"hash"),
            ("wait", b"list"),
            ("ranked", b"zset"),
            ("delayed", b"zset"),
            ("parked", b"zset"),
            ("completed", b"zset"),
            ("failed", b"zset"),
            ("idle", b"zset"),
            ("events", b"stream"),
            ("ring", b"list"),
            ("blocked", b"set"),
            ("busy", b"hash"),
            ("outbox", b"hash"),
            ("owners", b"hash"),
            ("cancels", b"hash"),
            ("rate", b"list"),
            ("schedules", b"hash"),
            ("ticks", b"zset"),
            ("inbox", b"zset"),
            ("kids:\x02", b"zset"),
        ];
        TYPES.iter().map(|(part, kind)| (self.part(part), *kind)).collect()
    }

    /// The begin of names for keys of a wrong type that were put aside.
    #[must_use]
    pub fn aside(&self) -> Bytes {
        self.part("damaged")
    }

    /// The name under which the key was put aside that is called so.
    #[must_use]
    pub fn put_aside(&self, key: &[u8]) -> Bytes {
        self.with("damaged:", key.strip_prefix(&self.0[..]).unwrap_or(key))
    }

    /// The begins of names that scripts complete with an id, and the channel of listeners.
    #[must_use]
    pub fn prefixes(&self) -> [Bytes; 5] {
        [self.part("log:"), self.part("kids:"), self.part("group:"), self.part("wake:"), self.told()]
    }

    /// How many of [`Self::for_appending`] are keys; the others are names of channels.
    pub const APPENDING: usize = 5;

    /// What `append.lua` is given, in the order of `src/queue/lua/part/few.lua`.
    #[must_use]
    pub fn for_appending(&self) -> [Bytes; 7] {
        let [jobs, wait, idle, meta, events] = ["jobs", "wait", "idle", "meta", "events"].map(|part| self.part(part));
        [jobs, wait, idle, meta, events, self.part("wake:"), self.told()]
    }

    #[must_use]
    pub fn jobs(&self) -> Bytes {
        self.part("jobs")
    }

    #[must_use]
    pub fn held(&self, owner: &str) -> Bytes {
        self.with("held:", owner.as_bytes())
    }

    #[must_use]
    pub fn held_prefix(&self) -> Bytes {
        self.part("held:")
    }

    #[must_use]
    pub fn owners(&self) -> Bytes {
        self.part("owners")
    }

    #[must_use]
    pub fn cancels(&self) -> Bytes {
        self.part("cancels")
    }

    #[must_use]
    pub fn rate(&self) -> Bytes {
        self.part("rate")
    }

    #[must_use]
    pub fn schedules(&self) -> Bytes {
        self.part("schedules")
    }

    #[must_use]
    pub fn ticks(&self) -> Bytes {
        self.part("ticks")
    }

    #[must_use]
    pub fn inbox(&self) -> Bytes {
        self.part("inbox")
    }

    /// What is left of a job that was not kept: no id has such a character.
    #[must_use]
    pub fn result(&self, id: &[u8]) -> Bytes {
        self.with("log:", &[id, b"\x01"].concat())
    }

    #[must_use]
    pub fn log(&self, id: &[u8]) -> Bytes {
        self.with("log:", id)
    }

    #[must_use]
    pub fn kids(&self, id: &[u8]) -> Bytes {
        self.with("kids:", id)
    }

    /// The sorted set of those that wait for a job that was there before them: no id has such a character.
    #[must_use]
    pub fn others(&self, id: &[u8]) -> Bytes {
        self.with("kids:\x01", id)
    }

    /// The sorted set of keys of dedupe ids that are held though the job is over.
    #[must_use]
    pub fn holding(&self) -> Bytes {
        self.part("kids:\x02")
    }

    #[must_use]
    pub fn group(&self, group: &[u8]) -> Bytes {
        self.with("group:", group)
    }

    #[must_use]
    pub fn once(&self, dedupe: &[u8]) -> Bytes {
        self.with("once:", dedupe)
    }

    /// The channel of every worker's wake-ups.
    #[must_use]
    pub fn wake_all(&self) -> Bytes {
        self.part("wake")
    }

    /// The channel of one worker's wake-ups.
    #[must_use]
    pub fn wake(&self, owner: &str) -> Bytes {
        self.with("wake:", owner.as_bytes())
    }

    /// The channel of those who listen to events.
    #[must_use]
    pub fn told(&self) -> Bytes {
        self.part("told")
    }

    fn part(&self, part: &str) -> Bytes {
        self.with(part, b"")
    }

    fn with(&self, part: &str, rest: &[u8]) -> Bytes {
        let mut key = BytesMut::with_capacity(self.0.len() + part.len() + rest.len());
        key.extend_from_slice(&self.0);
        key.extend_from_slice(part.as_bytes());
        key.extend_from_slice(rest);
        key.freeze()
    }
}
