//! The rest of a blocking command's timeout, where the command continues at another server.
//!
//! A server that answers "not here" or "not now" has executed nothing, even if the command was blocked for a while. This also holds
//! for a server that was made to unblock the command. The command then continues at the right server, until the timeout that its
//! caller gave is over.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::cluster::Redirect;
use super::command::{self, Command};
use super::core::Core;
use super::opened::Opened;
use super::refusal::refusal;
use super::request::{Refusal, Request};
use super::target::Target;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;

/// The pause after the first refusal; it ends early when another server is known. The pause after refusal number n is n times as
/// long, up to [`MAX_PAUSES`] times.
const AGAIN: Duration = Duration::from_millis(50);
const MAX_PAUSES: u32 = 10;
/// How many redirections are followed at once. After that there is a pause before each.
const HOPS: u32 = 5;

/// A blocking command that is being executed.
pub(super) struct Wait {
    /// When the command's own timeout is over; `None` is never.
    ends: Option<Instant>,
    blocks_for: Option<Duration>,
    hops: u32,
    /// The last redirection by a node of a cluster.
    pub(super) redirect: Option<Redirect>,
    /// Why the last server has not executed the command.
    pub(super) why: Option<Error>,
}

/// What is to be done after the answer of a server.
pub(super) enum Next {
    Done(Result<Reply>),
    Again,
}

impl Wait {
    pub(super) fn new(request: &Request, blocks_for: Option<Duration>) -> Self {
        let ends = blocks_for.map(|time| request.accepted + time);
        Self { ends, blocks_for, hops: 0, redirect: None, why: None }
    }

    /// Until when a connection must be open. The first connection has `commandTimeoutMs`. After a refusal, the command's own
    /// timeout counts too.
    pub(super) fn connected_by(&self, request: &Request, command_timeout: Duration) -> Option<Instant> {
        let first = request.deadline(command_timeout);
        match (&self.why, self.ends) {
            (None, _) => Some(first),
            (Some(_), Some(ends)) => Some(ends.max(first)),
            (Some(_), None) => None,
        }
    }

    /// The command with the rest of its timeout, and this rest. The first server gets the command unchanged.
    ///
    /// # Errors
    ///
    /// The last refusal, when no time is left.
    pub(super) fn rest(&self, command: &Command) -> Result<(Bytes, Option<Duration>)> {
        let (Some(why), Some(ends)) = (&self.why, self.ends) else {
            return Ok((command.payload.clone(), self.blocks_for));
        };
        let left = ends.saturating_duration_since(Instant::now());
        match command::with_timeout(&command.payload, left) {
            Some(payload) if !left.is_zero() => Ok((payload, Some(left))),
            _ => Err(why.clone()),
        }
    }

    /// Decides by the answer that came on `opened`.
    pub(super) fn judge(&mut self, core: &Core, request: &Request, opened: &Opened, outcome: Result<Reply>) -> Next {
        self.redirect = None;
        let error = match outcome {
            Ok(Reply::Error(line)) if is_refused(core, request, opened, &line) => {
                self.redirect = opened.address.as_ref().and_then(|address| Redirect::read(&line, address));
                Error::from_reply(&String::from_utf8_lossy(&line))
            }
            // A command that only reads may be executed twice.
            Err(error) if error.kind() == ErrorKind::Connection && request.command.safe && has_peers(core) => error,
            outcome => return Next::Done(outcome),
        };
        core.metrics.resent_commands.add(1);
        match &self.redirect {
            Some(redirect) if !redirect.ask => core.topology.moved(redirect.slot, &redirect.address),
            Some(_) => {}
            None => {
                core.topology.request_refresh();
                if self.why.as_ref().is_none_or(|before| before.message() != error.message()) {
                    core.failed(&error);
                }
            }
        }
        self.hops += 1;
        self.why = Some(error);
        Next::Again
    }

    /// After a refusal, may the command be sent again on the same connection?
    pub(super) fn keeps(&self, core: &Core, opened: &Opened) -> bool {
        let is_right = match &opened.seat {
            Some(seat) => core.topology.is_right(seat),
            // A cluster's connection without a seat is one after `ASKING`, which is for one command.
            None => opened.address.is_none(),
        };
        // A server that becomes a replica answers its blocked clients, and then closes their connections.
        let hangs_up = self.why.as_ref().is_some_and(|why| why.server_code() == Some("UNBLOCKED"));
        is_right && !opened.is_left && !hangs_up && self.redirect.is_none()
    }

    /// The pause before the next server is asked. There is none after a redirection. It ends early when another server is known.
    pub(super) async fn pause(&self, core: &Core) {
        if self.redirect.is_none() || self.hops > HOPS {
            tokio::select! {
                () = sleep(AGAIN * self.hops.clamp(1, MAX_PAUSES)) => {}
                () = core.topology.changed() => {}
            }
        }
    }
}

/// Has the server executed nothing, so that the command may be sent to another server, or to the same server later?
fn is_refused(core: &Core, request: &Request, opened: &Opened, line: &Bytes) -> bool {
    let in_cluster = matches!(core.config.target, Target::Cluster(_));
    if opened.is_left && line.starts_with(b"UNBLOCKED ") {
        return true;
    }
    let refused = refusal(request, &Reply::Error(line.clone()), in_cluster);
    match refused.filter(|refused| !refused.is_doubtful).map(|refused| refused.refusal) {
        None | Some(Refusal::Unloaded) => false,
        Some(Refusal::Later | Refusal::Elsewhere) => true,
        // No other server can take the place of a single server that is a replica.
        Some(Refusal::Renew) => has_peers(core),
    }
}

/// May another server become the right one?
fn has_peers(core: &Core) -> bool {
    matches!(core.config.target, Target::Sentinel { .. } | Target::Cluster(_))
}

/// The error of a caller whose connection was not open in time.
pub(super) fn not_connected(limit: Duration, why: Option<&Error>, error: Error) -> Error {
    match why {
        Some(why) => why.clone(),
        None => super::request::timed_out(limit, Delivery::NotSent).caused_by(error),
    }
}
