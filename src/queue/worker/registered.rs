//! A worker that is in a registry: when that one reports a crash, what the crashed worker held is given away at once, not when
//! its lease ends.
//!
//! The server keeps, beside each lease, the registration of the worker that has it. Every registered worker hears of
//! crashes and gives away what belonged to the registration that is over; of those who try at once the script lets one.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::Inner;
use super::shift::Registration;
use super::slot::id_text;
use crate::error::Result;
use crate::keys::Namespace;
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::long_way;
use crate::registry::{DeathCause as How, DeathListener as Mourner, DeathNotice as Death, listen_for_deaths as deaths};

impl Inner {
    /// Notes the worker's registration and listens to the crashes that its registry reports.
    pub(super) async fn register(self: &Arc<Self>, id: &str, epoch: u64, namespace: &str) -> Result<()> {
        self.shift().registration = Some(Registration { text: format!("{epoch} {id}"), known: false });
        self.renew(false);
        if self.shift().mourning.is_some() {
            return Ok(());
        }
        let namespace = self.core.manager.namespace().containing(&Namespace::NONE.join(namespace));
        let mourner = Arc::new(Heir(Arc::downgrade(self)));
        let subscription = deaths(&self.core.manager, &namespace, mourner).await?;
        self.shift().mourning = Some(subscription);
        Ok(())
    }

    /// The server has heard of `registration`.
    pub(super) fn registration_is_known(&self, term: u64, registration: &str) {
        let mut shift = self.shift();
        if shift.lease.term() == term
            && let Some(of_registry) = &mut shift.registration
            && of_registry.text == registration
        {
            of_registry.known = true;
        }
    }

    /// Gives away what the registration held that is over.
    async fn bury(&self, death: &Death) -> Result<()> {
        let key = self.core.key(Part::Owners);
        for (owner, text) in long_way::pairs(&self.core, b"HSCAN", key).await? {
            if belongs(&text, death) {
                self.give_away(&id_text(&owner), true).await?;
            }
        }
        Ok(())
    }
}

/// Is `<epoch> <id>` the registration that is over, or an earlier one of that worker?
fn belongs(text: &Bytes, death: &Death) -> bool {
    let Some(space) = text.iter().position(|byte| *byte == b' ') else { return false };
    let epoch = std::str::from_utf8(&text[..space]).ok().and_then(|epoch| epoch.parse::<u64>().ok());
    text[space + 1..] == death.worker[..] && epoch.is_some_and(|epoch| epoch <= death.epoch)
}

struct Heir(Weak<Inner>);

impl Mourner for Heir {
    fn died(&self, death: &Death) {
        // A worker that registered again goes on; its lease is its own.
        if death.how != How::Crashed {
            return;
        }
        if let Some(worker) = self.0.upgrade() {
            let death = death.clone();
            lifecycle::spawn(async move {
                // What fails now is found by the sweep when the lease has ended.
                if let Err(error) = worker.bury(&death).await {
                    worker.tell_error(&error);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_of_its_epoch_and_of_earlier_ones() {
        let death = Death { worker: Bytes::from_static(b"w 1"), epoch: 5, how: How::Crashed };
        for (text, expected) in
            [("5 w 1", true), ("4 w 1", true), ("6 w 1", false), ("5 w", false), ("w 1", false), ("", false)]
        {
            assert_eq!(belongs(&Bytes::from_static(text.as_bytes()), &death), expected, "{text:?}");
        }
    }
}
