//! Waits that TypeScript may end early.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use crate::sync::Mutex;

/// The waits of one target, by the number that TypeScript gave them.
#[derive(Debug, Default)]
pub struct Waits(Mutex<HashMap<u64, CancellationToken>>);

impl Waits {
    /// Registers a wait. The token is cancelled when TypeScript ends the wait.
    pub fn start(&self, id: u64) -> CancellationToken {
        let token = CancellationToken::new();
        self.0.lock().insert(id, token.clone());
        token
    }

    /// Forgets a wait that has ended.
    pub fn end(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    /// Ends a wait early. Nothing happens if the wait has ended.
    pub fn cancel(&self, id: u64) {
        if let Some(token) = self.0.lock().get(&id) {
            token.cancel();
        }
    }
}
