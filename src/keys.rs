//! Every Redis key and channel this crate uses, and nowhere else is one spelled.
//!
//! A namespace is a prefix that ends in `:`. A user's key follows it as it is; a key of ours begins with `~`. No part of
//! a user's key between colons may, so the two never meet, in this namespace or in one inside of it ([`is_ours`]).
//! Keys that one script touches together share a hash tag, so every script works on a Cluster.
//!
//! | key | Redis type | what |
//! |---|---|---|
//! | `<ns><key>` | string, list | a value of the KV store |
//! | `<ns>~lock:<key>` | hash | a lock: owner, deadline, fencing token |
//! | `<ns>~load:{<ns><key>}`, `<ns>~load-in:{<tag>}:<key>` | string | who loads the value of a `getOrSet` key |
//! | `<ns>seen:<event id>` | string | an event that was seen |
//! | `<ns><topic>` | channel | the live messages of a topic |
//! | `<ns>~reply:<process>` | channel | replies to the requests of one process |
//! | `<ns>~stream:{<ns><topic>}` | stream | the durable messages of a topic |
//! | `<ns>~wake:{<ns><topic>}` | channel | says that a durable topic has something for its groups |
//! | `<ns>~lanes:{<ns><topic>}:<group>` | hash | message key → how many messages of it are parked, and which consumer has the one before them |
//! | `<ns>~due:{<ns><topic>}:<group>` | sorted set | messages that nobody has in hand, by the time from which they may be delivered |
//! | `<ns>~parked:{<ns><topic>}:<group>` | sorted set | messages that wait for an earlier one of their key, by key and id |
//! | `<ns>~notes:{<ns><topic>}:<group>` | hash | where the group began; message id → its last error |
//! | `<ns>~consumers:{<ns><topic>}:<group>` | sorted set | consumers by the end of their lease |
//! | `<ns>~dead:{<ns><topic>}:<group>` | stream | dead letters of the group |
//! | `~alive:<client id>:<random>` | channel | signs of life for one blocked connection |
//! | `<ns>~registry:{~<ns>}:…` | see [`RegistryKeys`] | a worker registry |
//!
//! The keys of a task queue begin with `<ns>~queue:{<name>}:`, so all of one queue are of one slot:
//!
//! | rest of the key | Redis type | what |
//! |---|---|---|
//! | `jobs` | hash | by id: the job as it was added |
//! | `run` | hash | by id: state, lease, attempts, times, result; none for a job that waits for its first attempt |
//! | `more` | hash | `p<id>`: progress; `s<id>`: stacks of failed attempts; `g<id>`: how often it is in `wait` as a ghost |
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
//! | `schedules` | hash | by id: the schedule, JSON |
//! | `ticks` | sorted set | ids of schedules by their next tick, ms |
//! | `log:<id>` | list | log lines of a job |
//! | `kids:<id>` | hash | by child: pending, or its result; how many are pending |
//! | `once:<id>` | string | the job that holds a dedupe id |
//! | `wake`, `wake:<owner>`, `told` | channels | wake-ups of all workers, of one, of listeners |

use bytes::{Bytes, BytesMut};

/// The channel on which connection `client` of the server is given signs of life; `random` keeps apart the servers that
/// a replicated message reaches.
#[must_use]
pub fn liveness_channel(client: i64, random: u64) -> Bytes {
    Bytes::from(format!("~alive:{client}:{random:x}"))
}

/// The begin of every key of one task queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueueKeys(Bytes);

impl QueueKeys {
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

