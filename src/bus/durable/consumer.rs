//! The task of one durable subscription: it takes messages as there is room, tells what became of them, keeps the lease.
//!
//! It asks the server one thing at a time, so what it knows when it asks is what it has. A question whose answer was lost is
//! asked again together with what is in hand, so that what was given and never arrived goes back to the group.
//!
//! It ends when it is told to leave, when the bus goes, or when the manager is disconnected; then the lease runs out, and the
//! others take over.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;

use super::hands::{Hands, Message, Settlement, Verdict, What};
use super::pace::Pace;
use super::publish::Retention;
use super::scripts::bulk;
use super::settings::Settings;
use super::turn::{self, Doubt, Room, Tended, Turn};
use crate::backoff::Backoff;
use crate::bus::strange;
use crate::connection::{Channel, ChannelKind, Command, Listener, Manager, Message as Published, Subscription};
use crate::crossing::{Answer, Outcome, Outlet, batch};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;

/// What follows by key, at most.
const FOLLOWERS: usize = 256;
/// How often a consumer looks by itself, at the least.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const TRIM_EVERY: Duration = Duration::from_mins(1);
/// After a question that failed.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_secs(2) };
/// How long a leaving consumer tries to tell what it has done.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// What may be asked of a consumer.
#[derive(Debug)]
pub(super) enum Ask {
    Settle(Vec<u64>, Verdict),
    /// To take nothing more.
    Pause,
    /// To give back what it has and end; answered then.
    Leave(Answer),
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

/// A question that was answered, or failed.
enum Answered {
    Step(Result<Turn>),
    Tend(Result<Tended>),
    Join(Result<Bytes>),
    Leave(Result<()>),
}

/// What a consumer is to its group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Member,
    /// Not one of it any more; it is to join again, by another name.
    Lost,
}

/// Does a consumer take messages?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
}

type Flight = Pin<Box<dyn Future<Output = Answered> + Send>>;

pub(super) struct Consumer {
    id: u64,
    manager: Manager,
    settings: Settings,
    retention: Retention,
    outlet: Outlet,
    /// Unlike that of any other consumer, and of itself before it was lost.
    name: String,
    /// The id after which its group began.
    start: Bytes,
    hands: Hands,
    /// What the server must be told, in order; the first `asked` of it with the question that is on its way.
    settlements: Vec<Settlement>,
    asked: usize,
    pace: Pace,
    wake: Arc<Wake>,
    /// May there be something to take?
    look: bool,
    /// When something is due.
    due: Option<Instant>,
    tend: Instant,
    trim: Instant,
    /// Not to ask before.
    rest_until: Option<Instant>,
    failures: u32,
    /// May it have been given more than it knows of?
    doubt: Doubt,
    standing: Standing,
    intake: Intake,
    /// Since when, and who is told at the end.
    leaving: Option<(Option<Answer>, Instant)>,
    /// Nobody will ask any more.
    deaf: bool,
}

impl Consumer {
    pub(super) fn new(id: u64, manager: Manager, settings: Settings, retention: Retention, outlet: Outlet) -> Self {
        let now = Instant::now();
        Self {
            id,
            start: settings.from.clone(),
            manager,
            settings,
            retention,
            outlet,
            name: new_name(),
            hands: Hands::default(),
            settlements: Vec::new(),
            asked: 0,
            pace: Pace::new(now),
            wake: Arc::default(),
            look: true,
            due: None,
            tend: now,
            trim: now + TRIM_EVERY,
            rest_until: None,
            failures: 0,
            doubt: Doubt::None,
            standing: Standing::Member,
            intake: Intake::Open,
            leaving: None,
            deaf: false,
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
            () = closing.cancelled() => self.tell("ended", "", &closed()),
            () = self.serve(&mut asks) => {}
        }
        metrics.bus_subscriptions.add(-1);
        metrics.bus_lag.forget(&self.settings.topic, &self.settings.group);
        if let Some((Some(answer), _)) = self.leaving {
            answer.give(Ok(Outcome::Nothing));
        }
    }

    async fn begin(&mut self) -> Result<Subscription> {
        let channel = Channel { kind: ChannelKind::Exact, name: self.settings.topic_keys.wake() };
        let subscription = self.manager.subscribe(channel, Arc::clone(&self.wake) as Arc<dyn Listener>).await?;
        let join = turn::join(&self.settings, &self.name, &self.settings.from, false);
        self.start = bulk(self.manager.call(join).await?).ok_or_else(strange)?;
        Ok(subscription)
    }

