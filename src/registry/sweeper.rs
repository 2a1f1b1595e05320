//! Sweeping: nearly every script of the registry declares a few workers late or crashed. A process that has workers also sweeps
//! with its heartbeats, a process that only watches sweeps by itself, and `reap` sweeps at once. One of them declares each crash.

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

/// Workers and claims of one call, so that the call delays the server by a few milliseconds only.
const BATCH: u64 = 50;
/// How long a batch of crashes can be asked for again.
const HANDED_OUT_MS: u64 = 3_600_000;

/// What failed calls of `reap` have left to the next call.
#[derive(Debug, Default)]
pub(super) struct ReapBacklog(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    /// Tokens of batches that may have been handed out and whose answer was lost.
    tokens: Vec<String>,
    /// Workers as JSON, of batches that arrived before another batch failed.
    workers: Vec<String>,
}

impl ReapBacklog {
    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock()
    }
}

/// Sweeps until nothing is due.
pub(super) async fn sweep(inner: &Arc<Inner>) -> Result<()> {
    loop {
        let packed = inner.begin(&scripts::SWEEP, &[], 1, 8).number(BATCH);
        let Reply::Array(parts) = inner.call(&scripts::SWEEP, packed).await? else {
            return Err(Error::unexpected_reply());
        };
        let [Reply::Int(now), Reply::Int(more)] = parts[..] else { return Err(Error::unexpected_reply()) };
        inner.note_server_time(now as f64);
        if more == 0 {
            return Ok(());
        }
    }
}

/// Returns the crashes that no caller has got yet, and those that a failed call of this registry should have returned.
pub(super) fn reap(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|_| {
        Ok(async move {
            let mut batches = std::mem::take(&mut *inner.reap_backlog.lock());
            let read = read_all(&inner, &mut batches).await;
            if let Err(error) = read {
                let mut backlog = inner.reap_backlog.lock();
                backlog.tokens.append(&mut batches.tokens);
                backlog.workers.append(&mut batches.workers);
                return Err(error);
            }
            Ok(Outcome::Json(format!("[{}]", batches.workers.join(",")).into()))
        })
    });
}

/// The token of a batch stays in the list until its answer has come.
async fn read_all(inner: &Arc<Inner>, batches: &mut Batches) -> Result<()> {
    loop {
        let token = batches.tokens.last().cloned().unwrap_or_else(|| {
            let token = uuid::Uuid::new_v4().simple().to_string();
            batches.tokens.push(token.clone());
            token
        });
        let packed = inner.begin(&scripts::REAP, &[], 3, 64).word(token.as_bytes()).number(BATCH).number(HANDED_OUT_MS);
        let reply = inner.call(&scripts::REAP, packed).await?;
        batches.tokens.pop();
        let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
        let [Reply::Int(now), Reply::Int(more), Reply::Array(rows)] = &parts[..] else {
            return Err(Error::unexpected_reply());
        };
        inner.note_server_time(*now as f64);
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

/// Deletes the record of a batch that has arrived.
fn forget(inner: &Inner, token: &str) {
    let packed = Packed::sized(128).begin(2, b"UNLINK").word(&inner.keys.reaped(token));
    inner.manager.submit(packed.writes(scripts::REAP.operation), Sink::Ignored);
}
