//! A connection for blocking commands: it executes one or more of them, and has the server unblock a command whose wait must end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::cluster::{self, Redirect};
use super::command::{self, Command};
use super::config::Config;
use super::connect::connect;
use super::core::{Core, Counted};
use super::dial::Stream;
use super::handshake::Greeted;
use super::incoming::Incoming;
use super::liveness;
use super::shared::Shared;
use super::target::{Address, Target};
use super::topology::Seat;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys;
use crate::resp::{self, Read, Reply};

/// How long a server may take beyond the timeout of the command.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The time between two attempts to unblock a command that the server has not received yet.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(5);
/// How long a server may still answer after another server has taken its place.
const LATE_ANSWER: Duration = Duration::from_millis(500);

/// A connection that is ready for a blocking command.
pub(super) struct Opened {
    pub(super) framed: Framed,
    /// The server's id of the connection, if known.
    id: Option<i64>,
    /// The channel for signs of life, if the connection is watched.
    channel: Option<Bytes>,
    /// The server's address, if another server may become the right one later.
    pub(super) address: Option<Address>,
    /// What the connection is for.
    pub(super) seat: Option<Seat>,
    /// Did this process have the server unblock the command, because another server is the right one?
    pub(super) is_left: bool,
    /// Callers that wait for a reply to `CLIENT SETNAME`. These replies come before any other reply.
    naming: Vec<oneshot::Sender<Result<()>>>,
    _counted: Counted,
}

impl Opened {
    /// Executes a command that may block for `blocks_for`, or forever. After an `Err` the connection cannot be used any more.
    ///
    /// # Errors
    ///
    /// `timeout` where the server takes longer than `blocks_for` and a grace; `connection` if the connection is lost; `closed` if
    /// `interrupted` ends first. In the last case the server unblocks the command; an answer with a value is returned instead of
    /// the error.
    pub(super) async fn ask(
        &mut self,
        shared: &Arc<Shared>,
        payload: &[u8],
        blocks_for: Option<Duration>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Reply> {
        let Self { framed, id, channel, address, seat, is_left, naming, .. } = self;
        let heard = framed.heard.subscribe();
        let ends = blocks_for.map(|time| time + GRACE.max(shared.core.config.command_timeout));
        let answer = async {
            let answer = async {
                framed.send(payload).await?;
                framed.named(naming).await?;
                framed.next().await
            };
            match ends {
                Some(ends) => timeout(ends, answer).await.unwrap_or_else(|_| Err(too_late(ends))),
                None => answer.await,
            }
        };
        let mut answer = pin!(answer);
        let silent = async {
            match channel {
                Some(channel) => liveness::lost(shared, channel, heard).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = &mut answer => outcome,
            error = silent => {
                shared.core.failed(&error);
                Err(error)
            }
            () = shared.core.topology.left(seat.as_ref()) => {
                *is_left = true;
                let unblocked = answered_or(answer, unblock(shared, *id, address.as_ref(), b"ERROR"));
                let late_answer = timeout(LATE_ANSWER, unblocked).await;
                late_answer.unwrap_or_else(|_| Err(lost("another server has taken its place")))
            }
            () = interrupted => {
                let unblocked = answered_or(answer, unblock(shared, *id, address.as_ref(), b"TIMEOUT"));
                match timeout(GRACE.min(shared.core.config.close_timeout), unblocked).await {
                    Ok(Ok(reply)) if reply != Reply::Nil => Ok(reply),
                    _ => Err(shared.core.closed().with_delivery(Delivery::MaybeExecuted)),
                }
            }
        }
    }

    /// Names the connection on the server. The server may refuse the name; the connection stays usable.
    pub(super) async fn rename(&mut self, name: &str) -> Result<Reply> {
        self.framed.ask(&naming(name)).await
    }

    /// As [`Opened::rename`], but the next command does not wait for the answer. The answer goes to `done`.
    pub(super) async fn rename_ahead(&mut self, name: &str, done: oneshot::Sender<Result<()>>) -> Result<()> {
        self.framed.send(&naming(name)).await?;
        self.naming.push(done);
        Ok(())
    }

    /// Ends when the idle connection is lost.
    pub(super) async fn hung_up(&mut self) {
        if self.framed.named(&mut self.naming).await.is_ok() {
            // A reply without a request is as bad as the end of the stream.
            drop(self.framed.next().await);
        }
    }
}

fn naming(name: &str) -> BytesMut {
    pack(&[b"CLIENT", b"SETNAME", name.as_bytes()])
}

/// The answer, while `unblocking` has the server give it.
async fn answered_or<T>(mut answer: Pin<&mut impl Future<Output = T>>, unblocking: impl Future<Output = ()>) -> T {
    tokio::select! {
        answer = &mut answer => return answer,
        () = unblocking => {}
    }
    answer.await
}

/// Opens a connection: the handshake and the set-up may each take `connectTimeoutMs`. In a cluster the connection leads to the master
/// of `command`'s key, or to any master where there is no command.
pub(super) async fn open(
    core: &Core,
    command: Option<&Command>,
    watched: bool,
    redirect: Option<&Redirect>,
) -> Result<Opened> {
    let (seat, greeted) = if let (Target::Cluster(seeds), Some(command)) = (&core.config.target, command) {
        let led = cluster::connect_for(core, seeds, command, redirect).await?;
        (led.seat, Greeted { address: Some(led.address), ..led.greeted })
    } else {
        let greeted = connect(core).await?;
        (greeted.address.clone().map(|address| Seat { address, slot: None }), greeted)
    };
    let address = greeted.address.clone();
    let watched = watched && greeted.server.protocol >= 3 && !matches!(core.config.target, Target::Memory(_));
    let mut framed = Framed::new(greeted, &core.config);
    let introduced = async {
        let id = match framed.ask(&pack(&[b"CLIENT", b"ID"])).await? {
            Reply::Int(id) => Some(id),
            _ => None,
        };
        let mut channel = id.filter(|_| watched).map(|id| keys::liveness_channel(id, fastrand::u64(..)));
        if let Some(name) = &channel {
            // The server confirms a subscription by a push. The answer to the PING shows that the subscription was not refused.
            let mut words = pack(&[b"SUBSCRIBE", name]);
            resp::pack(&mut words, &[b"PING"]);
            if let Reply::Error(_) = framed.ask(&words).await? {
                framed.next().await?;
                channel = None;
            }
        }
        if redirect.is_some_and(|redirect| redirect.ask) {
            framed.ask(&pack(&[b"ASKING"])).await?;
        }
        Ok((id, channel))
    };
    let limit = core.config.connect_timeout;
    let (id, channel) = timeout(limit, introduced)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no connection within connectTimeoutMs, {} ms", limit.as_millis());
            Err(Error::new(ErrorKind::Timeout, message))
        })
        .map_err(|error: Error| error.with_delivery(Delivery::NotSent))?;
    Ok(Opened { framed, id, channel, address, seat, is_left: false, naming: Vec::new(), _counted: core.counted() })
}

