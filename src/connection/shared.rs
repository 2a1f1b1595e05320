//! What a manager's handle and its actor both hold.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cluster::{Answer, Place};
use super::config::Config;
use super::event::{Event, Observer};
use super::eviction::Eviction;
use super::line::Line;
use super::request::{Command, Request, Sink};
use super::sentinel::Sentinels;
use super::server_info::ServerInfo;
use super::state::{self, State};
use super::subscriber::Subscriber;
use super::topology::Topology;
use crate::crossing::at_end_of_batch;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Metrics;

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    observer: Arc<dyn Observer>,
    state: AtomicU8,
    inbox: Mutex<Inbox>,
    lane: Mutex<Lane>,
    /// Wakes the actor when the inbox has something.
    pub(super) arrived: Notify,
    /// Is a wake-up on its way? One is enough for many requests.
    announced: AtomicBool,
    server: Mutex<Option<ServerInfo>>,
    last_error: Mutex<Option<Error>>,
    /// The tasks that have a connection of their own: blocking commands, and the subscriber.
    pub(super) exclusive: TaskTracker,
    /// What is subscribed.
    pub(super) subscriber: Subscriber,
    interrupt: Mutex<CancellationToken>,
    /// Cancelled when nobody is left who could wait for an answer.
    pub(super) forsaken: CancellationToken,
    /// Where there are sentinels: what is known of them.
    pub(super) sentinels: Option<Sentinels>,
    /// Whether keys may vanish.
    pub(super) eviction: Eviction,
    /// Where there are sentinels or a cluster: where the master is, or the masters are.
    pub(super) topology: Topology,
}

