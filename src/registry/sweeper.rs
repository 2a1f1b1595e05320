//! Doing what is due: with the heartbeats of a process that has workers, by itself in one that only watches, and for who asks.
//! Any process may; each crash is declared by one of them.

use std::sync::Arc;

use super::Inner;
use super::Registry;
use super::scripts;
use crate::connection::{Packed, Sink};
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// In one call, so that it holds the server up for a few milliseconds.
const BATCH: u64 = 50;
/// For how long what was handed out can be asked for again.
const HANDED_OUT_MS: u64 = 3_600_000;

/// What calls of `reap` that failed have left to the next one.
#[derive(Debug, Default)]
pub(super) struct Unread(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// Of batches that may have been handed out, and whose answer was lost.
    tokens: Vec<String>,
    /// As JSON, of batches that arrived before one did not.
    workers: Vec<String>,
}

impl Unread {
    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock()
    }
}

/// Does all that is due.
pub(super) async fn sweep(inner: &Arc<Inner>) -> Result<()> {
    loop {
        let packed = inner.begin(&scripts::SWEEP, &[], 1, 8).number(BATCH);
        let Reply::Array(parts) = inner.ask(&scripts::SWEEP, packed).await? else {
            return Err(Error::unexpected_reply());
        };
        let [Reply::Int(now), Reply::Int(more)] = parts[..] else { return Err(Error::unexpected_reply()) };
        inner.heard(now as f64);
        if more == 0 {
            return Ok(());
        }
    }
}

/// Gives the crashes that nobody was handed yet, and those of which an earlier call of this registry failed to tell.
pub(super) fn reap(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|_| {
        Ok(async move {
            let mut batches = std::mem::take(&mut *inner.unread.lock());
            let read = read_all(&inner, &mut batches).await;
            if let Err(error) = read {
                let mut unread = inner.unread.lock();
                unread.tokens.append(&mut batches.tokens);
                unread.workers.append(&mut batches.workers);
                return Err(error);
            }
            Ok(Outcome::Json(format!("[{}]", batches.workers.join(",")).into()))
        })
    });
}

/// A batch stays among the tokens until its answer has come.
async fn read_all(inner: &Arc<Inner>, batches: &mut Batches) -> Result<()> {
    loop {
        let token = batches.tokens.last().cloned().unwrap_or_else(|| {
            let token = uuid::Uuid::new_v4().simple().to_string();
            batches.tokens.push(token.clone());
            token
        });
        let packed = inner.begin(&scripts::REAP, &[], 3, 64).word(token.as_bytes()).number(BATCH).number(HANDED_OUT_MS);
        let reply = inner.ask(&scripts::REAP, packed).await?;
        batches.tokens.pop();
        let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
        let [Reply::Int(now), Reply::Int(more), Reply::Array(rows)] = &parts[..] else {
            return Err(Error::unexpected_reply());
        };
        inner.heard(*now as f64);
        for row in rows {
            if let Some(row) = inner.row(row).await? {
                batches.workers.push(row.json(*now as f64));
            }
        }
        if !rows.is_empty() {
            forget(inner, &token);
        }
        if *more == 0 && batches.tokens.is_empty() {
            return Ok(());
        }
    }
}

/// What was handed out has arrived.
fn forget(inner: &Inner, token: &str) {
    let packed = Packed::sized(128).begin(2, b"UNLINK").word(&inner.keys.reaped(token));
    inner.manager.submit(packed.writes(scripts::REAP.operation), Sink::Ignored);
}
