//! What all connections of a manager share: configuration, metrics, state, and what is known of the servers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::Config;
use super::event::Observer;
use super::sentinel::Sentinels;
use super::state::State;
use super::status::Status;
use super::topology::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Mutex;
use crate::telemetry::Metrics;

pub(super) struct Core {
    pub(super) config: Config,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status: Status,
    /// Wakes the actor: the inbox has a request, or the topology has changed.
    pub(super) arrived: Notify,
    /// The tasks with a connection of their own: blocking commands, and the subscriber.
    pub(super) exclusive: TaskTracker,
    interrupt: Mutex<CancellationToken>,
    /// Cancelled when no caller is left that could wait for an answer.
    pub(super) callers_gone: CancellationToken,
    /// The known sentinels, where the target has sentinels.
    pub(super) sentinels: Option<Sentinels>,
    /// Was the server asked whether it evicts keys?
    pub(super) asked_for_eviction: AtomicBool,
    /// The known master or masters, where the target has sentinels or is a cluster.
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
            status: Status::new(observer),
            arrived: Notify::new(),
            exclusive: TaskTracker::new(),
            interrupt: Mutex::new(CancellationToken::new()),
            callers_gone: CancellationToken::new(),
            asked_for_eviction: AtomicBool::new(false),
        }
    }

    /// Enters the state `to`, and informs the observer.
    pub(super) fn enter(&self, to: State) {
        if to == State::Connecting {
            let mut interrupt = self.interrupt.lock();
            if interrupt.is_cancelled() {
                *interrupt = CancellationToken::new();
            }
        }
        self.status.enter(to);
    }

    /// Counts and reports the failure of a connection.
    pub(super) fn failed(&self, error: &Error) {
        self.metrics.connection_errors.add(1);
        self.status.failed(error);
    }

    /// Ends every blocking command.
    pub(super) fn interrupt_exclusive(&self) {
        self.interrupt.lock().cancel();
    }

    /// Cancelled when blocking commands must end.
    pub(super) fn interruption(&self) -> CancellationToken {
        self.interrupt.lock().clone()
    }

    /// The error of a call after the manager was closed.
    pub(super) fn closed(&self) -> Error {
        let state = Some(self.status.state()).filter(|state| state.is_over()).unwrap_or(State::Closing);
        Error::new(ErrorKind::Closed, format!("the connection manager is {}", state.name()))
    }

    /// Fails if there is no room for one more request.
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

    /// Counts a connection in the metrics, until the returned value is dropped.
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
