//! What every connection of a manager uses: its configuration and its metrics, the state it is in, and what is known of its servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::event::{Event, Observer};
use super::sentinel::Sentinels;
use super::server_info::ServerInfo;
use super::state::State;
use super::topology::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Mutex;
use crate::telemetry::Metrics;

pub(super) struct Core {
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    observer: Arc<dyn Observer>,
    state: AtomicU8,
    /// The state once more, for those who wait for another one.
    entered: watch::Sender<State>,
    /// Wakes the actor: the inbox has something, or the topology has changed.
    pub(super) arrived: Notify,
    server: Mutex<Option<ServerInfo>>,
    last_error: Mutex<Option<Error>>,
    /// The tasks that have a connection of their own: blocking commands, and the subscriber.
    pub(super) exclusive: TaskTracker,
    interrupt: Mutex<CancellationToken>,
    /// Cancelled when nobody is left who could wait for an answer.
    pub(super) forsaken: CancellationToken,
    /// Where there are sentinels: what is known of them.
    pub(super) sentinels: Option<Sentinels>,
    /// Has the server been asked whether it deletes keys by itself?
    pub(super) asked_for_eviction: AtomicBool,
    /// Where there are sentinels or a cluster: where the master is, or the masters are.
    pub(super) topology: Topology,
}

impl Core {
    pub(super) fn new(config: Config, observer: Arc<dyn Observer>) -> Self {
        let metrics = Arc::<Metrics>::default();
        Self {
            sentinels: Sentinels::of(&config.target),
            config,
            topology: Topology::new(Arc::clone(&metrics)),
            metrics,
            observer,
            state: AtomicU8::new(State::Idle as u8),
            entered: watch::Sender::new(State::Idle),
            arrived: Notify::new(),
            server: Mutex::new(None),
            last_error: Mutex::new(None),
            exclusive: TaskTracker::new(),
            interrupt: Mutex::new(CancellationToken::new()),
            forsaken: CancellationToken::new(),
            asked_for_eviction: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> State {
        State::from_u8(self.state.load(Ordering::Acquire))
    }

    /// Resolves when the state is no longer `ready`.
    pub(super) async fn unready(&self) {
        // The sender is this core's own.
        let _ = self.entered.subscribe().wait_for(|state| *state != State::Ready).await;
    }

    /// Is in the state `to` from now on, and tells the observer.
    pub(super) fn enter(&self, to: State) {
        if to == State::Connecting {
            let mut interrupt = self.interrupt.lock();
            if interrupt.is_cancelled() {
                *interrupt = CancellationToken::new();
            }
        }
        let from = self.state();
        self.state.store(to as u8, Ordering::Release);
        self.entered.send_replace(to);
        self.tell(Event::State { from, to });
    }

    pub(super) fn tell(&self, event: Event) {
        self.observer.event(event);
    }

    /// Counts and tells a failure of a connection.
    pub(super) fn failed(&self, error: &Error) {
        self.metrics.connection_errors.add(1);
        *self.last_error.lock() = Some(error.clone());
        self.tell(Event::Error(error.clone()));
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    pub(super) fn server(&self) -> Option<ServerInfo> {
        self.server.lock().clone()
    }

    pub(super) fn met(&self, server: ServerInfo) {
        *self.server.lock() = Some(server);
    }

    /// Ends every blocking command.
    pub(super) fn interrupt_exclusive(&self) {
        self.interrupt.lock().cancel();
    }

    /// Cancelled when blocking commands must end.
    pub(super) fn interruption(&self) -> CancellationToken {
        self.interrupt.lock().clone()
    }

    /// The error of anything that is used after its end.
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

    /// Counts a connection in the metrics, until what this gives is dropped.
    pub(super) fn counted(&self) -> Counted {
        self.metrics.connections.add(1);
        Counted(Arc::clone(&self.metrics))
    }
}

/// A connection that is counted.
pub(super) struct Counted(Arc<Metrics>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.add(-1);
    }
}