    /// The begins of names that scripts complete with an id, and the channel of listeners.
    #[must_use]
    pub fn prefixes(&self) -> [Bytes; 5] {
        [self.part("log:"), self.part("kids:"), self.part("group:"), self.part("wake:"), self.told()]
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
    pub fn log(&self, id: &[u8]) -> Bytes {
        self.with("log:", id)
    }

    #[must_use]
    pub fn kids(&self, id: &[u8]) -> Bytes {
        self.with("kids:", id)
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

/// A prefix of keys and channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(Bytes);

impl Namespace {
    /// No prefix at all.
    pub const NONE: Self = Self(Bytes::new());

    /// This namespace with `inner` inside of it; an empty `inner` changes nothing.
    #[must_use]
    pub fn join(&self, inner: &str) -> Self {
        if inner.is_empty() {
            return self.clone();
        }
        let mut prefix = BytesMut::with_capacity(self.0.len() + inner.len() + 1);
        prefix.extend_from_slice(&self.0);
        prefix.extend_from_slice(inner.as_bytes());
        prefix.extend_from_slice(b":");
        Self(prefix.freeze())
    }

    /// The namespace `inner` inside of this one.
    #[must_use]
    pub fn containing(&self, inner: &Self) -> Self {
        Self(self.with(&[&inner.0]))
    }

    /// Is there no prefix?
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The prefix, with its colon.
    #[must_use]
    pub fn prefix(&self) -> &Bytes {
        &self.0
    }

    /// A user's key.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> Bytes {
        self.with(&[key])
    }

    /// The user's key inside `full`, if it is of this namespace and no key of ours.
    #[must_use]
    pub fn strip<'a>(&self, full: &'a [u8]) -> Option<&'a [u8]> {
        full.strip_prefix(&self.0[..]).filter(|key| !is_ours(key))
    }

    /// The hash of the lock named `key`.
    #[must_use]
    pub fn lock(&self, key: &[u8]) -> Bytes {
        self.with(&[b"~lock:", key])
    }

    /// Who loads the value of `key`; in the slot of the value itself.
    ///
    /// A name whose braces do not pair cannot be put into a tag: on a Cluster its two keys may be of two slots.
    #[must_use]
    pub fn loader(&self, key: &[u8]) -> Bytes {
        if self.0.contains(&b'{') {
            return self.with(&[b"~load:", key]);
        }
        match proper_tag(key) {
            Some(tag) => self.with(&[b"~load-in:{", tag, b"}:", key]),
            None => self.with(&[b"~load:{", &self.0, key, b"}"]),
        }
    }

    /// The keys of a durable topic, in the slot of its live channel `<ns><topic>`.
    ///
    /// A channel whose braces do not pair has its keys in one slot too, though not in the channel's.
    #[must_use]
    pub fn topic(&self, topic: &[u8]) -> TopicKeys {
        let place = if proper_tag(&self.0).is_some() {
            [&b"{"[..], &escaped(topic, b"%{}"), b"}"].concat()
        } else {
            let channel = self.key(topic);
            match proper_tag(&channel) {
                // The rest of the topic follows its tag, so that two topics with one tag have keys of their own.
                Some(tag) => [b"{", tag, b"}=", &escaped(topic, b"%:")[..]].concat(),
                // Nothing follows here, so it is no other topic's either.
                None if channel.iter().any(|byte| b"{}".contains(byte)) => {
                    [&b"{"[..], &escaped(&channel, b"%{}"), b"}="].concat()
                }
                None => [&b"{"[..], &channel, b"}"].concat(),
            }
        };
        TopicKeys { namespace: self.clone(), place: place.into(), live: self.key(topic) }
    }

    /// The channel of the replies to the requests of one process.
    #[must_use]
    pub fn reply(&self, process: &[u8]) -> Bytes {
        self.with(&[b"~reply:", process])
    }

    /// The keys of the worker registry.
    #[must_use]
    pub fn registry(&self) -> RegistryKeys {
        RegistryKeys::of(self)
    }

    /// The mark of an event that was seen.
    #[must_use]
    pub fn seen(&self, event_id: &[u8]) -> Bytes {
        self.with(&[b"seen:", event_id])
    }

    /// The keys of the task queue called `name`, which has no braces.
    #[must_use]
    pub fn queue(&self, name: &str) -> QueueKeys {
        QueueKeys(self.with(&[b"~queue:{", name.as_bytes(), b"}:"]))
    }

    /// Is `full` a key that a KV store keeps in this namespace, or in one inside of it, for itself?
    #[must_use]
    pub fn is_of_kv(&self, full: &[u8]) -> bool {
        full.strip_prefix(&self.0[..])
            .and_then(own_part)
            .is_some_and(|part| [&b"~lock:"[..], b"~load:", b"~load-in:"].iter().any(|own| part.starts_with(own)))
    }

    /// A glob pattern for every key of this namespace, ours included.
    #[must_use]
    pub fn everything(&self) -> Bytes {
        self.pattern(b"*")
    }