/// Has the server unblock a command, now or as soon as it blocks. The command is answered with nothing (`TIMEOUT`) or with an error
/// (`ERROR`). The id of a connection is known to its own server only. So where there are several servers, a new connection to this
/// server is used.
async fn unblock(shared: &Arc<Shared>, id: Option<i64>, address: Option<&Address>, how: &[u8]) {
    let Some(id) = id else { return };
    let payload = pack(&[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes(), how]).freeze();
    if let Some(address) = address {
        if let Ok(greeted) = cluster::connect_to(&shared.core.config, address).await {
            let mut framed = Framed::new(greeted, &shared.core.config);
            // The connection is not blocked yet, because the server has not received the command yet.
            while matches!(framed.ask(&payload).await, Ok(Reply::Int(0))) {
                sleep(UNBLOCK_AGAIN).await;
            }
        }
        return;
    }
    let operation = command::spec(&[b"CLIENT"]).operation;
    loop {
        match shared.ask(Command::raw(payload.clone(), operation)).await {
            Ok(Reply::Int(0)) => sleep(UNBLOCK_AGAIN).await,
            Ok(_) => return,
            Err(_) => break,
        }
    }
    if let Ok(greeted) = connect(&shared.core).await {
        // If this fails too, the caller ends the connection all the same.
        let _ = Framed::new(greeted, &shared.core.config).ask(&payload).await;
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

pub(super) struct Framed {
    stream: Box<dyn Stream>,
    incoming: Incoming,
    /// When something was received last.
    heard: watch::Sender<Instant>,
}

impl Framed {
    fn new(greeted: Greeted, config: &Config) -> Self {
        Self {
            stream: greeted.stream,
            incoming: Incoming::new(greeted.input, greeted.reader, config),
            heard: watch::Sender::new(Instant::now()),
        }
    }

    async fn ask(&mut self, payload: &[u8]) -> Result<Reply> {
        self.send(payload).await?;
        self.next().await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.stream.write_all(payload).await.map_err(|e| lost(&e.to_string()))?;
        self.stream.flush().await.map_err(|e| lost(&e.to_string()))
    }

    /// Gives the next replies to the callers that have named the connection.
    async fn named(&mut self, naming: &mut Vec<oneshot::Sender<Result<()>>>) -> Result<()> {
        while !naming.is_empty() {
            let named = match self.next().await? {
                Reply::Error(line) => Err(Error::from_reply(&String::from_utf8_lossy(&line))),
                _ => Ok(()),
            };
            drop(naming.remove(0).send(named));
        }
        Ok(())
    }

    /// The next reply other than a push.
    pub(super) async fn next(&mut self) -> Result<Reply> {
        loop {
            match self.incoming.next() {
                Ok(Some(Read::Reply(reply))) => return Ok(reply),
                Ok(Some(Read::Passed(passed))) if passed.is_push => {}
                Ok(Some(Read::Passed(passed))) => return Err(self.incoming.unread(passed.why)),
                Ok(None) => {
                    self.incoming.check(Instant::now()).map_err(|why| lost(&why))?;
                    match self.stream.read_buf(&mut self.incoming.bytes).await {
                        Ok(0) => return Err(lost("closed by the server")),
                        Ok(_) => drop(self.heard.send_replace(Instant::now())),
                        Err(e) => return Err(lost(&e.to_string())),
                    }
                }
                Err(e) => return Err(lost(&e.to_string())),
            }
        }
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("the connection of a blocking command was lost: {why}"))
        .with_delivery(Delivery::MaybeExecuted)
}
