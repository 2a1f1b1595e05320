//! The one task that owns a manager's connection: it connects, serves, reconnects and ends.
//!
//! The actor owns all state of the connection. The handle sends it commands through the inbox, and connect and close through the
//! control channel. The actor answers by settling requests and by publishing the [`State`].

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Sleep, timeout};

use super::connect::is_final;
use super::event::Event;
use super::pipeline::{Demand, Leftovers};
use super::request::{Request, timed_out};
use super::server_info::ServerInfo;
use super::shared::{Lane, Shared};
use super::state::{self, State};
use super::upstream::{self, Upstream};
use super::{dial, topology};
use crate::crossing::batch;
use crate::embedded::Hold;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;

/// The wait before a request is sent again after the server could not execute it yet.
const LATER: Duration = Duration::from_millis(50);
/// How long the actor sleeps when nothing has a deadline.
const FAR: Duration = Duration::from_hours(1);

pub(super) enum Control {
    Connect {
        done: oneshot::Sender<Result<()>>,
        /// Does the call connect a manager that was disconnected?
        reopens: bool,
    },
    Close(oneshot::Sender<()>),
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    control: mpsc::UnboundedReceiver<Control>,
    /// Requests to send again, and when.
    later: Vec<(Instant, Request)>,
    connecting: Vec<oneshot::Sender<Result<()>>>,
    closing: Vec<oneshot::Sender<()>>,
    /// Callers of `connect()` after a `disconnect()` that has not ended yet.
    reopening: Vec<oneshot::Sender<Result<()>>>,
    timer: Pin<Box<Sleep>>,
}

/// Why the actor stops connecting or serving.
enum Stop {
    /// `disconnect()` was called.
    Close,
    /// Every handle is dropped.
    Dropped,
}

enum Round {
    Wait(Instant),
    Lost(Error),
    /// The connection is given up, because another server is the master.
    Left(Error),
    /// `disconnect()` is done: the connection may be closed.
    Done,
}

