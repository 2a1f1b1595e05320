//! The keys of a worker registry.

use bytes::Bytes;

use super::Namespace;
use super::parts::{join, parts};

parts! {
    /// The first `KEYS` of every script of a registry, in this order (`src/registry/lua/part/keys.lua`): keys, then prefixes of keys,
    /// then channels.
    Part {
        State = "state",
        Definition = "definition",
        Metadata = "metadata",
        Labels = "labels",
        Alive = "alive",
        Late = "late",
        Crashed = "crashed",
        Degraded = "degraded",
        Unreaped = "unreaped",
        Claims = "claims",
        Claimed = "claimed",
        Meta = "meta",
        Events = "events",
        Everyone = "everyone",
        Idle = "idle",
        Busy = "busy",
        Paused = "paused",
        Draining = "draining",
        Has = "has:",
        Process = "process:",
        Commands = "commands:",
        Reaped = "reaped:",
        Wake = "wake",
        Deaths = "deaths",
    }
}

/// The keys of a worker registry. All have one hash tag, so that every script may use any of them.
///
/// | last part | Redis type | what |
/// |---|---|---|
/// | `state` | hash | worker id → the changing part: epoch, flags, load, status, claimed slots, limits |
/// | `definition` | hash | worker id → type, capabilities, capacity, host and process, as the inside of a JSON object |
/// | `metadata` | hash | worker id → its metadata, JSON; left out where they are `{}` |
/// | `labels` | hash | worker id → the indices it is in, a JSON array |
/// | `alive` | sorted set | workers whose last heartbeat was in time, by when they become late; ms of server time, as in all below |
/// | `late` | sorted set | workers that are late, by when they may be declared crashed |
/// | `crashed` | sorted set | workers that crashed, by when they are removed |
/// | `degraded` | set | workers of `alive` that are stalled, or said that they are degraded |
/// | `unreaped` | list | crashes that no call of `reap` has returned yet, packed |
/// | `claims` | sorted set | claims, by the end of their lease |
/// | `claimed` | hash | claim → token, epoch, lease in ms and worker |
/// | `meta` | hash | counters; the mastership; when a sweep last ran; until when nobody is declared crashed; how far a repair has come |
/// | `events` | stream | events, bounded |
/// | `everyone` | sorted set | all workers, by rank: the next worker to claim first, workers that cannot be claimed at +inf |
/// | `idle`, `busy`, `paused`, `draining` | set | workers by status |
/// | `has:<label>` | sorted set | as `everyone`, for one type (`t…`), capability (`c…`) or class (`=…`) |
/// | `has:/<label>` | set | the classes with that type or capability |
/// | `process:<process>` | string | lag, age of the last tick and memory of a process; expires |
/// | `commands:<worker id>` | list | commands that wait for a worker's next heartbeat |
/// | `reaped:<token>` | list | the result of one `reap`, while its answer may be lost; expires |
/// | `leader:<role>` | hash | the leader: owner, deadline, lease, fencing token |
/// | `wake` | channel | announces events |
/// | `deaths` | channel | notices of registrations that others than their holders ended |
/// | `resigned` | channel | roles that have become free |
#[derive(Clone, Debug)]
pub struct RegistryKeys {
    start: Bytes,
    fixed: Vec<Bytes>,
}

impl RegistryKeys {
    pub(super) fn of(namespace: &Namespace) -> Self {
        // The tag is never empty, and the namespace is in it where it has no braces of its own.
        let start = namespace.with(&[b"~registry:{~", &namespace.0, b"}:"]);
        let fixed = Part::ALL.iter().map(|part| join(&start, part.text(), b"")).collect();
        Self { start, fixed }
    }

    /// The first `KEYS` of every script of the registry: all of [`Part`].
    #[must_use]
    pub fn fixed(&self) -> &[Bytes] {
        &self.fixed
    }

    #[must_use]
    pub fn key(&self, part: Part) -> &Bytes {
        &self.fixed[part as usize]
    }

    /// The workers of one status.
    #[must_use]
    pub fn status(&self, status: &str) -> Bytes {
        join(&self.start, status, b"")
    }

    /// The workers with one label.
    #[must_use]
    pub fn having(&self, label: &str) -> Bytes {
        join(&self.start, Part::Has.text(), label.as_bytes())
    }

    #[must_use]
    pub fn reaped(&self, token: &str) -> Bytes {
        join(&self.start, Part::Reaped.text(), token.as_bytes())
    }

    #[must_use]
    pub fn leader(&self, role: &[u8]) -> Bytes {
        join(&self.start, "leader:", role)
    }

    #[must_use]
    pub fn resigned_channel(&self) -> Bytes {
        join(&self.start, "resigned", b"")
    }
}
