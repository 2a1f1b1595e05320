//! The scripts of `lua/`, what is measured of them, and what replies are made of.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::connection::{Script, scripts};
use crate::resp::Reply;
use crate::telemetry::Operation;

scripts! {
    AUDIT = "field.lua" "group.lua" "mend.lua" "audit.lua";
    GROUPS = "field.lua" "groups.lua";
    JOIN = "field.lua" "group.lua" "mend.lua" "join.lua";
    LEAVE = "field.lua" "group.lua" "leave.lua";
    PUBLISH = "grow.lua" "publish.lua";
    PURGE = "purge.lua";
    REDRIVE = "grow.lua" "redrive.lua";
    REMOVE = "field.lua" "group.lua" "remove.lua";
    STEP = "field.lua" "group.lua" "step.lua";
    TEND = "field.lua" "group.lua" "mend.lua" "tend.lua";
    TRIM = "field.lua" "trim.lua";
}

/// What is measured of what no verb does by itself.
pub(super) mod operation {
    use super::{LazyLock, Operation};

    pub(in crate::bus::durable) static AUDIT: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.audit"));
    pub(in crate::bus::durable) static JOIN: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.join"));
    pub(in crate::bus::durable) static LEAVE: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.leave"));
    pub(in crate::bus::durable) static LOAD: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.load"));
    pub(in crate::bus::durable) static PUBLISH: LazyLock<Operation> =
        LazyLock::new(|| Operation::named("bus.publishDurable"));
    pub(in crate::bus::durable) static STEP: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.step"));
    pub(in crate::bus::durable) static TEND: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.tend"));
    pub(in crate::bus::durable) static TRIM: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.trim"));
}

/// The most bytes of an error that are kept with a message.
const MAX_ERROR: usize = 1024;

/// As much of `text` as is kept, cut between characters.
pub(super) fn shortened(text: &[u8]) -> Bytes {
    let mut end = text.len().min(MAX_ERROR);
    while end < text.len() && end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    Bytes::copy_from_slice(&text[..end])
}

/// What anyone may have written, as text: cut, and with replacement characters for what is no UTF-8.
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

/// The id of an entry of a stream: digits and a hyphen, or the server is none.
pub(super) fn entry_id(reply: Reply) -> Option<Bytes> {
    bulk(reply).filter(|id| id.is_ascii())
}

/// A number that stands in a text.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