    /// A glob pattern for the user's keys that match `pattern`.
    #[must_use]
    pub fn pattern(&self, pattern: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.0.len() + pattern.len() + 8);
        for byte in &self.0 {
            if matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'\\' | b'-') {
                out.extend_from_slice(b"\\");
            }
            out.extend_from_slice(&[*byte]);
        }
        out.extend_from_slice(pattern);
        out.freeze()
    }

    fn with(&self, parts: &[&[u8]]) -> Bytes {
        let mut key = BytesMut::with_capacity(self.0.len() + parts.iter().map(|part| part.len()).sum::<usize>());
        key.extend_from_slice(&self.0);
        for part in parts {
            key.extend_from_slice(part);
        }
        key.freeze()
    }
}

/// The keys and channels of one durable topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicKeys {
    namespace: Namespace,
    place: Bytes,
    live: Bytes,
}

impl TopicKeys {
    /// The channel of its live messages.
    #[must_use]
    pub fn live(&self) -> &Bytes {
        &self.live
    }

    /// The stream of its durable messages.
    #[must_use]
    pub fn stream(&self) -> Bytes {
        self.namespace.with(&[b"~stream:", &self.place])
    }

    /// The channel on which its consumers are woken.
    #[must_use]
    pub fn wake(&self) -> Bytes {
        self.namespace.with(&[b"~wake:", &self.place])
    }

    /// The keys of one of its consumer groups.
    #[must_use]
    pub fn group(&self, group: &[u8]) -> GroupKeys {
        // The group comes last and has no colon, so no topic and group have the keys of another topic and group.
        let group = escaped(group, b"%:");
        let key = |kind: &[u8]| self.namespace.with(&[kind, &self.place, b":", &group]);
        GroupKeys {
            stream: self.stream(),
            lanes: key(b"~lanes:"),
            due: key(b"~due:"),
            parked: key(b"~parked:"),
            notes: key(b"~notes:"),
            consumers: key(b"~consumers:"),
            dead: key(b"~dead:"),
        }
    }
}

/// The keys of a consumer group of a durable topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKeys {
    pub stream: Bytes,
    pub lanes: Bytes,
    pub due: Bytes,
    pub parked: Bytes,
    pub notes: Bytes,
    pub consumers: Bytes,
    pub dead: Bytes,
}

