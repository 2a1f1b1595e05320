//! Crashes that a worker registry declares: what a crashed worker owned is interrupted at once, not when its lease ends.
//!
//! Each process that takes threads hears of them, and asks the server in each share; of those who ask, one script interrupts.
//! The subscription tells too when this process was cut off.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::call;
use super::{Inner, scripts};
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Packed, Subscription};
use crate::error::Result;
use crate::keys::checkpoints::SHARES;
use crate::lifecycle;
use crate::registry::{DeathCause, DeathListener, DeathNotice, listen_for_deaths};
use crate::sync::Mutex;
use crate::telemetry::Operation;

/// What a store hears of a registry.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    /// Nothing before anybody asked; then what is subscriptions, once that is confirmed.
    subscriptions: Mutex<Option<Vec<Subscription>>>,
    /// There may be threads to take.
    pub(super) interrupted: Arc<Notify>,
}

impl Inner {
    /// Hears of crashes from now on. Where the server refuses the subscription, threads are found when their leases have ended.
    pub(super) fn listen_for_crashes(self: &Arc<Self>, operation: Operation) {
        {
            let mut subscriptions = self.crashes.subscriptions.lock();
            if subscriptions.is_some() {
                return;
            }
            *subscriptions = Some(Vec::new());
        }
        let listener = Arc::new(CrashListener { inner: Arc::downgrade(self), operation });
        let namespace = self.manager.namespace().containing(&self.settings.registry);
        let crashes = listen_for_deaths(&self.manager, &namespace, Arc::clone(&listener) as _);
        let gaps = self.manager.subscribe(
            Channel { kind: ChannelKind::Exact, name: self.namespace.threads(0).due },
            Arc::new(GapListener(Arc::downgrade(self))),
        );
        let inner = Arc::downgrade(self);
        lifecycle::spawn(async move {
            for subscribed in [crashes.await, gaps.await] {
                match (subscribed, inner.upgrade()) {
                    (Ok(subscription), Some(inner)) => {
                        if let Some(subscriptions) = &mut *inner.crashes.subscriptions.lock() {
                            subscriptions.push(subscription);
                        }
                    }
                    // The next who takes a thread tries again.
                    (Err(_), Some(inner)) => *inner.crashes.subscriptions.lock() = None,
                    (_, None) => return,
                }
            }
        });
    }

    /// Interrupts what the registration owned that is over.
    async fn interrupt_owned(&self, death: &DeathNotice, operation: Operation) -> Result<()> {
        /// As many as one script interrupts.
        const MOST: i64 = 64;
        for share in 0..SHARES {
            let keys = self.namespace.threads(share);
            let packed = Packed::sized(keys.states.len() * 3 + death.worker.len() + 128)
                .script(&scripts::INTERRUPT_OWNED, 3, 2)
                .word(&keys.states)
                .word(&keys.due)
                .word(&keys.workers)
                .word(&death.worker)
                .number(death.epoch);
            let command = packed.runs(operation, &scripts::INTERRUPT_OWNED);
            while call::integer(&self.manager.call(command.clone()).await?)? == MOST {}
        }
        self.crashes.interrupted.notify_waiters();
        Ok(())
    }
}

struct CrashListener {
    inner: Weak<Inner>,
    operation: Operation,
}

impl DeathListener for CrashListener {
    fn died(&self, death: &DeathNotice) {
        // A worker that registered again goes on; what it owns is its own.
        if death.how != DeathCause::Crashed {
            return;
        }
        let (inner, death, operation) = (self.inner.clone(), death.clone(), self.operation);
        lifecycle::spawn(async move {
            if let Some(inner) = inner.upgrade() {
                // What cannot be interrupted now is when its lease has ended.
                let _ = inner.interrupt_owned(&death, operation).await;
            }
        });
    }
}

/// Sees for how long this process was cut off. Nothing is published where it listens.
struct GapListener(Weak<Inner>);

impl Listener for GapListener {
    fn message(&self, _message: &ChannelMessage) {}

    fn restored(&self, gap: Duration) {
        if let Some(inner) = self.0.upgrade() {
            inner.authority.was_cut_off(gap);
        }
    }
}
