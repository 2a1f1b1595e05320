//! `getOrSet`: one who loads a value at a time, across processes; a stale value while a new one is loaded.
//!
//! Who loads holds a token with a short lease that is renewed while the load runs, so a process that dies is
//! succeeded soon, and one that is slow is not. Who waits asks again with jittered backoff.

use std::time::{Duration, Instant};

use super::lease::{Ask, Held, Holding, millis};
use super::scripts::{self, operation};
use super::{Kv, decode};
use crate::arguments::Arguments;
use crate::backoff::Backoff;
use crate::connection::Packed;
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};

/// For how long a loader that died is waited for.
const LEASE: Duration = Duration::from_secs(3);
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(250) };

/// Arguments: key, staleSec. Gives null, or whether the value is fresh and the value.
pub(super) fn peek(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getOrSet", args);
    kv.send(answer, decode::peeked, || {
        let (key, stale) = (args.key(0)?, args.seconds(1, "staleSec")?);
        let packed = Packed::sized(kv.namespace.prefix().len() + key.len() + 64)
            .script(&scripts::PEEK, 1, 1)
            .key(&kv.namespace, key)
            .number(stale);
        Ok(packed.runs_reading(*operation::GET_OR_SET, &scripts::PEEK))
    });
}

/// Arguments: id, key, staleSec, whether to wait for another one's load, waitMs. Gives `[true]` to who shall load,
/// `[false, value]` where there is a value, `[false]` where another one loads and nobody waits.
pub(super) fn load(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getOrSet", args);
    kv.run(answer, |kv| {
        let (id, key, stale) = (args.id(0)?, args.key(1)?, args.seconds(2, "staleSec")?);
        let waits = args.at(3) == Arg::Bool(true);
        let wait = args.millis(4, "waitMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let value_key = kv.namespace.key(key);
        let held = Held {
            manager: kv.manager.clone(),
            holding: Holding::Token,
            key: kv.namespace.loader(key),
            token: kv.leases.token(id),
        };
        Ok(async move {
            let gives_up = Instant::now() + wait;
            let mut attempt = 0;
            loop {
                let sent = Instant::now();
                match ask(&held, &value_key, stale).await {
                    Ok(Turn::Load) => {
                        kv.leases.keep(id, held, sent, LEASE);
                        return Ok(Outcome::List(vec![Outcome::Bool(true)]));
                    }
                    Ok(Turn::Value(value)) => return Ok(Outcome::List(vec![Outcome::Bool(false), value])),
                    Ok(Turn::Wait) if !waits => return Ok(Outcome::List(vec![Outcome::Bool(false)])),
                    Ok(Turn::Wait) => {}
                    Err(error) => {
                        // It may be ours to load, and we will not.
                        held.abandon();
                        return Err(error);
                    }
                }
                let now = Instant::now();
                if now >= gives_up {
                    return Err(Error::new(
                        ErrorKind::Timeout,
                        format!(
                            "KVStore.getOrSet: another process loads for longer than waitMs, {} ms",
                            wait.as_millis()
                        ),
                    )
                    .with_delivery(Delivery::Rejected));
                }
                tokio::time::sleep(BACKOFF.delay(attempt).min(gives_up - now)).await;
                attempt = attempt.saturating_add(1);
            }
        })
    });
}

enum Turn {
    Load,
    Value(Outcome),
    Wait,
}

async fn ask(held: &Held, value_key: &[u8], stale: u64) -> Result<Turn> {
    let packed = Packed::sized(held.key.len() + value_key.len() + 128)
        .script(&scripts::LOAD, 2, 3)
        .word(value_key)
        .word(&held.key)
        .word(held.token.as_bytes())
        .number(millis(LEASE))
        .number(stale);
    let reply = held.manager.call(packed.runs(*operation::GET_OR_SET, &scripts::LOAD)).await?;
    let (word, value) = decode::tagged(reply)?;
    match &word[..] {
        b"load" => Ok(Turn::Load),
        b"wait" => Ok(Turn::Wait),
        _ => decode::raw(value).map(Turn::Value),
    }
}

/// Arguments: id, key, JSON, ttlSec, staleSec. Stores what was loaded. False where another one loads meanwhile: then
/// nothing was stored.
pub(super) fn loaded(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getOrSet", args);
    let read = || -> Result<_> {
        let (id, key, value) = (args.id(0)?, args.key(1)?, args.text(2, "value")?);
        let ttl = args.required_ttl(3)?.saturating_add(args.seconds(4, "staleSec")?);
        let token = kv.leases.token(id);
        let packed = Packed::sized(2 * (kv.namespace.prefix().len() + key.len()) + value.len() + 160)
            .script(&scripts::STORE, 2, 3)
            .key(&kv.namespace, key)
            .word(&kv.namespace.loader(key))
            .word(token.as_bytes())
            .word(value)
            .number(ttl);
        Ok((id, packed.runs(*operation::GET_OR_SET, &scripts::STORE)))
    };
    match read() {
        Ok((id, command)) => kv.leases.ask(id, Ask::Finish(command, answer)),
        Err(error) => answer.give(Err(error)),
    }
}
