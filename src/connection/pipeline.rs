//! One live connection: what was written on it, in order, and which answers are still to come.
//!
//! Reading and writing are polled together, so a server that stops reading until its answers are taken never
//! blocks both ends. Answers are matched by order alone; a request whose deadline passes is settled
//! but keeps its place, so no answer is ever given to the wrong caller.
//!
//! Liveness: a silent peer is asked with a `PING`, see `silence`. A peer that still takes in what is written is not silent: our `PING`
//! waits behind that.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::config::Config;
use super::cursor::Origin;
use super::handshake::Greeted;
use super::link::Stream;
use super::passing::{Patience, unread};
use super::refusal::{confirms, question, refusal};
use super::request::{Refusal, Refused, Request};
use super::silence::{Due, Silence};
use crate::crossing::batch;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::{Read, Reader, Reply, Why};
use crate::telemetry::Metrics;

/// Bytes that may wait in the output buffer before further requests stay in the queue, where they can still expire unsent.
const OUTPUT_HIGH_WATER: usize = 256 * 1024;
const READ_CHUNK: usize = 64 * 1024;
/// Reads in a row before other work of the thread gets a turn.
const READS_PER_TURN: usize = 4;
/// How often a script is loaded for one call of it: others may have flushed all scripts in between.
const LOADS: u8 = 2;
/// How many digests of users' scripts a connection remembers to have loaded.
const MOST_LOADED: usize = 10_000;
const ASKING: Bytes = Bytes::from_static(b"*1\r\n$6\r\nASKING\r\n");
const PING: Bytes = Bytes::from_static(b"*1\r\n$4\r\nPING\r\n");

#[expect(clippy::large_enum_variant, reason = "nearly all are requests; a box would be an allocation for each")]
enum Expected {
    Request(Request),
    /// Nobody waits: an answer to a `PING` of ours.
    Ours,
    /// The answer to a `SCRIPT LOAD` of ours; the request that needs it is next.
    Load,
}

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
                    request.repeated = true;
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

#[expect(clippy::struct_excessive_bools, reason = "independent facts of one connection")]
pub(super) struct Pipeline {
    origin: Origin,
    stream: Box<dyn Stream>,
    reader: Reader,
    patience: Patience,
    max_reply_bytes: usize,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    /// Was as much read as one turn may?
    sated: bool,
    /// Did the kernel refuse to take more? Once it does again, the peer has acknowledged something.
    stuck: bool,
    expected: VecDeque<Expected>,
    /// How many at the front of `expected` are settled already.
    settled: usize,
    /// Is some deadline in `expected` earlier than one before it?
    unordered: bool,
    newest: Option<Instant>,
    appended: u64,
    written: u64,
    silence: Silence,
    demands: Vec<Demand>,
    /// To a node of a cluster: what it refuses may be for another.
    in_cluster: bool,
    /// The error of the `SCRIPT LOAD` that was answered last, until the next answer.
    not_loaded: Option<Bytes>,
    /// Where the last `SCRIPT LOAD` stands in all that was ever written. Whatever was written before it may come again behind it, and
    /// until that is known nothing new is: calls of one script keep their order.
    loaded_at: u64,
    /// Digests of the scripts of users that were loaded on this connection.
    loaded: HashSet<String>,
    metrics: Arc<Metrics>,
}

