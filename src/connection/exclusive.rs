//! Blocking commands: each on a connection of its own for as long as it blocks, so that nobody else waits for it.
//!
//! A blocked connection cannot be asked whether it lives. A command with a timeout is bounded by that plus a grace;
//! one without is watched by TCP keep-alive alone. `disconnect()` has the server unblock it first, so that an
//! element is never popped for a caller that is gone.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::actor;
use super::cluster::{self, Redirect};
use super::command;
use super::handshake::{self, Greeted};
use super::link::{self, Stream};
use super::request::{Command, Request, Sink};
use super::shared::Shared;
use super::target::{Address, Target};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::{self, Reader, Reply};

/// What a server may take beyond the timeout it was given.
const GRACE: Duration = Duration::from_secs(2);
/// How often a cluster's nodes may send a command on.
const HOPS: u32 = 16;

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
    let Target::Cluster(seeds) = &shared.config.target else {
        return run_on(shared, request, blocks_for, actor::connect(shared), None, false).await;
    };
    let mut redirect: Option<Redirect> = None;
    for _ in 0..HOPS {
        let place = Arc::default();
        let opened = async {
            let (address, greeted) = cluster::connect_for(shared, seeds, &request.command, redirect.as_ref()).await?;
            *lock(&place) = Some(address);
            Ok(greeted)
        };
        let asking = redirect.as_ref().is_some_and(|redirect| redirect.ask);
        let outcome = run_on(shared, request, blocks_for, opened, Some(&place), asking).await;
        let address = lock(&place).take();
        redirect = match (&outcome, address) {
            (Ok(Reply::Error(line)), Some(asked)) => Redirect::read(line, &asked),
            _ => None,
        };
        if redirect.is_none() {
            return outcome;
        }
    }
    Err(Error::new(ErrorKind::Connection, format!("the cluster's nodes sent it on {HOPS} times")))
}

/// `place` is where the connection leads in a cluster, once it is `opened`.
async fn run_on(
    shared: &Arc<Shared>,
    request: &Request,
    blocks_for: Option<Duration>,
    opened: impl Future<Output = Result<Greeted>>,
    place: Option<&Mutex<Option<Address>>>,
    asking: bool,
) -> Result<Reply> {
    let interrupted = shared.interruption();
    let opened = tokio::select! {
        opened = opened => opened,
        () = interrupted.cancelled() => return Err(shared.closed()),
    };
    let mut wire = Wire {
        stream: opened.inspect_err(|error| shared.failed(error))?.stream,
        buffer: BytesMut::with_capacity(4096),
        reader: Reader::default(),
    };
    shared.metrics.connections.add(1);
    let id = match wire.ask(&pack(&[b"CLIENT", b"ID"])).await {
        Ok(Reply::Int(id)) => Some(id),
        _ => None,
    };
    if asking {
        wire.ask(&pack(&[b"ASKING"])).await?;
    }
    let ends = blocks_for.map(|time| time + GRACE.max(shared.config.command_timeout));
    let outcome = {
        let answer = async {
            match ends {
                Some(ends) => {
                    timeout(ends, wire.ask(&request.command.payload)).await.unwrap_or_else(|_| Err(too_late(ends)))
                }
                None => wire.ask(&request.command.payload).await,
            }
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            outcome = &mut answer => outcome,
            () = interrupted.cancelled() => {
                unblock(shared, id, place.and_then(|place| lock(place).clone()));
                let last_word = timeout(GRACE.min(shared.config.close_timeout), answer).await;
                match last_word {
                    Ok(Ok(reply)) if reply != Reply::Nil => Ok(reply),
                    _ => Err(shared.closed().with_delivery(Delivery::MaybeExecuted)),
                }
            }
        }
    };
    shared.metrics.connections.add(-1);
    outcome
}

/// In a cluster the number of a connection means something on its node only.
fn unblock(shared: &Arc<Shared>, id: Option<i64>, place: Option<Address>) {
    if let Some(id) = id {
        let payload = pack(&[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes()]).freeze();
        if let Some(address) = place {
            let shared = Arc::clone(shared);
            crate::lifecycle::spawn(async move {
                // Who cannot be told ends with its connection.
                let _ = timeout(GRACE, tell(&shared, &address, &payload)).await;
            });
            return;
        }
        let operation = command::spec(b"CLIENT").operation;
        shared.submit_inside(Command { payload, replies: 1, safe: false, operation, script: None }, Sink::Ignored);
    }
}

async fn tell(shared: &Shared, address: &Address, payload: &[u8]) -> Result<Reply> {
    let stream = handshake::greet(&shared.config, link::open_tcp(&shared.config, address).await?).await?.stream;
    Wire { stream, buffer: BytesMut::new(), reader: Reader::default() }.ask(payload).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

struct Wire {
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    reader: Reader,
}

impl Wire {
    async fn ask(&mut self, payload: &[u8]) -> Result<Reply> {
        let lost = |why: String| {
            Error::new(ErrorKind::Connection, format!("the connection of a blocking command was lost: {why}"))
                .with_delivery(Delivery::MaybeExecuted)
        };
        self.stream.write_all(payload).await.map_err(|e| lost(e.to_string()))?;
        self.stream.flush().await.map_err(|e| lost(e.to_string()))?;
        loop {
            match self.reader.next(&mut self.buffer) {
                Ok(Some(Reply::Push(_))) => {}
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) => return Err(lost("closed by the server".into())),
                    Ok(_) => {}
                    Err(e) => return Err(lost(e.to_string())),
                },
                Err(e) => return Err(lost(e.to_string())),
            }
        }
    }
}
