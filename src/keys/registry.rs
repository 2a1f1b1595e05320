//! The keys of a worker registry.

use bytes::{Bytes, BytesMut};

use super::Namespace;

/// The keys of a worker registry. All are of one hash tag, so every script may touch any of them.
///
/// | last part | Redis type | what |
/// |---|---|---|
/// | `state` | hash | worker id → what changes of it: epoch, flags, load, status, claimed slots, limits |
/// | `definition` | hash | worker id → type, capabilities, capacity, host and process, as the inside of a JSON object |
/// | `metadata` | hash | worker id → its metadata, JSON; `{}` is left out |
/// | `labels` | hash | worker id → the indices it is in, a JSON array |
/// | `alive` | sorted set | workers that beat in time, by when they will be late; ms of server time, as in all below |
/// | `late` | sorted set | workers that are late, by when they will be declared crashed |
/// | `crashed` | sorted set | workers that crashed, by when they will be forgotten |
/// | `degraded` | set | those of `alive` that are stalled, or said that they are degraded |
/// | `unreaped` | list | crashes that nobody was handed yet, packed |
/// | `claims` | sorted set | claims by the end of their lease |
/// | `claimed` | hash | claim → token, epoch, lease in ms and worker |
/// | `meta` | hash | counters; the server's run id and when it was looked at last; until when nobody is declared crashed; how far a walk that mends has come |
/// | `events` | stream | what happened, bounded |
/// | `everyone` | sorted set | all workers, by who is to be claimed next; those that cannot be at +inf |
/// | `idle`, `busy`, `paused`, `draining` | set | workers by status |
/// | `has:<label>` | sorted set | as `everyone`, for one type (`t…`), capability (`c…`) or class (`=…`) |
/// | `has:/<label>` | set | the classes with that type or capability |
/// | `process:<process>` | string | lag, age of the last tick and memory of a process; expires |
/// | `commands:<worker id>` | list | commands that wait for a worker's next heartbeat |
/// | `reaped:<token>` | list | what one `reap` was handed, for as long as its answer may be lost; expires |
/// | `leader:<role>` | hash | who leads: owner, deadline, lease, fencing token |
/// | `wake` | channel | says that there are events |
/// | `deaths` | channel | registrations that are over without having been ended by their holder |
/// | `resigned` | channel | roles that are free again |
#[derive(Clone, Debug)]
pub struct RegistryKeys {
    base: Bytes,
    fixed: Vec<Bytes>,
}

impl RegistryKeys {
    /// The last parts of the keys that every script is given, in the order of its `KEYS`.
    const FIXED: [&str; 24] = [
        "state",
        "definition",
        "metadata",
        "labels",
        "alive",
        "late",
        "crashed",
        "degraded",
        "unreaped",
        "claims",
        "claimed",
        "meta",
        "events",
        "everyone",
        "idle",
        "busy",
        "paused",
        "draining",
        "has:",
        "process:",
        "commands:",
        "reaped:",
        "wake",
        "deaths",
    ];

    pub(super) fn of(namespace: &Namespace) -> Self {
        // The tag is never empty, and the namespace is in it where it has no braces of its own.
        let base = namespace.with(&[b"~registry:{~", &namespace.0, b"}:"]);
        let fixed = Self::FIXED.iter().map(|last| join(&base, last, b"")).collect();
        Self { base, fixed }
    }

    /// What every script of the registry is given as its first `KEYS`: keys, then the beginnings of keys, then channels.
    #[must_use]
    pub fn fixed(&self) -> &[Bytes] {
        &self.fixed
    }

    fn named(&self, last: &str) -> Bytes {
        join(&self.base, last, b"")
    }

    #[must_use]
    pub fn alive(&self) -> Bytes {
        self.named("alive")
    }

    #[must_use]
    pub fn late(&self) -> Bytes {
        self.named("late")
    }

    #[must_use]
    pub fn crashed(&self) -> Bytes {
        self.named("crashed")
    }

    #[must_use]
    pub fn degraded(&self) -> Bytes {
        self.named("degraded")
    }

    #[must_use]
    pub fn everyone(&self) -> Bytes {
        self.named("everyone")
    }

    #[must_use]
    pub fn events(&self) -> Bytes {
        self.named("events")
    }

    /// The workers of one status.
    #[must_use]
    pub fn status(&self, status: &str) -> Bytes {
        self.named(status)
    }

    /// The workers with one label.
    #[must_use]
    pub fn having(&self, label: &str) -> Bytes {
        join(&self.base, "has:", label.as_bytes())
    }

    #[must_use]
    pub fn reaped(&self, token: &str) -> Bytes {
        join(&self.base, "reaped:", token.as_bytes())
    }

    #[must_use]
    pub fn leader(&self, role: &[u8]) -> Bytes {
        join(&self.base, "leader:", role)
    }

    #[must_use]
    pub fn wake_channel(&self) -> Bytes {
        self.named("wake")
    }

    #[must_use]
    pub fn deaths_channel(&self) -> Bytes {
        self.named("deaths")
    }

    #[must_use]
    pub fn resigned_channel(&self) -> Bytes {
        self.named("resigned")
    }
}

fn join(base: &[u8], last: &str, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(base.len() + last.len() + rest.len());
    key.extend_from_slice(base);
    key.extend_from_slice(last.as_bytes());
    key.extend_from_slice(rest);
    key.freeze()
}
