//! What a connection of subscriptions receives: answers and messages. RESP3 sends them as pushes, RESP2 as arrays.

use bytes::Bytes;

use super::ChannelMessage;
use super::book::{Channel, ChannelKind};
use crate::resp::Reply;

/// One received answer or message.
#[derive(Debug)]
pub(in crate::connection) enum Received {
    Message(ChannelKind, ChannelMessage),
    /// The server confirmed a subscription (`true`) or the end of one (`false`).
    Confirmed(Channel, bool),
    Pong,
    /// The server refused the oldest question, with this error line.
    Refused(Bytes),
    /// A reply that no subscription expects. It is ignored.
    Unknown,
}

impl Received {
    pub(in crate::connection) fn of(reply: Reply) -> Self {
        match reply {
            Reply::Push(items) | Reply::Array(items) => Self::list(items),
            Reply::Simple(_) => Self::Pong,
            Reply::Error(line) => Self::Refused(line),
            _ => Self::Unknown,
        }
    }

    /// The channel, or the pattern, of the message that starts with `head`.
    pub(super) fn channel_of(head: &[Reply]) -> Option<Channel> {
        let [Reply::Bulk(what) | Reply::Simple(what), Reply::Bulk(name), ..] = head else { return None };
        let kind = match &what[..] {
            b"message" => ChannelKind::Exact,
            b"smessage" => ChannelKind::Sharded,
            b"pmessage" => ChannelKind::Pattern,
            _ => return None,
        };
        Some(Channel { kind, name: name.clone() })
    }

    fn list(items: Vec<Reply>) -> Self {
        let mut parts = items.into_iter().map(|item| match item {
            Reply::Bulk(bytes) | Reply::Simple(bytes) => Some(bytes),
            _ => None,
        });
        let mut next = || parts.next().flatten();
        let Some(what) = next() else {
            return Self::Unknown;
        };
        let heard = match &what[..] {
            b"message" => next().zip(next()).map(|found| message(ChannelKind::Exact, None, found)),
            b"smessage" => next().zip(next()).map(|found| message(ChannelKind::Sharded, None, found)),
            b"pmessage" => next().and_then(|pattern| {
                next().zip(next()).map(|found| message(ChannelKind::Pattern, Some(pattern), found))
            }),
            b"subscribe" => next().map(|name| confirmed(ChannelKind::Exact, name, true)),
            b"unsubscribe" => next().map(|name| confirmed(ChannelKind::Exact, name, false)),
            b"psubscribe" => next().map(|name| confirmed(ChannelKind::Pattern, name, true)),
            b"punsubscribe" => next().map(|name| confirmed(ChannelKind::Pattern, name, false)),
            b"ssubscribe" => next().map(|name| confirmed(ChannelKind::Sharded, name, true)),
            b"sunsubscribe" => next().map(|name| confirmed(ChannelKind::Sharded, name, false)),
            b"pong" => Some(Self::Pong),
            _ => None,
        };
        heard.unwrap_or(Self::Unknown)
    }
}

fn message(kind: ChannelKind, pattern: Option<Bytes>, (channel, payload): (Bytes, Bytes)) -> Received {
    Received::Message(kind, ChannelMessage { channel, pattern, payload })
}

fn confirmed(kind: ChannelKind, name: Bytes, on: bool) -> Received {
    Received::Confirmed(Channel { kind, name }, on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulks(words: &[&'static str]) -> Vec<Reply> {
        words.iter().map(|word| Reply::Bulk(Bytes::from_static(word.as_bytes()))).collect()
    }

    #[test]
    fn messages_are_the_same_in_both_protocols() {
        for reply in [Reply::Push(bulks(&["message", "a", "x"])), Reply::Array(bulks(&["message", "a", "x"]))] {
            let Received::Message(ChannelKind::Exact, message) = Received::of(reply) else { panic!("no message") };
            assert_eq!((&message.channel[..], &message.payload[..]), (&b"a"[..], &b"x"[..]));
        }
        let pattern = Received::of(Reply::Push(bulks(&["pmessage", "a*", "ab", "x"])));
        assert!(
            matches!(pattern, Received::Message(ChannelKind::Pattern, message) if message.pattern.as_deref() == Some(b"a*"))
        );
    }

    #[test]
    fn the_channel_of_a_discarded_message_is_known() {
        for (words, kind) in [
            (&["message", "a"][..], ChannelKind::Exact),
            (&["smessage", "a"], ChannelKind::Sharded),
            (&["pmessage", "a", "ab"], ChannelKind::Pattern),
        ] {
            assert_eq!(Received::channel_of(&bulks(words)), Some(Channel { kind, name: "a".into() }));
        }
        for words in [&[][..], &["message"], &["subscribe", "a"]] {
            assert_eq!(Received::channel_of(&bulks(words)), None);
        }
    }

    #[test]
    fn an_unexpected_reply_is_unknown_and_no_panic() {
        for words in [&[][..], &["message"], &["message", "a"], &["invalidate", "k"], &["pmessage", "a", "b"]] {
            assert!(matches!(Received::of(Reply::Push(bulks(words))), Received::Unknown), "{words:?}");
        }
        assert!(matches!(Received::of(Reply::Int(1)), Received::Unknown));
    }
}
