//! What is done where somebody wrote over a key of a queue.
//!
//! A damaged record is found by the script that meets it, which takes it for none. A key of another type has every script fail that needs it,
//! so it is put aside as soon as one has. Both are counted in `meta`; the worker that renews next tells of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Core;
use super::scripts::{self, operation, plain};
use crate::error::{Error, ErrorKind};
use crate::keys::queue::Part;
use crate::lifecycle;

impl Core {
    /// A script has failed: puts keys aside that are of another type than this queue's, in a task of its own.
    pub(super) fn failed(&self, error: &Error) {
        if error.kind() != ErrorKind::Server
            || !error.message().contains("WRONGTYPE")
            || self.mending.swap(true, Ordering::Relaxed)
        {
            return;
        }
        // The script itself touches these two.
        let mut parts = vec![Part::Meta, Part::Leases];
        let others: Vec<_> = Part::ALL.iter().copied().filter(|part| !parts.contains(part)).collect();
        parts.extend(others);
        let keys: Vec<_> = parts.iter().map(|part| self.key(*part)).collect();
        let (aside, held, channel) = (self.keys.aside(), self.keys.held_prefix(), self.keys.wake_all());
        let mut args: Vec<&[u8]> = vec![&aside, &held, &channel];
        args.extend(parts.iter().map(|part| part.kind().as_bytes()));
        let command = plain(&scripts::MEND, &keys, &args).runs(*operation::ADMIN, &scripts::MEND);
        let (manager, mending) = (self.manager.clone(), Arc::clone(&self.mending));
        lifecycle::spawn(async move {
            // What fails now is tried again when the next script has failed.
            let _ = manager.call(command).await;
            mending.store(false, Ordering::Relaxed);
        });
    }
}
