//! Waits that JavaScript may end before their time.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::Checkpoints;
use crate::crossing::Outcome;
use crate::sync::Mutex;
use crate::verb::Call;

/// The waits of one store, by the number that JavaScript gave them.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<HashMap<u64, CancellationToken>>);

impl Waits {
    pub(super) fn start(&self, id: u64) -> CancellationToken {
        let token = CancellationToken::new();
        self.0.lock().insert(id, token.clone());
        token
    }

    pub(super) fn end(&self, id: u64) {
        self.0.lock().remove(&id);
    }
}

/// Argument: id. Ends a wait.
pub(super) fn cancel(store: &Checkpoints, call: Call<'_>) {
    call.at_once(|call| {
        let id = call.id(0)?;
        if let Some(token) = store.0.waits.0.lock().get(&id) {
            token.cancel();
        }
        Ok(Outcome::Nothing)
    });
}
