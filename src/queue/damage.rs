//! Damage: records and keys of a queue that another program has overwritten.
//!
//! A script treats a damaged record as missing. A key of the wrong type makes every script fail that uses the key, so the key is
//! renamed as soon as one script has failed. Both kinds of damage are counted in `meta`. The next worker that renews reports them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Core;
use super::scripts::{self, operation, plain};
use crate::error::{Error, ErrorKind};
use crate::keys::queue::Part;
use crate::lifecycle;

impl Core {
    /// Called when a script has failed. If a key has the wrong type, a new task renames all such keys.
    pub(super) fn failed(&self, error: &Error) {
        if error.kind() != ErrorKind::Server
            || !error.message().contains("WRONGTYPE")
            || self.repairing.swap(true, Ordering::Relaxed)
        {
            return;
        }
        // The script itself writes to these two keys, so they are checked first.
        let mut parts = vec![Part::Meta, Part::Leases];
        let others: Vec<_> = Part::ALL.iter().copied().filter(|part| !parts.contains(part)).collect();
        parts.extend(others);
        let keys: Vec<_> = parts.iter().map(|part| self.key(*part)).collect();
        let (aside, held, channel) = (self.keys.aside_prefix(), self.keys.held_prefix(), self.keys.wake_all());
        let mut args: Vec<&[u8]> = vec![&aside, &held, &channel];
        args.extend(parts.iter().map(|part| part.kind().as_bytes()));
        let command = plain(&scripts::SET_ASIDE, &keys, &args).runs(*operation::ADMIN, &scripts::SET_ASIDE);
        let (manager, repairing) = (self.manager.clone(), Arc::clone(&self.repairing));
        lifecycle::spawn(async move {
            // If this fails, the next failure of a script starts it again.
            let _ = manager.call(command).await;
            repairing.store(false, Ordering::Relaxed);
        });
    }
}
