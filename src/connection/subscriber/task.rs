//! The task that owns a connection of subscriptions: it connects, subscribes, receives, and restores what was lost.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, timeout};

use super::ChannelMessage;
use super::book::{Change, Channel, ChannelKind, Question};
use super::connections::{Endpoint, Subscriber, Subscriptions};
use super::received::Received;
use crate::connection::candidates::within;
use crate::connection::cluster::{self, Redirect};
use crate::connection::connect::connect;
use crate::connection::core::Core;
use crate::connection::dial::Stream;
use crate::connection::event::Event;
use crate::connection::handshake::Greeted;
use crate::connection::incoming::Incoming;
use crate::connection::silence::{Due, Silence};
use crate::connection::target::{Address, Target};
use crate::connection::topology::Seat;
use crate::crossing::batch;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::{self, Read, Reply};

/// How long a connection on which nothing is subscribed is kept for the next subscription.
const LINGER: Duration = Duration::from_secs(1);
/// The wait before a refused channel is subscribed again, where the server had confirmed it before.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// The wait before the channels of a node that cannot be reached move to the first connection.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);
/// How long an attempt to connect may take before the topology is asked where the server is.
const SLOW: Duration = Duration::from_millis(100);
const READ_CHUNK: usize = 64 * 1024;

enum Ended {
    /// The connection has had no subscription for [`LINGER`].
    Idle,
    /// The connection was lost. Listeners may have missed messages since then.
    Lost(Error, Instant),
    /// The connection was given up, because another server is the right one. Listeners may have missed messages since then.
    Left(Error, Instant),
}

/// Runs while `subscriptions` has channels.
pub(super) async fn run(subscriber: Arc<Subscriber>, endpoint: Endpoint, subscriptions: Arc<Subscriptions>) {
    let core = Arc::clone(subscriber.core());
    let interrupted = core.interruption();
    let mut attempt = 0;
    let mut missing = None;
    subscriber.watch_topology();
    loop {
        let connected = tokio::select! {
            connected = connect_to(&core, endpoint.as_ref()) => connected,
            () = interrupted.cancelled() => return end(&subscriber, &subscriptions),
        };
        match connected {
            Ok(greeted) => {
                missing = None;
                let since = Instant::now();
                let ended = tokio::select! {
                    ended = serve(&subscriber, &subscriptions, greeted) => ended,
                    () = interrupted.cancelled() => return end(&subscriber, &subscriptions),
                };
                let (error, missed, left) = match ended {
                    Ended::Idle if subscriptions.stop_if_empty() => return,
                    Ended::Idle => continue,
                    Ended::Lost(error, missed) => (error, missed, false),
                    Ended::Left(error, missed) => (error, missed, true),
                };
                lost(&subscriber, &subscriptions, &error, missed);
                if left && endpoint.is_none() {
                    // The right server is known already: no pause is needed.
                    continue;
                }
                if left {
                    return subscriber.abandon(&endpoint);
                }
                if since.elapsed() > core.config.reconnect.max {
                    attempt = 0;
                }
            }
            Err(error) => {
                core.failed(&error);
                if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Tls | ErrorKind::Config) {
                    // The next attempt would fail the same way, so callers need not wait for it.
                    batch(|| subscriptions.inner().book.refuse_waiting(&error));
                }
                if endpoint.is_some() {
                    // The other nodes redirect to this node until they notice its failure too.
                    if interrupted.run_until_cancelled(sleep(UNREACHABLE_PAUSE)).await.is_none() {
                        return end(&subscriber, &subscriptions);
                    }
                    return subscriber.abandon(&endpoint);
                }
            }
        }
        if subscriptions.stop_if_empty() {
            return;
        }
        missing.get_or_insert_with(|| core.topology.missing());
        if interrupted.run_until_cancelled(pause(&core, attempt)).await.is_none() {
            return end(&subscriber, &subscriptions);
        }
        attempt = attempt.saturating_add(1);
    }
}

/// The wait after attempt number `attempt`. It ends early when the topology changes.
async fn pause(core: &Core, attempt: u32) {
    let delay = core.config.reconnect.delay(attempt);
    core.metrics.reconnection_attempts.add(1);
    core.status.emit(Event::Reconnecting { attempt: attempt.saturating_add(1), delay });
    tokio::select! {
        () = sleep(delay) => {}
        () = core.topology.changed() => {}
    }
}

/// Uses a connection until it is lost or no longer needed.
async fn serve(subscriber: &Arc<Subscriber>, subscriptions: &Subscriptions, greeted: Greeted) -> Ended {
    let _counted = subscriber.core().counted();
    Connection::new(subscriber, subscriptions, greeted).serve().await
}

