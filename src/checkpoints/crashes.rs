//! Crashes that a worker registry declares. What a crashed worker owned is interrupted at once, not when its lease ends.
//!
//! Each process that takes threads hears of a crash and calls a script in each share. The first call of a share interrupts the threads; the
//! calls of other processes find nothing left to do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::call;
use super::{Inner, scripts};
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Command, Listener, Packed, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::checkpoints::SHARES;
use crate::lifecycle;
use crate::registry::{DeathCause, DeathListener, DeathNotice, listen_for_deaths};
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::telemetry::Operation;

/// Between the attempts to interrupt what a crashed worker owned.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

/// What a store hears of a registry.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    /// `None` before the first subscription and after one that failed; empty until the server has confirmed.
    subscriptions: Mutex<Option<Vec<Subscription>>>,
    /// There may be threads to take, or a failure to tell.
    pub(super) interrupted: Arc<Notify>,
    /// Why the threads of a crashed worker could not be interrupted.
    failure: Mutex<Option<Error>>,
}

impl Crashes {
    /// Why the threads of a crashed worker could not be interrupted. Each failure is told once.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().take()
    }
}

impl Inner {
    /// Subscribes to crashes, unless it has. Where the server refuses, threads are found when their leases have ended.
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
        let crashes = listen_for_deaths(&self.manager, &namespace, listener);
        let gaps = self.manager.subscribe(
            Channel { kind: ChannelKind::Exact, name: self.namespace.threads(0).due },
            Arc::new(GapListener(Arc::downgrade(self))),
        );
        let inner = Arc::downgrade(self);
        lifecycle::spawn(async move {
            let confirmed = async { Ok::<_, Error>(vec![crashes.await?, gaps.await?]) }.await;
            if let Some(inner) = inner.upgrade() {
                // After a failure the next look subscribes again.
                *inner.crashes.subscriptions.lock() = confirmed.ok();
            }
        });
    }

    /// Interrupts what the registration owned that is over, in every share.
    async fn interrupt_owned(&self, death: &DeathNotice, operation: Operation) -> Result<()> {
        let call = |share, after: &[u8]| self.manager.call(self.interruption(share, death, after, operation));
        // All calls are made before the first answer is awaited, so that they take one round trip.
        let first: Vec<_> = (0..SHARES).map(|share| call(share, b"")).collect();
        for (share, reply) in (0..).zip(first) {
            let mut reply = reply.await?;
            loop {
                let [count, after] =
                    <[Reply; 2]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
                if call::integer(&count)? > 0 {
                    self.crashes.interrupted.notify_waiters();
                }
                let Reply::Bulk(after) = after else { break };
                reply = call(share, &after).await?;
            }
        }
        Ok(())
    }

    fn interruption(&self, share: u32, death: &DeathNotice, after: &[u8], operation: Operation) -> Command {
        let keys = self.namespace.threads(share);
        Packed::sized(keys.states.len() * 3 + death.worker.len() + after.len() + 128)
            .script(&scripts::INTERRUPT_OWNED, 3, 3)
            .word(&keys.states)
            .word(&keys.due)
            .word(&keys.workers)
            .word(&death.worker)
            .number(death.epoch)
            .word(after)
            .runs(operation, &scripts::INTERRUPT_OWNED)
    }
}

/// Asks until the server has answered, the manager is disconnected or the store is gone.
async fn interrupt(inner: Weak<Inner>, death: DeathNotice, operation: Operation) {
    let mut failures = 0;
    while let Some(inner) = inner.upgrade() {
        match inner.interrupt_owned(&death, operation).await {
            Err(error) if error.retryable() => failures += 1,
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => {
                *inner.crashes.failure.lock() = Some(error);
                return inner.crashes.interrupted.notify_waiters();
            }
            // Another process may have been faster, so that this one counted nothing.
            Ok(()) => return inner.crashes.interrupted.notify_waiters(),
        }
        drop(inner);
        tokio::time::sleep(BACKOFF.delay(failures)).await;
    }
}

struct CrashListener {
    inner: Weak<Inner>,
    operation: Operation,
}

impl DeathListener for CrashListener {
    fn died(&self, death: &DeathNotice) {
        // A worker that registered again goes on, and keeps what it owns.
        if death.how == DeathCause::Crashed {
            lifecycle::spawn(interrupt(self.inner.clone(), death.clone(), self.operation));
        }
    }
}

/// Measures for how long this process was cut off. Nothing is published on its channel.
struct GapListener(Weak<Inner>);

impl Listener for GapListener {
    fn message(&self, _message: &ChannelMessage) {}

    fn restored(&self, gap: Duration) {
        if let Some(inner) = self.0.upgrade() {
            inner.authority.was_cut_off(gap);
        }
    }
}
