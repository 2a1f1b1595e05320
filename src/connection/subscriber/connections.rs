//! The connections of a manager's subscriptions, and which channel is on which connection.
//!
//! Every channel starts on the connection to the server, or to any node of a cluster. A node may say that a sharded channel
//! belongs to another node. Then the channel moves to a connection to the other node. It moves back when the other node cannot
//! be reached.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, oneshot, watch};

use super::book::{Book, Channel, Moved};
use super::{Listener, task};
use crate::connection::core::Core;
use crate::connection::shared::Shared;
use crate::connection::target::Address;
use crate::connection::topology;
use crate::error::Result;
use crate::sync::{Mutex, MutexGuard};

/// Where a connection leads: to this node of a cluster. `None` is the server, or any node of the cluster.
pub(super) type Endpoint = Option<Address>;

/// All of a manager's subscriptions.
pub(in crate::connection) struct Subscriber {
    shared: Arc<Shared>,
    connections: Mutex<HashMap<Endpoint, Arc<Subscriptions>>>,
    /// The number of the next listener.
    next_number: AtomicU64,
    /// Is every subscription confirmed?
    settled: watch::Sender<bool>,
}

/// The subscriptions of one connection: handles and the connection's task share them.
#[derive(Default)]
pub(super) struct Subscriptions {
    inner: Mutex<Inner>,
    /// Wakes the task when the book may have questions to send.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) book: Book,
    /// Is there a task?
    running: bool,
}

impl Subscriptions {
    /// The guard must not be held across an await, or while a listener is called or dropped.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Is nothing left for the task to do? Then the task counts as ended from this call on.
    pub(super) fn stop_if_empty(&self) -> bool {
        let mut inner = self.inner();
        inner.running = !inner.book.is_empty();
        !inner.running
    }

    /// The task counts as ended from this call on.
    pub(super) fn stop(&self) {
        self.inner().running = false;
    }
}

impl Subscriber {
    pub(in crate::connection) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            settled: watch::Sender::new(true),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// Are subscriptions refused?
    pub(super) fn is_shut(&self) -> bool {
        self.shared.is_shut()
    }

    /// Has the topology watched from this call on, because a connection is needed.
    pub(super) fn watch_topology(&self) {
        topology::watch(&self.shared);
    }

    /// Registers `listener`. Returns its number and, unless the channel is confirmed already, the receiver of the confirmation.
    pub(super) fn add_listener(
        self: &Arc<Self>,
        channel: &Channel,
        listener: Arc<dyn Listener>,
    ) -> (u64, Option<oneshot::Receiver<Result<()>>>) {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let confirmed = {
            let mut connections = self.connections();
            let there =
                connections.values().find(|subscriptions| subscriptions.inner().book.has(channel)).map(Arc::clone);
            let subscriptions = there.unwrap_or_else(|| Arc::clone(connections.entry(None).or_default()));
            let endpoint = connections
                .iter()
                .find(|(_, other)| Arc::ptr_eq(other, &subscriptions))
                .and_then(|(endpoint, _)| endpoint.clone());
            let confirmed = subscriptions.inner().book.add_listener(channel, number, listener);
            self.wake(endpoint, &subscriptions);
            confirmed
        };
        self.publish();
        (number, confirmed)
    }

    /// Removes a listener. Where the server must end the subscription, returns a receiver that is closed when the server has
    /// confirmed the end.
    pub(super) fn remove_listener(&self, channel: &Channel, number: u64) -> Option<oneshot::Receiver<()>> {
        let removed = {
            let connections = self.connections();
            connections.values().find_map(|subscriptions| {
                let removed = subscriptions.inner().book.remove_listener(channel, number)?;
                subscriptions.changed.notify_one();
                Some(removed)
            })
        };
        // The listener is dropped while nothing is locked.
        let ended = removed.and_then(|(_, ended)| ended);
        self.publish();
        ended
    }

    /// Moves the channel that the node of `from` refused to a connection to `to`. False where the channel is not sharded.
    pub(super) fn move_refused(self: &Arc<Self>, from: &Subscriptions, to: Address) -> bool {
        let mut connections = self.connections();
        let Some(moved) = from.inner().book.take_refused() else {
            return false;
        };
        self.add_moved(&mut connections, Some(to), vec![moved]);
        true
    }

    /// The node of `endpoint` cannot be reached: its channels move back to the first connection. Its task counts as ended.
    pub(super) fn abandon(self: &Arc<Self>, endpoint: &Endpoint) {
        let mut connections = self.connections();
        if let Some(subscriptions) = connections.remove(endpoint) {
            let moved = subscriptions.inner().book.take_all();
            subscriptions.stop();
            self.add_moved(&mut connections, None, moved);
        }
    }

    /// Publishes whether every subscription is confirmed.
    pub(super) fn publish(&self) {
        let settled = self.connections().values().all(|subscriptions| subscriptions.inner().book.is_settled());
        self.settled.send_if_modified(|was| std::mem::replace(was, settled) != settled);
    }

    /// True while every subscription is confirmed.
    pub(super) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Endpoint, Arc<Subscriptions>>> {
        self.connections.lock()
    }

    fn add_moved(
        self: &Arc<Self>,
        connections: &mut HashMap<Endpoint, Arc<Subscriptions>>,
        to: Endpoint,
        moved: Vec<Moved>,
    ) {
        if moved.is_empty() {
            return;
        }
        let subscriptions = connections.entry(to.clone()).or_default();
        moved.into_iter().for_each(|moved| subscriptions.inner().book.put(moved));
        self.wake(to, subscriptions);
    }

    /// Wakes the task of `subscriptions`, or starts one.
    fn wake(self: &Arc<Self>, endpoint: Endpoint, subscriptions: &Arc<Subscriptions>) {
        if !std::mem::replace(&mut subscriptions.inner().running, true) {
            let task = task::run(Arc::clone(self), endpoint, Arc::clone(subscriptions));
            self.core().exclusive.spawn_on(task, crate::lifecycle::io());
        }
        subscriptions.changed.notify_one();
    }
}
