//! The task of a reservation: opens the connection, executes commands on it, restores it and ends it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{BlockingCommand, Notice, Notify, Order, Tries, closed};
use crate::connection::core::Core;
use crate::connection::exclusive;
use crate::connection::manager::Manager;
use crate::connection::opened::{self, Opened};
use crate::connection::refusal::refusal;
use crate::connection::request::{Refusal, Refused, Request};
use crate::connection::shared::Shared;
use crate::connection::state::State;
use crate::connection::target::Target;
use crate::connection::topology;
use crate::connection::wait::{Next, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::sync::Mutex;

/// The task of a reservation.
pub(super) struct Keeper {
    manager: Manager,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedReceiver<Order>,
    name: Arc<Mutex<Option<String>>>,
    notify: Notify,
    waiting: VecDeque<BlockingCommand>,
    opening: Vec<oneshot::Sender<Result<()>>>,
    closing: Vec<oneshot::Sender<()>>,
}

/// The outcome of an attempt: a connection. In a cluster the connection is opened later, to the node that a command needs.
struct Reached {
    opened: Option<Opened>,
    in_cluster: bool,
    /// Cancelled when the manager is disconnected.
    interrupted: CancellationToken,
}

enum Ended {
    Lost,
    Stopped,
}

impl Keeper {
    pub(super) fn new(
        manager: Manager,
        shared: Arc<Shared>,
        orders: mpsc::UnboundedReceiver<Order>,
        name: Arc<Mutex<Option<String>>>,
        notify: Notify,
    ) -> Self {
        let (waiting, opening, closing) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { manager, shared, orders, name, notify, waiting, opening, closing }
    }

    pub(super) async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            match order {
                Order::Open(session, tries, done) => {
                    self.opening.push(done);
                    let error = Box::pin(self.run_session(&session, tries)).await;
                    self.finish(&error);
                }
                Order::Run(waiting) => waiting.request.settle(Err(closed()), Instant::now()),
                // The name is sent when the connection opens.
                Order::Rename(_, done) => drop(done.send(Ok(()))),
                Order::Close(done) => {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Runs from `open` to the end of the reservation. Returns the reason of the end.
    async fn run_session(&mut self, session: &CancellationToken, mut tries: Tries) -> Error {
        loop {
            let mut reached = match self.reach(session, tries).await {
                Ok(reached) => reached,
                Err(error) => return error,
            };
            // The manager's `disconnect()` waits for this token.
            let _open = self.shared.core.exclusive.token();
            topology::watch(&self.shared);
            tries = Tries::Endless;
            (self.notify)(Notice::Ready);
            self.opened();
            match Box::pin(self.serve(&mut reached, session)).await {
                Ended::Lost => (self.notify)(Notice::Lost),
                Ended::Stopped if reached.interrupted.is_cancelled() => return self.shared.core.closed(),
                Ended::Stopped => return closed(),
            }
        }
    }

    fn finish(&mut self, error: &Error) {
        (self.notify)(Notice::Ended);
        for done in self.opening.drain(..) {
            drop(done.send(Err(error.clone())));
        }
        for waiting in self.waiting.drain(..) {
            waiting.request.settle(Err(error.clone()), Instant::now());
        }
        for done in self.closing.drain(..) {
            let _ = done.send(());
        }
    }

    fn opened(&mut self) {
        for done in self.opening.drain(..) {
            drop(done.send(Ok(())));
        }
    }

    /// Takes an order while the reservation is open. False for an order that ends the reservation.
    fn take(&mut self, order: Option<Order>) -> bool {
        match order {
            None => return false,
            Some(Order::Open(_, _, done)) => self.opening.push(done),
            Some(Order::Run(waiting)) => self.waiting.push_back(waiting),
            Some(Order::Rename(_, done)) => drop(done.send(Ok(()))),
            Some(Order::Close(done)) => {
                self.closing.push(done);
                return false;
            }
        }
        true
    }

    /// Tries until a connection is open. Commands wait meanwhile, each until its deadline.
    async fn reach(&mut self, session: &CancellationToken, tries: Tries) -> Result<Reached> {
        if tries == Tries::One && self.manager.state() != State::Ready {
            return Err(Error::new(ErrorKind::Connection, "the connection manager is not connected"));
        }
        let (manager, shared, name) = (self.manager.clone(), Arc::clone(&self.shared), Arc::clone(&self.name));
        let interrupted = shared.core.interruption();
        let begin = |delay| attempt(delay, manager.clone(), Arc::clone(&shared), Arc::clone(&name));
        let mut attempts = std::pin::pin!(begin(Duration::ZERO));
        let mut failures = 0;
        loop {
            let expiry = self.expire();
            tokio::select! {
                reached = attempts.as_mut() => match reached {
                    Err(error) if error.retryable() && tries == Tries::Endless => {
                        self.shared.core.metrics.connection_errors.add(1);
                        (self.notify)(Notice::Failed(error));
                        attempts.set(begin(shared.core.config.reconnect.delay(failures)));
                        failures = failures.saturating_add(1);
                    }
                    reached => return reached,
                },
                order = self.orders.recv() => if !self.take(order) {
                    return Err(closed());
                },
                () = until(expiry) => {}
                () = session.cancelled() => return Err(closed()),
                () = interrupted.cancelled() => return Err(self.shared.core.closed()),
            }
        }
    }

    /// Settles the commands that have waited for a connection for too long. Returns when to look again.
    fn expire(&mut self) -> Option<Instant> {
        let (now, command_timeout) = (Instant::now(), self.shared.core.config.command_timeout);
        let is_late = |one: &BlockingCommand| one.deadline(command_timeout).is_some_and(|deadline| deadline <= now);
        while let Some(at) = self.waiting.iter().position(is_late) {
            if let Some(late) = self.waiting.remove(at) {
                late.request.settle(Err(no_connection()), now);
            }
        }
        self.waiting.iter().filter_map(|one| one.deadline(command_timeout)).min()
    }

    /// Executes commands until the connection is lost or must be closed.
    async fn serve(&mut self, reached: &mut Reached, session: &CancellationToken) -> Ended {
        loop {
            if session.is_cancelled() || reached.interrupted.is_cancelled() {
                return Ended::Stopped;
            }
            if let Some(waiting) = self.waiting.pop_front() {
                if !self.execute(reached, waiting, session).await {
                    return Ended::Lost;
                }
                continue;
            }
            let seat = reached.opened.as_ref().and_then(|opened| opened.seat.clone());
            tokio::select! {
                () = session.cancelled() => {}
                () = reached.interrupted.cancelled() => {}
                () = self.shared.core.topology.left(seat.as_ref()) => {
                    if !reached.in_cluster {
                        return Ended::Lost;
                    }
                    reached.opened = None;
                }
                () = hung_up(&mut reached.opened) => return Ended::Lost,
                order = self.orders.recv() => match order {
                    Some(Order::Rename(name, done)) => if !reached.rename(&name, done).await {
                        return Ended::Lost;
                    },
                    order => if !self.take(order) {
                        return Ended::Stopped;
                    },
                },
            }
            self.opened();
        }
    }

    /// Executes one command at the right server, and after a refusal again, until the command's own timeout is over. False when the
    /// connection was lost.
    async fn execute(&mut self, reached: &mut Reached, waiting: BlockingCommand, session: &CancellationToken) -> bool {
        let mut wait = Wait::new(&waiting.request, waiting.blocks_for);
        loop {
            match self.ask(reached, &waiting, &mut wait, session).await {
                Ok(Next::Again) => {}
                Ok(Next::Done(outcome)) => return self.conclude(reached, waiting, outcome, session),
                Err(not_asked) => {
                    waiting.request.settle(Err(not_asked), Instant::now());
                    return reached.in_cluster || reached.opened.is_some();
                }
            }
        }
    }

    /// Sends the command to one server.
    ///
    /// # Errors
    ///
    /// The reason why no server could be reached.
    async fn ask(
        &self,
        reached: &mut Reached,
        waiting: &BlockingCommand,
        wait: &mut Wait,
        session: &CancellationToken,
    ) -> Result<Next> {
        let BlockingCommand { request, .. } = waiting;
        let shared = &self.shared;
        let interrupted = reached.interrupted.clone();
        let stopped = async || {
            tokio::select! {
                () = session.cancelled() => {}
                () = interrupted.cancelled() => {}
            }
        };
        let kept = reached.opened.take();
        let is_right = |opened: &Opened| opened.seat.as_ref().is_none_or(|seat| shared.core.topology.is_right(seat));
        let mut opened = if let Some(opened) = kept.filter(is_right) {
            opened
        } else {
            tokio::select! {
                opened = open_in_time(shared, request, wait, &self.name) => opened?,
                () = stopped() => return Err(closed()),
            }
        };
        let (payload, blocks_for) = match wait.rest(&request.command) {
            Ok(rest) => rest,
            Err(error) => {
                reached.opened = Some(opened);
                return Err(error);
            }
        };
        let outcome = opened.ask(shared, &payload, blocks_for, stopped()).await;
        let answered = outcome.is_ok();
        let next = wait.judge(&shared.core, request, &opened, outcome);
        if answered && wait.keeps(&shared.core, &opened) {
            reached.opened = Some(opened);
        }
        if matches!(next, Next::Again) {
            tokio::select! {
                () = wait.pause(&shared.core) => {}
                () = stopped() => return Err(closed()),
            }
        }
        Ok(next)
    }

    /// Gives the outcome to the caller. False when the outcome means that the connection was lost.
    fn conclude(
        &mut self,
        reached: &Reached,
        mut waiting: BlockingCommand,
        outcome: Result<Reply>,
        session: &CancellationToken,
    ) -> bool {
        let stopped = session.is_cancelled() || reached.interrupted.is_cancelled();
        let lost = outcome.is_err() && !stopped;
        let refused = outcome.as_ref().ok().and_then(|reply| refusal(&waiting.request, reply, false));
        if let Some(Refused { refusal: Refusal::Renew, is_doubtful: false, .. }) = refused
            && !stopped
            && waiting.request.retries.may_renew()
        {
            // The server became a replica: the next connection leads to the master, where there is one.
            self.shared.core.metrics.resent_commands.add(1);
            self.waiting.push_front(waiting);
            return false;
        }
        match outcome {
            Err(error) if lost && waiting.request.command.safe && error.kind() == ErrorKind::Connection => {
                self.shared.core.metrics.resent_commands.add(1);
                self.waiting.push_front(waiting);
            }
            outcome => waiting.request.settle(outcome, Instant::now()),
        }
        !lost
    }
}

impl Reached {
    /// Names the connection. False when the connection was lost.
    async fn rename(&mut self, name: &str, done: oneshot::Sender<Result<()>>) -> bool {
        let Some(opened) = &mut self.opened else {
            // In a cluster the name is sent when the next connection opens.
            drop(done.send(Ok(())));
            return true;
        };
        opened.rename_ahead(name, done).await.is_ok()
    }
}

/// One attempt, after `delay`: waits for the manager to be connected, then opens a connection.
async fn attempt(
    delay: Duration,
    manager: Manager,
    shared: Arc<Shared>,
    name: Arc<Mutex<Option<String>>>,
) -> Result<Reached> {
    sleep(delay).await;
    manager.connect_unless_closed().await?;
    let interrupted = shared.core.interruption();
    let in_cluster = matches!(shared.core.config.target, Target::Cluster(_));
    let opened = if in_cluster {
        None
    } else {
        Some(named(&shared.core, opened::open(&shared.core, None, true, None).await?, &name).await?)
    };
    Ok(Reached { opened, in_cluster, interrupted })
}

/// Opens a connection for a command, under the reservation's name.
async fn open_in_time(
    shared: &Arc<Shared>,
    request: &Request,
    wait: &Wait,
    name: &Mutex<Option<String>>,
) -> Result<Opened> {
    named(&shared.core, exclusive::open_in_time(shared, request, true, wait).await?, name).await
}

/// Gives the reservation's name to a connection.
async fn named(core: &Core, mut opened: Opened, name: &Mutex<Option<String>>) -> Result<Opened> {
    let name = name.lock().clone();
    if let Some(name) = name {
        let limit = core.config.connect_timeout;
        // The server may refuse the name; the connection is used all the same.
        timeout(limit, opened.rename(&name)).await.unwrap_or_else(|_| Err(no_connection()))?;
    }
    Ok(opened)
}

/// Ends when an idle connection is lost.
async fn hung_up(opened: &mut Option<Opened>) {
    match opened {
        Some(opened) => opened.hung_up().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn no_connection() -> Error {
    Error::new(ErrorKind::Timeout, "no connection for blocking commands in time: the command was not sent")
}
