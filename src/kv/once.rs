//! `once`: a token where there is none, kept while the caller's function runs and for its time afterwards.
//!
//! While the function runs, the token is renewed: so a function that takes longer than the time is not run twice. If the process dies, or
//! the function takes too long, the token runs out.

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
        // A function that takes too long may still be at work: nobody else runs it before the token has run out.
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
        // Accepted here and now, so that callers are served in their order.
        let reply = kv.manager.call(command);
        Ok(async move {
            let claimed = reply.await.and_then(|reply| decode::yes(&reply));
            match claimed {
                Ok(true) => kv.leases.keep(id, held, sent, Duration::from_millis(lease), limit),
                Ok(false) => {}
                // The token may be ours, and nobody will run the function.
                Err(_) => held.abandon(),
            }
            claimed.map(Outcome::Bool)
        })
    });
}

/// Arguments: id, ttlSec. The function has succeeded: the token's time begins.
pub(super) fn done(kv: &Kv, call: Call<'_>) {
    match call.id(0).and_then(|id| Ok((id, call.required_ttl(1)?))) {
        Ok((id, ttl)) => kv.leases.ask(id, Ask::Leave(Duration::from_millis(ttl), call.answer)),
        Err(error) => call.give(Err(error)),
    }
}
