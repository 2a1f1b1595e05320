//! Subscriptions. One connection carries all subscriptions of a manager: it is opened with the first and closed after the last.
//! In a cluster, each node that has sharded channels gets one more connection.
//!
//! | file | what |
//! |---|---|
//! | `book` | the channels, their listeners and their confirmations: a pure unit |
//! | `task` | the task of a connection: it connects, subscribes, receives and restores |
//! | `connections` | the connections, and which channel is on which connection |
//! | `received` | what a connection receives, decoded |
//!
//! A subscription is registered at once and confirmed later. Its listener gets every message that is published after the
//! confirmation. A lost connection is restored with the manager's backoff, for as long as that takes. Then every channel is
//! subscribed again, and each listener is told for how long it may have missed messages. `disconnect()` ends all subscriptions.

mod book;
mod connections;
mod received;
mod task;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use book::{Channel, ChannelKind};

pub(super) use connections::Subscriber;
#[cfg(fuzzing)]
pub(super) use received::Received;

use super::core::Core;
use crate::error::{Delivery, Error, ErrorKind, Result};

/// A Pub/Sub message on a channel.
#[derive(Clone, Debug)]
pub struct ChannelMessage {
    pub channel: Bytes,
    /// The pattern of the subscription that got the message, if it is a subscription to a pattern.
    pub pattern: Option<Bytes>,
    pub payload: Bytes,
}

/// Gets the messages of a channel. Called on the I/O thread, within a [`crate::crossing::batch`]; must not block.
pub trait Listener: Send + Sync {
    fn message(&self, message: &ChannelMessage);

    /// A message was longer than `maxReplyBytes`, and was discarded.
    fn missed(&self) {}

    /// The connection is lost, and the subscription is being restored.
    fn lost(&self, _error: &Error) {}

    /// The subscription is confirmed again. The listener may have missed messages for this long.
    fn restored(&self, _gap: Duration) {}

    /// The subscription has ended, because the manager was disconnected.
    fn ended(&self, _error: &Error) {}
}

/// A confirmed subscription. After the drop its listener gets nothing more. The drop of a channel's last subscription ends the
/// subscription on the server.
pub struct Subscription {
    subscriber: Weak<Subscriber>,
    channel: Channel,
    number: u64,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("kind", &self.channel.kind).finish_non_exhaustive()
    }
}

impl Subscription {
    /// Ends the subscription: its listener gets nothing more from this call on. The future resolves when the server has confirmed
    /// the end. It resolves at once where this manager has other listeners of the channel, and where no connection has the
    /// subscription.
    ///
    /// # Errors
    ///
    /// `timeout` when the server does not confirm within `commandTimeoutMs`.
    pub fn end(self) -> impl Future<Output = Result<()>> + Send + use<> {
        let subscriber = self.subscriber.upgrade();
        let ended = subscriber.as_ref().and_then(|subscriber| subscriber.remove_listener(&self.channel, self.number));
        async move {
            let (Some(subscriber), Some(ended)) = (subscriber, ended) else { return Ok(()) };
            let limit = subscriber.core().config.command_timeout;
            // The channel is closed without a value: `Ok` holds an error that means the end.
            match timeout(limit, ended).await {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "the end of the subscription was not confirmed within commandTimeoutMs, {} ms: nothing is heard of it any more",
                        limit.as_millis()
                    ),
                )
                .with_delivery(Delivery::MaybeExecuted)),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(subscriber) = self.subscriber.upgrade() {
            drop(subscriber.remove_listener(&self.channel, self.number));
        }
    }
}

impl Subscriber {
    /// Registers `listener` now; see [`super::Manager::subscribe`].
    pub(super) fn subscribe(
        self: &Arc<Self>,
        channel: Channel,
        listener: Arc<dyn Listener>,
    ) -> impl Future<Output = Result<Subscription>> + Send + use<> {
        let registered = self.register(channel, listener);
        let core = Arc::clone(self.core());
        async move {
            let (subscription, confirmed) = registered?;
            if let Some(confirmed) = confirmed {
                match timeout(core.config.command_timeout, confirmed).await {
                    Ok(Ok(outcome)) => outcome?,
                    Ok(Err(_)) => return Err(core.closed()),
                    Err(_) => return Err(too_late(&core)),
                }
            }
            Ok(subscription)
        }
    }

    /// Returns the subscription and, unless the channel is confirmed already, the receiver of the confirmation.
    fn register(
        self: &Arc<Self>,
        channel: Channel,
        listener: Arc<dyn Listener>,
    ) -> Result<(Subscription, Option<oneshot::Receiver<Result<()>>>)> {
        if self.is_shut() {
            return Err(self.core().closed());
        }
        let (number, confirmed) = self.add_listener(&channel, listener);
        Ok((Subscription { subscriber: Arc::downgrade(self), channel, number }, confirmed))
    }

    /// Waits until every subscription is confirmed; see [`super::Manager::subscribed`].
    pub(super) fn subscribed(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send + use<> {
        let subscriber = Arc::clone(self);
        async move {
            let mut settled = subscriber.settled();
            let limit = subscriber.core().config.command_timeout;
            match timeout(limit, settled.wait_for(|settled| *settled)).await {
                Ok(_) if subscriber.is_shut() => Err(subscriber.core().closed()),
                Ok(_) => Ok(()),
                Err(_) => Err(too_late(subscriber.core())),
            }
        }
    }
}

fn too_late(core: &Core) -> Error {
    let limit = core.config.command_timeout.as_millis();
    let error = Error::new(
        ErrorKind::Timeout,
        format!("the subscription was not confirmed within commandTimeoutMs, {limit} ms"),
    );
    match core.status.last_error() {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}
