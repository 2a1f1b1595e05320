//! The task that owns the subscribing connection: it connects, asks for what is wanted, hears, and restores what was lost.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, timeout};

use super::Message;
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
/// The wait before something that was refused to those who had it is asked for again.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// The wait before the channels of a node that cannot be reached are asked for elsewhere.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);
/// How long an attempt to connect may take before the server is looked for elsewhere too.
const SLOW: Duration = Duration::from_millis(100);
const READ_CHUNK: usize = 64 * 1024;

enum Ended {
    /// Nothing has been subscribed for a while.
    Idle,
    /// Messages may have been missed since then.
    Lost(Error, Instant),
    /// The same, where the server is not, or no longer, the right one.
    Left(Error, Instant),
}

/// Lives while something is subscribed on `subscriptions`.
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
                    Ended::Idle if subscriptions.rest() => return,
                    Ended::Idle => continue,
                    Ended::Lost(error, missed) => (error, missed, false),
                    Ended::Left(error, missed) => (error, missed, true),
                };
                lost(&subscriber, &subscriptions, &error, missed);
                if left && endpoint.is_none() {
                    // Whoever is right now is there.
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
                    // It would fail the same way next time: nobody is to wait for that.
                    batch(|| subscriptions.inner().book.refuse_waiting(&error));
                }
                if endpoint.is_some() {
                    // Until the cluster has seen it too, it sends back here whoever asks.
                    if interrupted.run_until_cancelled(sleep(UNREACHABLE_PAUSE)).await.is_none() {
                        return end(&subscriber, &subscriptions);
                    }
                    return subscriber.abandon(&endpoint);
                }
            }
        }
        if subscriptions.rest() {
            return;
        }
        missing.get_or_insert_with(|| core.topology.missing());
        if interrupted.run_until_cancelled(pause(&core, attempt)).await.is_none() {
            return end(&subscriber, &subscriptions);
        }
        attempt = attempt.saturating_add(1);
    }
}

/// The wait before the attempt after number `attempt`; no longer than until the topology changes.
async fn pause(core: &Core, attempt: u32) {
    let delay = core.config.reconnect.delay(attempt);
    core.metrics.reconnection_attempts.add(1);
    core.status.emit(Event::Reconnecting { attempt: attempt.saturating_add(1), delay });
    tokio::select! {
        () = sleep(delay) => {}
        () = core.topology.changed() => {}
    }
}

/// Uses a connection until it is lost, or not needed.
async fn serve(subscriber: &Arc<Subscriber>, subscriptions: &Subscriptions, greeted: Greeted) -> Ended {
    let _counted = subscriber.core().counted();
    Connection::new(subscriber, subscriptions, greeted).serve().await
}

/// A connection, and where it leads if that may be elsewhere one day. One that takes long has the server looked for elsewhere too.
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
        // Whoever is right now is there.
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
    /// Where it leads, if that may be elsewhere one day.
    seat: Option<Seat>,
    read: ReadHalf<Box<dyn Stream>>,
    write: WriteHalf<Box<dyn Stream>>,
    incoming: Incoming,
    output: BytesMut,
    opened: Instant,
    silence: Silence,
    /// When something came last, whatever this process did since.
    heard: Instant,
    /// Since when nothing has been wanted.
    idle: Option<Instant>,
    /// When what was refused is asked for again.
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

    /// Uses the connection until it is lost, or not needed.
    async fn serve(&mut self) -> Ended {
        let (core, seat) = (self.core(), self.seat.clone());
        let mut left = pin!(core.topology.left(seat.as_ref()));
        loop {
            self.repair();
            let wake = match self.due(Instant::now()) {
                Ok(wake) => wake,
                Err(ended) => return ended,
            };
            self.incoming.bytes.reserve(READ_CHUNK);
            // Reading never waits for writing: a peer that stops reading until it is read from blocks nobody.
            tokio::select! {
                read = self.read.read_buf(&mut self.incoming.bytes) => {
                    let outcome = match read {
                        // Everything that was sent before has come.
                        Ok(0) => return Ended::Lost(gone("closed by the server"), Instant::now()),
                        Ok(count) => {
                            if count >= READ_CHUNK {
                                // A server that sends without end is not to keep the thread.
                                yield_now().await;
                            }
                            self.took(count)
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

    /// The end of a connection that may have been dead since something came last.
    fn lost(&self, error: Error) -> Ended {
        Ended::Lost(error, self.heard)
    }

    /// The end of a connection to a server that others have turned away from since it was known to be right.
    fn left(&self) -> Ended {
        let error =
            self.seat.as_ref().map_or_else(|| gone("another server was found"), |seat| not_right(&seat.address));
        Ended::Left(error, self.core().topology.before_change().max(self.opened))
    }

    /// Asks for what is wanted and not there, and for the end of what is there and not wanted.
    fn repair(&mut self) {
        let repairs = {
            let mut inner = self.subscriptions.inner();
            let repairs = inner.book.repairs();
            self.idle = inner.book.is_empty().then(|| self.idle.unwrap_or_else(Instant::now));
            repairs
        };
        for asked in repairs {
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

    /// All that time brings about. Gives when to look again.
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
            self.repair();
        }
        let next = [Some(silence), self.idle.map(|since| since + LINGER), self.again];
        Ok(next.into_iter().flatten().min().unwrap_or(silence))
    }

    fn took(&mut self, count: usize) -> Result<()> {
        self.core().metrics.received_bytes.add(count as u64);
        self.heard = Instant::now();
        self.silence.end(self.heard);
        batch(|| {
            while let Some(read) = self.incoming.next().map_err(|e| gone(&e.to_string()))? {
                match read {
                    Read::Reply(reply) => self.hear(Received::of(reply))?,
                    Read::Passed(passed) => self.missed(&passed.head),
                }
            }
            self.incoming.check(self.heard).map_err(|why| gone(&why))
        })
    }

    /// A message was longer than `maxReplyBytes`; `head` is what came first of it.
    fn missed(&self, head: &[Reply]) {
        let Some(channel) = Received::channel_of(head) else { return };
        let listeners = self.subscriptions.inner().book.listeners(&channel);
        listeners.iter().flat_map(|some| some.iter()).for_each(|(_, listener)| listener.missed());
    }

    fn hear(&mut self, heard: Received) -> Result<()> {
        let told = match heard {
            Received::Message(kind, message) => {
                self.give(kind, &message);
                return Ok(());
            }
            Received::Confirmed(channel, on) => {
                let told = self.subscriptions.inner().book.confirmed(&channel, on, self.heard);
                // The end of what nobody knew of changes nothing.
                told.or((!on).then_some(Change::Nothing))
            }
            Received::Pong => self.subscriptions.inner().book.ponged().then_some(Change::Nothing),
            Received::Refused(line) if self.moves(&line) => Some(Change::Nothing),
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

    /// Where a node says that a channel is for another one, it goes there.
    fn moves(&self, refusal: &[u8]) -> bool {
        let redirect = self.seat.as_ref().and_then(|seat| Redirect::read(refusal, &seat.address));
        redirect.is_some_and(|redirect| self.subscriber.moves(self.subscriptions, redirect.address))
    }

    fn give(&self, kind: ChannelKind, message: &Message) {
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
