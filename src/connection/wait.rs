//! What is left of the time of a command that blocks, where it has to go on at another server.
//!
//! A server that says "not here" or "not now" has executed nothing of it, whatever it waited for until then; and so has one
//! that was made to end the wait. The wait goes on at the server that is right now, for as long as its caller said.

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

/// The wait before a server that refused is asked again, unless another one is known by then; the second time it is twice as
/// long, and so on.
const AGAIN: Duration = Duration::from_millis(50);
/// The bound of that.
const MOST_AGAIN: u32 = 10;
/// How many redirections are followed at once; from then on there is a wait before each.
const HOPS: u32 = 5;

/// One blocking command on its way.
pub(super) struct Wait {
    /// When its own time is over; `None` is never.
    ends: Option<Instant>,
    blocks_for: Option<Duration>,
    hops: u32,
    /// Where a node of a cluster has sent it.
    pub(super) redirect: Option<Redirect>,
    /// Why it is not where it was.
    pub(super) why: Option<Error>,
}

/// What is to be done after a server has had its say.
pub(super) enum Next {
    Done(Result<Reply>),
    Again,
}

impl Wait {
    pub(super) fn new(request: &Request, blocks_for: Option<Duration>) -> Self {
        let ends = blocks_for.map(|time| request.accepted + time);
        Self { ends, blocks_for, hops: 0, redirect: None, why: None }
    }

    /// How long a connection may take to be there. The first one has the time of any command; once a server has refused, the
    /// time of the command itself counts too.
    pub(super) fn connected_by(&self, request: &Request, command_timeout: Duration) -> Option<Instant> {
        let first = request.deadline(command_timeout);
        match (&self.why, self.ends) {
            (None, _) => Some(first),
            (Some(_), Some(ends)) => Some(ends.max(first)),
            (Some(_), None) => None,
        }
    }

    /// The command with the time that is left, and that time. The first server gets it as it is.
    ///
    /// # Errors
    ///
    /// Why it is not where it was, when no time is left.
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

    /// Goes by what came from the server at the end of `opened`.
    pub(super) fn judge(&mut self, core: &Core, request: &Request, opened: &Opened, outcome: Result<Reply>) -> Next {
        self.redirect = None;
        let error = match outcome {
            Ok(Reply::Error(line)) if is_refused(core, request, opened, &line) => {
                self.redirect = opened.address.as_ref().and_then(|address| Redirect::read(&line, address));
                Error::from_reply(&String::from_utf8_lossy(&line))
            }
            // Nobody minds whether it was read twice.
            Err(error) if error.kind() == ErrorKind::Connection && request.command.safe && has_peers(core) => error,
            outcome => return Next::Done(outcome),
        };
        core.metrics.resent_commands.add(1);
        match &self.redirect {
            Some(redirect) if !redirect.ask => core.topology.moved(redirect.slot, &redirect.address),
            Some(_) => {}
            None => {
                core.topology.doubt();
                if self.why.as_ref().is_none_or(|before| before.message() != error.message()) {
                    core.failed(&error);
                }
            }
        }
        self.hops += 1;
        self.why = Some(error);
        Next::Again
    }

    /// Is a server that has refused over `opened` to be asked again over the same connection?
    pub(super) fn keeps(&self, core: &Core, opened: &Opened) -> bool {
        let is_right = match &opened.seat {
            Some(seat) => core.topology.is_right(seat),
            // After `ASKING`, which is for one command.
            None => opened.address.is_none(),
        };
        // A server that becomes a replica hangs up behind what it says to those that it had blocked.
        let hangs_up = self.why.as_ref().is_some_and(|why| why.server_code() == Some("UNBLOCKED"));
        is_right && !opened.is_left && !hangs_up && self.redirect.is_none()
    }

    /// The wait before the next server is asked: none where the last one has named it; at most until another one is known.
    pub(super) async fn pause(&self, core: &Core) {
        if self.redirect.is_none() || self.hops > HOPS {
            tokio::select! {
                () = sleep(AGAIN * self.hops.clamp(1, MOST_AGAIN)) => {}
                () = core.topology.changed() => {}
            }
        }
    }
}

/// Has the server executed nothing, and is another one, or the same one later, to be asked?
fn is_refused(core: &Core, request: &Request, opened: &Opened, line: &Bytes) -> bool {
    let in_cluster = matches!(core.config.target, Target::Cluster(_));
    if opened.is_left && line.starts_with(b"UNBLOCKED ") {
        return true;
    }
    let refused = refusal(request, &Reply::Error(line.clone()), in_cluster);
    match refused.filter(|refused| !refused.is_doubtful).map(|refused| refused.refusal) {
        None | Some(Refusal::Unloaded) => false,
        Some(Refusal::Later | Refusal::Elsewhere) => true,
        // A single server that is a replica has nobody who would take its place.
        Some(Refusal::Renew) => has_peers(core),
    }
}

/// Is there more than one server that may be the right one?
fn has_peers(core: &Core) -> bool {
    matches!(core.config.target, Target::Sentinel { .. } | Target::Cluster(_))
}

/// The answer of a caller whose connection was not there in time.
pub(super) fn not_connected(limit: Duration, why: Option<&Error>, error: Error) -> Error {
    match why {
        Some(why) => why.clone(),
        None => super::request::timed_out(limit, Delivery::NotSent).caused_by(error),
    }
}