impl Pipeline {
    pub(super) fn new(greeted: Greeted, config: &Config, metrics: Arc<Metrics>, now: Instant) -> Self {
        metrics.connections.add(1);
        Self {
            origin: Origin::new(),
            stream: greeted.stream,
            reader: greeted.reader,
            patience: Patience::new(config.command_timeout),
            max_reply_bytes: config.max_reply_bytes,
            input: greeted.input,
            output: BytesMut::new(),
            unflushed: false,
            sated: false,
            stuck: false,
            expected: VecDeque::new(),
            settled: 0,
            unordered: false,
            newest: None,
            appended: 0,
            written: 0,
            silence: Silence::since(now),
            demands: Vec::new(),
            in_cluster: false,
            not_loaded: None,
            loaded_at: 0,
            loaded: HashSet::new(),
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
        self.output.len() < OUTPUT_HIGH_WATER && !self.is_loading()
    }

    /// Is there something unanswered from before the last `SCRIPT LOAD`?
    fn is_loading(&self) -> bool {
        let oldest = self.expected.iter().find_map(|expected| match expected {
            Expected::Request(request) => Some(request.position),
            Expected::Ours | Expected::Load => None,
        });
        oldest.is_some_and(|position| position < self.loaded_at)
    }

    /// Is nothing to be written, and nobody waiting for an answer?
    pub(super) fn is_idle(&self) -> bool {
        self.settled_everywhere() && self.output.is_empty() && self.demands.is_empty()
    }

    fn settled_everywhere(&self) -> bool {
        self.expected.iter().skip(self.settled).all(|expected| match expected {
            Expected::Request(request) => request.is_settled(),
            Expected::Ours | Expected::Load => true,
        })
    }

    /// Appends a request to what is written next.
    pub(super) fn append(&mut self, mut request: Request) {
        self.unordered |= self.newest.is_some_and(|newest| request.accepted < newest);
        self.newest = Some(request.accepted);
        self.load_first(&request);
        if request.asking {
            self.append_ours(&ASKING, Expected::Ours);
        }
        request.position = self.appended;
        request.origin = self.origin;
        request.partial.clear();
        self.write(&request.command.payload);
        self.expected.push_back(Expected::Request(request));
    }

    /// Loads the script of a user ahead of its first call on this connection: a `NOSCRIPT` to the call itself would leave in doubt whether
    /// the server says so or the script, which somebody else may have loaded meanwhile.
    fn load_first(&mut self, request: &Request) {
        let Some(script) = request.command.script.as_ref().filter(|script| !script.is_ours()) else { return };
        if self.loaded.contains(script.digest()) {
            return;
        }
        if self.loaded.len() >= MOST_LOADED {
            self.loaded.clear();
        }
        self.loaded.insert(script.digest().to_owned());
        self.append_ours(&script.load(), Expected::Load);
    }

    fn write(&mut self, bytes: &Bytes) {
        self.output.extend_from_slice(bytes);
        self.appended += bytes.len() as u64;
    }

    fn append_ours(&mut self, bytes: &Bytes, answer: Expected) {
        self.write(bytes);
        self.expected.push_back(answer);
    }

    /// What answers have asked for since the last call.
    pub(super) fn take_demands(&mut self) -> Vec<Demand> {
        std::mem::take(&mut self.demands)
    }

    /// Was as much read in the last turn as one may? Then others of the thread are next: a server that sends without end is not to keep it.
    pub(super) fn take_sated(&mut self) -> bool {
        std::mem::take(&mut self.sated)
    }

    /// Writes what can be written and reads what can be read. Ready when something was read, with an error when the
    /// connection is lost.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Poll::Ready(Err(e)) = self.poll_write(cx) {
            return Poll::Ready(Err(lost(&e.to_string()).caused_by(e)));
        }
        for turn in 0..READS_PER_TURN {
            self.input.reserve(READ_CHUNK);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
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
        if self.output.is_empty() {
            return true;
        }
        if self.output.len() > OUTPUT_HIGH_WATER {
            return false;
        }
        match self.stream.try_write(&self.output) {
            Some(Ok(count)) if count > 0 => {
                self.wrote(count);
                self.output.is_empty()
            }
            // Whatever is wrong, the I/O thread meets it too.
            _ => false,
        }
    }

