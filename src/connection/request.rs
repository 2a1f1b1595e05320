//! A command on its way: where it is executed, what became of it, and who waits for the answer.
//!
//! Every [`Request`] is settled exactly once, whatever happens to it: one that is dropped unsettled answers
//! with kind `closed`. That is what makes "every promise settles" a property of a type.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::command::Command;
use super::cursor::Origin;
use super::target::Address;
use crate::crossing::{Answer, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// What a reply becomes for who waits for it. Counts what it must in the manager's metrics.
pub type Decode = fn(Reply, &Metrics) -> Result<Outcome>;

/// What is done with a reply. A function, in a type of its own so that it has a `Debug`.
pub struct Next(Box<dyn FnOnce(Result<Reply>) + Send + Sync>);

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// Who waits for a reply.
#[derive(Debug)]
pub enum Sink {
    Answer(Answer, Decode),
    Waiter(oneshot::Sender<Result<Reply>>),
    /// Is also told on which connection the answer came.
    Located(oneshot::Sender<Result<(Reply, Origin)>>),
    /// Called with the reply, on whatever thread settles it; must not block.
    Then(Next),
    /// Nobody.
    Ignored,
}

impl Sink {
    /// Has `next` called with the reply, on whatever thread settles it; it must not block.
    pub fn then(next: impl FnOnce(Result<Reply>) + Send + Sync + 'static) -> Self {
        Self::Then(Next(Box::new(next)))
    }

    /// Gives the outcome of something that was never a request to whoever waits for it.
    pub fn settle(self, outcome: Result<Reply>, metrics: &Metrics) {
        self.settle_from(Origin::default(), outcome, metrics, String::new);
    }

    /// Gives the outcome to whoever waits for it. It came on connection `origin`, and answers the command that `shown` names.
    fn settle_from(self, origin: Origin, outcome: Result<Reply>, metrics: &Metrics, shown: impl FnOnce() -> String) {
        match self {
            Self::Answer(answer, decode) => {
                let outcome = outcome.and_then(|reply| decode(reply, metrics));
                answer.give(outcome.map_err(|error| error.to_command(shown)));
            }
            // A caller that no longer waits wants no answer.
            Self::Waiter(sender) => drop(sender.send(outcome)),
            Self::Located(sender) => drop(sender.send(outcome.map(|reply| (reply, origin)))),
            Self::Then(Next(next)) => next(outcome),
            Self::Ignored => {}
        }
    }
}

/// What is to be done with a request that was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server does not know the script: load it.
    Unloaded,
    /// The server cannot serve it now: try again later.
    Later,
    /// The server became a replica: try again on a new connection.
    Renew,
    /// It is for another node of the cluster, or not now.
    Elsewhere,
}

/// What a reply says by which a request was not executed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// What the server said.
    pub(super) line: Bytes,
    /// May a user's script have said it, after it was executed?
    pub(super) is_doubtful: bool,
}

/// The place in a cluster where a request is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The master of the slot.
    Slot(u16),
    /// Any master.
    Anywhere,
    /// This master, as long as it is one.
    Master(Box<Address>),
    /// This node, whatever it is.
    Node(Box<Address>),
}

/// A [`Command`] with who waits for it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one request")]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) accepted: Instant,
    /// Where its first byte stands in all that was ever written on the present connection.
    pub(super) position: u64,
    /// The connection it was given to last.
    pub(super) origin: Origin,
    /// Replies of several that have come.
    pub(super) partial: Vec<Reply>,
    /// Sent again on the server's demand, so as not to do so twice for the same reason.
    pub(super) renewed: bool,
    /// Was it sent on a connection that was lost? It may be executed again, and may have been.
    pub(super) repeated: bool,
    /// How often its script was loaded for it.
    pub(super) loaded: u8,
    /// What its script answered with, while the server is asked whether these are its own words.
    pub(super) doubted: Option<Refused>,
    /// Is the first answer given to who waits, also one by which it would be repeated?
    pub(super) plain: bool,
    /// In a cluster: where it is executed, once that is known.
    pub(super) place: Option<Place>,
    /// In a cluster: how often a node said that it has moved.
    pub(super) hops: u8,
    /// In a cluster: to be introduced by `ASKING`.
    pub(super) asking: bool,
    sink: Option<Sink>,
    metrics: Arc<Metrics>,
}

impl Request {
    /// Counts the command as pending until it is settled.
    pub(super) fn new(command: Command, sink: Sink, accepted: Instant, metrics: Arc<Metrics>) -> Self {
        metrics.pending_commands.add(1);
        metrics.pending_bytes.add(size(&command));
        Self {
            command,
            accepted,
            position: 0,
            origin: Origin::default(),
            partial: Vec::new(),
            renewed: false,
            repeated: false,
            loaded: 0,
            doubted: None,
            plain: false,
            place: None,
            hops: 0,
            asking: false,
            sink: Some(sink),
            metrics,
        }
    }

    /// Gives the outcome to who waits for it.
    pub(super) fn settle(mut self, outcome: Result<Reply>, now: Instant) {
        self.finish(outcome, now);
    }

    /// Settles it, but keeps its place in the order of replies.
    pub(super) fn abandon(&mut self, error: Error, now: Instant) {
        self.finish(Err(error), now);
    }

    /// Has it been settled?
    pub(super) fn is_settled(&self) -> bool {
        self.sink.is_none()
    }

    /// What is known of it while it waits to be sent.
    pub(super) fn delivery_while_waiting(&self) -> Delivery {
        if self.repeated { Delivery::MaybeExecuted } else { Delivery::NotSent }
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        self.accepted + timeout
    }

    fn finish(&mut self, outcome: Result<Reply>, now: Instant) {
        let Some(sink) = self.sink.take() else {
            return;
        };
        self.metrics.pending_commands.add(-1);
        self.metrics.pending_bytes.add(-size(&self.command));
        self.metrics.operation_took(self.command.operation, now.saturating_duration_since(self.accepted));
        match &outcome {
            Ok(Reply::Error(_)) => self.metrics.failed_commands.add(1),
            Err(error) if error.kind() == ErrorKind::Timeout => self.metrics.timed_out_commands.add(1),
            _ => {}
        }
        let outcome = match outcome {
            Ok(Reply::Error(line)) => Err(Error::from_reply(&String::from_utf8_lossy(&line))),
            other => other,
        };
        sink.settle_from(self.origin, outcome, &self.metrics, || self.command.shown());
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.sink.is_some() {
            let error = Error::new(ErrorKind::Closed, "the connection manager has ended")
                .with_delivery(Delivery::MaybeExecuted);
            self.finish(Err(error), Instant::now());
        }
    }
}

fn size(command: &Command) -> i64 {
    i64::try_from(command.payload.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crossing::HandedOn;
    use crate::telemetry::Operation;

    #[test]
    fn a_reply_that_cannot_be_decoded_is_an_error_that_names_the_command() {
        let (answer, outcomes) = HandedOn::answer();
        let sink = Sink::Answer(answer, |_, _| Err(Error::unexpected_reply()));
        let payload = Bytes::from_static(b"*2\r\n$3\r\nGET\r\n$6\r\nsecret\r\n");
        let command = Command::raw(payload, Operation::named("kv.get"));
        Request::new(command, sink, Instant::now(), Arc::default()).settle(Ok(Reply::Int(1)), Instant::now());
        let error = outcomes.try_recv().unwrap().unwrap_err();
        assert_eq!(error.message(), "unexpected reply to `GET` of kv.get");
    }
}
