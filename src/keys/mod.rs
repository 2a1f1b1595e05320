//! Every Redis key and channel of this crate. No other module builds keys.
//!
//! A namespace is a prefix that ends with `:`. A user's key follows it unchanged. A key of this package begins with `~` after the
//! namespace. No part of a user's key between colons may begin with `~`, so the two never collide, in this namespace or in a namespace
//! inside it ([`is_ours`]). The keys of one script share a hash tag, so that every script works on a cluster.
//!
//! | key | Redis type | what |
//! |---|---|---|
//! | `<ns><key>` | string, list | a value of the KV store |
//! | `<ns>~lock:{<ns><share>}:<key>` | hash, channel | a lock: owner, fencing token, whether a caller waits for it; the channel announces its release |
//! | `<ns>~lock:{<ns><share>}` | string | the last fencing token of a share of all locks |
//! | `<ns>~load:{<ns><key>}`, `<ns>~load-in:{<tag>}:<key>` | hash | the mark of a load: the caller that loads the value of a `getOrSet` key, and the value before |
//! | `<ns>seen:<event id>` | string | an event that was seen; a part of the id that begins with `~` has `%7E` instead |
//! | `<ns>~health`, `<ns>~health:{<number>}` | none | the key of the check for writes; it is never written |
//! | `<ns><topic>` | channel | the live messages of a topic |
//! | `<ns>~reply:<process>` | channel | replies to the requests of one process |
//! | `<ns>~stream:{<ns><topic>}` | stream | the durable messages of a topic |
//! | `<ns>~wake:{<ns><topic>}` | channel | wakes the consumers of a durable topic |
//! | `<ns>~lanes:{<ns><topic>}:<group>` | hash | message key → the number of its parked messages, and the consumer of the message before them |
//! | `<ns>~due:{<ns><topic>}:<group>` | sorted set | messages that no consumer has, by the time from which they may be delivered |
//! | `<ns>~parked:{<ns><topic>}:<group>` | sorted set | messages that wait for an earlier message of their key, by key and id |
//! | `<ns>~notes:{<ns><topic>}:<group>` | hash | where the group started; message id → its last error |
//! | `<ns>~consumers:{<ns><topic>}:<group>` | sorted set | consumers by the end of their lease |
//! | `<ns>~dead:{<ns><topic>}:<group>` | stream | dead letters of the group |
//! | `<ns>~appended:{<ns><topic>}` | number | how many bytes were appended to the topic |
//! | `<ns>~sizes:{<ns><topic>}` | sorted set | how many bytes were appended up to some of the entries |
//! | `<ns>~unread:{<ns><topic>}` | hash, for a second | the number of unread messages of each group |
//! | `<ns>~rests:{<ns><topic>}` | string, for seconds | exists while the topic need not be trimmed |
//! | `~alive:<client id>:<random>` | channel | signs of life for one blocked connection |
//! | `<ns>~checkpoints:{<ns><share>}:…` | see [`checkpoints::Part`] | threads of checkpoints |
//! | `<ns>~registry:{~<ns>}:…` | see [`RegistryKeys`] | a worker registry |
//! | `<ns>~queue:{<name>}:…` | see [`QueueKeys`] | a task queue |
//! | `<ns>~session:{<ns><share>}:…` | see [`SessionKeys`] | a session |
//! | `<ns>~sessions-of:<user>` | sorted set | the ids of a user's sessions, by when they were last known to exist |

pub mod checkpoints;
pub(crate) mod parts;
pub mod queue;
pub mod registry;
pub mod sessions;
mod topic;

use bytes::{Bytes, BytesMut};

pub use checkpoints::{ShareKeys, ThreadKeys};
pub use queue::QueueKeys;
pub use registry::RegistryKeys;
pub use sessions::SessionKeys;
pub use topic::{GroupKeys, TopicKeys};

/// The channel for signs of life of the server's connection `client`. `random` distinguishes servers that a replicated message
/// reaches.
#[must_use]
pub fn liveness_channel(client: i64, random: u64) -> Bytes {
    Bytes::from(format!("~alive:{client}:{random:x}"))
}
/// A prefix of keys and channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace(Bytes);