    fn wrote(&mut self, count: usize) {
        self.output.advance(count);
        self.written += count as u64;
        self.metrics.sent_bytes.add(count as u64);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while !self.output.is_empty() {
            let Poll::Ready(count) = Pin::new(&mut self.stream).poll_write(cx, &self.output) else {
                self.stuck = true;
                return Poll::Pending;
            };
            let count = count?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.wrote(count);
            self.unflushed = true;
            if std::mem::take(&mut self.stuck) {
                self.silence.interrupt(Instant::now());
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn take_replies(&mut self, now: Instant) -> Result<()> {
        loop {
            if matches!(self.expected.front(), Some(Expected::Request(request)) if request.is_settled()) {
                self.reader.pass_one();
            }
            match self.reader.next(&mut self.input) {
                Ok(None) => return self.patience.check(&self.reader, now).map_err(|why| lost(&why)),
                Ok(Some(Read::Reply(reply))) => self.take_reply(Ok(reply), now)?,
                Ok(Some(Read::Passed(passed))) if passed.is_push => {}
                Ok(Some(Read::Passed(passed))) => self.take_reply(Err(passed.why), now)?,
                Err(e) => return Err(Error::new(ErrorKind::Connection, e.to_string()).caused_by(e)),
            }
        }
    }

    /// Takes the next reply, or why there is none of it.
    fn take_reply(&mut self, reply: Result<Reply, Why>, now: Instant) -> Result<()> {
        let mut request = match self.expected.pop_front() {
            Some(Expected::Request(request)) => request,
            Some(ours @ (Expected::Ours | Expected::Load)) => {
                self.settled = self.settled.saturating_sub(1);
                if let (Expected::Load, Ok(Reply::Error(line))) = (ours, reply) {
                    self.not_loaded = Some(line);
                }
                return Ok(());
            }
            None => return Err(Error::new(ErrorKind::Connection, "the server sent a reply without a request")),
        };
        let reply = reply.unwrap_or_else(|why| {
            request.abandon(unread(why, self.max_reply_bytes), now);
            Reply::Nil
        });
        let reply = if request.command.replies > 1 {
            request.partial.push(reply);
            if request.partial.len() < request.command.replies as usize {
                self.expected.push_front(Expected::Request(request));
                return Ok(());
            }
            Reply::Array(std::mem::take(&mut request.partial))
        } else {
            reply
        };
        self.settled = self.settled.saturating_sub(1);
        if self.expected.is_empty() {
            self.unordered = false;
            self.newest = None;
        }
        // The answer of a `SCRIPT LOAD` is about the request right behind it, and no other.
        let not_loaded = self.not_loaded.take();
        if request.is_settled() {
            return Ok(());
        }
        if let Some(doubted) = request.doubted.take() {
            let said = Reply::Error(doubted.line.clone());
            if confirms(doubted.refusal, &doubted.line, &reply) {
                self.take_refusal(request, doubted, said, None, now);
            } else {
                request.settle(Ok(said), now);
            }
            return Ok(());
        }
        let refused = if request.plain { None } else { refusal(&request, &reply, self.in_cluster) };
        match refused {
            // What cannot be loaded needs no doubt.
            Some(refused) if refused.is_doubtful && not_loaded.is_none() => self.doubt(request, refused),
            Some(refused) => self.take_refusal(request, refused, reply, not_loaded, now),
            None => request.settle(Ok(reply), now),
        }
        Ok(())
    }

    /// Asks the server whether it said what the script of a user answered with.
    fn doubt(&mut self, mut request: Request, refused: Refused) {
        if request.asking {
            self.append_ours(&ASKING, Expected::Ours);
        }
        self.unordered |= self.newest.is_some_and(|newest| request.accepted < newest);
        // What is written from now on waits, as behind a `SCRIPT LOAD`.
        self.loaded_at = self.appended;
        let question = question(&request.command, refused.refusal);
        self.write(&question);
        request.doubted = Some(refused);
        self.expected.push_back(Expected::Request(request));
    }

    fn take_refusal(
        &mut self,
        mut request: Request,
        refused: Refused,
        reply: Reply,
        not_loaded: Option<Bytes>,
        now: Instant,
    ) {
        let Refused { refusal, line, .. } = refused;
        match (refusal, &request.command.script) {
            // It cannot be loaded, and asking again would not change that.
            (Refusal::Unloaded, _) if not_loaded.is_some() => {
                request.settle(Ok(not_loaded.map_or(reply, Reply::Error)), now);
            }
            (Refusal::Unloaded, Some(script)) if request.loaded < LOADS => {
                let load = script.load();
                request.loaded += 1;
                self.metrics.resent_commands.add(1);
                self.loaded_at = self.appended;
                self.append_ours(&load, Expected::Load);
                self.append(request);
            }
            (Refusal::Elsewhere, _) => self.demands.push(Demand::Elsewhere(request, line)),
            (Refusal::Later, _) => self.demands.push(Demand::Later(request)),
            (Refusal::Renew, _) if !request.renewed => {
                request.renewed = true;
                self.demands.push(Demand::Renew(request));
            }
            (Refusal::Unloaded | Refusal::Renew, _) => request.settle(Ok(reply), now),
        }
    }

    /// Since when a request has waited for an answer while nothing came.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let oldest = self.expected.iter().find_map(|expected| match expected {
            Expected::Request(request) => Some(request.accepted),
            Expected::Ours | Expected::Load => None,
        })?;
        Some(self.silence.began().max(oldest))
    }

