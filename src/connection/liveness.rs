//! Whether a blocked connection lives, by the rule of `silence`. It cannot be asked: a server reads nothing from a client that it
//! blocks. But it may be written to. So the connection subscribes to a channel of its own first (RESP3 lets it do other things besides),
//! and when it has been silent for long the shared connection publishes there: what arrives is the sign of life.
//!
//! Where the server speaks no RESP3, or the user may not use the channel, nothing is watched; TCP keep-alive remains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use super::command::{self, Command};
use super::shared::Shared;
use super::silence::{Due, Silence};
use super::target::Target;
use crate::error::{Delivery, Error, ErrorKind};
use crate::resp::{self, Reply};

/// Ends with an error when the connection that listens to `channel` is lost; never otherwise. `heard` is when anything
/// came on it last.
pub(super) async fn lost(shared: &Arc<Shared>, channel: &[u8], heard: watch::Receiver<Instant>) -> Error {
    let keep_alive = shared.core.config.keep_alive;
    // A cluster's node counts its own subscribers only; the message itself reaches those of all nodes.
    let counts = !matches!(shared.core.config.target, Target::Cluster(_));
    loop {
        let last = *heard.borrow();
        sleep_until((last + keep_alive).into()).await;
        if *heard.borrow() > last {
            continue;
        }
        let asked = Instant::now();
        let Due::Ask(deadline) = Silence::since(last).due(keep_alive, asked) else { continue };
        match timeout_at(deadline.into(), publish(shared, channel)).await {
            Ok(Some(Reply::Int(0))) if counts && *heard.borrow() < asked => return silent(asked.duration_since(last)),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => std::future::pending::<()>().await,
        }
        let mut heard = heard.clone();
        let sign = timeout_at(deadline.into(), heard.wait_for(|at| *at >= asked)).await;
        if !matches!(sign, Ok(Ok(_))) {
            return silent(last.elapsed());
        }
    }
}

/// `PUBLISH`, over the shared connection. `None` where the user may not; the reply is `Nil` where it cannot now.
async fn publish(shared: &Arc<Shared>, channel: &[u8]) -> Option<Reply> {
    let mut payload = BytesMut::new();
    resp::pack(&mut payload, &[b"PUBLISH", channel, b""]);
    let operation = command::spec(&[b"PUBLISH"]).operation;
    match shared.ask(Command::raw(payload.freeze(), operation).reading()).await {
        Ok(reply) => Some(reply),
        Err(error) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) => Some(Reply::Nil),
        Err(_) => None,
    }
}

fn silent(time: Duration) -> Error {
    let message = format!(
        "the connection of a blocking command was lost: the server has been silent for {} ms",
        time.as_millis()
    );
    Error::new(ErrorKind::Connection, message).with_delivery(Delivery::MaybeExecuted)
}
