//! One live connection: it writes requests, and gives them their replies.
//!
//! | part | what |
//! |---|---|
//! | [`Outgoing`] | the bytes to write |
//! | [`Incoming`] | the received bytes, read as replies |
//! | [`Awaited`] | the replies that are expected, in order |
//! | [`Loading`] | the scripts that are loaded on the connection |
//! | [`Silence`] | whether the server lives: a silent server gets a `PING` |
//!
//! Reading and writing are polled together, because a server may stop reading until its replies are read. A server that still
//! receives bytes is not silent: the `PING` waits behind these bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::awaited::{Awaited, Expected};
use super::config::Config;
use super::cursor::Origin;
use super::dial::Stream;
use super::handshake::Greeted;
use super::incoming::Incoming;
use super::loading::Loading;
use super::outgoing::Outgoing;
use super::refusal::{confirms, question, refusal};
use super::request::{Refusal, Refused, Request};
use super::silence::{Due, Silence};
use crate::crossing::batch;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::{Read, Reply, Why};
use crate::telemetry::Metrics;

const READ_CHUNK: usize = 64 * 1024;
/// Reads in a row before other work of the thread gets a turn.
const READS_PER_TURN: usize = 4;
const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// What must be done with a request after its answer.
pub(super) enum Demand {
    /// The server cannot execute the request now, and has not: try again later on this connection.
    Later(Request),
    /// The server became a replica: try again on a new connection.
    Renew(Request),
    /// A node of a cluster refused the request with this error line: another node is responsible, or the node cannot serve now.
    Elsewhere(Request, Bytes),
}

/// The requests of a connection that ended.
pub(super) struct Leftovers {
    /// Requests of which no byte was written.
    pub(super) unsent: Vec<Request>,
    /// Requests that were written at least in part.
    pub(super) unanswered: Vec<Request>,
}

impl Leftovers {
    /// The requests that may be sent again: the server has not executed them, or they only read. The others are settled with an
    /// error, because it is unknown whether they were executed.
    pub(super) fn repeatable(self, lost: &Error, metrics: &Metrics, now: Instant) -> Vec<Request> {
        let mut again = self.unsent;
        batch(|| {
            for mut request in self.unanswered {
                if request.command.safe {
                    request.retries.repeated = true;
                    metrics.resent_commands.add(1);
                    again.push(request);
                } else {
                    let unknown = Error::new(
                        ErrorKind::Connection,
                        "the connection was lost before the answer came: it may have been executed",
                    )
                    .with_delivery(Delivery::MaybeExecuted)
                    .caused_by(lost.clone());
                    request.settle(Err(unknown), now);
                }
            }
        });
        again
    }
}

pub(super) struct Pipeline {
    origin: Origin,
    stream: Box<dyn Stream>,
    incoming: Incoming,
    outgoing: Outgoing,
    awaited: Awaited,
    loading: Loading,
    silence: Silence,
    demands: Vec<Demand>,
    /// Were as many bytes read as one turn may read?
    budget_spent: bool,
    /// Is this a connection to a node of a cluster? Then a refused request may be for another node.
    in_cluster: bool,
    metrics: Arc<Metrics>,
}

impl Pipeline {
    pub(super) fn new(greeted: Greeted, config: &Config, metrics: Arc<Metrics>, now: Instant) -> Self {
        metrics.connections.add(1);
        Self {
            origin: Origin::new(),
            stream: greeted.stream,
            incoming: Incoming::new(greeted.input, greeted.reader, config),
            outgoing: Outgoing::default(),
            awaited: Awaited::default(),
            loading: Loading::default(),
            silence: Silence::since(now),
            demands: Vec::new(),
            budget_spent: false,
            in_cluster: false,
            metrics,
        }
    }

    /// Marks the connection as one to a node of a cluster.
    pub(super) fn in_cluster(mut self) -> Self {
        self.in_cluster = true;
        self
    }

