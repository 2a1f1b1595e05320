//! The connections of a manager's subscriptions, and which channel is on which.
//!
//! Everything is wanted on the connection to whoever answers first. Only in a cluster does a node say that a sharded channel
//! is for another one: it goes there then, and comes back when that one cannot be reached.

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

/// Where a connection leads: to a certain node of a cluster, or (`None`) to the server, or any node.
pub(super) type Route = Option<Address>;

/// All of a manager's subscriptions.
pub(in crate::connection) struct Subscriber {
    shared: Arc<Shared>,
    lines: Mutex<HashMap<Route, Arc<Line>>>,
    last: AtomicU64,
    /// Is all that is wanted confirmed?
    settled: watch::Sender<bool>,
}

/// What handles and the task of one connection share.
#[derive(Default)]
pub(super) struct Line {
    inner: Mutex<Inner>,
    /// Wakes the task when something is to repair.
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) book: Book,
    /// Is there a task?
    running: bool,
}

impl Line {
    /// Not to be held across an await, nor while a listener is called or dropped.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Does nothing of it remain to be done? Then its task has ended with this call.
    pub(super) fn rest(&self) -> bool {
        let mut inner = self.inner();
        inner.running = !inner.book.is_empty();
        !inner.running
    }

    /// Its task has ended with this call.
    pub(super) fn stop(&self) {
        self.inner().running = false;
    }
}

impl Subscriber {
    pub(in crate::connection) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, lines: Mutex::default(), last: AtomicU64::new(0), settled: watch::Sender::new(true) }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    /// Are subscriptions refused?
    pub(super) fn is_shut(&self) -> bool {
        self.shared.is_shut()
    }

    /// Has the topology watched from now on: a connection is needed.
    pub(super) fn watch_topology(&self) {
        topology::watch(&self.shared);
    }

    /// Registers `listener`. Gives its number and, unless the channel is confirmed, what will say when it is.
    pub(super) fn want(
        self: &Arc<Self>,
        channel: &Channel,
        listener: Arc<dyn Listener>,
    ) -> (u64, Option<oneshot::Receiver<Result<()>>>) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let confirmed = {
            let mut lines = self.lines();
            let there = lines.values().find(|line| line.inner().book.has(channel)).map(Arc::clone);
            let line = there.unwrap_or_else(|| Arc::clone(lines.entry(None).or_default()));
            let route = lines.iter().find(|(_, other)| Arc::ptr_eq(other, &line)).and_then(|(route, _)| route.clone());
            let confirmed = line.inner().book.want(channel, number, listener);
            self.wake(route, &line);
            confirmed
        };
        self.publish();
        (number, confirmed)
    }

    /// Removes a listener. Where the subscription must be ended on the server, gives what is closed when that is confirmed.
    pub(super) fn unwant(&self, channel: &Channel, number: u64) -> Option<oneshot::Receiver<()>> {
        let removed = {
            let lines = self.lines();
            lines.values().find_map(|line| {
                let removed = line.inner().book.unwant(channel, number)?;
                line.changed.notify_one();
                Some(removed)
            })
        };
        // The listener goes where nothing is locked.
        let ended = removed.and_then(|(_, ended)| ended);
        self.publish();
        ended
    }

    /// Has a channel that the node of `from` refused wanted at the node of `to`. False where it was no sharded channel.
    pub(super) fn moves(self: &Arc<Self>, from: &Line, to: Address) -> bool {
        let mut lines = self.lines();
        let Some(moved) = from.inner().book.take_refused() else {
            return false;
        };
        self.give(&mut lines, Some(to), vec![moved]);
        true
    }

    /// The node of `route` cannot be reached: any other one will know who has its channels now. Its task ends with this call.
    pub(super) fn abandon(self: &Arc<Self>, route: &Route) {
        let mut lines = self.lines();
        if let Some(line) = lines.remove(route) {
            let moved = line.inner().book.take_all();
            line.stop();
            self.give(&mut lines, None, moved);
        }
    }

    /// Tells those who wait for it whether all is confirmed.
    pub(super) fn publish(&self) {
        let settled = self.lines().values().all(|line| line.inner().book.is_settled());
        self.settled.send_if_modified(|was| std::mem::replace(was, settled) != settled);
    }

    /// Becomes true when all that is wanted is confirmed.
    pub(super) fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Route, Arc<Line>>> {
        self.lines.lock()
    }

    fn give(self: &Arc<Self>, lines: &mut HashMap<Route, Arc<Line>>, to: Route, moved: Vec<Moved>) {
        if moved.is_empty() {
            return;
        }
        let line = lines.entry(to.clone()).or_default();
        moved.into_iter().for_each(|moved| line.inner().book.put(moved));
        self.wake(to, line);
    }

    /// Has the task of `line` look, and starts it if there is none.
    fn wake(self: &Arc<Self>, route: Route, line: &Arc<Line>) {
        if !std::mem::replace(&mut line.inner().running, true) {
            let task = task::run(Arc::clone(self), route, Arc::clone(line));
            self.core().exclusive.spawn_on(task, crate::lifecycle::io());
        }
        line.changed.notify_one();
    }
}
