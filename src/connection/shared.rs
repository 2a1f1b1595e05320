//! What a manager's handle and its actor both hold.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::event::{Event, Observer};
use super::handshake::ServerInfo;
use super::request::{Command, Request, Sink};
use super::sentinel::Sentinels;
use super::state::{self, State};
use crate::crossing::at_end_of_batch;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Metrics;

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    observer: Arc<dyn Observer>,
    state: AtomicU8,
    inbox: Mutex<Inbox>,
    /// Wakes the actor when the inbox has something.
    pub(super) arrived: Notify,
    /// Is a wake-up on its way? One is enough for many requests.
    announced: AtomicBool,
    server: Mutex<Option<ServerInfo>>,
    last_error: Mutex<Option<Error>>,
    /// Blocking commands in hand, each on a connection of its own.
    pub(super) exclusive: TaskTracker,
    interrupt: Mutex<CancellationToken>,
    /// Where there are sentinels: what is known of them.
    pub(super) sentinels: Option<Sentinels>,
}

struct Inbox {
    requests: Vec<Request>,
    open: bool,
}

impl Shared {
    pub(super) fn new(config: Config, observer: Arc<dyn Observer>) -> Self {
        Self {
            sentinels: Sentinels::of(&config.target),
            config,
            metrics: Arc::default(),
            observer,
            state: AtomicU8::new(State::Idle as u8),
            inbox: Mutex::new(Inbox { requests: Vec::new(), open: true }),
            arrived: Notify::new(),
            announced: AtomicBool::new(false),
            server: Mutex::new(None),
            last_error: Mutex::new(None),
            exclusive: TaskTracker::new(),
            interrupt: Mutex::new(CancellationToken::new()),
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
        let refused = {
            let mut inbox = lock(&self.inbox);
            if !inbox.open {
                Err((sink, self.closed()))
            } else if let Err(error) = self.room() {
                Err((sink, error))
            } else {
                inbox.requests.push(Request::new(command, sink, Instant::now(), Arc::clone(&self.metrics)));
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

    /// The error of whatever is used after its end.
    pub(super) fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed, format!("the connection manager is {}", self.state().name()))
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

    /// Wakes the actor once for all that comes in one batch.
    fn announce(self: &Arc<Self>) {
        if !self.announced.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            at_end_of_batch(move || shared.arrived.notify_one());
        }
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
