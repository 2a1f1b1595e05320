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
                // The rest of the topic follows its tag, so that two topics with one tag have keys of their own.
                Some(tag) => [b"{", tag, b"}=", &escaped(topic, b"%:")[..]].concat(),
                // Nothing follows here, so it is no other topic's either.
                None if channel.iter().any(|byte| b"{}".contains(byte)) => {
                    [&b"{"[..], &escaped(&channel, b"%{}"), b"}="].concat()
                }
                None => [&b"{"[..], &channel, b"}"].concat(),
            }
        };
        Self { namespace: namespace.clone(), place: place.into(), live: namespace.key(topic) }
    }

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

    /// The sorted set of the ids that were published with a window in which they count once.
    #[must_use]
    pub fn seen(&self) -> Bytes {
        self.namespace.with(&[b"~seen:", &self.place])
    }

    /// The number of bytes that were appended to the stream.
    #[must_use]
    pub fn appended(&self) -> Bytes {
        self.namespace.with(&[b"~appended:", &self.place])
    }

    /// The sorted set of how much was appended to the stream up to some of its entries, in bytes.
    #[must_use]
    pub fn sizes(&self) -> Bytes {
        self.namespace.with(&[b"~sizes:", &self.place])
    }

    /// The hash of how much each group has not read, for a moment.
    #[must_use]
    pub fn unread(&self) -> Bytes {
        self.namespace.with(&[b"~unread:", &self.place])
    }

    /// What is there while the stream need not be looked at for what may be trimmed.
    #[must_use]
    pub fn rests(&self) -> Bytes {
        self.namespace.with(&[b"~rests:", &self.place])
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
