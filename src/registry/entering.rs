//! Registrations that somebody waits for and whose answer has not come. Until then each may be withdrawn, and it is open whether
//! it has ended another one of its id.

use std::collections::HashMap;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

/// By nonce.
#[derive(Debug, Default)]
pub(super) struct Entering(Mutex<HashMap<String, Arrival>>);

#[derive(Debug)]
struct Arrival {
    id: Bytes,
    is_withdrawn: bool,
}

/// A registration of which only the nonce is known, as [`Member::who`] gives those of which more is.
///
/// [`Member::who`]: super::members::Member::who
pub(super) fn who(nonce: &str) -> String {
    format!(" {nonce}")
}

impl Entering {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arrival>> {
        self.0.lock()
    }

    pub(super) fn begin(&self, nonce: String, id: Bytes) {
        self.lock().insert(nonce, Arrival { id, is_withdrawn: false });
    }

    /// Is one of that id on its way?
    pub(super) fn has(&self, id: &[u8]) -> bool {
        self.lock().values().any(|arrival| arrival.id == id)
    }

    /// Nobody wants those any more of which `unwanted` says so by their id. Gives for each its id, and who it is.
    pub(super) fn withdraw(&self, unwanted: impl Fn(&[u8]) -> bool) -> Vec<(Bytes, String)> {
        self.lock()
            .iter_mut()
            .filter(|(_, arrival)| unwanted(&arrival.id))
            .map(|(nonce, arrival)| {
                arrival.is_withdrawn = true;
                (arrival.id.clone(), who(nonce))
            })
            .collect()
    }

    /// Its answer has come. Does `settle` before anyone can see that, and says true, unless it was withdrawn.
    pub(super) fn end(&self, nonce: &str, settle: impl FnOnce()) -> bool {
        let mut arrivals = self.lock();
        let is_wanted = arrivals.remove(nonce).is_some_and(|arrival| !arrival.is_withdrawn);
        if is_wanted {
            settle();
        }
        is_wanted
    }
}
