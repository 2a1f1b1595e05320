//! `getOrSet`: one caller at a time loads a value, across processes. Meanwhile the other callers get a stale value or wait.
//!
//! The loading caller holds a token with a short lease, which is renewed while the load runs. So another process soon takes over
//! from a process that died, but not from a slow one. Waiting callers ask again with jittered backoff. A load that takes too long
//! loses the token.
//!
//! # Writes end a load
//!
//! A loaded value is stored only if the key was not written since the load started. The mark of the load says what was at the key
//! then. Each renewal, and the script that stores the value, compare this with the present state of the key. So a write is
//! noticed if its effect lasts longer than the time between two renewals, and it costs nothing. A write after which the key may
//! be absent sooner deletes the mark itself: a deletion, or a write with an expiry below [`LEASE`] ([`Kv::mark_of`]).

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;

use super::lock::LEAST_PATIENCE;
use super::{Kv, decode, held, scripts};
use crate::backoff::Backoff;
use crate::connection::{Command, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::hash_tag;
use crate::lease::{Ask, Held, Limit, millis};
use crate::telemetry::Operation;
use crate::verb::Call;

/// How long other callers wait for a loader that died. Two renewals of one load are never further apart.
const LEASE: Duration = Duration::from_secs(3);
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(250) };

/// True if a key that is written with this expiry, in milliseconds, may be absent again before a load notices the write.
pub(super) fn is_brief(ttl: Option<u64>) -> bool {
    ttl.is_some_and(|ttl| ttl < millis(LEASE))
}

impl Kv {
    /// The key of the mark of a load of `key`. `None` if the key cannot be loaded: in a cluster all keys of a script must be in
    /// one slot, and for a key with unpaired braces no other key can be put into the same slot.
    pub(super) fn mark_of(&self, key: &[u8]) -> Option<Bytes> {
        let mark = self.namespace.loader(key);
        let apart = self.is_on_cluster() && hash_tag(&mark) != hash_tag(&self.namespace.key(key));
        (!apart).then_some(mark)
    }
}

/// Arguments: key, staleSec, the token of a load in this process or absent, waitMs. Gives `[whether the value is fresh, value]`.
/// If there is no value, gives true if the value of that load would still be stored, else null.
pub(super) fn peek(kv: &Kv, call: Call<'_>) {
    let pack = |call: &Call<'_>| -> Result<Command> {
        let (key, stale) = (call.key(0)?, call.seconds(1, "staleSec")?);
        let packed = Packed::sized(2 * (kv.namespace.prefix().len() + key.len()) + 160);
        let packed = match call.at(2) {
            Arg::Absent => packed.script(&scripts::PEEK, 1, 1).key(&kv.namespace, key).number(stale),
            _ => packed
                .script(&scripts::PEEK, 2, 2)
                .key(&kv.namespace, key)
                .word(&kv.namespace.loader(key))
                .number(stale)
                .word(call.text(2, "token")?),
        };
        Ok(packed.runs_repeatable(call.operation(), &scripts::PEEK))
    };
    let wait = match call.millis(3, "waitMs", 0.0) {
        Ok(wait) => wait.unwrap_or(DEFAULT_WAIT),
        Err(error) => return call.give(Err(error)),
    };
    let patience = patience(wait, wait);
    if patience >= kv.manager.config().command_timeout {
        // The command timeout ends the wait earlier.
        return call.send(&kv.manager, decode::peeked, pack);
    }
    let kv = kv.clone();
    call.run(|call| {
        let command = pack(call)?;
        Ok(async move {
            let reply = timeout(patience, kv.manager.call(command)).await.unwrap_or_else(|_| Err(unanswered(wait)))?;
            decode::peeked(reply, kv.manager.metrics())
        })
    });
}

/// How long to wait for an answer when `left` of `wait` is left. For a caller with `wait` 0 only the command timeout applies.
fn patience(wait: Duration, left: Duration) -> Duration {
    if wait.is_zero() { Duration::MAX } else { left.max(LEAST_PATIENCE) }
}

fn unanswered(wait: Duration) -> Error {
    let message = format!("KVStore.getOrSet: the server gave no answer within waitMs, {} ms", wait.as_millis());
    Error::new(ErrorKind::Timeout, message).with_delivery(Delivery::MaybeExecuted)
}

