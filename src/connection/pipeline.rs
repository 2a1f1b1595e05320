//! One live connection: requests are written on it, and its replies are given to them.
//!
//! | part | what |
//! |---|---|
//! | [`Outgoing`] | what is to be written |
//! | [`Incoming`] | what has come, read as replies |
//! | [`Awaited`] | the replies that are still to come, in order |
//! | [`Loading`] | the scripts that are loaded on it |
//! | [`Silence`] | whether the server lives: a silent one is asked with a `PING` |
//!
//! Reading and writing are polled together, so a server that stops reading until its replies are taken never blocks both ends. A server
//! that still takes in what is written is not silent: our `PING` waits behind that.

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

/// What an answer asks for, beyond being given to its caller.
pub(super) enum Demand {
    /// The server cannot serve it now, and has not: try again later on this connection.
    Later(Request),
    /// The server became a replica: try again on a new connection.
    Renew(Request),
    /// A node of a cluster says that it is not for it to do, or not now; this is what it said.
    Elsewhere(Request, Bytes),
}

/// The requests of a connection that ended.
pub(super) struct Leftovers {
    /// Not one byte of them was written.
    pub(super) unsent: Vec<Request>,
    /// Written at least in part.
    pub(super) unanswered: Vec<Request>,
}

impl Leftovers {
    /// What is certainly or harmlessly repeatable; the rest is answered now: nobody knows whether it was executed.
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
    /// Was as much read as one turn may?
    sated: bool,
    /// To a node of a cluster: what it refuses may be for another.
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
            sated: false,
            in_cluster: false,
            metrics,
        }
    }

    /// The same, to a node of a cluster.
    pub(super) fn in_cluster(mut self) -> Self {
        self.in_cluster = true;
        self
    }

    /// May a further request be appended now?
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.has_room()
            && !self.loading.holds_back(self.awaited.oldest().map(|oldest| oldest.written.position))
    }

    /// Is nothing to be written, and nobody waiting for a reply?
    pub(super) fn is_idle(&self) -> bool {
        self.awaited.is_settled() && self.outgoing.is_empty() && self.demands.is_empty()
    }

    /// Appends a request to what is written next.
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

    /// What replies have asked for since the last call.
    pub(super) fn take_demands(&mut self) -> Vec<Demand> {
        std::mem::take(&mut self.demands)
    }

    /// Was as much read in the last turn as one may? Then other work of the thread is next: a server that sends without end must not
    /// occupy it.
    pub(super) fn take_sated(&mut self) -> bool {
        std::mem::take(&mut self.sated)
    }

    /// Writes what can be written and reads what can be read. Ready when something was read, with an error when the
    /// connection is lost.
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
        self.sated = true;
        Poll::Ready(Ok(()))
    }

    /// Writes at once what the stream takes, from whatever thread. False when something is left for [`Pipeline::poll`].
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

    /// Takes the next reply, or why it was read past.
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
            // What cannot be loaded needs no doubt.
            Some(refused) if refused.is_doubtful && load_failure.is_none() => self.doubt(request, refused),
            Some(refused) => self.take_refusal(request, refused, reply, load_failure, now),
            None => request.settle(Ok(reply), now),
        }
        Ok(())
    }

    /// Asks the server whether it said what the script of a user answered with.
    fn doubt(&mut self, mut request: Request, refused: Refused) {
        if request.routing.asking {
            self.append_ours(ASKING, Expected::Ours);
        }
        self.loading.hold_back(self.outgoing.position());
        self.outgoing.append(&question(&request.command, refused.refusal));
        request.retries.doubted = Some(Box::new(refused));
        self.awaited.push(request);
    }

    /// Goes by the server's `reply` to the question of [`Pipeline::doubt`].
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
            // The script cannot be loaded, and asking again would not change that.
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

    /// Since when a request has waited for a reply while nothing came.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        Some(self.silence.began().max(self.awaited.oldest()?.accepted))
    }

    /// When the next deadline of a request passes.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.awaited.next_deadline(timeout)
    }

    /// Settles every request whose deadline has passed. They keep their places.
    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) {
        self.awaited.expire(timeout, now);
    }

    /// Asks a silent server, and gives up on one that stays silent. Says when to look again.
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

    /// Ends the connection and gives back what was not answered.
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

    /// Says good-bye to the peer, so that it need not wait for a reset.
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
