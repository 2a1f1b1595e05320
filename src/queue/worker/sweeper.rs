//! Recovers the jobs of workers whose leases have ended. A job goes back to the head of the queue, or fails if it stalled too
//! often.
//!
//! Any worker may do it; each renewal reports which leases have ended. The worker first reads the jobs and decides their outcomes,
//! because the scripts do not read options. The script then checks again that the lease has ended and that each job is still held
//! under it. So one of several workers that try succeeds.

use std::sync::Arc;

use bytes::Bytes;

use super::Inner;
use super::serving::Held;
use super::slot::{Ending, Outgoing, Slot, id_text};
use super::step::add_outcomes;
use crate::error::{Error, Result};
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::outbox::deliver_messages;
use crate::queue::record::State;
use crate::queue::scripts::{self, ScriptCall, array, integer, operation};
use crate::resp::Reply;

/// The most jobs that one script recovers.
const BATCH: usize = 125;

impl Inner {
    /// Recovers the jobs of each of the `owners` in a new task.
    pub(super) fn sweep(self: &Arc<Self>, owners: &[Bytes]) {
        let own = self.state().lease.owner().to_owned();
        for owner in owners.iter().map(id_text).filter(|owner| *owner != own) {
            let worker = Arc::clone(self);
            lifecycle::spawn(async move {
                // If this fails, the next renewal of any worker reports the lease again.
                if let Err(error) = worker.recover(&owner, false).await {
                    worker.emit_error(&error);
                }
            });
        }
    }

    /// Recovers the jobs of `owner`, whose lease has ended. The lease need not have ended if the owner is known to have `crashed`.
    pub(super) async fn recover(&self, owner: &str, crashed: bool) -> Result<()> {
        let mut held = self.held_by(owner).await?;
        loop {
            let rest = held.split_off(held.len().min(BATCH));
            let outgoing: Vec<_> = held.into_iter().map(|job| self.stalled(job)).collect();
            let mut call = ScriptCall::of(&self.core, &scripts::RECOVER)
                .key(self.core.keys.held(owner))
                .part(Part::Owners)
                .arg(owner.to_owned())
                .number(u64::from(crashed));
            add_outcomes(&mut call, &outgoing);
            let given = self.core.call(call.writes(*operation::RENEW)).await?;
            let [given, left] = <[Reply; 2]>::try_from(array(given).ok_or_else(Error::unexpected_reply)?)
                .map_err(|_| Error::unexpected_reply())?;
            deliver_messages(&self.core, integer(&left).ok_or_else(Error::unexpected_reply)?);
            if given == Reply::Int(1) {
                self.core.manager.metrics().queue_given_away.add(outgoing.len() as u64);
            }
            if rest.is_empty() {
                return Ok(());
            }
            held = rest;
        }
    }

    fn stalled(&self, held: Held) -> Outgoing {
        let Held { id, stored, run, .. } = held;
        let run = run.unwrap_or_else(|_| crate::queue::record::RunRecord::new());
        let lease = if run.state == State::Active { run.lease.clone() } else { Bytes::from_static(b"-") };
        let made = stored.and_then(|stored| Slot::new(id.clone(), lease.clone(), &stored, &run));
        match made {
            Ok(slot) => slot.end(&self.core, Ending::Stalled(self.options.max_stalls)),
            Err(error) => {
                let reason = format!("{}: {}", error.kind().name(), error.message());
                Slot::damaged(id, lease, &run).end(&self.core, Ending::Failed { reason, stack: None, for_good: true })
            }
        }
    }
}