/// The connection and what waits for it. The actor works on it; whoever submits may write through it, if nobody else does.
#[derive(Default)]
pub(super) struct Lane {
    /// Requests that were not given to a connection yet, oldest first.
    pub(super) queue: VecDeque<Request>,
    pub(super) pipeline: Option<Line>,
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
    pub(super) fn new(config: Config, observer: Arc<dyn Observer>) -> Self {
        let metrics = Arc::<Metrics>::default();
        Self {
            sentinels: Sentinels::of(&config.target),
            config,
            topology: Topology::new(Arc::clone(&metrics)),
            metrics,
            observer,
            state: AtomicU8::new(State::Idle as u8),
            inbox: Mutex::new(Inbox { requests: Vec::new(), open: true, closing: 0 }),
            lane: Mutex::default(),
            arrived: Notify::new(),
            announced: AtomicBool::new(false),
            server: Mutex::new(None),
            last_error: Mutex::new(None),
            exclusive: TaskTracker::new(),
            eviction: Eviction::default(),
            subscriber: Subscriber::default(),
            interrupt: Mutex::new(CancellationToken::new()),
            forsaken: CancellationToken::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        State::from_u8(self.state.load(Ordering::Acquire))
    }

    /// Moves to the state after `event` and tells the observer. False where the event changes nothing.
    pub(super) fn step(&self, event: state::Event) -> bool {
        let from = self.state();
        let Some(to) = from.after(event) else {
            return false;
        };
        match to {
            State::Closing => lock(&self.inbox).open = false,
            State::Connecting => {
                lock(&self.inbox).open = true;
                let mut interrupt = lock(&self.interrupt);
                if interrupt.is_cancelled() {
                    *interrupt = CancellationToken::new();
                }
            }
            _ => {}
        }
        self.state.store(to as u8, Ordering::Release);
        self.tell(Event::State { from, to });
        true
    }

    pub(super) fn tell(&self, event: Event) {
        self.observer.event(event);
    }

    /// Counts and tells a failure of a connection.
    pub(super) fn failed(&self, error: &Error) {
        self.metrics.connection_errors.add(1);
        *lock(&self.last_error) = Some(error.clone());
        self.tell(Event::Error(error.clone()));
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        lock(&self.last_error).clone()
    }

    pub(super) fn server(&self) -> Option<ServerInfo> {
        lock(&self.server).clone()
    }

    pub(super) fn met(&self, server: ServerInfo) {
        *lock(&self.server) = Some(server);
    }

    /// Ends every blocking command.
    pub(super) fn interrupt_exclusive(&self) {
        lock(&self.interrupt).cancel();
    }

    /// Cancelled when blocking commands must end.
    pub(super) fn interruption(&self) -> CancellationToken {
        lock(&self.interrupt).clone()
    }

    /// Takes a request in. One that cannot be taken is settled at once.
    pub(super) fn submit(self: &Arc<Self>, command: Command, sink: Sink) {
        self.submit_at(command, sink, None, false);
    }

    /// The same, for a place in a cluster, and perhaps with the first answer whatever it is: see [`Request::plain`].
    pub(super) fn submit_at(self: &Arc<Self>, command: Command, sink: Sink, place: Option<Place>, plain: bool) {
        let refused = {
            let mut inbox = lock(&self.inbox);
            if !inbox.open || inbox.closing > 0 {
                Err((sink, self.closed()))
            } else if let Err(error) = self.room() {
                Err((sink, error))
            } else {
                let mut request = Request::new(command, sink, Instant::now(), Arc::clone(&self.metrics));
                (request.place, request.plain) = (place, plain);
                inbox.requests.push(request);
                Ok(())
            }
        };
        match refused {
            Ok(()) => self.announce(),
            Err((sink, error)) => sink.settle(Err(error), &self.metrics),
        }
    }

    /// Takes in a request of the manager's own, even while it is closing.
    pub(super) fn submit_inside(self: &Arc<Self>, command: Command, sink: Sink) {
        let request = Request::new(command, sink, Instant::now(), Arc::clone(&self.metrics));
        lock(&self.inbox).requests.push(request);
        self.announce();
    }

    /// Refuses requests from now on, for one call of `disconnect()`.
    pub(super) fn shut(&self) {
        lock(&self.inbox).closing += 1;
    }

    /// So many calls of `disconnect()` are answered; from here on the state alone says whether requests are accepted.
    pub(super) fn has_closed(&self, calls: usize) {
        let mut inbox = lock(&self.inbox);
        inbox.closing = inbox.closing.saturating_sub(calls);
    }

    /// Are requests refused?
    pub(super) fn is_shut(&self) -> bool {
        let inbox = lock(&self.inbox);
        !inbox.open || inbox.closing > 0
    }

    /// The error of whatever is used after its end.
    pub(super) fn closed(&self) -> Error {
        let state = if self.state().is_over() { self.state() } else { State::Closing };
        Error::new(ErrorKind::Closed, format!("the connection manager is {}", state.name()))
    }

    /// Is there room for one more request?
    pub(super) fn room(&self) -> Result<()> {
        let over = |name: &str, limit: u64| {
            self.metrics.rejected_commands.add(1);
            Err(Error::new(
                ErrorKind::Overloaded,
                format!("{name}, {limit}, is reached: too much is waiting for the server"),
            ))
        };
        let reached = |gauge: i64, limit: u64| u64::try_from(gauge).unwrap_or(0) >= limit;
        if reached(self.metrics.pending_commands.get(), self.config.max_pending_commands) {
            return over("maxPendingCommands", self.config.max_pending_commands);
        }
        if reached(self.metrics.pending_bytes.get(), self.config.max_pending_bytes) {
            return over("maxPendingBytes", self.config.max_pending_bytes);
        }
        Ok(())
    }

    /// Sees to all that comes in one batch, once, at its end.
    fn announce(self: &Arc<Self>) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            at_end_of_batch(move || {
                if !shared.write_through() {
                    shared.arrived.notify_one();
                }
            });
        }
    }

    /// Writes what has come in from the thread it came in on, which saves waking the I/O thread. False when there is
    /// something left for the actor to do. (The actor's timer never rings later than `commandTimeoutMs` from when it was
    /// set, so it need not know of a request to meet its deadline.)
    fn write_through(&self) -> bool {
        let Ok(mut lane) = self.lane.try_lock() else {
            return false;
        };
        let Lane { queue, pipeline: Some(pipeline), renewing: false } = &mut *lane else {
            return false;
        };
        if !queue.is_empty() || !pipeline.has_room() {
            return false;
        }
        for request in self.take_inbox() {
            pipeline.append(request);
        }
        pipeline.try_write()
    }

    /// The connection and its queue. Not to be held across an await.
    pub(super) fn lane(&self) -> MutexGuard<'_, Lane> {
        lock(&self.lane)
    }

    /// Asks up to `most` nodes of the cluster for the slot map, over connections that are in use.
    pub(super) fn ask_nodes(&self, most: usize) -> Vec<Answer> {
        let asked = match &mut self.lane().pipeline {
            Some(Line::Cluster(nodes)) => nodes.ask_map(most),
            Some(Line::One { .. }) | None => Vec::new(),
        };
        if !asked.is_empty() {
            self.arrived.notify_one();
        }
        asked
    }

    /// All that was taken in since the last call.
    pub(super) fn take_inbox(&self) -> Vec<Request> {
        self.announced.store(false, Ordering::Release);
        std::mem::take(&mut lock(&self.inbox).requests)
    }
}

/// A lock whose holders never panic while they hold it; a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
