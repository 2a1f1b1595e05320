//! Blocking commands: each on a connection of its own for as long as it blocks, so that nobody else waits for it.
//!
//! A command with a timeout is bounded by that plus a grace, and one that blocks for longer than the keep-alive is watched
//! (see [`liveness`]). `disconnect()` has the server unblock it first, so that an
//! element is never popped for a caller that is gone.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::actor;
use super::cluster::{self, Redirect};
use super::command;
use super::link::Stream;
use super::liveness;
use super::pipeline::timed_out;
use super::request::{Command, Request, Sink};
use super::shared::Shared;
use super::state::State;
use super::target::{Address, Target};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys;
use crate::resp::{self, Reader, Reply};
use crate::telemetry::Metrics;

/// What a server may take beyond the timeout it was given.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The time between two attempts to unblock a command that the server has not seen yet.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(5);
/// How often a cluster's nodes may send a command on.
pub(super) const HOPS: u32 = 16;

/// Runs `command` on a connection of its own. `blocks_for` is what its server-side timeout says.
pub(super) fn submit(shared: &Arc<Shared>, command: Command, sink: Sink, blocks_for: Option<Duration>) {
    if shared.is_shut() {
        return sink.settle(Err(shared.closed()), &shared.metrics);
    }
    if let Err(error) = shared.room() {
        return sink.settle(Err(error), &shared.metrics);
    }
    let request = Request::new(command, sink, Instant::now(), Arc::clone(&shared.metrics));
    let owner = Arc::clone(shared);
    let task = async move {
        let outcome = run(&owner, &request, blocks_for).await;
        request.settle(outcome, Instant::now());
    };
    shared.exclusive.spawn_on(task, crate::lifecycle::io());
}

/// On a single server, once; in a cluster, wherever its nodes send it: what they refuse they have not executed.
async fn run(shared: &Arc<Shared>, request: &Request, blocks_for: Option<Duration>) -> Result<Reply> {
    let mut redirect: Option<Redirect> = None;
    for _ in 0..HOPS {
        let (outcome, address) = run_on(shared, request, blocks_for, redirect.as_ref()).await?;
        redirect = match (&outcome, address) {
            (Reply::Error(line), Some(asked)) => Redirect::read(line, &asked),
            _ => None,
        };
        if redirect.is_none() {
            return Ok(outcome);
        }
    }
    Err(Error::new(ErrorKind::Connection, format!("the cluster's nodes sent it on {HOPS} times")))
}

/// Gives the answer and, in a cluster, who gave it.
async fn run_on(
    shared: &Arc<Shared>,
    request: &Request,
    blocks_for: Option<Duration>,
    redirect: Option<&Redirect>,
) -> Result<(Reply, Option<Address>)> {
    let interruption = shared.interruption();
    let interrupted = || async {
        tokio::select! {
            () = interruption.cancelled() => {}
            () = shared.forsaken.cancelled() => {}
        }
    };
    let watched = blocks_for.is_none_or(|time| time > shared.config.keep_alive);
    let opened = tokio::select! {
        opened = open_in_time(shared, request, watched, redirect) => opened,
        () = interrupted() => return Err(shared.closed()),
    };
    let mut opened = opened.inspect_err(|error| shared.failed(error))?;
    let outcome = opened.ask(shared, &request.command.payload, blocks_for, interrupted()).await;
    outcome.map(|reply| (reply, opened.address.take()))
}