/// Opens a connection. The result has an address where another server may become the right one later. While an attempt is slow,
/// the topology is asked where the server is.
async fn connect_to(core: &Core, to: Option<&Address>) -> Result<Greeted> {
    let limit = core.config.connect_timeout;
    let mut connected = pin!(async {
        let (address, greeted) = match (to, &core.config.target) {
            (Some(address), _) => {
                let seat = Seat { address: address.clone(), slot: None };
                tokio::select! {
                    greeted = within(limit, cluster::connect_to(&core.config, address)) => (address.clone(), greeted?),
                    () = core.topology.left(Some(&seat)) => return Err(not_right(address)),
                }
            }
            (None, Target::Cluster(seeds)) => within(limit, cluster::connect_any(core, seeds)).await?,
            (None, _) => return connect(core).await,
        };
        Ok(Greeted { address: Some(address), ..greeted })
    });
    if let Ok(connected) = timeout(SLOW, &mut connected).await {
        return connected;
    }
    let _missing = core.topology.missing();
    tokio::select! {
        connected = connected => connected,
        // The next attempt goes to the server that was found.
        () = core.topology.changed(), if to.is_none() => Err(gone("another server was found")),
    }
}

fn end(subscriber: &Subscriber, subscriptions: &Subscriptions) {
    let error = subscriber.core().closed();
    subscriptions.stop();
    let listeners = subscriptions.inner().book.end(&error);
    batch(|| listeners.iter().flat_map(|some| some.iter()).for_each(|(_, listener)| listener.ended(&error)));
    subscriber.publish();
}

fn lost(subscriber: &Subscriber, subscriptions: &Subscriptions, error: &Error, missing: Instant) {
    let listeners = subscriptions.inner().book.lost(missing);
    subscriber.publish();
    subscriber.core().failed(error);
    batch(|| listeners.iter().flat_map(|some| some.iter()).for_each(|(_, listener)| listener.lost(error)));
}

struct Connection<'a> {
    subscriber: &'a Arc<Subscriber>,
    subscriptions: &'a Subscriptions,
    /// Where the connection leads, if another server may become the right one later.
    seat: Option<Seat>,
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    incoming: Incoming,
    output: BytesMut,
    opened: Instant,
    silence: Silence,
    /// When the server sent something last.
    heard: Instant,
    /// Since when the connection has had no subscription.
    idle: Option<Instant>,
    /// When the refused channels are subscribed again.
    again: Option<Instant>,
}

impl<'a> Connection<'a> {
    fn new(subscriber: &'a Arc<Subscriber>, subscriptions: &'a Subscriptions, greeted: Greeted) -> Self {
        let (read, write) = split(greeted.stream);
        Self {
            subscriber,
            subscriptions,
            seat: greeted.address.map(|address| Seat { address, slot: None }),
            read,
            write,
            incoming: Incoming::new(greeted.input, greeted.reader.keeping_pushes(), &subscriber.core().config),
            output: BytesMut::new(),
            opened: Instant::now(),
            silence: Silence::since(Instant::now()),
            heard: Instant::now(),
            idle: None,
            again: None,
        }
    }

