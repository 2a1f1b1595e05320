//! The task of one durable subscription: it fetches messages, settles them, and keeps the lease.
//!
//! The task sends one request at a time, so that its state is exact when it sends. If the answer is lost, the next request has the
//! ids of the messages in flight, so that messages that never arrived go back to the group.
//!
//! The task ends when the subscription ends, when the bus is dropped, or when the manager is disconnected. In the last two cases the
//! lease runs out, and other consumers take over.

mod request;
mod state;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use request::{PendingRequest, completion};
use state::{Intake, Maintenance, Membership, Reading, RequestPause, Settlements};

use super::in_flight::{HandlerOutcome, InFlight, Message};
use super::pace::Pace;
use super::protocol::{self, Doubt};
use super::publish::Retention;
use super::scripts::bulk;
use super::settings::Settings;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Manager, Subscription};
use crate::crossing::codes::MESSAGE_VALUES;
use crate::crossing::{Answer, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};

/// The longest time between two polls.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const TRIM_EVERY: Duration = Duration::from_mins(1);
/// A command to a consumer.
#[derive(Debug)]
pub(super) enum ConsumerCommand {
    Settle(Vec<u64>, HandlerOutcome),
    /// Fetches no more messages.
    Pause,
    /// Gives all messages back and ends, then answers. Handlers are running for the messages with these numbers only.
    Leave(HashSet<u64>, Answer),
}

/// Wakes a consumer when its topic may have messages.
#[derive(Default)]
struct Wake {
    wake: Notify,
    /// Was the connection lost and restored since the last read?
    restored: AtomicBool,
}

impl Listener for Wake {
    fn message(&self, _message: &ChannelMessage) {
        self.wake.notify_one();
    }

