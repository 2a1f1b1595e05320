//! The keys of sessions.

use bytes::Bytes;

use super::parts::{join, parts};
use super::{Namespace, fnv};

parts! {
    /// The first `KEYS` of a script of one session, in this order (`src/sessions/lua/part/session.lua`).
    Part {
        Data = "data:",
        Messages = "messages:",
        Gone = "gone:",
        Taken = "taken:",
    }
}

/// The keys of one session, all of one hash slot.
///
/// | last part | Redis type | what |
/// |---|---|---|
/// | `data:<id>` | hash | the session: JSON, version, times, user; expires |
/// | `messages:<id>` | list | the messages, newest first; expires with the session |
/// | `gone:<id>` | string | the session was destroyed: by which call, and whose session it was; expires |
/// | `taken:<id>` | string | the session was taken over from another store, which is done once; expires |
///
/// Sessions have [`SHARES`] shares by their id. All keys of a share are in one slot, so that one script can change the id of a session.
#[derive(Clone, Debug)]
pub struct SessionKeys([Bytes; 4]);

/// Over how many slots of a cluster the sessions are spread.
pub const SHARES: u32 = 256;

/// The share of a session. A change of the last character alone changes it.
#[must_use]
pub fn share_of(id: &[u8]) -> u32 {
    fnv(id) % SHARES
}

impl SessionKeys {
    pub(super) fn of(namespace: &Namespace, id: &[u8]) -> Self {
        let start = namespace.with(&[b"~session:{", namespace.in_tag(), share_of(id).to_string().as_bytes(), b"}:"]);
        Self([Part::Data, Part::Messages, Part::Gone, Part::Taken].map(|part| join(&start, part.text(), id)))
    }

    /// The first `KEYS` of every script of a session: all of [`Part`].
    #[must_use]
    pub fn all(&self) -> &[Bytes] {
        &self.0
    }
}

/// The id of the session whose data has the key `full`; `None` where `full` is no such key of this namespace.
pub(super) fn id_of<'a>(namespace: &Namespace, full: &'a [u8]) -> Option<&'a [u8]> {
    let rest = full.strip_prefix(&namespace.0[..])?.strip_prefix(b"~session:{")?;
    let tagged = rest.strip_prefix(namespace.in_tag())?;
    let close = tagged.iter().position(|byte| *byte == b'}')?;
    let id = tagged.get(close + 2..)?.strip_prefix(Part::Data.text().as_bytes())?;
    let is_own = tagged[..close] == *share_of(id).to_string().as_bytes();
    is_own.then_some(id)
}
