//! The keys of sessions.

use bytes::Bytes;

use super::parts::{join, parts};
use super::{Namespace, fnv};

parts! {
    /// What a script of one session is given as its first `KEYS`, in this order (`src/sessions/lua/part/session.lua`).
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
/// | `messages:<id>` | list | its messages, newest first; expires with the session |
/// | `gone:<id>` | string | the session was destroyed: by which call, and whose it was; expires |
/// | `taken:<id>` | string | it was taken over from another store, which is done once; expires |
///
/// Sessions are of [`SHARES`] shares by their id, and those of a share are of one slot: so a session can change its id in one script.
#[derive(Clone, Debug)]
pub struct SessionKeys([Bytes; 4]);

/// How many slots of a cluster sessions are spread over.
pub const SHARES: u32 = 256;

/// The share of a session. Its last character alone makes a difference.
#[must_use]
pub fn share_of(id: &[u8]) -> u32 {
    fnv(id) % SHARES
}

impl SessionKeys {
    pub(super) fn of(namespace: &Namespace, id: &[u8]) -> Self {
        let start = namespace.with(&[b"~session:{", namespace.in_tag(), share_of(id).to_string().as_bytes(), b"}:"]);
        Self([Part::Data, Part::Messages, Part::Gone, Part::Taken].map(|part| join(&start, part.text(), id)))
    }

    /// What every script of a session is given as its first `KEYS`: all of [`Part`].
    #[must_use]
    pub fn all(&self) -> &[Bytes] {
        &self.0
    }
}

/// The id of the session whose data `full` is, if it is that of one in this namespace.
pub(super) fn id_of<'a>(namespace: &Namespace, full: &'a [u8]) -> Option<&'a [u8]> {
    let rest = full.strip_prefix(&namespace.0[..])?.strip_prefix(b"~session:{")?;
    let tagged = rest.strip_prefix(namespace.in_tag())?;
    let close = tagged.iter().position(|byte| *byte == b'}')?;
    let id = tagged.get(close + 2..)?.strip_prefix(Part::Data.text().as_bytes())?;
    let is_own = tagged[..close] == *share_of(id).to_string().as_bytes();
    is_own.then_some(id)
}
