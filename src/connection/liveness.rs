//! Whether a blocked connection lives, by the rule of `silence`. A `PING` does not work, because a server reads nothing from a client
//! that it blocks. But the server writes to the client. So the connection first subscribes to a channel of its own; RESP3 allows other
//! commands on the same connection. After a long silence the shared connection publishes to this channel. The message on the blocked
//! connection is the sign of life.
//!
//! Without RESP3, or without the permission for the channel, the connection is not watched. Then only TCP keep-alive notices its loss.

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

/// Ends with an error when the connection that is subscribed to `channel` is lost, and never otherwise. `heard` is the time when the
/// connection received something last.
pub(super) async fn lost(shared: &Arc<Shared>, channel: &[u8], heard: watch::Receiver<Instant>) -> Error {
    let keep_alive = shared.core.config.keep_alive;
    // A node of a cluster counts its own subscribers only, but the message reaches the subscribers of all nodes.
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

/// `PUBLISH`, on the shared connection. `None` where the server refuses it; `Nil` where the server cannot be reached now.
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
