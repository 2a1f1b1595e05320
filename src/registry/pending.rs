//! Registrations in flight, by nonce. Each may still be withdrawn; whether it replaced an older worker with the same id is
//! unknown until the answer.

use std::collections::HashMap;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

/// The registrations in flight, by nonce.
#[derive(Debug, Default)]
pub(super) struct PendingRegistrations(Mutex<HashMap<String, Pending>>);

#[derive(Debug)]
struct Pending {
    id: Bytes,
    is_withdrawn: bool,
}

/// The reference of a registration whose epoch is unknown; see [`Member::reference`].
///
/// [`Member::reference`]: super::members::Member::reference
pub(super) fn reference(nonce: &str) -> String {
    format!(" {nonce}")
}

impl PendingRegistrations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.0.lock()
    }

    pub(super) fn add(&self, nonce: String, id: Bytes) {
        self.lock().insert(nonce, Pending { id, is_withdrawn: false });
    }

    /// Is a registration of that id in flight?
    pub(super) fn has(&self, id: &[u8]) -> bool {
        self.lock().values().any(|one| one.id == id)
    }

    /// Withdraws the registrations whose id `unwanted` accepts. Returns the id and the reference of each.
    pub(super) fn withdraw(&self, unwanted: impl Fn(&[u8]) -> bool) -> Vec<(Bytes, String)> {
        self.lock()
            .iter_mut()
            .filter(|(_, one)| unwanted(&one.id))
            .map(|(nonce, one)| {
                one.is_withdrawn = true;
                (one.id.clone(), reference(nonce))
            })
            .collect()
    }

    /// The answer has come. Unless the registration was withdrawn, runs `settle` before another thread can see the change, and
    /// returns true.
    pub(super) fn complete(&self, nonce: &str, settle: impl FnOnce()) -> bool {
        let mut pending = self.lock();
        let is_wanted = pending.remove(nonce).is_some_and(|one| !one.is_withdrawn);
        if is_wanted {
            settle();
        }
        is_wanted
    }
}
