//! A walk over all sessions of a store, a page at a time. It costs as much as a `SCAN` of the whole database.

use super::Sessions;
use crate::connection::{ScanOptions, Walk};
use crate::crossing::{Arg, Outcome};
use crate::error::Error;
use crate::verb::Call;

/// How many keys the server looks at in one batch.
const BATCH: u64 = 512;

/// Argument: the cursor of the walk, absent at the start. Returns the next cursor, or null at the end, and ids.
pub(super) fn page(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let walk = match call.at(0) {
            Arg::Absent => Walk::default(),
            Arg::Text(written) => Walk::read(written.as_bytes()).ok_or_else(Error::unexpected_reply)?,
            other => return Err(call.wrong("cursor", "what the call before gave", other)),
        };
        let look = ScanOptions { pattern: sessions.namespace.sessions(), count: BATCH, operation: call.operation() };
        Ok(async move {
            let page = sessions.manager.walk(walk, &look).await?;
            let ids = page.keys.iter().filter_map(|full| {
                let id = sessions.namespace.session_id(full).filter(|id| std::str::from_utf8(id).is_ok())?;
                Some(Outcome::Text(full.slice_ref(id)))
            });
            let next = page.next.map_or(Outcome::Null, |walk| Outcome::Text(walk.write().into()));
            Ok(Outcome::List(vec![next, Outcome::List(ids.collect())]))
        })
    });
}
