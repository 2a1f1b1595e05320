//! A worker that is in a registry. When the registry reports a crash, the jobs of the crashed worker are recovered at once, before
//! its lease ends.
//!
//! The server stores the registration of a worker next to its lease. Every registered worker gets reports of crashes, and recovers
//! the jobs of the crashed registration. If several workers try at once, the script lets only one of them do it.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::Inner;
use super::slot::id_text;
use super::state::Registration;
use crate::error::Result;
use crate::keys::Namespace;
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::paged_listing;
use crate::registry::{DeathCause, DeathListener, DeathNotice, listen_for_deaths};

impl Inner {
    /// Stores the worker's registration, and listens for crashes that the registry reports.
    pub(super) async fn register(self: &Arc<Self>, id: &str, epoch: u64, namespace: &str) -> Result<()> {
        self.state().registration = Some(Registration { text: format!("{epoch} {id}"), known: false });
        self.renew(false);
        if self.state().deaths.is_some() {
            return Ok(());
        }
        let namespace = self.core.manager.namespace().containing(&Namespace::NONE.join(namespace));
        let listener = Arc::new(CrashListener(Arc::downgrade(self)));
        let subscription = listen_for_deaths(&self.core.manager, &namespace, listener).await?;
        self.state().deaths = Some(subscription);
        Ok(())
    }

    /// The server has stored `registration`.
    pub(super) fn registration_is_known(&self, term: u64, registration: &str) {
        let mut state = self.state();
        if state.lease.term() == term
            && let Some(of_registry) = &mut state.registration
            && of_registry.text == registration
        {
            of_registry.known = true;
        }
    }

    /// Recovers the jobs of a crashed registration.
    async fn recover_crashed(&self, death: &DeathNotice) -> Result<()> {
        let key = self.core.key(Part::Owners);
        for (owner, text) in paged_listing::pairs(&self.core, b"HSCAN", key).await? {
            if belongs(&text, death) {
                self.recover(&id_text(&owner), true).await?;
            }
        }
        Ok(())
    }
}

/// True if `text`, `<epoch> <id>`, is the crashed registration or an earlier registration of the same worker.
fn belongs(text: &Bytes, death: &DeathNotice) -> bool {
    let Some(space) = text.iter().position(|byte| *byte == b' ') else { return false };
    let epoch = std::str::from_utf8(&text[..space]).ok().and_then(|epoch| epoch.parse::<u64>().ok());
    text[space + 1..] == death.worker[..] && epoch.is_some_and(|epoch| epoch <= death.epoch)
}

struct CrashListener(Weak<Inner>);

impl DeathListener for CrashListener {
    fn died(&self, death: &DeathNotice) {
        // A worker that registered again is alive and keeps its lease.
        if death.how != DeathCause::Crashed {
            return;
        }
        if let Some(worker) = self.0.upgrade() {
            let death = death.clone();
            lifecycle::spawn(async move {
                // If this fails, the sweeper recovers the jobs when the lease has ended.
                if let Err(error) = worker.recover_crashed(&death).await {
                    worker.emit_error(&error);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_notice_covers_its_epoch_and_all_earlier_epochs() {
        let death = DeathNotice { worker: Bytes::from_static(b"w 1"), epoch: 5, how: DeathCause::Crashed };
        for (text, expected) in
            [("5 w 1", true), ("4 w 1", true), ("6 w 1", false), ("5 w", false), ("w 1", false), ("", false)]
        {
            assert_eq!(belongs(&Bytes::from_static(text.as_bytes()), &death), expected, "{text:?}");
        }
    }
}