    async fn serve(&mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let wake = Arc::clone(&self.wake);
        let mut flight: Option<Flight> = None;
        loop {
            if flight.is_none() {
                flight = self.depart(Instant::now());
            }
            let timer = self.next_timer();
            tokio::select! {
                biased;
                ask = asks.recv(), if !self.deaf => match ask {
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
                () = sleep_until(timer.into()), if flight.is_none() => {}
            }
        }
    }

    fn woken(&mut self) {
        self.look = true;
        if self.wake.restored.swap(false, Relaxed) {
            self.doubt = Doubt::Server;
        }
    }

    fn tend_every(&self) -> Duration {
        LOOK_EVERY.min(self.settings.lease / 3)
    }

    fn next_timer(&self) -> Instant {
        let next = self.due.map_or(self.tend, |due| due.min(self.tend));
        self.rest_until.unwrap_or(next)
    }

    /// The bus is gone, and with it whoever had the messages.
    fn abandoned(&mut self) {
        self.deaf = true;
        self.pause();
        self.leaving.get_or_insert((None, Instant::now()));
    }

    /// Takes in what was asked, and all that is asked by now.
    fn hear(&mut self, first: Ask, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let mut next = Some(first);
        let mut delivery = Vec::new();
        while let Some(ask) = next {
            match ask {
                Ask::Settle(numbers, verdict) => self.settle(&numbers, &verdict, &mut delivery),
                Ask::Pause => self.pause(),
                Ask::Leave(answer) => {
                    self.pause();
                    self.leaving = Some((Some(answer), Instant::now()));
                    self.rest_until = None;
                }
            }
            next = asks.try_recv().ok();
        }
        self.deliver(delivery);
    }

    fn pause(&mut self) {
        self.intake = Intake::Closed;
        self.hands.give_back_followers(&mut self.settlements);
    }

    fn settle(&mut self, numbers: &[u64], verdict: &Verdict, delivery: &mut Vec<Outcome>) {
        let now = Instant::now();
        for number in numbers {
            let next = self.hands.settle(*number, verdict.clone(), &self.settings.retry, now, &mut self.settlements);
            if let Some((number, message)) = next {
                put(delivery, number, message);
            }
        }
        self.pace.finished(numbers.len());
    }

    fn deliver(&self, values: Vec<Outcome>) {
        if !values.is_empty() {
            let mut section = Vec::with_capacity(values.len() + 2);
            section.push(Outcome::Number(self.id as f64));
            section.push(Outcome::Number(values.len() as f64));
            section.extend(values);
            self.outlet.deliver(section);
        }
    }

    fn room(&self) -> Room {
        if self.intake == Intake::Closed {
            return Room::default();
        }
        let given = self.hands.given();
        let slots = self.settings.concurrency.saturating_sub(given);
        let heads = (self.settings.concurrency + self.pace.ahead()).saturating_sub(given).min(self.pace.at_once());
        let followers = FOLLOWERS.min(self.pace.at_once()).saturating_sub(self.hands.followers());
        Room { slots: slots.min(heads), heads, followers }
    }

    /// Asks what is to be asked now.
    fn depart(&mut self, now: Instant) -> Option<Flight> {
        if self.rest_until.is_some_and(|until| until > now) {
            return None;
        }
        self.rest_until = None;
        if self.standing == Standing::Lost {
            self.name = new_name();
            let command = turn::join(&self.settings, &self.name, &self.start, true);
            return Some(
                self.flight(command, |reply| Answered::Join(reply.and_then(|reply| bulk(reply).ok_or_else(strange)))),
            );
        }
        if self.settlements.is_empty() && self.leaving.is_some() {
            let command = turn::leave(&self.settings, &self.name);
            return Some(self.flight(command, |reply| Answered::Leave(reply.map(drop))));
        }
        if self.tend <= now {
            let command = turn::tend(&self.settings, &self.name);
            self.tend = now + self.tend_every();
            return Some(self.flight(command, |reply| Answered::Tend(reply.and_then(turn::tended_of))));
        }
        self.pace.measure(now);
        let room = self.room();
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.look = true;
        }
        let takes = self.look && room.heads > 0;
        if !takes && self.settlements.is_empty() && self.doubt == Doubt::None {
            return None;
        }
        // It takes what it can whenever it asks: that there was nothing is known only until something is published.
        self.look = false;
        self.asked = self.settlements.len();
        let command = turn::step(&self.settings, &self.name, room, &self.hands, &self.settlements, self.doubt);
        Some(self.flight(command, |reply| Answered::Step(reply.and_then(turn::turn_of))))
    }

    fn flight(&self, command: Command, read: fn(Result<Reply>) -> Answered) -> Flight {
        let manager = self.manager.clone();
        Box::pin(async move { read(manager.call(command).await) })
    }