    /// When the next deadline of a request passes.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        let mut open = self.expected.iter().skip(self.settled).filter_map(|expected| match expected {
            Expected::Request(request) if !request.is_settled() => Some(request.deadline(timeout)),
            _ => None,
        });
        if self.unordered { open.min() } else { open.next() }
    }

    /// Settles every request whose deadline has passed. They keep their places.
    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) {
        for at in self.settled..self.expected.len() {
            match &mut self.expected[at] {
                Expected::Request(request) if !request.is_settled() => {
                    if request.deadline(timeout) <= now {
                        request.abandon(timed_out(timeout, Delivery::MaybeExecuted), now);
                    } else if self.unordered {
                        continue;
                    } else {
                        return;
                    }
                }
                _ => {}
            }
            if at == self.settled {
                self.settled += 1;
            }
        }
    }

    /// Asks a silent peer, and gives up on one that stays silent. Says when to look again.
    pub(super) fn check_alive(&mut self, keep_alive: Duration, now: Instant) -> Result<Instant> {
        match self.silence.due(keep_alive, now) {
            Due::Wait(until) => Ok(until),
            Due::Ask(until) => {
                self.append_ours(&PING, Expected::Ours);
                Ok(until)
            }
            Due::Lost(silence) => Err(lost(&format!("the server has been silent for {} ms", silence.as_millis()))),
        }
    }

    /// Ends the connection and gives back what was not answered.
    pub(super) fn end(mut self) -> Leftovers {
        let mut left = Leftovers { unsent: Vec::new(), unanswered: Vec::new() };
        for expected in std::mem::take(&mut self.expected) {
            match expected {
                Expected::Request(request) if request.is_settled() => {}
                Expected::Request(request) if request.position >= self.written => left.unsent.push(request),
                Expected::Request(request) => left.unanswered.push(request),
                Expected::Ours | Expected::Load => {}
            }
        }
        for demand in std::mem::take(&mut self.demands) {
            let (Demand::Later(request) | Demand::Renew(request) | Demand::Elsewhere(request, _)) = demand;
            left.unsent.push(request);
        }
        left.unsent.sort_by_key(|request| request.accepted);
        left
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

/// The error of a request whose deadline passed.
pub(super) fn timed_out(timeout: Duration, delivery: Delivery) -> Error {
    let what = match delivery {
        Delivery::NotSent => "it was not sent",
        Delivery::MaybeExecuted | Delivery::Rejected => "it was sent and may have been executed",
    };
    Error::new(ErrorKind::Timeout, format!("no answer within commandTimeoutMs, {} ms: {what}", timeout.as_millis()))
        .with_delivery(delivery)
}