enum Ended {
    Lost(Error),
    Left(Error),
    Stopped(Stop),
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, control: mpsc::UnboundedReceiver<Control>) -> Self {
        Self {
            shared,
            control,
            later: Vec::new(),
            connecting: Vec::new(),
            closing: Vec::new(),
            reopening: Vec::new(),
            timer: Box::pin(tokio::time::sleep(FAR)),
        }
    }

    /// Runs until every handle is dropped. Then settles all open requests with kind `closed`.
    pub(super) async fn run(mut self) {
        while lifecycle::caught(self.run_sessions()).await.is_none() {
            self.recover();
        }
        self.shared.core.interrupt_exclusive();
        let left = std::mem::take(&mut *self.shared.lane());
        batch(|| drop((left, self)));
    }

    /// Connects and serves, again after each end, until every handle is dropped.
    async fn run_sessions(&mut self) {
        loop {
            let stop = match self.wait_for_use().await {
                Some(trigger) => {
                    self.shared.step(trigger);
                    self.run_session().await
                }
                None => return,
            };
            match stop {
                // The actor gave up; the next use starts again.
                None => {}
                Some(Stop::Close) => self.close(),
                Some(Stop::Dropped) => return,
            }
        }
    }

    /// Recovers after a panic: settles all requests and calls. The next use starts again.
    fn recover(&mut self) {
        let message = "a defect in redis-backplane ended the connection; what it was is on stderr";
        let error = Error::new(ErrorKind::Connection, message);
        let upstream = self.shared.lane().upstream.take();
        if let Some(upstream) = upstream {
            answer_left(upstream.end(), &error);
        }
        self.connecting.append(&mut self.reopening);
        self.shared.step(state::Trigger::Lost);
        self.shared.core.failed(&error);
        let closing = self.give_up(&error).is_some() || !self.closing.is_empty();
        if closing || self.shared.core.status.state() == State::Closing {
            self.close();
        }
    }

    /// Waits in state `idle`, `failed` or `closed` for a reason to connect.
    async fn wait_for_use(&mut self) -> Option<state::Trigger> {
        if !self.reopening.is_empty() {
            self.connecting.append(&mut self.reopening);
            return Some(state::Trigger::Connect);
        }
        loop {
            tokio::select! {
                control = self.control.recv() => match control? {
                    Control::Connect { done, reopens: false } if self.shared.core.status.state() == State::Closed => {
                        drop(done.send(Err(self.shared.core.closed())));
                    }
                    Control::Connect { done, .. } => {
                        self.connecting.push(done);
                        return Some(state::Trigger::Connect);
                    }
                    Control::Close(done) => {
                        self.closing.push(done);
                        self.close();
                    }
                },
                () = self.shared.core.arrived.notified() => {
                    self.intake();
                    if self.shared.lane().queue.is_empty() {
                        continue;
                    }
                    if self.shared.core.status.state() == State::Closed {
                        let error = self.shared.core.closed();
                        self.refuse_queue(&error);
                        continue;
                    }
                    return Some(state::Trigger::Use);
                }
            }
        }
    }

    /// Connects and serves until the actor gives up (`None`) or is stopped.
    async fn run_session(&mut self) -> Option<Stop> {
        let mut attempt = 0;
        let mut failures: u32 = 0;
        let mut was_up = false;
        let mut data = None;
        topology::watch(&self.shared);
        let mut missing = None;
        loop {
            let connected = match self.attempt(&mut data).await {
                Ok(connected) => connected,
                Err(stop) => return Some(stop),
            };
            match connected {
                Ok((server, upstream)) => {
                    was_up = true;
                    failures = 0;
                    missing = None;
                    let since = Instant::now();
                    self.up(server);
                    let (error, left) = match self.serve(upstream).await {
                        Ended::Stopped(stop) => return Some(stop),
                        Ended::Left(error) => (error, true),
                        Ended::Lost(error) => (error, false),
                    };
                    self.shared.step(state::Trigger::Lost);
                    self.shared.core.failed(&error);
                    if left {
                        // The new master is known: no pause is needed.
                        continue;
                    }
                    // The delays start over only after a connection that lasted. Otherwise a server that closes every connection
                    // would be flooded with attempts.
                    if since.elapsed() > self.shared.core.config.reconnect.max {
                        attempt = 0;
                    }
                }
                Err(error) => {
                    self.shared.core.failed(&error);
                    failures = failures.saturating_add(1);
                    let limit = if was_up {
                        self.shared.core.config.reconnect_attempts
                    } else {
                        Some(self.shared.core.config.connect_retries.saturating_add(1))
                    };
                    if is_final(&error, was_up) || limit.is_some_and(|limit| failures >= limit) {
                        return self.give_up(&error);
                    }
                }
            }
            missing.get_or_insert_with(|| self.shared.core.topology.missing());
            if let Err(stop) = self.pause(attempt).await {
                return Some(stop);
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Waits after attempt number `attempt`. The wait ends early when the topology changes.
    async fn pause(&mut self, attempt: u32) -> Result<(), Stop> {
        let delay = self.shared.core.config.reconnect.delay(attempt);
        self.shared.core.metrics.reconnection_attempts.add(1);
        self.shared.core.status.emit(Event::Reconnecting { attempt: attempt.saturating_add(1), delay });
        let news = self.shared.core.topology.changed();
        let over = async {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = news => {}
            }
        };
        self.wait(over).await
    }

    /// One attempt. When the topology changes, the attempt is dropped and starts again with the new server. `data` keeps the data of an
    /// embedded engine, from the first attempt that found the engine.
    async fn attempt(&mut self, data: &mut Option<Hold>) -> Result<Result<(ServerInfo, Upstream)>, Stop> {
        let shared = Arc::clone(&self.shared);
        if data.is_none() {
            match dial::hold(&shared.core.config) {
                Ok(held) => *data = held,
                Err(error) => return Ok(Err(error)),
            }
        }
        let begin = Instant::now();
        let outcome = loop {
            let news = shared.core.topology.changed();
            let opened = async {
                tokio::select! {
                    biased;
                    opened = upstream::open(&shared.core) => Some(opened),
                    () = news => None,
                }
            };
            if let Some(outcome) = self.wait(Box::pin(opened)).await? {
                break outcome;
            }
        };
        self.shared.core.metrics.initialization.record(begin.elapsed());
        Ok(outcome)
    }

    /// Waits for `work`. Meanwhile takes requests in, and settles those whose deadline passes.
    async fn wait<F: Future>(&mut self, work: F) -> Result<F::Output, Stop> {
        let mut work = pin!(work);
        loop {
            let now = Instant::now();
            self.intake();
            self.expire_queue(now);
            let first = self.first_deadline();
            self.arm(first, now);
            tokio::select! {
                output = &mut work => return Ok(output),
                control = self.control.recv() => match control {
                    Some(Control::Connect { done, .. }) => self.share_attempt(done),
                    Some(Control::Close(done)) => {
                        self.closing.push(done);
                        return Err(Stop::Close);
                    }
                    None => return Err(Stop::Dropped),
                },
                () = self.shared.core.arrived.notified() => {}
                () = &mut self.timer => {}
            }
        }
    }

    fn share_attempt(&mut self, done: oneshot::Sender<Result<()>>) {
        self.connecting.push(done);
        let sharing = i64::try_from(self.connecting.len()).unwrap_or(i64::MAX);
        self.shared.core.metrics.concurrent_initialization_attempts.at_least(sharing);
    }

    fn up(&mut self, server: ServerInfo) {
        self.shared.core.status.met(server);
        self.shared.core.metrics.concurrent_initialization_attempts.at_least(1);
        self.shared.step(state::Trigger::Up);
        self.shared.core.status.emit(Event::Ready);
        self.answer_connecting(&Ok(()));
    }

    fn give_up(&mut self, error: &Error) -> Option<Stop> {
        // A caller of `connect()` shares the attempt that ran at the time of the call, even if the attempt failed before the actor
        // has read the call.
        let mut stop = None;
        while stop.is_none() {
            match self.control.try_recv() {
                Ok(Control::Connect { done, .. }) => self.share_attempt(done),
                Ok(Control::Close(done)) => {
                    self.closing.push(done);
                    stop = Some(Stop::Close);
                }
                Err(_) => break,
            }
        }
        self.shared.step(state::Trigger::GiveUp);
        self.answer_connecting(&Err(error.clone()));
        self.intake();
        self.refuse_queue(error);
        self.shared.core.status.emit(Event::End);
        stop
    }

    fn answer_connecting(&mut self, outcome: &Result<()>) {
        for done in self.connecting.drain(..) {
            // The send fails where the caller's own deadline has passed.
            let _ = done.send(outcome.clone());
        }
    }

    /// Uses the connection until it is lost or must be closed.
    async fn serve(&mut self, opened: Upstream) -> Ended {
        {
            let mut lane = self.shared.lane();
            lane.upstream = Some(opened);
            lane.renewing = false;
        }
        let mut close_at: Option<Instant> = None;
        loop {
            let now = Instant::now();
            match self.round(now, close_at) {
                Round::Wait(until) => self.arm(Some(until), now),
                Round::Lost(error) => return self.stop_serving(error, close_at, Ended::Lost),
                Round::Left(error) => return self.stop_serving(error, close_at, Ended::Left),
                Round::Done => {
                    self.hang_up().await;
                    return Ended::Stopped(Stop::Close);
                }
            }
            let shared = &self.shared;
            tokio::select! {
                progress = progress(shared) => if let Err(error) = progress {
                    return self.stop_serving(error, close_at, Ended::Lost);
                },
                control = self.control.recv() => match control {
                    Some(Control::Connect { done, reopens }) => match (close_at, reopens) {
                        (None, _) => drop(done.send(Ok(()))),
                        (Some(_), true) => self.reopening.push(done),
                        (Some(_), false) => drop(done.send(Err(self.shared.core.closed()))),
                    },
                    Some(Control::Close(done)) => {
                        self.closing.push(done);
                        for done in self.reopening.drain(..) {
                            drop(done.send(Err(self.shared.core.closed())));
                        }
                        if close_at.is_none() {
                            self.shared.step(state::Trigger::Close);
                            self.shared.core.interrupt_exclusive();
                            // A tracker reports that it is empty only while it is closed; `disconnect()` opens it again.
                            self.shared.core.exclusive.close();
                            close_at = Some(Instant::now() + self.shared.core.config.close_timeout);
                        }
                    }
                    None => return Ended::Stopped(Stop::Dropped),
                },
                () = self.shared.core.arrived.notified() => {}
                () = self.shared.core.exclusive.wait(), if close_at.is_some() && !self.shared.core.exclusive.is_empty() => {}
                () = &mut self.timer => {}
            }
        }
    }

    /// Does what is due at `now`, between two waits.
    fn round(&mut self, now: Instant, close_at: Option<Instant>) -> Round {
        let (command_timeout, keep_alive) =
            (self.shared.core.config.command_timeout, self.shared.core.config.keep_alive);
        self.intake();
        let shared = Arc::clone(&self.shared);
        // Before `expire_queue`, so that a request whose deadline passes before it is sent again expires there.
        self.repeat_later(&mut shared.lane(), now);
        self.expire_queue(now);
        let mut lane = shared.lane();
        let Lane { queue, upstream: Some(upstream), renewing } = &mut *lane else {
            return Round::Lost(Error::new(ErrorKind::Connection, "the connection was lost"));
        };
        if let Some(error) = upstream.left(&shared.core.topology) {
            return Round::Left(error);
        }
        *renewing |= self.take_demands(upstream, now);
        if *renewing && upstream.is_idle() {
            return Round::Lost(Error::new(
                ErrorKind::Connection,
                "the server became a replica: looking for the master",
            ));
        }
        while !*renewing && upstream.has_room() {
            let Some(request) = queue.pop_front() else {
                break;
            };
            upstream.append(request);
        }
        batch(|| upstream.expire(command_timeout, now));
        if let Some(close_at) = close_at {
            let idle = upstream.is_idle() && queue.is_empty() && self.later.is_empty();
            if now >= close_at || (idle && shared.core.exclusive.is_empty()) {
                return Round::Done;
            }
        }
        let look_again = match upstream.check_alive(keep_alive, now) {
            Ok(at) => at,
            Err(error) => return Round::Lost(error),
        };
        let next = [
            // At the latest: `Shared::write_through` relies on it.
            Some(now + command_timeout),
            Some(look_again),
            upstream.next_deadline(command_timeout),
            queue.front().map(|request| request.deadline(command_timeout)),
            self.later.iter().map(|(at, _)| *at).min(),
            close_at,
        ];
        Round::Wait(next.into_iter().flatten().min().unwrap_or(look_again))
    }

    fn stop_serving(&mut self, error: Error, close_at: Option<Instant>, served: fn(Error) -> Ended) -> Ended {
        let error = self.lost(error);
        if close_at.is_some() { Ended::Stopped(Stop::Close) } else { served(error) }
    }

    /// Sorts the requests of a lost connection: see [`Leftovers::repeatable`]. The repeatable requests wait for the next connection.
    fn lost(&mut self, error: Error) -> Error {
        let shared = Arc::clone(&self.shared);
        let mut lane = shared.lane();
        let Some(left) = lane.upstream.take().map(Upstream::end) else {
            return error;
        };
        let mut again = left.repeatable(&error, &self.shared.core.metrics, Instant::now());
        again.extend(self.later.drain(..).map(|(_, request)| request));
        again.sort_by_key(|request| request.accepted);
        again.extend(lane.queue.drain(..));
        lane.queue = again.into();
        error
    }

    fn intake(&mut self) {
        let mut lane = self.shared.lane();
        lane.queue.extend(self.shared.take_inbox());
    }

    fn first_deadline(&self) -> Option<Instant> {
        self.shared.lane().queue.front().map(|request| request.deadline(self.shared.core.config.command_timeout))
    }

    /// Takes the requests to send again. True when they need another connection.
    fn take_demands(&mut self, upstream: &mut Upstream, now: Instant) -> bool {
        let mut renew = false;
        for demand in upstream.take_demands() {
            self.shared.core.metrics.resent_commands.add(1);
            match demand {
                Demand::Later(request) | Demand::Elsewhere(request, _) => self.later.push((now + LATER, request)),
                Demand::Renew(request) => {
                    renew = true;
                    self.shared.core.topology.request_refresh();
                    self.later.push((now, request));
                }
            }
        }
        renew
    }

    fn repeat_later(&mut self, lane: &mut Lane, now: Instant) {
        let due = self.later.extract_if(.., |(at, _)| *at <= now).map(|(_, request)| request);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|request| request.accepted);
        for request in due.into_iter().rev() {
            lane.queue.push_front(request);
        }
    }

    /// Settles the requests in the queue whose deadline has passed.
    fn expire_queue(&mut self, now: Instant) {
        let limit = self.shared.core.config.command_timeout;
        let mut lane = self.shared.lane();
        if lane.queue.front().is_none_or(|request| request.deadline(limit) > now) {
            return;
        }
        let why = self.shared.core.status.last_error().filter(|_| self.shared.core.status.state() != State::Ready);
        batch(|| {
            while let Some(request) = lane.queue.pop_front_if(|request| request.deadline(limit) <= now) {
                let error = timed_out(limit, request.delivery_while_waiting());
                let error = match &why {
                    Some(why) => error.caused_by(why.clone()),
                    None => error,
                };
                request.settle(Err(error), now);
            }
        });
    }

    fn refuse_queue(&mut self, error: &Error) {
        let now = Instant::now();
        batch(|| {
            let mut lane = self.shared.lane();
            for request in lane.queue.drain(..).chain(self.later.drain(..).map(|(_, request)| request)) {
                let error = error.clone().with_delivery(request.delivery_while_waiting());
                request.settle(Err(error), now);
            }
        });
    }

    /// Closes the connection in good order, then settles the requests that are still open.
    async fn hang_up(&mut self) {
        let Some(mut upstream) = self.shared.lane().upstream.take() else {
            return;
        };
        let good_bye = poll_fn(|cx| upstream.poll_shutdown(cx));
        // The peer may have closed the connection already.
        let _ = timeout(Duration::from_millis(100), good_bye).await;
        let message = "disconnect() ended the wait for the answer after closeTimeoutMs";
        answer_left(upstream.end(), &Error::new(ErrorKind::Closed, message));
    }

    /// The end of `disconnect()`, from any state.
    fn close(&mut self) {
        self.shared.step(state::Trigger::Close);
        self.shared.core.interrupt_exclusive();
        let error = self.shared.core.closed();
        self.answer_connecting(&Err(error.clone()));
        self.intake();
        self.refuse_queue(&error);
        if self.shared.step(state::Trigger::Ended) {
            self.shared.core.status.emit(Event::End);
        }
        self.shared.has_closed(self.closing.len());
        for done in self.closing.drain(..) {
            let _ = done.send(());
        }
    }

    /// Sets the timer to `at`, unless it fires earlier anyway.
    fn arm(&mut self, at: Option<Instant>, now: Instant) {
        let at = tokio::time::Instant::from_std(at.unwrap_or(now + FAR));
        if at < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(at);
        }
    }
}

/// Settles the requests of a connection that ended, where none of them is sent again.
fn answer_left(left: Leftovers, error: &Error) {
    let now = Instant::now();
    batch(|| {
        for request in left.unsent {
            request.settle(Err(error.clone()), now);
        }
        for request in left.unanswered {
            request.settle(Err(error.clone().with_delivery(Delivery::MaybeExecuted)), now);
        }
    });
}

/// Ends when something was read, or with an error when the connection is lost.
async fn progress(shared: &Shared) -> Result<()> {
    let is_budget_spent = shared.lane().upstream.as_mut().is_some_and(Upstream::take_budget_spent);
    if is_budget_spent {
        yield_now().await;
    }
    poll_fn(|cx| poll(shared, cx)).await
}

fn poll(shared: &Shared, cx: &mut Context<'_>) -> Poll<Result<()>> {
    match &mut shared.lane().upstream {
        Some(upstream) => batch(|| upstream.poll(cx)),
        None => Poll::Ready(Ok(())),
    }
}