    /// Uses the connection until it is lost or no longer needed.
    async fn serve(&mut self) -> Ended {
        let (core, seat) = (self.core(), self.seat.clone());
        let mut left = pin!(core.topology.left(seat.as_ref()));
        loop {
            self.send_questions();
            let wake = match self.due(Instant::now()) {
                Ok(wake) => wake,
                Err(ended) => return ended,
            };
            self.incoming.bytes.reserve(READ_CHUNK);
            // Reading never waits for writing: a server may stop reading until its output is read.
            tokio::select! {
                read = self.read.read_buf(&mut self.incoming.bytes) => {
                    let outcome = match read {
                        // An orderly end: everything that the server sent before was received.
                        Ok(0) => return Ended::Lost(gone("closed by the server"), Instant::now()),
                        Ok(count) => {
                            if count >= READ_CHUNK {
                                // A server that sends without pause must not occupy the thread.
                                yield_now().await;
                            }
                            self.received(count)
                        }
                        Err(e) => Err(gone(&e.to_string()).caused_by(e)),
                    };
                    if let Err(error) = outcome {
                        return self.lost(error);
                    }
                }
                wrote = self.write.write_buf(&mut self.output), if !self.output.is_empty() => {
                    if let Err(e) = wrote {
                        return self.lost(gone(&e.to_string()).caused_by(e));
                    }
                    if self.output.is_empty() && let Err(e) = self.write.flush().await {
                        return self.lost(gone(&e.to_string()).caused_by(e));
                    }
                }
                () = self.subscriptions.changed.notified() => {}
                () = &mut left => return self.left(),
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    fn core(&self) -> &'a Core {
        self.subscriber.core()
    }

    /// The end of a connection that may have been dead since the server sent something last.
    fn lost(&self, error: Error) -> Ended {
        Ended::Lost(error, self.heard)
    }

    /// The end of a connection to a server that is no longer the right one. Messages may have gone to the right server since the
    /// time before the topology changed.
    fn left(&self) -> Ended {
        let error =
            self.seat.as_ref().map_or_else(|| gone("another server was found"), |seat| not_right(&seat.address));
        Ended::Left(error, self.core().topology.before_change().max(self.opened))
    }

    /// Sends the questions of the book: new subscriptions, and ends of subscriptions.
    fn send_questions(&mut self) {
        let questions = {
            let mut inner = self.subscriptions.inner();
            let questions = inner.book.questions();
            self.idle = inner.book.is_empty().then(|| self.idle.unwrap_or_else(Instant::now));
            questions
        };
        for asked in questions {
            let Question::Subscription(Channel { kind, name }, on) = asked else { continue };
            let verb: &[u8] = match (kind, on) {
                (ChannelKind::Exact, true) => b"SUBSCRIBE",
                (ChannelKind::Exact, false) => b"UNSUBSCRIBE",
                (ChannelKind::Pattern, true) => b"PSUBSCRIBE",
                (ChannelKind::Pattern, false) => b"PUNSUBSCRIBE",
                (ChannelKind::Sharded, true) => b"SSUBSCRIBE",
                (ChannelKind::Sharded, false) => b"SUNSUBSCRIBE",
            };
            resp::pack(&mut self.output, &[verb, &name]);
        }
    }

    /// Does what is due at `now`. Returns when to look again.
    fn due(&mut self, now: Instant) -> Result<Instant, Ended> {
        let silence = match self.silence.due(self.core().config.keep_alive, now) {
            Due::Wait(until) => until,
            Due::Ask(until) => {
                self.subscriptions.inner().book.pinged();
                resp::pack(&mut self.output, &[b"PING"]);
                until
            }
            Due::Lost(silence) => {
                return Err(self.lost(gone(&format!("the server has been silent for {} ms", silence.as_millis()))));
            }
        };
        if self.idle.is_some_and(|since| now >= since + LINGER) {
            return Err(Ended::Idle);
        }
        if self.again.is_some_and(|at| now >= at) {
            self.again = None;
            self.subscriptions.inner().book.retry();
            self.send_questions();
        }
        let next = [Some(silence), self.idle.map(|since| since + LINGER), self.again];
        Ok(next.into_iter().flatten().min().unwrap_or(silence))
    }

    fn received(&mut self, count: usize) -> Result<()> {
        self.core().metrics.received_bytes.add(count as u64);
        self.heard = Instant::now();
        self.silence.end(self.heard);
        batch(|| {
            while let Some(read) = self.incoming.next().map_err(|e| gone(&e.to_string()))? {
                match read {
                    Read::Reply(reply) => self.handle(Received::of(reply))?,
                    Read::Passed(passed) => self.missed(&passed.head),
                }
            }
            self.incoming.check(self.heard).map_err(|why| gone(&why))
        })
    }

    /// A message was longer than `maxReplyBytes`; `head` is its start.
    fn missed(&self, head: &[Reply]) {
        let Some(channel) = Received::channel_of(head) else { return };
        let listeners = self.subscriptions.inner().book.listeners(&channel);
        listeners.iter().flat_map(|some| some.iter()).for_each(|(_, listener)| listener.missed());
    }

    fn handle(&mut self, heard: Received) -> Result<()> {
        let told = match heard {
            Received::Message(kind, message) => {
                self.deliver(kind, &message);
                return Ok(());
            }
            Received::Confirmed(channel, on) => {
                let told = self.subscriptions.inner().book.confirmed(&channel, on, self.heard);
                // The end of an unknown subscription changes nothing.
                told.or((!on).then_some(Change::Nothing))
            }
            Received::Pong => self.subscriptions.inner().book.ponged().then_some(Change::Nothing),
            Received::Refused(line) if self.move_refused(&line) => Some(Change::Nothing),
            Received::Refused(line) => {
                let error = Error::from_reply(&String::from_utf8_lossy(&line));
                self.subscriptions.inner().book.refused(&error)
            }
            Received::Unknown => Some(Change::Nothing),
        };
        match told {
            Some(Change::Nothing) => {}
            Some(Change::Restored(listeners, gap)) => {
                listeners.iter().for_each(|(_, listener)| listener.restored(gap));
            }
            Some(Change::Refused(error)) => {
                self.core().failed(&error);
                self.again = Some(self.heard + REFUSED_PAUSE);
            }
            None => return Err(gone("the server answered what was not asked")),
        }
        self.subscriber.publish();
        Ok(())
    }

    /// Moves the channel of the oldest question to the node that `refusal` names. False where `refusal` is no redirection.
    fn move_refused(&self, refusal: &[u8]) -> bool {
        let redirect = self.seat.as_ref().and_then(|seat| Redirect::read(refusal, &seat.address));
        redirect.is_some_and(|redirect| self.subscriber.move_refused(self.subscriptions, redirect.address))
    }

    fn deliver(&self, kind: ChannelKind, message: &ChannelMessage) {
        let name = message.pattern.as_ref().unwrap_or(&message.channel).clone();
        let listeners = self.subscriptions.inner().book.listeners(&Channel { kind, name });
        for (_, listener) in listeners.iter().flat_map(|some| some.iter()) {
            listener.message(message);
        }
    }
}

fn not_right(address: &Address) -> Error {
    gone(&format!("{address} is not, or no longer, the right server"))
}

fn gone(why: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("the connection of the subscriptions was lost: {why}"))
}
