//! A command that waits for its reply: its destination, its progress, and its sink.
//!
//! Every [`Request`] is settled exactly once: the drop of an open request settles it with kind `closed`. So the type guarantees that
//! every promise settles.

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

/// How often a script is loaded for one call. Other clients may flush all scripts between the load and the call.
const LOADS: u8 = 2;

/// Turns a reply into the caller's outcome. Counts in the manager's metrics.
pub type Decode = fn(Reply, &Metrics) -> Result<Outcome>;

/// A function that takes a reply. The type exists for the sake of `Debug`.
pub struct Callback(Box<dyn FnOnce(Result<Reply>) + Send + Sync>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

/// Where the outcome of a request goes.
#[derive(Debug)]
pub enum Sink {
    Answer(Answer, Decode),
    Waiter(oneshot::Sender<Result<Reply>>),
    /// Also gets the connection of the reply.
    Located(oneshot::Sender<Result<(Reply, Origin)>>),
    /// Called with the reply, on the thread that settles the request; must not block.
    Then(Callback),
    /// No caller waits for the outcome.
    Ignored,
}

impl Sink {
    /// Calls `next` with the reply, on the thread that settles the request; `next` must not block.
    pub fn then(next: impl FnOnce(Result<Reply>) + Send + Sync + 'static) -> Self {
        Self::Then(Callback(Box::new(next)))
    }

    /// Gives an outcome to the caller without a request.
    pub fn settle(self, outcome: Result<Reply>, metrics: &Metrics) {
        self.settle_from(Origin::default(), outcome, metrics, String::new);
    }

    /// Gives the outcome to the caller. The reply came on connection `origin`, to the command that `shown` names.
    fn settle_from(self, origin: Origin, outcome: Result<Reply>, metrics: &Metrics, shown: impl FnOnce() -> String) {
        match self {
            Self::Answer(answer, decode) => {
                let outcome = outcome.and_then(|reply| decode(reply, metrics));
                answer.give(outcome.map_err(|error| error.to_command(shown)));
            }
            // The send fails where the caller has stopped waiting.
            Self::Waiter(sender) => drop(sender.send(outcome)),
            Self::Located(sender) => drop(sender.send(outcome.map(|reply| (reply, origin)))),
            Self::Then(Callback(next)) => next(outcome),
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
    /// Another node of the cluster is responsible, or the node cannot serve now.
    Elsewhere,
}

/// A reply that says that a request was not executed.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// The error line.
    pub(super) line: Bytes,
    /// May the error line come from a user's script that was executed?
    pub(super) is_doubtful: bool,
}

/// The place in a cluster where a request is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// The master of the slot.
    Slot(u16),
    /// Any master.
    Anywhere,
    /// This master, as long as it is one.
    Master(Box<Address>),
    /// This node, whatever its role.
    Node(Box<Address>),
}

/// The progress of a request on the connection that it was written on last.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) origin: Origin,
    /// The position of the request's first byte, counted from the first byte that was written on the connection.
    pub(super) position: u64,
    /// The received replies of a request with several replies.
    replies: Vec<Reply>,
}

impl Written {
    /// The request is written on connection `origin`, at `position`. Replies from another connection are dropped.
    pub(super) fn start(&mut self, origin: Origin, position: u64) {
        (self.origin, self.position) = (origin, position);
        self.replies.clear();
    }

    /// Adds a reply. Returns the whole reply once all `count` replies are there: an array where `count` is above 1.
    #[inline]
    pub(super) fn collect(&mut self, reply: Reply, count: u32) -> Option<Reply> {
        if count <= 1 {
            return Some(reply);
        }
        self.replies.push(reply);
        (self.replies.len() >= count as usize).then(|| Reply::Array(std::mem::take(&mut self.replies)))
    }
}

/// Why a request was sent again. The counts limit the repetitions.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Was the request sent on a connection that was lost? It is sent again, and may have been executed before.
    pub(super) repeated: bool,
    /// Must the request not be sent again after a refusal?
    pub(super) forbidden: bool,
    /// The answer of the request's script, while the server is asked whether the text is its own. Boxed, because it is rare and large.
    pub(super) doubted: Option<Box<Refused>>,
    renewed: bool,
    loads: u8,
}

impl Retries {
    /// May the request's script be loaded once more? Counts the load.
    pub(super) fn may_load(&mut self) -> bool {
        let may = self.loads < LOADS;
        self.loads += u8::from(may);
        may
    }

    /// May the request go to a new connection, because the server became a replica? True once.
    pub(super) fn may_renew(&mut self) -> bool {
        !std::mem::replace(&mut self.renewed, true)
    }
}

/// The route of a request in a cluster.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// `None` until it is known.
    pub(super) destination: Option<Destination>,
    /// How often a node said that its slot has moved.
    pub(super) hops: u8,
    /// Must the request be preceded by `ASKING`?
    pub(super) asking: bool,
}

/// A [`Command`] and the sink for its reply.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) accepted: Instant,
    pub(super) written: Written,
    pub(super) retries: Retries,
    pub(super) routing: Routing,
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
            written: Written::default(),
            retries: Retries::default(),
            routing: Routing::default(),
            sink: Some(sink),
            metrics,
        }
    }

    /// Gives the outcome to the sink.
    pub(super) fn settle(mut self, outcome: Result<Reply>, now: Instant) {
        self.finish(outcome, now);
    }

    /// Settles the request with `error`, but keeps its place in the order of replies.
    pub(super) fn abandon(&mut self, error: Error, now: Instant) {
        self.finish(Err(error), now);
    }

    /// Is the request settled?
    pub(super) fn is_settled(&self) -> bool {
        self.sink.is_none()
    }

    /// The delivery of an error that settles the request while it waits to be sent.
    pub(super) fn delivery_while_waiting(&self) -> Delivery {
        if self.retries.repeated { Delivery::MaybeExecuted } else { Delivery::NotSent }
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
        sink.settle_from(self.written.origin, outcome, &self.metrics, || self.command.shown());
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

/// The error of a request whose deadline passed.
pub(super) fn timed_out(timeout: Duration, delivery: Delivery) -> Error {
    let what = match delivery {
        Delivery::NotSent => "it was not sent",
        Delivery::MaybeExecuted | Delivery::Rejected => "it was sent and may have been executed",
    };
    Error::new(ErrorKind::Timeout, format!("no answer within commandTimeoutMs, {} ms: {what}", timeout.as_millis()))
        .with_delivery(delivery)
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