impl Namespace {
    /// No prefix at all.
    pub const NONE: Self = Self(Bytes::new());

    /// The namespace `inner` inside this one; an empty `inner` changes nothing.
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

    /// The namespace `inner` inside this one.
    #[must_use]
    pub fn containing(&self, inner: &Self) -> Self {
        Self(self.with(&[&inner.0]))
    }

    /// Is the prefix empty?
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

    /// The user's key in `full`; `None` where `full` is in another namespace, or is a key of this package.
    #[must_use]
    pub fn strip<'a>(&self, full: &'a [u8]) -> Option<&'a [u8]> {
        full.strip_prefix(&self.0[..]).filter(|key| !is_ours(key))
    }

    /// The hash of the lock named `key`, and the last fencing token of its share of all locks; both are of one slot.
    #[must_use]
    pub fn lock(&self, key: &[u8]) -> (Bytes, Bytes) {
        let share = [b'0' + share_of(key)];
        let last = self.with(&[b"~lock:{", self.in_tag(), &share, b"}"]);
        (Bytes::from([&last[..], b":", key].concat()), last)
    }

    /// The namespace as part of a hash tag that follows it. It is empty where the namespace has a brace, which would open the tag too
    /// early, or close it.
    fn in_tag(&self) -> &[u8] {
        let has_brace = self.0.iter().any(|byte| matches!(byte, b'{' | b'}'));
        if has_brace { b"" } else { &self.0 }
    }

    /// The mark of a load of the value of `key`, in the slot of the value.
    ///
    /// A name with unpaired braces cannot be put into a tag: on a cluster its two keys may be in two slots.
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

    /// A key that is never written. With `tag` the tag decides the slot.
    #[must_use]
    pub fn health(&self, tag: Option<u32>) -> Bytes {
        match tag {
            Some(tag) => self.with(&[b"~health:{", tag.to_string().as_bytes(), b"}"]),
            None => self.with(&[b"~health"]),
        }
    }

    /// The keys of a durable topic, in the slot of its live channel `<ns><topic>`.
    ///
    /// The keys of a channel with unpaired braces are in one slot too, but not in the slot of the channel.
    #[must_use]
    pub fn topic(&self, topic: &[u8]) -> TopicKeys {
        TopicKeys::of(self, topic)
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
        if !event_id.contains(&b'~') && !event_id.contains(&b'%') {
            return self.with(&[b"seen:", event_id]);
        }
        // A part that begins with `~` would make a key of this package, so it is escaped. A part that looks escaped is escaped too.
        let mut escaped = Vec::with_capacity(event_id.len() + 8);
        for (at, part) in event_id.split(|byte| *byte == b':').enumerate() {
            if at > 0 {
                escaped.push(b':');
            }
            match part {
                [b'~', rest @ ..] => escaped.extend_from_slice(&[b"%7E", rest].concat()),
                [b'%', b'7', b'E', ..] | [b'%', b'2', b'5', ..] => {
                    escaped.extend_from_slice(&[b"%25", &part[1..]].concat());
                }
                _ => escaped.extend_from_slice(part),
            }
        }
        self.with(&[b"seen:", &escaped])
    }

    /// The keys of a thread of checkpoints.
    #[must_use]
    pub fn thread(&self, thread: &[u8]) -> ThreadKeys {
        ThreadKeys::of(self, thread)
    }

    /// The keys of a share of all threads of checkpoints.
    #[must_use]
    pub fn threads(&self, share: u32) -> ShareKeys {
        ShareKeys::of(self, share)
    }

    /// The keys of the task queue `name`, which has no braces.
    #[must_use]
    pub fn queue(&self, name: &str) -> QueueKeys {
        QueueKeys::of(self, name)
    }

    /// The keys of the session with this id.
    #[must_use]
    pub fn session(&self, id: &[u8]) -> SessionKeys {
        SessionKeys::of(self, id)
    }

    /// The ids of the sessions of a user.
    #[must_use]
    pub fn sessions_of(&self, user: &[u8]) -> Bytes {
        self.with(&[b"~sessions-of:", user])
    }

    /// A glob pattern that matches the data of every session, and perhaps other keys.
    #[must_use]
    pub fn sessions(&self) -> Bytes {
        self.pattern(b"~session:{*}:data:*")
    }

    /// The id of the session whose data has the key `full`; `None` where `full` is no such key.
    #[must_use]
    pub fn session_id<'a>(&self, full: &'a [u8]) -> Option<&'a [u8]> {
        sessions::id_of(self, full)
    }

    /// Is `full` an internal key of a KV store in this namespace, or in a namespace inside it?
    #[must_use]
    pub fn is_of_kv(&self, full: &[u8]) -> bool {
        full.strip_prefix(&self.0[..])
            .and_then(own_part)
            .is_some_and(|part| [&b"~lock:"[..], b"~load:", b"~load-in:"].iter().any(|own| part.starts_with(own)))
    }

    /// A glob pattern for every key of this namespace, with the keys of this package.
    #[must_use]
    pub fn everything(&self) -> Bytes {
        self.pattern(b"*")
    }

    /// A glob pattern that matches the marks of loads in this namespace and in namespaces inside it, and perhaps other keys.
    #[must_use]
    pub fn loaders(&self) -> Bytes {
        self.pattern(b"*~load*")
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

/// Does a part of `key` between colons begin with `~`?
#[must_use]
pub fn is_ours(key: &[u8]) -> bool {
    own_part(key).is_some()
}

/// The rest of `key` from the first part on that begins with `~`.
fn own_part(key: &[u8]) -> Option<&[u8]> {
    if key.starts_with(b"~") {
        return Some(key);
    }
    key.windows(2).position(|pair| pair == b":~").map(|at| &key[at + 1..])
}

/// The share of the lock `key`.
fn share_of(key: &[u8]) -> u8 {
    /// Few, because each share has a key that stays for a day. Several, because the locks of a share are in one slot of a cluster.
    const SHARES: u8 = 8;
    fnv(key).to_be_bytes()[0] % SHARES
}

/// The share of `key` among `shares` shares.
fn share(key: &[u8], shares: u32) -> u32 {
    mixed(fnv(key)) % shares
}

/// A hash of which every bit depends on every bit of `hash`: names that differ in their last digits alone differ in few bits of FNV. The
/// finaliser of MurmurHash3.
fn mixed(hash: u32) -> u32 {
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// 32-bit FNV-1a.
fn fnv(key: &[u8]) -> u32 {
    key.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The part of a key that Redis hashes: the text in the first braces, else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    proper_tag(key).unwrap_or(key)
}

/// The text in the first braces, unless it is empty.
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
    fn a_lock_is_in_the_slot_of_the_last_fencing_token_of_its_share() {
        let mut shares = std::collections::HashSet::new();
        for namespace in ["", "app", "{app}", "a:{t}:b", "{a", "a}b", "}"] {
            for key in ["plain", "user:{42}:name", "a b", "{x}{y}", "}", "{", "order:1", "order:2", "order:3"] {
                let (lock, last) = Namespace::NONE.join(namespace).lock(key.as_bytes());
                assert_eq!(hash_tag(&lock), hash_tag(&last), "{lock:?} {last:?}");
                assert!(is_ours(&lock) && is_ours(&last));
                shares.insert((namespace, last));
            }
        }
        assert!(shares.len() > 2 * 7 && shares.len() <= 8 * 7, "{shares:?}");
    }

    #[test]
    fn the_keys_of_a_session_share_a_tag_and_give_its_id_back() {
        for namespace in ["", "app", "{app}", "a:{t}:b", "a}b", "{a", "}", "a{b"] {
            let namespace = Namespace::NONE.join(namespace);
            for id in ["s", "a b", "{x}{y}", "}{", "data:x", "é"] {
                let keys = namespace.session(id.as_bytes());
                let tag = hash_tag(&keys.all()[0]).to_vec();
                for key in keys.all() {
                    assert_eq!(hash_tag(key), tag, "{key:?}");
                    assert!(is_ours(key) && namespace.strip(key).is_none() && !namespace.is_of_kv(key), "{key:?}");
                }
                assert_eq!(namespace.session_id(&keys.all()[0]), Some(id.as_bytes()));
                assert_eq!(namespace.session_id(&keys.all()[1]), None);
                assert_eq!(namespace.join("inner").session_id(&keys.all()[0]), None);
                assert!(is_ours(&namespace.sessions_of(id.as_bytes())));
            }
        }
    }

    #[test]
    fn the_mark_of_an_event_is_no_internal_key_and_is_unique() {
        let mut seen = std::collections::HashSet::new();
        for id in ["a", "~a", "%7Ea", "%257Ea", "%25a", "%a", "a:~b", "a:%7Eb", "a~b", "~", "%7E", "a%7Eb", ":~", "::"]
        {
            let key = Namespace::NONE.join("app").seen(id.as_bytes());
            assert!(!is_ours(&key), "{key:?}");
            assert!(seen.insert(key), "{id}");
        }
        assert_eq!(&Namespace::NONE.seen(b"order:7%")[..], b"seen:order:7%");
    }

    #[test]
    fn the_keys_of_a_topic_are_in_the_slot_of_its_channel() {
        for namespace in ["", "app", "{app}", "a:{t}:b"] {
            for topic in ["orders", "a b", "orders:{42}:x", "{x}{y}", "{first}", "50%"] {
                let keys = Namespace::NONE.join(namespace).topic(topic.as_bytes());
                let group = keys.group(b"{g}:h");
                let all = [
                    keys.stream(),
                    group.key_queues,
                    group.due,
                    group.parked,
                    group.notes,
                    group.consumers,
                    group.dead,
                ];
                for key in all {
                    assert_eq!(hash_tag(&key), hash_tag(keys.live()), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn the_keys_of_a_topic_with_unpaired_braces_are_in_one_slot() {
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
    fn the_keys_of_a_registry_share_a_tag_and_are_internal() {
        for namespace in ["", "app", "{app}", "a:{t}:b", "a}b", "{a", "}", "a{b"] {
            let namespace = Namespace::NONE.join(namespace);
            let keys = namespace.registry();
            let tag = hash_tag(keys.key(registry::Part::State)).to_vec();
            let others = [keys.having("c{x}y"), keys.leader(b"}{"), keys.reaped("t"), keys.resigned_channel()];
            for key in keys.fixed().iter().chain(&others) {
                assert_eq!(hash_tag(key), tag, "{key:?}");
                assert!(is_ours(key) && namespace.strip(key).is_none() && !namespace.is_of_kv(key), "{key:?}");
            }
        }
    }

    #[test]
    fn all_keys_of_a_queue_are_in_one_slot() {
        for namespace in ["", "app", "{app}", "a:{t}:b", "un{paired"] {
            let keys = Namespace::NONE.join(namespace).queue("mail");
            let mut all: Vec<_> = queue::Part::ALL.iter().map(|part| keys.key(*part).clone()).collect();
            all.extend_from_slice(keys.prefixes());
            all.extend([keys.held("o"), keys.log(b"{x}"), keys.kids(b"}"), keys.group(b"{"), keys.once(b"a}b{c}")]);
            all.extend([keys.wake_all(), keys.wake("o")]);
            let slot = hash_tag(&all[0]).to_vec();
            assert!(all.iter().all(|key| hash_tag(key) == slot), "{all:?}");
        }
    }

    #[test]
    fn a_namespace_is_literal_in_a_pattern() {
        assert_eq!(&Namespace::NONE.join("a*[b]?").pattern(b"x*")[..], br"a\*\[b\]\?:x*");
    }

    #[test]
    fn internal_keys_are_distinguished_from_other_keys() {
        let namespace = Namespace::NONE.join("app").containing(&Namespace::NONE.join("kv"));
        assert_eq!(namespace.strip(b"app:kv:x"), Some(&b"x"[..]));
        assert_eq!(namespace.strip(b"app:x"), None);
        assert_eq!(namespace.strip(&namespace.lock(b"x").0), None);
        assert!(namespace.is_of_kv(&namespace.lock(b"x").0) && namespace.is_of_kv(&namespace.loader(b"{x}")));
        let inner = namespace.containing(&Namespace::NONE.join("inner"));
        assert!(namespace.is_of_kv(&inner.lock(b"x").1) && namespace.strip(&inner.lock(b"x").0).is_none());
        assert!(!namespace.is_of_kv(b"app:kv:x") && !namespace.is_of_kv(b"app:kv:~else:x"));
    }
}
