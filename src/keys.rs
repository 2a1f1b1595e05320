//! Every Redis key and channel this crate uses, and nowhere else is one spelled.
//!
//! A namespace is a prefix that ends in `:`. A user's key follows it as it is; a key of ours begins with `~`, which a
//! user's own key is refused to begin with only where the two could meet ([`Namespace::user_key`]).
//! Keys that one script touches together share a hash tag, so every script works on a Cluster.
//!
//! | key | Redis type | what |
//! |---|---|---|
//! | `<ns><key>` | string, list | a value of the KV store |
//! | `<ns>~lock:<key>` | hash | a lock: owner, deadline, fencing token |
//! | `<ns>~load:{<key>}` | string | who loads the value of a `getOrSet` key |
//! | `<ns>seen:<event id>` | string | an event that was seen |
//! | `~alive:<client id>:<random>` | channel | signs of life for one blocked connection |

use bytes::{Bytes, BytesMut};

/// The channel on which connection `client` of the server is given signs of life; `random` keeps apart the servers that
/// a replicated message reaches.
#[must_use]
pub fn liveness_channel(client: i64, random: u64) -> Bytes {
    Bytes::from(format!("~alive:{client}:{random:x}"))
}

/// A prefix of keys and channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
        full.strip_prefix(&self.0[..]).filter(|key| !key.starts_with(b"~"))
    }

    /// The hash of the lock named `key`.
    #[must_use]
    pub fn lock(&self, key: &[u8]) -> Bytes {
        self.with(&[b"~lock:", key])
    }

    /// Who loads the value of `key`; in the slot of `key` itself.
    #[must_use]
    pub fn loader(&self, key: &[u8]) -> Bytes {
        let tag = hash_tag(key);
        self.with(&[b"~load:{", tag, b"}:", key])
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
        parts.iter().for_each(|part| key.extend_from_slice(part));
        key.freeze()
    }
}

/// What Redis hashes of a key: what stands in the first braces, else all of it.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|b| *b == b'{') else {
        return key;
    };
    match key[open + 1..].iter().position(|b| *b == b'}') {
        None | Some(0) => key,
        Some(length) => &key[open + 1..open + 1 + length],
    }
}