    /// Takes in an answer. True: the subscription is over.
    fn land(&mut self, answered: Answered) -> bool {
        let outcome = match answered {
            Answered::Step(Ok(turn)) => {
                self.settlements.drain(..self.asked);
                self.asked = 0;
                self.doubt = Doubt::None;
                match turn {
                    Turn::Lost => self.lose(),
                    Turn::Given { due_in, more, messages } => {
                        let now = Instant::now();
                        self.due = due_in.map(|ms| now + ms.max(Duration::from_millis(1)));
                        self.look |= more;
                        self.take(messages, now);
                    }
                }
                Ok(())
            }
            Answered::Tend(Ok(Tended::Lost)) => {
                self.lose();
                Ok(())
            }
            Answered::Tend(Ok(Tended::Fine { due_in, lag })) => {
                self.tended(due_in, lag);
                Ok(())
            }
            Answered::Join(Ok(start)) => {
                self.start = start;
                self.standing = Standing::Member;
                self.look = true;
                Ok(())
            }
            Answered::Leave(Ok(())) => return true,
            Answered::Step(Err(error)) => {
                if error.delivery() != Delivery::NotSent {
                    self.doubt = self.doubt.max(Doubt::Answer);
                }
                self.look = true;
                Err(error)
            }
            Answered::Tend(Err(error)) => {
                self.tend = Instant::now();
                Err(error)
            }
            Answered::Join(Err(error)) | Answered::Leave(Err(error)) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.failures = 0;
                false
            }
            Err(error) => self.failed(&error),
        }
    }

    fn take(&mut self, messages: Vec<Message>, now: Instant) {
        if self.hands.is_empty() {
            self.pace.idle_until(now);
        }
        let mut delivery = Vec::with_capacity(messages.len() * 6);
        let stopped = stopped(&self.settlements);
        for message in messages {
            if message.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                // It was given while an earlier one of its key failed: it must not pass that.
                self.settlements.push(message.given_back());
                continue;
            }
            self.pace.came(message.data.as_ref().map_or(0, Bytes::len));
            if let Some((number, message)) = self.hands.take(message, now) {
                put(&mut delivery, number, message);
            }
        }
        if self.intake == Intake::Closed {
            // It was told so while the question was on its way.
            self.hands.give_back_followers(&mut self.settlements);
        }
        batch(|| self.deliver(delivery));
    }

    fn tended(&mut self, due_in: Option<Duration>, lag: u64) {
        let now = Instant::now();
        self.due = due_in.map(|ms| now + ms.max(Duration::from_millis(1)));
        self.look |= lag > 0;
        self.manager.metrics().bus_lag.set(&self.settings.topic, &self.settings.group, lag);
        if self.trim <= now {
            self.trim = now + TRIM_EVERY;
            self.retention.trim(&self.manager, &self.settings.topic_keys);
        }
        let overdue: Vec<u64> = now
            .checked_sub(self.settings.timeout)
            .map(|since| self.hands.given_before(since).collect())
            .unwrap_or_default();
        if !overdue.is_empty() {
            let event = serde_json::json!({ "event": "overdue", "id": self.id, "numbers": overdue });
            self.outlet.tell(event.to_string());
        }
    }

    /// It is not one of the group any more: what it had belongs to others.
    fn lose(&mut self) {
        let upto = self.hands.lose();
        // Handled is handled, whoever has it now; everything else is up to others.
        self.settlements.retain(|settlement| settlement.what == What::Acknowledge);
        self.settlements.iter_mut().for_each(|settlement| settlement.key = None);
        self.asked = 0;
        self.doubt = Doubt::None;
        if self.leaving.is_none() {
            self.standing = Standing::Lost;
        }
        let event = serde_json::json!({ "event": "lost", "id": self.id, "upto": upto });
        self.outlet.tell(event.to_string());
    }

    /// A question failed. True: there is no use in asking again.
    fn failed(&mut self, error: &Error) -> bool {
        if error.server_code() == Some("NOGROUP") {
            self.lose();
            return false;
        }
        if error.kind() == ErrorKind::Server && self.failures == 0 {
            self.tell("failed", error.server_code().unwrap_or_default(), error);
        }
        if self.leaving.as_ref().is_some_and(|(_, since)| since.elapsed() > LEAVE_WITHIN) {
            self.tell("failed", "", error);
            return true;
        }
        self.rest_until = Some(Instant::now() + BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
        false
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

/// The keys of which messages go back to the group as soon as it can be told.
fn stopped(settlements: &[Settlement]) -> HashSet<Bytes> {
    let goes_back = |settlement: &&Settlement| matches!(settlement.what, What::Retry(..) | What::Return(_));
    settlements.iter().filter(goes_back).filter_map(|settlement| settlement.key.clone()).collect()
}

/// Adds a message to a delivery: number, id, attempts before, last error, key, text.
fn put(delivery: &mut Vec<Outcome>, number: u64, message: &Message) {
    let text = |text: &Option<Bytes>| text.clone().map_or(Outcome::Null, Outcome::Text);
    delivery.extend([
        Outcome::Number(number as f64),
        Outcome::Text(message.id.clone()),
        Outcome::Number(message.prior() as f64),
        text(&message.last_error),
        text(&message.key),
        text(&message.data),
    ]);
}

/// The answer to the question that is on its way; never, if none is.
async fn arrival(flight: &mut Option<Flight>) -> Answered {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}

fn new_name() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple())
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the connection manager was disconnected")
}