/// Arguments: id, key, staleSec, loadTimeoutMs, whether to wait for another caller's load, waitMs, how much of waitMs is left.
/// Gives `[true, token]` if this caller is to load, `[false, value]` if there is a value, `[false]` if another caller loads and
/// this one does not wait.
pub(super) fn load(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let (id, key, stale) = (call.id(0)?, call.key(1)?, call.seconds(2, "staleSec")?);
        let longest = call.millis(3, "loadTimeoutMs", 1.0)?.unwrap_or(DEFAULT_WAIT);
        let waits = call.at(4) == Arg::Bool(true);
        let wait = call.millis(5, "waitMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let left = call.millis(6, "waitMs", 0.0)?.unwrap_or(wait);
        let value_key = kv.namespace.key(key);
        let held = Held {
            manager: kv.manager.clone(),
            scripts: &held::LOAD,
            key: kv.namespace.loader(key),
            beside: vec![value_key.clone()],
            token: kv.leases.token(id),
        };
        let operation = call.operation();
        Ok(async move {
            let gives_up = Instant::now() + left;
            let mut attempt = 0;
            loop {
                let sent = Instant::now();
                let patience = patience(wait, gives_up.saturating_duration_since(sent));
                let answer = timeout(patience, ask(operation, &held, &value_key, stale)).await;
                match answer.unwrap_or_else(|_| Err(unanswered(wait))) {
                    Ok(LoadAnswer::Load) => {
                        let token = Bytes::from(held.token.clone());
                        kv.leases.keep(id, held, sent, LEASE, Limit::GiveUp(longest));
                        return Ok(Outcome::List(vec![Outcome::Bool(true), Outcome::Text(token)]));
                    }
                    Ok(LoadAnswer::Value(value)) => return Ok(Outcome::List(vec![Outcome::Bool(false), value])),
                    Ok(LoadAnswer::Wait) if !waits => return Ok(Outcome::List(vec![Outcome::Bool(false)])),
                    Ok(LoadAnswer::Wait) => {}
                    Err(error) => {
                        // The server may have set the token, and no load will run under it.
                        held.abandon();
                        return Err(error);
                    }
                }
                let now = Instant::now();
                if now >= gives_up {
                    return Err(too_long(wait));
                }
                tokio::time::sleep(BACKOFF.delay(attempt).min(gives_up - now)).await;
                attempt = attempt.saturating_add(1);
            }
        })
    });
}

fn too_long(wait: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("KVStore.getOrSet: another caller loads for longer than waitMs, {} ms", wait.as_millis()),
    )
    .with_delivery(Delivery::Rejected)
}

enum LoadAnswer {
    Load,
    Value(Outcome),
    Wait,
}

async fn ask(operation: Operation, held: &Held, value_key: &[u8], stale: u64) -> Result<LoadAnswer> {
    let packed = Packed::sized(held.key.len() + value_key.len() + 128)
        .script(&scripts::LOAD, 2, 3)
        .word(value_key)
        .word(&held.key)
        .word(held.token.as_bytes())
        .number(millis(LEASE))
        .number(stale);
    let reply = held.manager.call(packed.runs(operation, &scripts::LOAD)).await?;
    let (word, value) = decode::tagged(reply)?;
    match &word[..] {
        b"load" => Ok(LoadAnswer::Load),
        b"wait" => Ok(LoadAnswer::Wait),
        _ => decode::raw(value).map(LoadAnswer::Value),
    }
}

/// Arguments: id, key, JSON, ttlSec, staleSec. Stores the loaded value. False if a write ended the load or the load took too long;
/// nothing is stored then.
pub(super) fn loaded(kv: &Kv, call: Call<'_>) {
    let read = || -> Result<_> {
        let (id, key, value) = (call.id(0)?, call.key(1)?, call.text(2, "value")?);
        let ttl = call.required_ttl(3)?.saturating_add(call.seconds(4, "staleSec")?);
        let token = kv.leases.token(id);
        let packed = Packed::sized(2 * (kv.namespace.prefix().len() + key.len()) + value.len() + 160)
            .script(&scripts::STORE, 2, 3)
            .key(&kv.namespace, key)
            .word(&kv.namespace.loader(key))
            .word(token.as_bytes())
            .word(value)
            .number(ttl);
        Ok((id, packed.runs(call.operation(), &scripts::STORE)))
    };
    match read() {
        Ok((id, command)) => kv.leases.ask(id, Ask::Finish(command, call.answer)),
        Err(error) => call.give(Err(error)),
    }
}
