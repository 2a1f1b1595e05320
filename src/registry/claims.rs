//! Claims: one slot of a worker, for a limited time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::call::millis;
use super::register::{capabilities, label};
use super::scripts;
use super::worker::bool_reply;
use super::{Inner, Registry};
use crate::arguments::Arguments;
use crate::connection::{Cursor, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::verb::Call;

/// A loaded machine cannot renew a shorter lease in time.
const LEAST_LEASE_MS: f64 = 10.0;
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// How often a claim is tried again because the record of the chosen worker is damaged.
const DAMAGED_ATTEMPTS: u32 = 100;

fn claim_id<'a>(args: &Arguments<'a>) -> Result<&'a [u8]> {
    args.text(0, "claim")
}

fn lease(args: &Arguments<'_>, place: usize) -> Result<u64> {
    Ok(millis(args.millis(place, "leaseMs", LEAST_LEASE_MS)?.unwrap_or(DEFAULT_LEASE)))
}

/// Arguments: leaseMs, type, capabilities… Returns the claim, or null.
pub(super) fn claim(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let lease = lease(call, 0)?;
        let mut labels = capabilities(call, 2)?;
        match call.at(1) {
            Arg::Absent => {}
            given => labels.push(label(call, "type", 't', given)?),
        }
        let claim = uuid::Uuid::new_v4().simple().to_string();
        let first = attempt(&inner, &claim, lease, &labels, b"");
        Ok(async move {
            let mut outcome = first.await;
            for _ in 0..DAMAGED_ATTEMPTS {
                if !matches!(outcome, Ok(Attempt::Damaged)) {
                    break;
                }
                outcome = attempt(&inner, &claim, lease, &labels, b"").await;
            }
            if let Ok(Attempt::Search(smallest)) = outcome {
                outcome = search(&inner, &claim, lease, labels, smallest).await;
            }
            match outcome {
                Ok(Attempt::Claimed(token, worker)) => Ok(Outcome::Json(
                    format!(r#"{{"claim":{},"token":{token},"worker":{worker}}}"#, Value::from(claim)).into(),
                )),
                Ok(_) => Ok(Outcome::Null),
                Err(error) => {
                    // The claim may exist on the server, and no caller will use it.
                    inner.submit(&scripts::RELEASE, release_call(&inner, claim.as_bytes()));
                    Err(error)
                }
            }
        })
    });
}

enum Attempt {
    /// The token, and the worker as JSON.
    Claimed(String, String),
    /// The record of the chosen worker is damaged. The worker has been removed, and the claim with it.
    Damaged,
    None,
    /// The place of the smallest index. Its first workers are not in the other indices.
    Search(usize),
}

fn attempt(
    inner: &Arc<Inner>,
    claim: &str,
    lease: u64,
    labels: &[String],
    wanted: &[u8],
) -> impl Future<Output = Result<Attempt>> + Send + use<> {
    let bytes = labels.iter().map(|label| label.len() + 8).sum::<usize>();
    let mut packed = inner
        .begin(&scripts::CLAIM, &inner.indices(labels), 3 + labels.len(), claim.len() + wanted.len() + bytes + 32)
        .word(claim.as_bytes())
        .number(lease)
        .word(wanted);
    for label in labels {
        packed = packed.word(label.as_bytes());
    }
    let reply = inner.call(&scripts::CLAIM, packed);
    let inner = Arc::clone(inner);
    async move {
        let Reply::Array(parts) = reply.await? else { return Err(Error::unexpected_reply()) };
        match &parts[..] {
            [Reply::Bulk(word), Reply::Bulk(token), Reply::Int(now), row] if &word[..] == b"claimed" => {
                let token = String::from_utf8_lossy(token).into_owned();
                inner.note_server_time(*now as f64);
                let row = inner.row(row).await?;
                Ok(row.map_or(Attempt::Damaged, |row| Attempt::Claimed(token, row.json(*now as f64))))
            }
            [Reply::Bulk(word)] if &word[..] == b"none" => Ok(Attempt::None),
            [Reply::Bulk(word), Reply::Int(smallest)] if &word[..] == b"search" => {
                usize::try_from(*smallest - 1).map(Attempt::Search).map_err(|_| Error::unexpected_reply())
            }
            _ => Err(Error::unexpected_reply()),
        }
    }
}

/// Walks the whole smallest index, in short steps, and claims the best worker that is in every index.
async fn search(
    inner: &Arc<Inner>,
    claim: &str,
    lease: u64,
    mut labels: Vec<String>,
    smallest: usize,
) -> Result<Attempt> {
    if smallest < labels.len() {
        labels.swap(0, smallest);
    }
    let keys = inner.indices(&labels);
    let limit = inner.manager.config().command_timeout;
    let gives_up = Instant::now() + limit;
    while Instant::now() < gives_up {
        let Some(best) = best(inner, &keys).await? else { return Ok(Attempt::None) };
        // The worker's last slot may have been claimed meanwhile; then the search starts again.
        if let Attempt::Claimed(token, worker) = attempt(inner, claim, lease, &labels, &best).await? {
            return Ok(Attempt::Claimed(token, worker));
        }
    }
    Err(Error::new(
        ErrorKind::Timeout,
        format!("WorkerRegistry.claim: every worker that was found was claimed by others for {} ms", limit.as_millis()),
    ))
}

impl Inner {
    fn indices(&self, labels: &[String]) -> Vec<Bytes> {
        labels.iter().map(|label| self.keys.having(label)).collect()
    }
}

async fn best(inner: &Arc<Inner>, keys: &[Bytes]) -> Result<Option<Bytes>> {
    let mut best: Option<(f64, Bytes)> = None;
    let mut cursor = Cursor::default();
    loop {
        let packed = inner.begin(&scripts::SEARCH, keys, 1, 32).word(cursor.word());
        let (Reply::Array(parts), origin) = inner.call_located(&scripts::SEARCH, packed).await? else {
            return Err(Error::unexpected_reply());
        };
        let Some(Reply::Bulk(next)) = parts.first() else { return Err(Error::unexpected_reply()) };
        if let [_, Reply::Bulk(score), Reply::Bulk(id)] = &parts[..] {
            let score: f64 = String::from_utf8_lossy(score).parse().map_err(|_| Error::unexpected_reply())?;
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, id.clone()));
            }
        }
        if !cursor.advance(origin, next.clone()) {
            return Ok(best.map(|(_, id)| id));
        }
    }
}

/// Arguments: claim, leaseMs. Returns false if the claim had lapsed, or its worker is gone.
pub(super) fn renew(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let packed = inner.begin(&scripts::RENEW, &[], 2, 64).word(claim_id(call)?).number(lease(call, 1)?);
        let reply = inner.call(&scripts::RENEW, packed);
        Ok(async move { Ok(Outcome::Bool(bool_reply(&reply.await?)?)) })
    });
}

/// Argument: claim. Returns false if the claim was no longer held.
pub(super) fn release(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let reply = inner.call(&scripts::RELEASE, release_call(&inner, claim_id(call)?));
        Ok(async move { Ok(Outcome::Bool(bool_reply(&reply.await?)?)) })
    });
}

fn release_call(inner: &Inner, claim: &[u8]) -> Packed {
    inner.begin(&scripts::RELEASE, &[], 1, 64).word(claim)
}
