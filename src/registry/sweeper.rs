//! Doing what is due: with the heartbeats of a process that has workers, by itself in one that only watches, and for who asks.
//! Any process may; each crash is declared by one of them.

use std::sync::Arc;

use super::Inner;
use super::Registry;
use super::scripts;
use super::worker::{Row, strange};
use crate::connection::{Packed, Sink};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::Result;
use crate::resp::Reply;

/// Of each kind in one call.
const BATCH: u64 = 200;
/// A call whose answer was lost is repeated well within this.
const HANDED_OUT_MS: u64 = 60_000;

/// Does all that is due.
pub(super) async fn sweep(inner: &Arc<Inner>) -> Result<()> {
    loop {
        let packed = inner.begin(&scripts::SWEEP, &[], 1, 8).number(BATCH);
        let Reply::Array(parts) = inner.ask(&scripts::SWEEP, packed).await? else { return Err(strange()) };
        let [Reply::Int(now), Reply::Int(more)] = parts[..] else { return Err(strange()) };
        inner.sight.heard(now as f64);
        if more == 0 {
            return Ok(());
        }
    }
}

/// Gives the crashes that nobody was handed yet.
pub(super) fn reap(registry: &Registry, _args: &[Arg<'_>], answer: Answer) {
    registry.run(answer, |inner| {
        Ok(async move {
            let mut workers = Vec::new();
            loop {
                let token = uuid::Uuid::new_v4().simple().to_string();
                let packed =
                    inner.begin(&scripts::REAP, &[], 3, 64).word(token.as_bytes()).number(BATCH).number(HANDED_OUT_MS);
                let Reply::Array(parts) = inner.ask(&scripts::REAP, packed).await? else { return Err(strange()) };
                let [Reply::Int(now), Reply::Int(more), Reply::Array(rows)] = &parts[..] else {
                    return Err(strange());
                };
                for row in rows {
                    workers.push(Row::parse(row)?.json(*now as f64));
                }
                if !rows.is_empty() {
                    forget(&inner, &token);
                }
                if *more == 0 {
                    break;
                }
            }
            Ok(Outcome::Json(format!("[{}]", workers.join(",")).into()))
        })
    });
}

/// What was handed out has arrived.
fn forget(inner: &Inner, token: &str) {
    let packed = Packed::sized(128).begin(2, b"UNLINK").word(&inner.keys.reaped(token));
    inner.manager.submit(packed.writes(scripts::REAP.operation), Sink::Ignored);
}