/// `text` with each byte of `special` as `%` and two hexadecimal digits.
fn escaped(text: &[u8], special: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if special.contains(byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

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
/// | `claimed` | hash | claim → token, epoch and worker |
/// | `meta` | hash | counters; the server's run id; since when it is calm or not |
/// | `events` | stream | what happened, bounded |
/// | `everyone` | sorted set | all workers, by who is to be claimed next; those that cannot be at +inf |
/// | `idle`, `busy`, `paused`, `draining` | set | workers by status |
/// | `has:<label>` | sorted set | as `everyone`, for one type (`t…`), capability (`c…`) or class (`=…`) |
/// | `has:/<label>` | set | the classes with that type or capability |
/// | `process:<process>` | string | lag, age of the last tick and memory of a process; expires |
/// | `commands:<worker id>` | list | commands that wait for a worker's next heartbeat |
/// | `reaped:<token>` | list | what one `reap` was handed, for as long as its answer may be lost; expires |
/// | `leader:<role>` | hash | who leads: owner, deadline, fencing token |
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

    fn of(namespace: &Namespace) -> Self {
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

/// Does a part of `key` between colons begin with `~`?
#[must_use]
pub fn is_ours(key: &[u8]) -> bool {
    own_part(key).is_some()
}

/// From the first part of `key` that begins with `~`.
fn own_part(key: &[u8]) -> Option<&[u8]> {
    if key.starts_with(b"~") {
        return Some(key);
    }
    key.windows(2).position(|pair| pair == b":~").map(|at| &key[at + 1..])
}

/// What Redis hashes of a key: what stands in the first braces, else all of it.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    proper_tag(key).unwrap_or(key)
}

/// What stands in the first braces, unless that is nothing.
fn proper_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|b| *b == b'{')?;
    match key[open + 1..].iter().position(|b| *b == b'}') {
        None | Some(0) => None,
        Some(length) => Some(&key[open + 1..open + 1 + length]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_in_the_slot_of_its_value() {
        for namespace in ["", "app", "{app}", "a:{t}:b"] {
            for key in ["plain", "user:{42}:name", "a b", "{x}{y}", "{first}"] {
                let namespace = Namespace::NONE.join(namespace);
                let (value, loader) = (namespace.key(key.as_bytes()), namespace.loader(key.as_bytes()));
                assert_eq!(hash_tag(&value), hash_tag(&loader), "{value:?} {loader:?}");
            }
        }
    }

    #[test]
    fn the_keys_of_a_topic_are_in_the_slot_of_its_channel() {
        for namespace in ["", "app", "{app}", "a:{t}:b"] {
            for topic in ["orders", "a b", "orders:{42}:x", "{x}{y}", "{first}", "50%"] {
                let keys = Namespace::NONE.join(namespace).topic(topic.as_bytes());
                let group = keys.group(b"{g}:h");
                let all =
                    [keys.stream(), group.lanes, group.due, group.parked, group.notes, group.consumers, group.dead];
                for key in all {
                    assert_eq!(hash_tag(&key), hash_tag(keys.live()), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn the_keys_of_a_topic_whose_braces_do_not_pair_are_in_one_slot() {
        for topic in ["{", "}", "{}", "a}b{", "{}{x}"] {
            let keys = Namespace::NONE.topic(topic.as_bytes());
            assert_eq!(hash_tag(&keys.stream()), hash_tag(&keys.group(b"g").dead), "{topic}");
        }
    }

    #[test]
    fn no_two_topics_and_groups_share_a_key() {
        let mut seen = std::collections::HashSet::new();
        for topic in ["a", "a:b", "{t}", "{t}a", "{t}a:b", "{a}", "%7Ba%7D", "{t}%61", "{", "%7B", "x{t}a"] {
            for group in ["g", "b:g", "b%3Ag", "a", "=a"] {
                assert!(
                    seen.insert(Namespace::NONE.topic(topic.as_bytes()).group(group.as_bytes()).dead),
                    "{topic} {group}"
                );
            }
        }
    }

    #[test]
    fn the_keys_of_a_registry_share_a_tag_and_are_no_users() {
        for namespace in ["", "app", "{app}", "a:{t}:b", "a}b", "{a", "}", "a{b"] {
            let namespace = Namespace::NONE.join(namespace);
            let keys = namespace.registry();
            let tag = hash_tag(&keys.fixed()[0]).to_vec();
            let others = [keys.having("c{x}y"), keys.leader(b"}{"), keys.reaped("t"), keys.deaths_channel()];
            for key in keys.fixed().iter().chain(&others) {
                assert_eq!(hash_tag(key), tag, "{key:?}");
                assert!(is_ours(key) && namespace.strip(key).is_none() && !namespace.is_of_kv(key), "{key:?}");
            }
        }
    }

    #[test]
    fn all_keys_of_a_queue_are_of_one_slot() {
        for namespace in ["", "app", "{app}", "a:{t}:b", "un{paired"] {
            let keys = Namespace::NONE.join(namespace).queue("mail");
            let mut all = keys.base();
            all.extend(keys.prefixes());
            all.extend([keys.held("o"), keys.log(b"{x}"), keys.kids(b"}"), keys.group(b"{"), keys.once(b"a}b{c}")]);
            all.extend([keys.cancels(), keys.rate(), keys.schedules(), keys.ticks(), keys.wake_all(), keys.wake("o")]);
            let slot = hash_tag(&all[0]).to_vec();
            assert!(all.iter().all(|key| hash_tag(key) == slot), "{all:?}");
        }
    }

    #[test]
    fn a_namespace_means_itself_in_a_pattern() {
        assert_eq!(&Namespace::NONE.join("a*[b]?").pattern(b"x*")[..], br"a\*\[b\]\?:x*");
    }

    #[test]
    fn keys_of_ours_and_of_others_are_told_apart() {
        let namespace = Namespace::NONE.join("app").containing(&Namespace::NONE.join("kv"));
        assert_eq!(namespace.strip(b"app:kv:x"), Some(&b"x"[..]));
        assert_eq!(namespace.strip(b"app:x"), None);
        assert_eq!(namespace.strip(&namespace.lock(b"x")), None);
        assert!(namespace.is_of_kv(&namespace.lock(b"x")) && namespace.is_of_kv(&namespace.loader(b"{x}")));
        let inner = namespace.containing(&Namespace::NONE.join("inner"));
        assert!(namespace.is_of_kv(&inner.lock(b"x")) && namespace.strip(&inner.lock(b"x")).is_none());
        assert!(!namespace.is_of_kv(b"app:kv:x") && !namespace.is_of_kv(b"app:kv:~else:x"));
    }
}
