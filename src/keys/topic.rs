//! The keys of durable topics and their groups.

use bytes::Bytes;

use super::{Namespace, proper_tag};

/// The keys and channels of one durable topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicKeys {
    namespace: Namespace,
    place: Bytes,
    live: Bytes,
}

impl TopicKeys {
    pub(super) fn of(namespace: &Namespace, topic: &[u8]) -> Self {
        let place = if proper_tag(&namespace.0).is_some() {
            [&b"{"[..], &escaped(topic, b"%{}"), b"}"].concat()
        } else {
            let channel = namespace.key(topic);
            match proper_tag(&channel) {
                // The rest of the topic follows its tag, so that two topics with the same tag have different keys.
                Some(tag) => [b"{", tag, b"}=", &escaped(topic, b"%:")[..]].concat(),
                // The rest is empty here, so no other topic has this key.
                None if channel.iter().any(|byte| b"{}".contains(byte)) => {
                    [&b"{"[..], &escaped(&channel, b"%{}"), b"}="].concat()
                }
                None => [&b"{"[..], &channel, b"}"].concat(),
            }
        };
        Self { namespace: namespace.clone(), place: place.into(), live: namespace.key(topic) }
    }

    /// The channel of the topic's live messages.
    #[must_use]
    pub fn live(&self) -> &Bytes {
        &self.live
    }

    /// The stream of the topic's durable messages.
    #[must_use]
    pub fn stream(&self) -> Bytes {
        self.namespace.with(&[b"~stream:", &self.place])
    }

    /// The sorted set of the ids that were published with a dedupe window.
    #[must_use]
    pub fn seen(&self) -> Bytes {
        self.namespace.with(&[b"~seen:", &self.place])
    }

    /// The sum of the bytes that were appended to the stream.
    #[must_use]
    pub fn appended(&self) -> Bytes {
        self.namespace.with(&[b"~appended:", &self.place])
    }

    /// The sorted set of the sums up to some of the entries.
    #[must_use]
    pub fn sizes(&self) -> Bytes {
        self.namespace.with(&[b"~sizes:", &self.place])
    }

    /// The hash of the unread messages of each group; expires.
    #[must_use]
    pub fn unread(&self) -> Bytes {
        self.namespace.with(&[b"~unread:", &self.place])
    }

    /// The key that exists while the stream need not be trimmed; expires.
    #[must_use]
    pub fn rests(&self) -> Bytes {
        self.namespace.with(&[b"~rests:", &self.place])
    }

    /// The channel that wakes the topic's consumers.
    #[must_use]
    pub fn wake(&self) -> Bytes {
        self.namespace.with(&[b"~wake:", &self.place])
    }

    /// The keys of one of the topic's consumer groups.
    #[must_use]
    pub fn group(&self, group: &[u8]) -> GroupKeys {
        // The group comes last and has no colon, so no topic and group have the keys of another topic and group.
        let group = escaped(group, b"%:");
        let key = |kind: &[u8]| self.namespace.with(&[kind, &self.place, b":", &group]);
        GroupKeys {
            stream: self.stream(),
            key_queues: key(b"~lanes:"),
            due: key(b"~due:"),
            parked: key(b"~parked:"),
            notes: key(b"~notes:"),
            consumers: key(b"~consumers:"),
            dead: key(b"~dead:"),
        }
    }
}

/// The keys of a consumer group of a durable topic; `lua/group.lua` in `bus/durable` describes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKeys {
    pub stream: Bytes,
    pub key_queues: Bytes,
    pub due: Bytes,
    pub parked: Bytes,
    pub notes: Bytes,
    pub consumers: Bytes,
    pub dead: Bytes,
}

/// `text` with each byte of `special` replaced by `%` and two hexadecimal digits.
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
