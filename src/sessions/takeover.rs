//! Takes sessions over from another store. The other store has each session as JSON in a string with its own key.
//!
//! The other key stays unchanged until it expires, so that processes with the other store still find it. A session that was destroyed
//! in this store, or was taken over before, is not taken over again.

use super::calls::{Creation, name};
use super::{Sessions, record};
use crate::connection::Packed;
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::verb::Call;

/// For how long a takeover is remembered: this many times the span of the session.
const SPANS: u64 = 2;

/// The session's key in the other store.
fn other<'a>(call: &Call<'a>, id: &'a [u8], prefix: usize) -> Result<Vec<u8>> {
    Ok([call.text(prefix, "importFrom")?, id].concat())
}

/// Arguments: id, prefix of the other store. Returns the outcome as `create` does; null where the other store has no such session.
pub(super) fn take_over(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let id = name(call, 0, "sid")?.to_vec();
        let (key, operation) = (other(call, &id, 1)?, call.operation());
        Ok(async move {
            let size = key.len() + 64;
            let read = Packed::sized(size).begin(2, b"GET").word(&key).reads(operation);
            let json = match sessions.ask(read, false).await? {
                Reply::Bulk(json) => json,
                Reply::Nil => return Ok(Outcome::Null),
                _ => return Err(Error::unexpected_reply()),
            };
            // The session keeps its remaining time.
            let left = Packed::sized(size).begin(2, b"PTTL").word(&key).reads(operation);
            let ttl = match sessions.ask(left, false).await? {
                Reply::Int(ms) if ms > 0 => u64::try_from(ms).unwrap_or(sessions.settings.ttl),
                Reply::Int(-1) => sessions.settings.ttl,
                Reply::Int(_) => return Ok(Outcome::Null),
                _ => return Err(Error::unexpected_reply()),
            };
            let longest = ttl.max(sessions.settings.ttl).max(sessions.settings.absolute.unwrap_or(0));
            let taking = Some(longest.saturating_mul(SPANS));
            let creation = Creation { id: &id, json: &json, ttl, user: b"", taking };
            sessions.run(creation.command(&sessions, operation), record::written).await
        })
    });
}

/// Arguments: id, prefix of the other store. Deletes the session in the other store.
pub(super) fn forget(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let id = name(call, 0, "sid")?;
        let key = other(call, id, 1)?;
        let delete = Packed::sized(key.len()).begin(2, b"DEL").word(&key).reads(call.operation());
        Ok(async move { sessions.ask(delete, true).await.map(|_| Outcome::Nothing) })
    });
}
