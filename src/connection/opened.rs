//! A connection that blocks: it is opened for a blocking command, asked once or several times, and made to answer where the wait must
//! end.

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

/// What a server may take beyond the timeout it was given.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The time between two attempts to unblock a command that the server has not seen yet.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(5);
/// How long a server may still answer after another one has taken its place. A later answer is of no use.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A connection that is ready to be blocked.
pub(super) struct Opened {
    pub(super) framed: Framed,
    /// What the server calls it, if it says so.
    id: Option<i64>,
    /// What it listens to for signs of life, if it is watched.
    channel: Option<Bytes>,
    /// Where it leads, if that may be another server one day.
    pub(super) address: Option<Address>,
    /// What it is for there.
    pub(super) seat: Option<Seat>,
    /// Was the server made to end the wait, because another one is right now?
    pub(super) is_left: bool,
    /// Waits for the replies to `CLIENT SETNAME`, which come before any other reply.
    naming: Vec<oneshot::Sender<Result<()>>>,
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
                let last_words = timeout(LAST_WORDS, unblocked).await;
                last_words.unwrap_or_else(|_| Err(lost("another server has taken its place")))
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

    /// Has the server call this connection `name` from now on. One that may not be called so stays as it is.
    pub(super) async fn rename(&mut self, name: &str) -> Result<Reply> {
        self.framed.ask(&naming(name)).await
    }

    /// As [`Opened::rename`], but what is asked next does not wait for the answer, which goes to `done`.
    pub(super) async fn rename_ahead(&mut self, name: &str, done: oneshot::Sender<Result<()>>) -> Result<()> {
        self.framed.send(&naming(name)).await?;
        self.naming.push(done);
        Ok(())
    }

    /// Ends when the idle connection is lost.
    pub(super) async fn hung_up(&mut self) {
        if self.framed.named(&mut self.naming).await.is_ok() {
            // Nobody has asked anything: an answer means as little good as an end.
            drop(self.framed.next().await);
        }
    }
}

fn naming(name: &str) -> BytesMut {
    pack(&[b"CLIENT", b"SETNAME", name.as_bytes()])
}

/// The answer, while the server is being made to give it.
async fn answered_or<T>(mut answer: Pin<&mut impl Future<Output = T>>, unblocking: impl Future<Output = ()>) -> T {
    tokio::select! {
        answer = &mut answer => return answer,
        () = unblocking => {}
    }
    answer.await
}

/// Opens a connection, as ready as the shared one, within `connectTimeoutMs` for each half. In a cluster it leads to the
/// master of `command`'s key, or to any.
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
            // A subscription is confirmed by a push; the answer to the PING says that it was not refused.
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

/// Has the server answer a blocked command now, or as soon as it is blocked, with nothing (`TIMEOUT`) or with `ERROR`. The number
/// of a connection means something at its own server only: where there are several, over a new one to that.
async fn unblock(shared: &Arc<Shared>, id: Option<i64>, address: Option<&Address>, how: &[u8]) {
    let Some(id) = id else { return };
    let payload = pack(&[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes(), how]).freeze();
    if let Some(address) = address {
        if let Ok(greeted) = cluster::connect_to(&shared.core.config, address).await {
            let mut framed = Framed::new(greeted, &shared.core.config);
            // It is not blocked yet: what blocks it is still on its way there.
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
        // Where this fails too, the connection is ended all the same.
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
    /// When something came last.
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

    /// Gives the next replies to those who have named the connection.
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

    /// The next reply that is no push.
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