/// As [`open`]. While the shared connection is being restored it tries again, until the deadline that any command has.
async fn open_in_time(
    shared: &Arc<Shared>,
    request: &Request,
    watched: bool,
    redirect: Option<&Redirect>,
) -> Result<Opened> {
    let config = &shared.config;
    let deadline = request.deadline(config.command_timeout);
    let mut attempt = 0;
    loop {
        let error = match open(shared, Some(&request.command), watched, redirect).await {
            // One that is ready may not know yet that its connection is lost.
            Err(error)
                if error.kind() == ErrorKind::Connection
                    && matches!(shared.state(), State::Ready | State::Reconnecting) =>
            {
                error
            }
            outcome => return outcome,
        };
        sleep_until((Instant::now() + config.reconnect.delay(attempt)).min(deadline).into()).await;
        if Instant::now() >= deadline {
            return Err(timed_out(config.command_timeout, Delivery::NotSent).caused_by(error));
        }
        attempt = attempt.saturating_add(1);
    }
}

/// A connection that is ready to be blocked.
pub(super) struct Opened {
    pub(super) wire: Wire,
    /// What the server calls it, if it says so.
    id: Option<i64>,
    /// What it listens to for signs of life, if it is watched.
    channel: Option<Bytes>,
    /// Where it leads, in a cluster.
    pub(super) address: Option<Address>,
    _counted: Counted,
}

impl Opened {
    /// Has the server execute a command that may block for `blocks_for`, or for ever. After an `Err` the connection is of no
    /// further use.
    ///
    /// # Errors
    ///
    /// `timeout` where the server takes longer than that and a grace; `connection` if the connection is lost; `closed` if
    /// `interrupted` ends first: then the server is made to answer, and an answer that is more than "nothing" is given.
    pub(super) async fn ask(
        &mut self,
        shared: &Arc<Shared>,
        payload: &[u8],
        blocks_for: Option<Duration>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Reply> {
        let Self { wire, id, channel, address, .. } = self;
        let heard = wire.heard.subscribe();
        let ends = blocks_for.map(|time| time + GRACE.max(shared.config.command_timeout));
        let answer = async {
            match ends {
                Some(ends) => timeout(ends, wire.ask(payload)).await.unwrap_or_else(|_| Err(too_late(ends))),
                None => wire.ask(payload).await,
            }
        };
        let mut answer = std::pin::pin!(answer);
        let lost = async {
            match channel {
                Some(channel) => liveness::lost(shared, channel, heard).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = &mut answer => outcome,
            error = lost => {
                shared.failed(&error);
                Err(error)
            }
            () = interrupted => {
                let unblocked = async {
                    let mut unblocking = std::pin::pin!(unblock(shared, *id, address.as_ref()));
                    tokio::select! {
                        outcome = &mut answer => outcome,
                        () = &mut unblocking => answer.await,
                    }
                };
                let last_word = timeout(GRACE.min(shared.config.close_timeout), unblocked).await;
                match last_word {
                    Ok(Ok(reply)) if reply != Reply::Nil => Ok(reply),
                    _ => Err(shared.closed().with_delivery(Delivery::MaybeExecuted)),
                }
            }
        }
    }

    /// Has the server call this connection `name` from now on. One that may not be called so stays as it is.
    pub(super) async fn rename(&mut self, name: &str) -> Result<Reply> {
        self.wire.ask(&pack(&[b"CLIENT", b"SETNAME", name.as_bytes()])).await
    }
}

/// Counts a connection in the metrics for as long as it lives.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.connections.add(1);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.add(-1);
    }
}

