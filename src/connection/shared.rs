//! The state that a manager's handle and its actor share: the requests to send, and the connection to send them on.

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

/// The connection, and the requests that wait for it. The actor works on them. A caller that submits a request may write on the
/// connection too, while the lane is not locked.
#[derive(Default)]
pub(super) struct Lane {
    /// Requests that no connection has yet, oldest first.
    pub(super) queue: VecDeque<Request>,
    pub(super) upstream: Option<Upstream>,
    /// Is the connection to be replaced? Then no further request is written on it.
    pub(super) renewing: bool,
}

struct Inbox {
    requests: Vec<Request>,
    /// Does the state accept requests?
    open: bool,
    /// Calls of `disconnect()` that the actor has not answered. No request is accepted while there is one.
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

    /// Enters the state after `trigger`, and informs the observer. False where the trigger changes nothing.
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

    /// Accepts a request. A request that is refused is settled at once.
    pub(super) fn submit(self: &Arc<Self>, command: Command, sink: Sink) {
        self.submit_at(command, sink, None, false);
    }

    /// As [`Shared::submit`], for a destination in a cluster. With `once` the first reply is the answer, also if it is a refusal.
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

    /// Accepts a command of the manager itself, even while the manager is closing. The future gives the reply or the error.
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

    /// Records that `calls` calls of `disconnect()` are answered. Once all are answered, the state alone decides whether requests are
    /// accepted.
    pub(super) fn has_closed(&self, calls: usize) {
        let mut inbox = self.inbox.lock();
        inbox.closing = inbox.closing.saturating_sub(calls);
    }

    /// Are requests refused?
    pub(super) fn is_shut(&self) -> bool {
        let inbox = self.inbox.lock();
        !inbox.open || inbox.closing > 0
    }

    /// Handles the new requests once, at the end of the current batch.
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

    /// Writes the new requests on the caller's thread, which saves a wake-up of the I/O thread. False when something is left for the
    /// actor. (The actor's timer fires at most `commandTimeoutMs` after it was set. So deadlines are met even if the actor does not
    /// know of a request yet.)
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

    /// The connection and its queue. The guard must not be held across an await.
    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock()
    }

    /// Asks up to `most` nodes of the cluster for the slot map, on the connections in use.
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

    /// The requests since the last call.
    pub(super) fn take_inbox(&self) -> Vec<Request> {
        self.announced.store(false, Ordering::Release);
        std::mem::take(&mut self.inbox.lock().requests)
    }
}
