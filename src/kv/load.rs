//! `getOrSet`: one caller at a time loads a value, across processes. Meanwhile the others get a stale value or wait.
//!
//! The loading caller holds a token with a short lease, which is renewed while the load runs. So a process that dies is soon succeeded by
//! another one, and a slow process is not. Waiting callers ask again with jittered backoff. A load that takes too long loses the token.
//!
//! # Writes end a load
//!
//! A value is stored only if the key was not written since its load began. The mark of the load holds the value that the key had
//! then; each renewal, and the storing, compare it with the present value. So a write that leaves something
//! else at the key for longer than between two renewals is noticed, and costs nothing. A write that may leave the key absent sooner,
//! a deletion or one with an expiry below [`LEASE`], takes the mark away with it ([`Kv::mark_of`]).

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

/// How long the others wait for a loader that died. Two renewals of one load are never further apart.
const LEASE: Duration = Duration::from_secs(3);
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(250) };

/// May a key that is written with this expiry, in milliseconds, be absent again before a load notices?
pub(super) fn is_brief(ttl: Option<u64>) -> bool {
    ttl.is_some_and(|ttl| ttl < millis(LEASE))
}

impl Kv {
    /// The mark of a load of `key`, which a write takes away. `None` where no value can be loaded: in a cluster the keys of a
    /// script are of one slot, and a key whose braces do not pair has no other in its slot.
    pub(super) fn mark_of(&self, key: &[u8]) -> Option<Bytes> {
        let mark = self.namespace.loader(key);
        let apart = self.is_on_cluster() && hash_tag(&mark) != hash_tag(&self.namespace.key(key));
        (!apart).then_some(mark)
    }
}

/// Arguments: key, staleSec, the token of a load of this process or absent, waitMs. Gives `[whether it is fresh, value]`; where there is
/// no value, true if what that load gives would still be stored, else null.
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
        // The command timeout ends the wait before.
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

/// How long to wait for an answer, with `left` of `wait` left. A caller that does not wait for others waits for the server as for any command.
fn patience(wait: Duration, left: Duration) -> Duration {
    if wait.is_zero() { Duration::MAX } else { left.max(LEAST_PATIENCE) }
}

fn unanswered(wait: Duration) -> Error {
    let message = format!("KVStore.getOrSet: the server gave no answer within waitMs, {} ms", wait.as_millis());
    Error::new(ErrorKind::Timeout, message).with_delivery(Delivery::MaybeExecuted)
}

/// Arguments: id, key, staleSec, loadTimeoutMs, whether to wait for another one's load, waitMs, what is left of it. Gives `[true, token]` to the caller that shall
/// load, `[false, value]` where there is a value, `[false]` where another one loads and nobody waits.
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
                        // The token may be ours, and nobody will load with it.
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

/// Arguments: id, key, JSON, ttlSec, staleSec. Stores what was loaded. False where the load was ended by a write or took
/// too long: then nothing was stored.
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