/// Opens a connection, as ready as the shared one, within `connectTimeoutMs` for each half. In a cluster it leads to the
/// master of `command`'s key, or to any.
pub(super) async fn open(
    shared: &Arc<Shared>,
    command: Option<&Command>,
    watched: bool,
    redirect: Option<&Redirect>,
) -> Result<Opened> {
    let (address, greeted) = match (&shared.config.target, command) {
        (Target::Cluster(seeds), Some(command)) => {
            let (address, greeted) = cluster::connect_for(shared, seeds, command, redirect).await?;
            (Some(address), greeted)
        }
        _ => (None, actor::connect(shared).await?),
    };
    let watched = watched && greeted.server.protocol >= 3 && !matches!(shared.config.target, Target::Memory(_));
    let mut wire = Wire::new(greeted.stream);
    let introduced = async {
        let id = match wire.ask(&pack(&[b"CLIENT", b"ID"])).await? {
            Reply::Int(id) => Some(id),
            _ => None,
        };
        let mut channel = id.filter(|_| watched).map(|id| keys::liveness_channel(id, fastrand::u64(..)));
        if let Some(name) = &channel {
            // A subscription is confirmed by a push; the answer to the PING says that it was not refused.
            let mut words = pack(&[b"SUBSCRIBE", name]);
            resp::pack(&mut words, &[b"PING"]);
            if let Reply::Error(_) = wire.ask(&words).await? {
                wire.next().await?;
                channel = None;
            }
        }
        if redirect.is_some_and(|redirect| redirect.ask) {
            wire.ask(&pack(&[b"ASKING"])).await?;
        }
        Ok((id, channel))
    };
    let limit = shared.config.connect_timeout;
    let (id, channel) = timeout(limit, introduced)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no connection within connectTimeoutMs, {} ms", limit.as_millis());
            Err(Error::new(ErrorKind::Timeout, message))
        })
        .map_err(|error: Error| error.with_delivery(Delivery::NotSent))?;
    Ok(Opened { wire, id, channel, address, _counted: Counted::new(&shared.metrics) })
}

/// Has the server answer a blocked command now, or as soon as it is blocked: over the shared connection, or over a new one where there is none.
/// In a cluster over a new one to its node: the number of a connection means something there only.
async fn unblock(shared: &Arc<Shared>, id: Option<i64>, address: Option<&Address>) {
    let Some(id) = id else { return };
    let payload = pack(&[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes()]).freeze();
    if let Some(address) = address {
        if let Ok(greeted) = cluster::connect_to(&shared.config, address).await {
            let _ = Wire::new(greeted.stream).ask(&payload).await;
        }
        return;
    }
    let operation = command::spec(b"CLIENT").operation;
    loop {
        let command = Command { payload: payload.clone(), replies: 1, safe: false, operation, script: None };
        let (sink, answer) = oneshot::channel();
        shared.submit_inside(command, Sink::Waiter(sink));
        match answer.await {
            // It is not blocked yet: what blocks it is still on its way there.
            Ok(Ok(Reply::Int(0))) => sleep(UNBLOCK_AGAIN).await,
            Ok(Ok(_)) => return,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    if let Ok(greeted) = actor::connect(shared).await {
        // Where this fails too, the connection is ended all the same.
        let _ = Wire::new(greeted.stream).ask(&payload).await;
    }
}

fn pack(words: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    resp::pack(&mut out, words);
    out
}

fn too_late(limit: Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("no answer within {} ms, the command's own timeout and a grace", limit.as_millis()),
    )
    .with_delivery(Delivery::MaybeExecuted)
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    reader: Reader,
    /// When something came last.
    heard: watch::Sender<Instant>,
}

impl Wire {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: BytesMut::with_capacity(4096),
            reader: Reader::default(),
            heard: watch::Sender::new(Instant::now()),
        }
    }

    async fn ask(&mut self, payload: &[u8]) -> Result<Reply> {
        self.stream.write_all(payload).await.map_err(|e| lost(&e.to_string()))?;
        self.stream.flush().await.map_err(|e| lost(&e.to_string()))?;
        self.next().await
    }

    /// The next reply that is no push.
    pub(super) async fn next(&mut self) -> Result<Reply> {
        loop {
            match self.reader.next(&mut self.buffer) {
                Ok(Some(Reply::Push(_))) => {}
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) => return Err(lost("closed by the server")),
                    Ok(_) => drop(self.heard.send_replace(Instant::now())),
                    Err(e) => return Err(lost(&e.to_string())),
                },
                Err(e) => return Err(lost(&e.to_string())),
            }
        }
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("the connection of a blocking command was lost: {why}"))
        .with_delivery(Delivery::MaybeExecuted)
}