    /// May a further request be appended now?
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.has_room()
            && !self.loading.holds_back(self.awaited.oldest().map(|oldest| oldest.written.position))
    }

    /// Is nothing left to write, and does no caller wait for a reply?
    pub(super) fn is_idle(&self) -> bool {
        self.awaited.is_settled() && self.outgoing.is_empty() && self.demands.is_empty()
    }

    /// Appends a request to the bytes to write.
    pub(super) fn append(&mut self, mut request: Request) {
        if let Some(script) = &request.command.script
            && self.loading.must_load_first(script)
        {
            self.append_ours(&script.load(), Expected::Load);
        }
        if request.routing.asking {
            self.append_ours(ASKING, Expected::Ours);
        }
        request.written.start(self.origin, self.outgoing.position());
        self.outgoing.append(&request.command.payload);
        self.awaited.push(request);
    }

    fn append_ours(&mut self, bytes: &[u8], reply: Expected) {
        self.outgoing.append(bytes);
        self.awaited.push_ours(reply);
    }

    /// The demands of the replies since the last call.
    pub(super) fn take_demands(&mut self) -> Vec<Demand> {
        std::mem::take(&mut self.demands)
    }

    /// Did the last turn read as many bytes as it may? Then the caller yields, because a server that sends without pause must not
    /// occupy the thread.
    pub(super) fn take_budget_spent(&mut self) -> bool {
        std::mem::take(&mut self.budget_spent)
    }

    /// Writes and reads as much as the stream allows. Ready when something was read, with an error when the connection is lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let written = self.outgoing.poll(&mut self.stream, cx, &self.metrics);
        if self.outgoing.take_resumed() {
            self.silence.interrupt(Instant::now());
        }
        if let Poll::Ready(Err(e)) = written {
            return Poll::Ready(Err(lost(&e.to_string()).caused_by(e)));
        }
        for turn in 0..READS_PER_TURN {
            self.incoming.bytes.reserve(READ_CHUNK);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.incoming.bytes) {
                Poll::Pending if turn == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(lost("closed by the server"))),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(lost(&e.to_string()).caused_by(e))),
                Poll::Ready(Ok(count)) => {
                    let now = Instant::now();
                    self.metrics.received_bytes.add(count as u64);
                    self.silence.end(now);
                    if let Err(error) = self.take_replies(now) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        self.budget_spent = true;
        Poll::Ready(Ok(()))
    }

    /// Writes at once as much as the stream takes, from any thread. False when something is left for [`Pipeline::poll`].
    pub(super) fn try_write(&mut self) -> bool {
        self.outgoing.try_write(&*self.stream, &self.metrics)
    }

    fn take_replies(&mut self, now: Instant) -> Result<()> {
        loop {
            if self.awaited.is_next_settled() {
                self.incoming.pass_one();
            }
            match self.incoming.next() {
                Ok(None) => return self.incoming.check(now).map_err(|why| lost(&why)),
                Ok(Some(Read::Reply(reply))) => self.take_reply(Ok(reply), now)?,
                Ok(Some(Read::Passed(passed))) if passed.is_push => {}
                Ok(Some(Read::Passed(passed))) => self.take_reply(Err(passed.why), now)?,
                Err(e) => return Err(Error::new(ErrorKind::Connection, e.to_string()).caused_by(e)),
            }
        }
    }

    /// Takes the next reply, or the reason why it was skipped.
    fn take_reply(&mut self, reply: Result<Reply, Why>, now: Instant) -> Result<()> {
        let mut request = match self.awaited.pop() {
            Some(Expected::Request(request)) => request,
            Some(Expected::Load) => {
                if let Ok(Reply::Error(line)) = reply {
                    self.loading.failed(line);
                }
                return Ok(());
            }
            Some(Expected::Ours) => return Ok(()),
            None => return Err(Error::new(ErrorKind::Connection, "the server sent a reply without a request")),
        };
        let reply = reply.unwrap_or_else(|why| {
            request.abandon(self.incoming.unread(why), now);
            Reply::Nil
        });
        let Some(reply) = request.written.collect(reply, request.command.replies) else {
            self.awaited.put_back(request);
            return Ok(());
        };
        let load_failure = self.loading.take_failure();
        if request.is_settled() {
            return Ok(());
        }
        if let Some(doubted) = request.retries.doubted.take() {
            self.resolve_doubt(request, *doubted, &reply, now);
            return Ok(());
        }
        let refused = if request.retries.forbidden { None } else { refusal(&request, &reply, self.in_cluster) };
        match refused {
            // Where the script could not be loaded, the refusal is certainly the server's.
            Some(refused) if refused.is_doubtful && load_failure.is_none() => self.doubt(request, refused),
            Some(refused) => self.take_refusal(request, refused, reply, load_failure, now),
            None => request.settle(Ok(reply), now),
        }
        Ok(())
    }

    /// Asks the server whether the refusal is its own, and not an answer of the user's script.
    fn doubt(&mut self, mut request: Request, refused: Refused) {
        if request.routing.asking {
            self.append_ours(ASKING, Expected::Ours);
        }
        self.loading.hold_back(self.outgoing.position());
        self.outgoing.append(&question(&request.command, refused.refusal));
        request.retries.doubted = Some(Box::new(refused));
        self.awaited.push(request);
    }

    /// Decides by the server's `reply` to the question of [`Pipeline::doubt`].
    fn resolve_doubt(&mut self, request: Request, doubted: Refused, reply: &Reply, now: Instant) {
        let said = Reply::Error(doubted.line.clone());
        if confirms(doubted.refusal, &doubted.line, reply) {
            self.take_refusal(request, doubted, said, None, now);
        } else {
            request.settle(Ok(said), now);
        }
    }

    fn take_refusal(
        &mut self,
        mut request: Request,
        refused: Refused,
        reply: Reply,
        load_failure: Option<Bytes>,
        now: Instant,
    ) {
        let Refused { refusal, line, .. } = refused;
        match (refusal, &request.command.script) {
            // The script cannot be loaded, and a further attempt would fail too.
            (Refusal::Unloaded, _) if load_failure.is_some() => {
                request.settle(Ok(load_failure.map_or(reply, Reply::Error)), now);
            }
            (Refusal::Unloaded, Some(script)) if request.retries.may_load() => {
                let load = script.load();
                self.metrics.resent_commands.add(1);
                self.loading.hold_back(self.outgoing.position());
                self.append_ours(&load, Expected::Load);
                self.append(request);
            }
            (Refusal::Elsewhere, _) => self.demands.push(Demand::Elsewhere(request, line)),
            (Refusal::Later, _) => self.demands.push(Demand::Later(request)),
            (Refusal::Renew, _) if request.retries.may_renew() => self.demands.push(Demand::Renew(request)),
            (Refusal::Unloaded | Refusal::Renew, _) => request.settle(Ok(reply), now),
        }
    }

    /// Since when a request has waited for a reply without anything being received.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        Some(self.silence.began().max(self.awaited.oldest()?.accepted))
    }

    /// When the next deadline of a request passes.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.awaited.next_deadline(timeout)
    }

    /// Settles every request whose deadline has passed. The requests keep their places in the order of replies.
    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) {
        self.awaited.expire(timeout, now);
    }

    /// Sends a `PING` to a silent server, and fails when the server stays silent. Returns when to check again.
    pub(super) fn check_alive(&mut self, keep_alive: Duration, now: Instant) -> Result<Instant> {
        match self.silence.due(keep_alive, now) {
            Due::Wait(until) => Ok(until),
            Due::Ask(until) => {
                self.append_ours(PING, Expected::Ours);
                Ok(until)
            }
            Due::Lost(silence) => Err(lost(&format!("the server has been silent for {} ms", silence.as_millis()))),
        }
    }

    /// Ends the connection and returns the requests that were not answered.
    pub(super) fn end(mut self) -> Leftovers {
        let awaited = std::mem::take(&mut self.awaited);
        let (unanswered, mut unsent): (Vec<_>, Vec<_>) =
            awaited.into_unsettled().partition(|request| self.outgoing.has_written(request.written.position));
        for demand in std::mem::take(&mut self.demands) {
            let (Demand::Later(request) | Demand::Renew(request) | Demand::Elsewhere(request, _)) = demand;
            unsent.push(request);
        }
        unsent.sort_by_key(|request| request.accepted);
        Leftovers { unsent, unanswered }
    }

    /// Closes the stream in good order.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.metrics.connections.add(-1);
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("the connection was lost: {why}"))
}
