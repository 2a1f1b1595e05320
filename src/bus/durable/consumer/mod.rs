//! The task of one durable subscription: it takes messages as there is room, tells what became of them, keeps the lease.
//!
//! It asks the server one thing at a time, so what it knows when it asks is what it has. A question whose answer was lost is
//! asked again together with what is in hand, so that what was given and never arrived goes back to the group.
//!
//! It ends when it is told to leave, when the bus goes, or when the manager is disconnected; then the lease runs out, and the
//! others take over.

mod asking;
mod parts;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use asking::{Flight, arrival};
use parts::{Intake, Membership, Reading, Rest, Telling, Upkeep};

use super::hands::{Hands, Message, Verdict};
use super::pace::Pace;
use super::publish::Retention;
use super::scripts::bulk;
use super::settings::Settings;
use super::turn::{self, Doubt};
use crate::connection::{Channel, ChannelKind, Listener, Manager, Message as Published, Subscription};
use crate::crossing::codes::MESSAGE_VALUES;
use crate::crossing::{Answer, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};

/// How often a consumer looks by itself, at the least.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const TRIM_EVERY: Duration = Duration::from_mins(1);
/// What may be asked of a consumer.
#[derive(Debug)]
pub(super) enum Ask {
    Settle(Vec<u64>, Verdict),
    /// To take nothing more.
    Pause,
    /// To give back what it has and end; answered then. Handlers have begun the messages of these numbers, and no others.
    Leave(HashSet<u64>, Answer),
}

/// Wakes a consumer when its topic has something for it.
#[derive(Default)]
struct Wake {
    wake: Notify,
    /// Was the connection lost since this was asked last?
    restored: AtomicBool,
}

impl Listener for Wake {
    fn message(&self, _message: &Published) {
        self.wake.notify_one();
    }

    fn restored(&self, _gap: Duration) {
        // What was said meanwhile was not heard.
        self.restored.store(true, Relaxed);
        self.wake.notify_one();
    }
}

/// JavaScript's side of the subscription.
struct Face {
    id: u64,
    outlet: Outlet,
}

impl Face {
    fn deliver(&self, values: Vec<Outcome>) {
        if !values.is_empty() {
            let mut section = Vec::with_capacity(values.len() + 2);
            section.push(Outcome::Number(self.id as f64));
            section.push(Outcome::Number(values.len() as f64));
            section.extend(values);
            self.outlet.deliver(section);
        }
    }

    fn tell(&self, event: &str, code: &str, error: &Error) {
        let event = serde_json::json!({
            "event": event,
            "id": self.id,
            "kind": error.kind().name(),
            "message": error.message(),
            "serverCode": code,
        });
        self.outlet.tell(event.to_string());
    }
}

pub(super) struct Consumer {
    face: Face,
    manager: Manager,
    settings: Settings,
    membership: Membership,
    hands: Hands,
    telling: Telling,
    pace: Pace,
    wake: Arc<Wake>,
    reading: Reading,
    upkeep: Upkeep,
    rest: Rest,
    intake: Intake,
}

impl Consumer {
    pub(super) fn new(id: u64, manager: Manager, settings: Settings, retention: Retention, outlet: Outlet) -> Self {
        let now = Instant::now();
        Self {
            face: Face { id, outlet },
            manager,
            membership: Membership::new(settings.from.clone()),
            settings,
            hands: Hands::default(),
            telling: Telling::default(),
            pace: Pace::new(now),
            wake: Arc::default(),
            reading: Reading::default(),
            upkeep: Upkeep::new(retention, now),
            rest: Rest::default(),
            intake: Intake::default(),
        }
    }

