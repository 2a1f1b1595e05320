//! A connection that its holder keeps for blocking commands. It executes them one after another, and has its own name.
//!
//! ```text
//! closed ──── open ─────► opening
//! opening ─── reached ──► ready
//! ready ───── lost ─────► restoring     commands wait, each until its own deadline
//! restoring ─ reached ──► ready
//! any ─────── end ──────► closed        close(), the manager's disconnect(), or a failure that every attempt would repeat
//! ```
//!
//! The task of a reservation (`keeper`) owns the connection. When the connection is lost, the running command fails with
//! `maybe-executed`; a command that only reads is executed on the next connection instead.

mod keeper;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::manager::Manager;
use super::opened::GRACE;
use super::request::{Request, Sink};
use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::sync::Mutex;
use keeper::Keeper;

/// An event of a reservation.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The connection is usable.
    Ready,
    /// The connection was lost and is being restored.
    Lost,
    /// An attempt to open or restore the connection failed. Another attempt follows.
    Failed(Error),
    /// The reservation is closed.
    Ended,
}

type Notify = Box<dyn Fn(Notice) + Send + Sync>;

/// A connection for blocking commands. The drop closes it.
pub struct Reserved {
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<Order>,
    name: Arc<Mutex<Option<String>>>,
    /// Cancelled to close the connection that is open now.
    session: Mutex<CancellationToken>,
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How many attempts to open a connection are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// Once, and only where the manager is connected.
    One,
    /// Until an attempt succeeds, the reservation or the manager is closed, or an attempt fails in a way that every attempt would.
    Endless,
}

enum Order {
    Open(CancellationToken, Tries, oneshot::Sender<Result<()>>),
    Run(BlockingCommand),
    Rename(String, oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

struct BlockingCommand {
    request: Request,
    blocks_for: Option<Duration>,
}

impl BlockingCommand {
    /// Until when the command may wait for a connection. A command that blocks forever waits forever.
    fn deadline(&self, command_timeout: Duration) -> Option<Instant> {
        self.blocks_for.map(|time| self.request.deadline(time + GRACE.max(command_timeout)))
    }
}

impl Reserved {
    /// A connection to `manager`'s server for the caller alone, with the name `name` or the manager's client name. It is not opened
    /// yet.
    #[must_use]
    pub fn on(manager: &Manager, name: Option<String>, notify: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let name = Arc::new(Mutex::new(name));
        let shared = Arc::clone(manager.shared());
        let keeper = Keeper::new(manager.clone(), Arc::clone(&shared), received, Arc::clone(&name), Box::new(notify));
        lifecycle::spawn(keeper.run());
        Self { shared, orders, name, session: Mutex::default() }
    }

    /// Opens the connection. Does nothing where it is open; waits where it is being restored. The call itself is ordered among the
    /// other calls; the future only waits.
    ///
    /// # Errors
    ///
    /// The failure of the attempt; `closed`.
    pub fn open(&self, tries: Tries) -> impl Future<Output = Result<()>> + Send + use<> {
        let (done, opened) = oneshot::channel();
        let session = {
            let mut session = self.session.lock();
            if session.is_cancelled() {
                *session = CancellationToken::new();
            }
            session.clone()
        };
        self.order(Order::Open(session, tries, done));
        async move { opened.await.unwrap_or_else(|_| Err(closed())) }
    }

    /// Accepts a command that blocks for `blocks_for` or until it ends. Commands are executed one after another.
    pub fn submit(&self, command: Command, sink: Sink, blocks_for: Option<Duration>) {
        if let Err(error) = self.shared.core.room() {
            return sink.settle(Err(error), &self.shared.core.metrics);
        }
        let request = Request::new(command, sink, Instant::now(), Arc::clone(&self.shared.core.metrics));
        self.order(Order::Run(BlockingCommand { request, blocks_for }));
    }

    /// Gives the name `name` to this connection, and to every later one of this reservation. Later commands do not wait for the
    /// answer.
    ///
    /// # Errors
    ///
    /// `server` or `auth` if the server refuses; `timeout` after `connectTimeoutMs`; `closed` if the connection ends before.
    pub fn rename(&self, name: String) -> impl Future<Output = Result<()>> + Send + use<> {
        let (done, renamed) = oneshot::channel();
        *self.name.lock() = Some(name.clone());
        self.order(Order::Rename(name, done));
        let limit = self.shared.core.config.connect_timeout;
        async move {
            match timeout(limit, renamed).await {
                Ok(answered) => answered.unwrap_or_else(|_| Err(closed())),
                Err(_) => Err(Error::new(
                    ErrorKind::Timeout,
                    format!("no answer within connectTimeoutMs, {} ms", limit.as_millis()),
                )),
            }
        }
    }

    /// Closes the connection. A running command is settled first: with its answer, if it has one, else with kind `closed`. The end
    /// begins with the call, before the future is polled.
    pub fn close(&self) -> impl Future<Output = ()> + Send + use<> {
        let (done, ended) = oneshot::channel();
        self.end();
        self.order(Order::Close(done));
        // An error means that the task has ended, which is the same.
        async move { drop(ended.await) }
    }

    fn end(&self) {
        self.session.lock().cancel();
    }

    fn order(&self, order: Order) {
        // The task lives as long as this handle. After its end, the drop of the order would settle its callers.
        let _ = self.orders.send(order);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.end();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection for blocking commands is closed")
}
