//! Waits that TypeScript may end early: for a lock, for a function of the user.
//!
//! Rust measures the time. A JavaScript timer would be stopped by a blocked event loop or by fake timers.

use std::time::Duration;

use super::Kv;
use crate::crossing::Outcome;
use crate::verb::Call;

/// Arguments: id, milliseconds. Gives true after that time, or false when the wait is cancelled.
pub(super) fn wait(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let (id, time) = (call.id(0)?, call.millis(1, "time", 0.0)?.unwrap_or(Duration::MAX));
        let cancelled = kv.waits.start(id);
        Ok(async move {
            let passed = tokio::time::timeout(time, cancelled.cancelled()).await.is_err();
            kv.waits.end(id);
            Ok(Outcome::Bool(passed))
        })
    });
}

/// Argument: id. Ends a wait.
pub(super) fn cancel(kv: &Kv, call: Call<'_>) {
    call.at_once(|call| {
        let id = call.id(0)?;
        kv.waits.cancel(id);
        Ok(Outcome::Nothing)
    });
}
