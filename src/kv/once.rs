//! `once`: a token is set if there is none. It is kept while the caller's function runs, and for `ttlSec` afterwards.
//!
//! The token is renewed while the function runs, so a function that takes longer than `ttlSec` does not run twice. If the process
//! dies, or the function takes too long, the token expires.

use std::time::{Duration, Instant};

use super::{Kv, decode, held, scripts};
use crate::connection::Packed;
use crate::crossing::Outcome;
use crate::lease::{Ask, Held, Limit};
use crate::verb::Call;

/// The least time that the token of a running function lasts, in milliseconds: a shorter one could run out between two renewals.
const LEAST: u64 = 1_000;

/// Arguments: id, key, ttlSec, options as JSON. Gives true to the one caller that runs its function.
pub(super) fn once(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let (id, key, lease) = (call.id(0)?, call.key(1)?, call.required_ttl(2)?.max(LEAST));
        let mut options = call.options(3)?;
        // A function that takes too long may still be running. Nobody else runs it before the token has expired.
        let limit = options.time("timeoutMs", 1.0)?.map_or(Limit::None, Limit::RunOut);
        options.finish()?;
        let held = Held {
            manager: kv.manager.clone(),
            scripts: &held::TOKEN,
            key: kv.namespace.key(key),
            beside: Vec::new(),
            token: kv.leases.token(id),
        };
        let packed = Packed::sized(held.key.len() + 128)
            .script(&scripts::CLAIM, 1, 2)
            .word(&held.key)
            .word(held.token.as_bytes())
            .number(lease);
        let command = packed.runs(call.operation(), &scripts::CLAIM);
        let sent = Instant::now();
        // The command is submitted before this call returns, so that callers are served in the order of their calls.
        let reply = kv.manager.call(command);
        Ok(async move {
            let claimed = reply.await.and_then(|reply| decode::yes(&reply));
            match claimed {
                Ok(true) => kv.leases.keep(id, held, sent, Duration::from_millis(lease), limit),
                Ok(false) => {}
                // The server may have set the token, and no function will run under it.
                Err(_) => held.abandon(),
            }
            claimed.map(Outcome::Bool)
        })
    });
}

/// Arguments: id, ttlSec. The function has succeeded: the token stays for `ttlSec`.
pub(super) fn done(kv: &Kv, call: Call<'_>) {
    match call.id(0).and_then(|id| Ok((id, call.required_ttl(1)?))) {
        Ok((id, ttl)) => kv.leases.ask(id, Ask::Leave(Duration::from_millis(ttl), call.answer)),
        Err(error) => call.give(Err(error)),
    }
}
