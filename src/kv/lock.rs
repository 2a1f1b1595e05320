//! Locks with fencing tokens.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::lock_queues::Ticket;
use super::{Kv, held, scripts};
use crate::backoff::Backoff;
use crate::connection::Packed;
use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lease::{Ask, Held, Limit, millis};
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// A shorter lease would need renewals more often than a loaded machine can guarantee.
const LEAST_LEASE_MS: f64 = 100.0;
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// The least time to wait for an answer, even if `waitMs` is over. It allows for a round trip on a loaded machine.
pub(super) const LEAST_PATIENCE: Duration = Duration::from_millis(250);
/// The time between two attempts of a caller that gets messages about releases, unless the holder's lease ends before.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// The delays between the attempts of a caller that gets no messages about releases.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(200) };

/// Arguments: id, key, options as JSON. Gives the fencing token.
pub(super) fn lock(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let (id, key, mut options) = (call.id(0)?, call.key(1)?, call.options(2)?);
        let lease = options.time("leaseMs", LEAST_LEASE_MS)?.unwrap_or(DEFAULT_LEASE);
        let wait = options.time("waitMs", 0.0)?.unwrap_or_default();
        options.stays("signal");
        options.finish()?;
        let (lock_key, last_key) = kv.namespace.lock(key);
        let held = Held {
            manager: kv.manager.clone(),
            scripts: &held::LOCK,
            key: lock_key,
            beside: Vec::new(),
            token: kv.leases.token(id),
        };
        let cancelled = kv.waits.start(id);
        // The caller joins before this call returns, so that callers queue in the order of their calls.
        let ticket = (!wait.is_zero()).then(|| kv.lock_queues.join(&kv.manager, &held.key));
        let operation = call.operation();
        Ok(async move {
            let outcome = tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    // An attempt on its way may still get the lock. The release follows it on the connection.
                    held.abandon();
                    Err(Error::new(ErrorKind::Cancelled, "KVStore.lock: signal: aborted while waiting for the lock"))
                }
                outcome = obtain(operation, &held, &last_key, lease, wait, ticket.as_ref()) => outcome,
            };
            kv.waits.end(id);
            drop(ticket);
            let (token, since) = outcome?;
            kv.leases.keep(id, held, since, lease, Limit::None);
            Ok(Outcome::Number(token as f64))
        })
    });
}

/// Waits for the caller's turn, and then tries until it gets the lock or `wait` has passed. Gives the fencing token and when the
/// successful attempt was sent.
async fn obtain(
    operation: Operation,
    held: &Held,
    last_key: &[u8],
    lease: Duration,
    wait: Duration,
    ticket: Option<&Ticket>,
) -> Result<(i64, Instant)> {
    let gives_up = Instant::now() + wait;
    let mut attempt = 0;
    if let Some(ticket) = ticket {
        // A caller whose wait is over before its turn comes still tries once.
        while !ticket.is_first() && timeout_at(gives_up.into(), ticket.notified()).await.is_ok() {}
    }
    loop {
        let sent = Instant::now();
        // For a caller that tries once only the command timeout limits the wait for the answer.
        let patience = if wait.is_zero() { Duration::MAX } else { LEAST_PATIENCE.max(gives_up - sent) };
        let outcome = tokio::time::timeout(patience, take(operation, held, last_key, lease, sent < gives_up)).await;
        let (held_for, failure) = match outcome.unwrap_or_else(|_| Err(unanswered(wait))) {
            Ok(Attempt::Taken(token)) => return Ok((token, sent)),
            Ok(Attempt::HeldFor(time)) => (time, None),
            // The script gives the same answer to the same token, so the call may be repeated.
            Err(error) if error.retryable() => (Duration::MAX, Some(error)),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        if now >= gives_up {
            return Err(match failure {
                Some(error) => {
                    held.abandon();
                    error
                }
                None => Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "KVStore.lock: another caller held the lock for longer than waitMs, {} ms",
                        wait.as_millis()
                    ),
                )
                .with_delivery(Delivery::Rejected),
            });
        }
        let subscribed = ticket.is_some_and(Ticket::is_subscribed) && failure.is_none();
        let delay = if subscribed { POLL_EVERY.mul_f64(0.8 + 0.4 * fastrand::f64()) } else { BACKOFF.delay(attempt) };
        let next = now + delay.min(held_for.max(BACKOFF.min)).min(gives_up - now);
        attempt = attempt.saturating_add(1);
        if let Some(ticket) = ticket {
            // The caller tries again after a message about a release, and also without one.
            let _ = timeout_at(next.into(), ticket.notified()).await;
        }
    }
}

fn unanswered(wait: Duration) -> Error {
    let message = format!("KVStore.lock: the server gave no answer within waitMs, {} ms", wait.as_millis());
    Error::new(ErrorKind::Timeout, message).with_delivery(Delivery::MaybeExecuted)
}

enum Attempt {
    Taken(i64),
    HeldFor(Duration),
}

async fn take(operation: Operation, held: &Held, last_key: &[u8], lease: Duration, waits: bool) -> Result<Attempt> {
    let packed = Packed::sized(held.key.len() + 128)
        .script(&scripts::LOCK, 2, 3)
        .word(&held.key)
        .word(last_key)
        .word(held.token.as_bytes())
        .number(millis(lease))
        .number(u64::from(waits));
    let reply = held.manager.call(packed.runs(operation, &scripts::LOCK)).await?;
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    match parts[..] {
        [Reply::Int(1), Reply::Int(token)] => Ok(Attempt::Taken(token)),
        // -1: the holder's lease has no end. -2: it has just ended.
        [Reply::Int(0), Reply::Int(ms)] => Ok(Attempt::HeldFor(match u64::try_from(ms) {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) if ms == -1 => Duration::MAX,
            Err(_) => Duration::ZERO,
        })),
        _ => Err(Error::unexpected_reply()),
    }
}

/// Arguments: id, leaseMs.
pub(super) fn extend(kv: &Kv, call: Call<'_>) {
    let read =
        || -> Result<_> { Ok((call.id(0)?, call.millis(1, "leaseMs", LEAST_LEASE_MS)?.unwrap_or(DEFAULT_LEASE))) };
    match read() {
        Ok((id, length)) => kv.leases.ask(id, Ask::Extend(length, call.answer)),
        Err(error) => call.give(Err(error)),
    }
}
