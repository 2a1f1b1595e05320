//! The scripts of `lua/`, their operations, and readers of replies.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::connection::{Script, scripts};
use crate::resp::Reply;
use crate::telemetry::Operation;

scripts! {
    AUDIT = "field.lua" "group.lua" "remove_foreign_keys.lua" "audit.lua";
    GROUPS = "field.lua" "groups.lua";
    JOIN = "field.lua" "group.lua" "remove_foreign_keys.lua" "join.lua";
    LEAVE = "field.lua" "group.lua" "leave.lua";
    PUBLISH = "count_appended.lua" "publish.lua";
    PURGE = "purge.lua";
    REDRIVE = "count_appended.lua" "redrive.lua";
    REMOVE = "field.lua" "group.lua" "remove.lua";
    POLL = "field.lua" "group.lua" "poll.lua";
    MAINTAIN = "field.lua" "group.lua" "remove_foreign_keys.lua" "maintain.lua";
    TRIM = "field.lua" "trim.lua";
}

/// Operations that belong to no verb.
pub(super) mod operation {
    use super::{LazyLock, Operation};

    pub(in crate::bus::durable) static AUDIT: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.audit"));
    pub(in crate::bus::durable) static JOIN: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.join"));
    pub(in crate::bus::durable) static LEAVE: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.leave"));
    pub(in crate::bus::durable) static LOAD: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.load"));
    pub(in crate::bus::durable) static PUBLISH: LazyLock<Operation> =
        LazyLock::new(|| Operation::named("bus.publishDurable"));
    pub(in crate::bus::durable) static POLL: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.step"));
    pub(in crate::bus::durable) static MAINTAIN: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.tend"));
    pub(in crate::bus::durable) static TRIM: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.trim"));
}

/// The most bytes of an error that are stored with a message.
const MAX_ERROR: usize = 1024;

/// The start of `text`, cut between characters.
pub(super) fn shortened(text: &[u8]) -> Bytes {
    let mut end = text.len().min(MAX_ERROR);
    while end < text.len() && end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    Bytes::copy_from_slice(&text[..end])
}

/// The start of `text`, with replacement characters where it is not UTF-8. Other programs may have written the text.
pub(super) fn readable(text: &[u8]) -> Bytes {
    let text = shortened(text);
    match String::from_utf8_lossy(&text) {
        Cow::Borrowed(_) => text.clone(),
        Cow::Owned(text) => text.into(),
    }
}

/// The text of a string in a reply.
pub(super) fn bulk(reply: Reply) -> Option<Bytes> {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => Some(bytes),
        _ => None,
    }
}

/// The id of a stream entry: digits and a hyphen.
pub(super) fn entry_id(reply: Reply) -> Option<Bytes> {
    bulk(reply).filter(|id| id.is_ascii())
}

/// A number in decimal.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