    fn restored(&self, _gap: Duration) {
        // Wake-ups may have been missed meanwhile.
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

    fn emit(&self, event: &str, code: &str, error: &Error) {
        let event = serde_json::json!({
            "event": event,
            "id": self.id,
            "kind": error.kind().name(),
            "message": error.message(),
            "serverCode": code,
        });
        self.outlet.emit(event.to_string());
    }
}

pub(super) struct Consumer {
    face: Face,
    manager: Manager,
    settings: Settings,
    membership: Membership,
    in_flight: InFlight,
    settlements: Settlements,
    pace: Pace,
    wake: Arc<Wake>,
    reading: Reading,
    maintenance: Maintenance,
    request_pause: RequestPause,
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
            in_flight: InFlight::default(),
            settlements: Settlements::default(),
            pace: Pace::new(now),
            wake: Arc::default(),
            reading: Reading::default(),
            maintenance: Maintenance::new(retention, now),
            request_pause: RequestPause::default(),
            intake: Intake::default(),
        }
    }

    /// Runs until the subscription ends. `ready` is answered when the consumer is a member of its group.
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<ConsumerCommand>, ready: Answer) {
        let closing = self.manager.closing();
        let first = tokio::select! {
            biased;
            () = closing.cancelled() => Err(closed()),
            outcome = self.join() => outcome,
        };
        // The end of the task drops the subscription, and so ends the wake-ups.
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
            () = closing.cancelled() => self.face.emit("ended", "", &closed()),
            () = self.serve(&mut asks) => {}
        }
        metrics.bus_subscriptions.add(-1);
        metrics.bus_lag.forget(&self.settings.topic, &self.settings.group);
        if let Some(answer) = self.intake.left() {
            answer.give(Ok(Outcome::Nothing));
        }
    }

    async fn join(&mut self) -> Result<Subscription> {
        let channel = Channel { kind: ChannelKind::Exact, name: self.settings.topic_keys.wake() };
        let subscription = self.manager.subscribe(channel, Arc::clone(&self.wake) as Arc<dyn Listener>).await?;
        let join = protocol::join(&self.settings, self.membership.name(), &self.settings.from, false);
        self.membership.joined(bulk(self.manager.call(join).await?).ok_or_else(Error::unexpected_reply)?);
        self.manager.keeps();
        Ok(subscription)
    }

    async fn serve(&mut self, asks: &mut mpsc::UnboundedReceiver<ConsumerCommand>) {
        let wake = Arc::clone(&self.wake);
        let mut pending: Option<PendingRequest> = None;
        loop {
            if pending.is_none() {
                pending = self.send_next(Instant::now());
            }
            self.report_overdue(Instant::now());
            let timer = self.next_timer(pending.is_some());
            tokio::select! {
                biased;
                ask = asks.recv(), if !self.intake.is_abandoned() => match ask {
                    Some(ask) => self.handle_asks(ask, asks),
                    None => self.abandoned(),
                },
                answered = completion(&mut pending) => {
                    pending = None;
                    if self.complete(answered) {
                        return;
                    }
                }
                () = wake.wake.notified() => self.woken(),
                () = sleep_until(timer.into()) => {}
            }
        }
    }

    fn woken(&mut self) {
        self.reading.wake();
        if self.wake.restored.swap(false, Relaxed) {
            self.settlements.doubts(Doubt::Server);
        }
    }

    fn next_timer(&self, asking: bool) -> Instant {
        let next = if asking {
            // No request can be sent before the answer.
            Instant::now() + LOOK_EVERY
        } else {
            let maintenance = self.maintenance.next();
            self.request_pause
                .until()
                .unwrap_or_else(|| self.reading.next().map_or(maintenance, |due| due.min(maintenance)))
        };
        self.in_flight.next_overdue(self.settings.timeout).map_or(next, |overdue| overdue.min(next))
    }

    /// Tells JavaScript which messages have run for longer than the timeout.
    fn report_overdue(&mut self, now: Instant) {
        let overdue = self.in_flight.overdue(now, self.settings.timeout);
        if !overdue.is_empty() {
            let event = serde_json::json!({ "event": "overdue", "id": self.face.id, "numbers": overdue });
            self.face.outlet.emit(event.to_string());
        }
    }

    /// The bus was dropped, so no handler runs any more.
    fn abandoned(&mut self) {
        self.pause();
        self.intake.abandon();
    }

    /// Handles `first` and all commands that have arrived by now.
    fn handle_asks(&mut self, first: ConsumerCommand, asks: &mut mpsc::UnboundedReceiver<ConsumerCommand>) {
        let mut next = Some(first);
        let mut delivery = Vec::new();
        while let Some(ask) = next {
            match ask {
                ConsumerCommand::Settle(numbers, outcome) => self.settle(&numbers, &outcome, &mut delivery),
                ConsumerCommand::Pause => self.pause(),
                ConsumerCommand::Leave(begun, answer) => {
                    self.pause();
                    let untried = self.in_flight.running_except(&begun);
                    self.settle(&untried, &HandlerOutcome::Untried, &mut delivery);
                    self.intake.leave(answer);
                    self.request_pause.end();
                }
            }
            next = asks.try_recv().ok();
        }
        self.face.deliver(delivery);
    }

    fn pause(&mut self) {
        self.intake.close();
        self.in_flight.give_back_queued(self.settlements.list_mut());
    }

    fn settle(&mut self, numbers: &[u64], outcome: &HandlerOutcome, delivery: &mut Vec<Outcome>) {
        let now = Instant::now();
        for number in numbers {
            let next =
                self.in_flight.settle(*number, outcome.clone(), &self.settings.retry, now, self.settlements.list_mut());
            if let Some((number, message)) = next {
                put(delivery, number, message);
            }
        }
        self.pace.finished(numbers.len());
    }
}

/// The bytes as UTF-8 text. Text of other programs may be no UTF-8.
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
        Outcome::Number(message.attempts_before() as f64),
        text(&message.last_error),
        key,
        text(&message.data),
    ];
    delivery.extend(values);
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection manager was disconnected")
}