    /// Runs until the subscription ends. `ready` is answered when the consumer is one of its group.
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>, ready: Answer) {
        let closing = self.manager.closing();
        let first = tokio::select! {
            biased;
            () = closing.cancelled() => Err(closed()),
            outcome = self.begin() => outcome,
        };
        // Dropped with the task: it ends the wake-ups.
        let _subscription = match first {
            Ok(subscription) => {
                ready.give(Ok(Outcome::Nothing));
                subscription
            }
            Err(error) => return ready.give(Err(error)),
        };
        let metrics = Arc::clone(self.manager.metrics());
        metrics.bus_subscriptions.add(1);
        tokio::select! {
            biased;
            () = closing.cancelled() => self.face.tell("ended", "", &closed()),
            () = self.serve(&mut asks) => {}
        }
        metrics.bus_subscriptions.add(-1);
        metrics.bus_lag.forget(&self.settings.topic, &self.settings.group);
        if let Some(answer) = self.intake.left() {
            answer.give(Ok(Outcome::Nothing));
        }
    }

    async fn begin(&mut self) -> Result<Subscription> {
        let channel = Channel { kind: ChannelKind::Exact, name: self.settings.topic_keys.wake() };
        let subscription = self.manager.subscribe(channel, Arc::clone(&self.wake) as Arc<dyn Listener>).await?;
        let join = turn::join(&self.settings, self.membership.name(), &self.settings.from, false);
        self.membership.joined(bulk(self.manager.call(join).await?).ok_or_else(Error::unexpected_reply)?);
        self.manager.keeps();
        Ok(subscription)
    }

    async fn serve(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let wake = Arc::clone(&self.wake);
        let mut flight: Option<Flight> = None;
        loop {
            if flight.is_none() {
                flight = self.depart(Instant::now());
            }
            self.say_overdue(Instant::now());
            let timer = self.next_timer(flight.is_some());
            tokio::select! {
                biased;
                ask = asks.recv(), if !self.intake.is_abandoned() => match ask {
                    Some(ask) => self.hear(ask, asks),
                    None => self.abandoned(),
                },
                answered = arrival(&mut flight) => {
                    flight = None;
                    if self.land(answered) {
                        return;
                    }
                }
                () = wake.wake.notified() => self.woken(),
                () = sleep_until(timer.into()) => {}
            }
        }
    }

    fn woken(&mut self) {
        self.reading.look();
        if self.wake.restored.swap(false, Relaxed) {
            self.telling.doubts(Doubt::Server);
        }
    }

    fn next_timer(&self, asking: bool) -> Instant {
        let next = if asking {
            // There is nothing to ask before the answer.
            Instant::now() + LOOK_EVERY
        } else {
            let tend = self.upkeep.next();
            self.rest.until().unwrap_or_else(|| self.reading.next().map_or(tend, |due| due.min(tend)))
        };
        self.hands.next_overdue(self.settings.timeout).map_or(next, |overdue| overdue.min(next))
    }

    /// Tells JavaScript which messages it has had for as long as a handler may run.
    fn say_overdue(&mut self, now: Instant) {
        let overdue = self.hands.overdue(now, self.settings.timeout);
        if !overdue.is_empty() {
            let event = serde_json::json!({ "event": "overdue", "id": self.face.id, "numbers": overdue });
            self.face.outlet.tell(event.to_string());
        }
    }

    /// The bus is gone, and with it whoever had the messages.
    fn abandoned(&mut self) {
        self.pause();
        self.intake.abandon();
    }

    /// Takes in what was asked, and all that is asked by now.
    fn hear(&mut self, first: Ask, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let mut next = Some(first);
        let mut delivery = Vec::new();
        while let Some(ask) = next {
            match ask {
                Ask::Settle(numbers, verdict) => self.settle(&numbers, &verdict, &mut delivery),
                Ask::Pause => self.pause(),
                Ask::Leave(begun, answer) => {
                    self.pause();
                    let untried = self.hands.given_beside(&begun);
                    self.settle(&untried, &Verdict::Untried, &mut delivery);
                    self.intake.leave(answer);
                    self.rest.end();
                }
            }
            next = asks.try_recv().ok();
        }
        self.face.deliver(delivery);
    }

    fn pause(&mut self) {
        self.intake.close();
        self.hands.give_back_followers(self.telling.list());
    }

    fn settle(&mut self, numbers: &[u64], verdict: &Verdict, delivery: &mut Vec<Outcome>) {
        let now = Instant::now();
        for number in numbers {
            let next = self.hands.settle(*number, verdict.clone(), &self.settings.retry, now, self.telling.list());
            if let Some((number, message)) = next {
                put(delivery, number, message);
            }
        }
        self.pace.finished(numbers.len());
    }
}

/// What another program wrote need not be UTF-8.
pub(super) fn as_text(bytes: &Bytes) -> Bytes {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(_) => bytes.clone(),
        Cow::Owned(text) => text.into(),
    }
}

/// Adds a message to a delivery: number, id, attempts before, last error, key, text.
pub(super) fn put(delivery: &mut Vec<Outcome>, number: u64, message: &Message) {
    let text = |text: &Option<Bytes>| text.clone().map_or(Outcome::Null, Outcome::Text);
    let key = message.key.as_ref().map_or(Outcome::Null, |key| Outcome::Text(as_text(key)));
    let values: [Outcome; MESSAGE_VALUES as usize] = [
        Outcome::Number(number as f64),
        Outcome::Text(message.id.clone()),
        Outcome::Number(message.prior() as f64),
        text(&message.last_error),
        key,
        text(&message.data),
    ];
    delivery.extend(values);
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection manager was disconnected")
}
