//! What a manager's handle and its actor both hold: what is to be sent, and what it is sent on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::cluster::AwaitedMap;
use super::command::Command;
use super::core::Core;
use super::request::{Destination, Request, Sink};
use super::state::{State, Trigger};
use super::upstream::Upstream;
use crate::crossing::at_end_of_batch;
use crate::error::Result;
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Shared {
    pub(super) core: Arc<Core>,
    inbox: Mutex<Inbox>,
    lane: Mutex<Lane>,
    /// Is a wake-up on its way? One is enough for many requests.
    announced: AtomicBool,
}

/// The connection, and the requests that wait for it. The actor works on it; a caller that submits may write on it too, while nobody else does.
#[derive(Default)]
pub(super) struct Lane {
    /// Requests that were not given to a connection yet, oldest first.
    pub(super) queue: VecDeque<Request>,
    pub(super) upstream: Option<Upstream>,
    /// The connection is to be replaced: nothing new goes on it.
    pub(super) renewing: bool,
}

struct Inbox {
    requests: Vec<Request>,
    /// Does the state accept requests?
    open: bool,
    /// Calls of `disconnect()` that the actor has not answered. While there are some, nothing is accepted.
    closing: usize,
}

impl Shared {
    pub(super) fn new(core: Core) -> Self {
        Self {
            core: Arc::new(core),
            inbox: Mutex::new(Inbox { requests: Vec::new(), open: true, closing: 0 }),
            lane: Mutex::default(),
            announced: AtomicBool::new(false),
        }
    }

    /// Moves to the state after `trigger` and tells the observer. False where the event changes nothing.
    pub(super) fn step(&self, trigger: Trigger) -> bool {
        let Some(to) = self.core.status.state().after(trigger) else {
            return false;
        };
        match to {
            State::Closing => self.inbox.lock().open = false,
            State::Connecting => self.inbox.lock().open = true,
            _ => {}
        }
        self.core.enter(to);
        true
    }

    /// Takes a request in. One that cannot be taken is settled at once.
    pub(super) fn submit(self: &Arc<Self>, command: Command, sink: Sink) {
        self.submit_at(command, sink, None, false);
    }

    /// The same, for a destination in a cluster. With `once` the first reply is the answer, whatever it is.
    pub(super) fn submit_at(
        self: &Arc<Self>,
        command: Command,
        sink: Sink,
        destination: Option<Destination>,
        once: bool,
    ) {
        let refused = {
            let mut inbox = self.inbox.lock();
            if !inbox.open || inbox.closing > 0 {
                Err((sink, self.core.closed()))
            } else if let Err(error) = self.core.room() {
                Err((sink, error))
            } else {
                let mut request = Request::new(command, sink, Instant::now(), Arc::clone(&self.core.metrics));
                (request.routing.destination, request.retries.forbidden) = (destination, once);
                inbox.requests.push(request);
                Ok(())
            }
        };
        match refused {
            Ok(()) => self.announce(),
            Err((sink, error)) => sink.settle(Err(error), &self.core.metrics),
        }
    }

    /// Takes in a command of the manager's own, even while the manager is closing. The future gives its reply, or the error.
    pub(super) fn ask(self: &Arc<Self>, command: Command) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let (sink, answer) = oneshot::channel();
        self.submit_inside(command, Sink::Waiter(sink));
        let core = Arc::clone(&self.core);
        async move { answer.await.unwrap_or_else(|_| Err(core.closed())) }
    }

    fn submit_inside(self: &Arc<Self>, command: Command, sink: Sink) {
        let request = Request::new(command, sink, Instant::now(), Arc::clone(&self.core.metrics));
        self.inbox.lock().requests.push(request);
        self.announce();
    }

    /// Refuses requests from now on, for one call of `disconnect()`.
    pub(super) fn shut(&self) {
        self.inbox.lock().closing += 1;
    }

    /// `calls` calls of `disconnect()` are answered. From here on the state alone says whether requests are accepted.
    pub(super) fn has_closed(&self, calls: usize) {
        let mut inbox = self.inbox.lock();
        inbox.closing = inbox.closing.saturating_sub(calls);
    }

    /// Are requests refused?
    pub(super) fn is_shut(&self) -> bool {
        let inbox = self.inbox.lock();
        !inbox.open || inbox.closing > 0
    }

    /// Sees to all that comes in one batch, once, at its end.
    fn announce(self: &Arc<Self>) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            at_end_of_batch(move || {
                if !shared.write_through() {
                    shared.core.arrived.notify_one();
                }
            });
        }
    }

    /// Writes what has come in from the thread it came in on, which saves waking the I/O thread. False when there is
    /// something left for the actor to do. (The actor's timer never rings later than `commandTimeoutMs` from when it was
    /// set, so it need not know of a request to meet its deadline.)
    fn write_through(&self) -> bool {
        let Some(mut lane) = self.lane.try_lock() else {
            return false;
        };
        let Lane { queue, upstream: Some(upstream), renewing: false } = &mut *lane else {
            return false;
        };
        if !queue.is_empty() || !upstream.has_room() {
            return false;
        }
        for request in self.take_inbox() {
            upstream.append(request);
        }
        upstream.try_write()
    }

    /// The connection and its queue. Not to be held across an await.
    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock()
    }

    /// Asks up to `most` nodes of the cluster for the slot map, over connections that are in use.
    pub(super) fn ask_nodes(&self, most: usize) -> Vec<AwaitedMap> {
        let asked = match &mut self.lane().upstream {
            Some(Upstream::Cluster(nodes)) => nodes.ask_map(most),
            Some(Upstream::One { .. }) | None => Vec::new(),
        };
        if !asked.is_empty() {
            self.core.arrived.notify_one();
        }
        asked
    }

    /// All that was taken in since the last call.
    pub(super) fn take_inbox(&self) -> Vec<Request> {
        self.announced.store(false, Ordering::Release);
        std::mem::take(&mut self.inbox.lock().requests)
    }
}
