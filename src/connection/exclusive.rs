//! Blocking commands: each on a connection of its own for as long as it blocks, so that nobody else waits for it.
//!
//! A blocked connection cannot be asked whether it lives. A command with a timeout is bounded by that plus a grace;
//! one without is watched by TCP keep-alive alone. `disconnect()` has the server unblock it first, so that an
//! element is never popped for a caller that is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::actor;
use super::command;
use super::link::Stream;
use super::request::{Command, Request, Sink};
use super::shared::Shared;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::{self, Reader, Reply};

/// What a server may take beyond the timeout it was given.
const GRACE: Duration = Duration::from_secs(2);

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

async fn run(shared: &Arc<Shared>, request: &Request, blocks_for: Option<Duration>) -> Result<Reply> {
    let interrupted = shared.interruption();
    let opened = tokio::select! {
        opened = actor::connect(shared) => opened,
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
                unblock(shared, id);
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

fn unblock(shared: &Arc<Shared>, id: Option<i64>) {
    if let Some(id) = id {
        let payload = pack(&[b"CLIENT", b"UNBLOCK", id.to_string().as_bytes()]).freeze();
        let operation = command::spec(b"CLIENT").operation;
        shared.submit_inside(Command { payload, replies: 1, safe: false, operation, script: None }, Sink::Ignored);
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
