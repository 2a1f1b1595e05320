//! What a consumer asks the server, and what it makes of the answers.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::hands::{Message, Settlement, What};
use super::super::scripts::bulk;
use super::super::turn::{self, Audited, Buried, Doubt, News, Room, State, Tended, Turn};
use super::{Consumer, put};
use crate::connection::Command;
use crate::crossing::batch;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;

/// What follows by key, at the least; of quick handlers more, since a message that is parked costs the server several times as much.
const FOLLOWERS: usize = 256;
/// How long a leaving consumer tries to tell what it has done.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A question that was answered, or failed.
pub(super) enum Answered {
    Step(Result<Turn>),
    Tend(Result<Tended>),
    Audit(Result<Audited>),
    Join(Result<Bytes>),
    Leave(Result<()>),
}

/// A question that is on its way.
pub(super) type Flight = Pin<Box<dyn Future<Output = Answered> + Send>>;

impl Consumer {
    fn room(&self) -> Room {
        if self.intake.is_closed() {
            return Room::default();
        }
        let given = self.hands.given();
        let slots = self.settings.concurrency.saturating_sub(given);
        let heads = (self.settings.concurrency + self.pace.ahead()).saturating_sub(given).min(self.pace.at_once());
        let followers =
            (FOLLOWERS + 2 * self.pace.ahead()).min(self.pace.at_once()).saturating_sub(self.hands.followers());
        Room { slots: slots.min(heads), heads, followers }
    }

    /// Asks what is to be asked now.
    pub(super) fn depart(&mut self, now: Instant) -> Option<Flight> {
        if !self.rest.is_over(now) {
            return None;
        }
        if self.membership.is_lost() {
            self.membership.rename();
            let command = turn::join(&self.settings, self.membership.name(), self.membership.start(), true);
            return Some(self.flight(command, |reply| {
                Answered::Join(reply.and_then(|reply| bulk(reply).ok_or_else(Error::unexpected_reply)))
            }));
        }
        // What it may have been given and knows nothing of was not tried: the group is told before it would count it.
        let name = self.membership.name();
        if self.telling.is_done() && self.intake.leaving_since().is_some() {
            let command = turn::leave(&self.settings, name);
            return Some(self.flight(command, |reply| Answered::Leave(reply.map(drop))));
        }
        if self.upkeep.next() <= now {
            let (judges, counts) = (self.upkeep.judges(now), self.reading.counts());
            let command = turn::tend(&self.settings, name, judges, self.upkeep.looked(), counts);
            self.upkeep.tends(now, self.settings.lease);
            return Some(self.flight(command, |reply| Answered::Tend(reply.and_then(turn::tended_of))));
        }
        if let Some(place) = self.upkeep.audit() {
            let command = turn::audit(&self.settings, name, place);
            return Some(self.flight(command, |reply| Answered::Audit(reply.and_then(turn::audited_of))));
        }
        self.pace.measure(now);
        let room = self.room();
        let takes = self.reading.may_take(now) && room.heads > 0;
        if !takes && self.telling.is_done() {
            return None;
        }
        // It takes what it can whenever it asks.
        self.reading.sent();
        let (settlements, doubt) = (self.telling.settlements(), self.telling.doubt());
        let (command, told) = turn::step(&self.settings, name, room, &self.hands, settlements, doubt);
        self.telling.sent(told);
        Some(self.flight(command, |reply| Answered::Step(reply.and_then(turn::turn_of))))
    }

    fn flight(&self, command: Command, read: fn(Result<Reply>) -> Answered) -> Flight {
        let manager = self.manager.clone();
        Box::pin(async move { read(manager.call(command).await) })
    }

    /// Takes in an answer. True: the subscription is over.
    pub(super) fn land(&mut self, answered: Answered) -> bool {
        let outcome = match answered {
            Answered::Step(Ok(turn)) => {
                self.telling.answered();
                match turn {
                    Turn::Lost => self.lose(),
                    Turn::Given { due_in, more, all_read, messages, news } => {
                        self.reading.answered(more, all_read);
                        self.hear_of(&news);
                        let now = Instant::now();
                        self.reading.due_in(now, due_in);
                        self.take(messages, now);
                    }
                }
                Ok(())
            }
            Answered::Tend(Ok(Tended::Lost)) => {
                self.lose();
                Ok(())
            }
            Answered::Tend(Ok(Tended::Fine(state))) => {
                self.tended(&state);
                Ok(())
            }
            Answered::Audit(Ok(Audited { next, damaged, restored })) => {
                self.upkeep.audited(next);
                if restored > 0 {
                    self.reading.look();
                }
                self.tell_repair(damaged, restored);
                Ok(())
            }
            Answered::Join(Ok(start)) => {
                self.membership.joined(start);
                self.reading.look();
                Ok(())
            }
            Answered::Leave(Ok(())) => return true,
            Answered::Step(Err(error)) => {
                if error.delivery() != Delivery::NotSent {
                    self.telling.doubts(Doubt::Answer);
                }
                self.reading.look();
                Err(error)
            }
            Answered::Tend(Err(error)) => {
                self.upkeep.tend_soon();
                Err(error)
            }
            Answered::Join(Err(error)) | Answered::Leave(Err(error)) | Answered::Audit(Err(error)) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.rest.succeeded();
                false
            }
            Err(error) => self.failed(&error),
        }
    }

    fn take(&mut self, messages: Vec<Message>, now: Instant) {
        if self.intake.is_closed() {
            // It was told so while the question was on its way.
            return self.telling.list().extend(messages.into_iter().map(Message::given_back));
        }
        if self.hands.is_empty() {
            self.pace.idle_until(now);
        }
        let mut delivery = Vec::with_capacity(messages.len() * 6);
        let stopped = stopped(self.telling.settlements());
        for message in messages {
            if message.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                // It was given while an earlier one of its key failed: it must not pass that.
                self.telling.list().push(message.given_back());
                continue;
            }
            self.pace.came(message.data.as_ref().map_or(0, Bytes::len));
            if let Some((number, message)) = self.hands.take(message, now) {
                put(&mut delivery, number, message);
            }
        }
        batch(|| self.face.deliver(delivery));
    }

    fn tended(&mut self, state: &State) {
        let now = Instant::now();
        self.tell_repair(state.damaged, 0);
        self.reading.due_in(now, state.due_in);
        // What another program appends wakes nobody; that there is none is known at least cost by reading on.
        self.reading.look();
        self.manager.metrics().bus_lag.set(&self.settings.topic, &self.settings.group, state.lag);
        if let Some(retention) = self.upkeep.tended(now, state) {
            retention.trim(&self.manager, &self.settings.topic_keys);
        }
    }

    fn hear_of(&mut self, news: &News) {
        if news.damaged > 0 {
            self.upkeep.tend_soon();
            self.tell_repair(news.damaged, 0);
        }
        if let Some(trouble) = &news.trouble {
            let said = String::from_utf8_lossy(trouble);
            let message = format!("a dead letter could not be written, and its message is tried again later: {said}");
            self.face.tell("failed", "", &Error::new(ErrorKind::Server, message));
            // What stands at the key may be none of ours.
            self.upkeep.tend_soon();
        }
        for Buried { letter, id, attempts, error } in &news.buried {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            self.manager.metrics().bus_dead_letters.add(1);
            let event = serde_json::json!({
                "event": "deadLetter",
                "id": self.face.id,
                "letterId": text(letter),
                "streamId": text(id),
                "attempts": attempts,
                "lastError": text(error),
            });
            self.face.outlet.tell(event.to_string());
        }
    }

    /// Tells that records of the group were damaged or lost, and counts them.
    fn tell_repair(&self, damaged: u64, restored: u64) {
        if damaged + restored == 0 {
            return;
        }
        self.manager.metrics().bus_malformed.add(damaged);
        self.manager.metrics().bus_restored.add(restored);
        let message = format!(
            "records of the group in Redis were damaged or lost: {damaged} removed, {restored} messages put back that nobody would have had"
        );
        self.face.tell("failed", "", &Error::new(ErrorKind::Server, message));
    }

    /// It is not one of the group any more: what it had belongs to others.
    fn lose(&mut self) {
        let upto = self.hands.lose();
        self.telling.lose();
        self.reading.lose();
        if self.intake.leaving_since().is_none() {
            self.membership.lose();
        }
        let event = serde_json::json!({ "event": "lost", "id": self.face.id, "upto": upto });
        self.face.outlet.tell(event.to_string());
    }

    /// A question failed. True: there is no use in asking again.
    fn failed(&mut self, error: &Error) -> bool {
        if error.server_code() == Some("NOGROUP") {
            self.lose();
            return false;
        }
        if error.server_code() == Some("WRONGTYPE") {
            // Tending removes what stands at a key of the group and is none of its own.
            self.upkeep.tend_soon();
        }
        if error.kind() == ErrorKind::Server && self.rest.is_first() {
            self.face.tell("failed", error.server_code().unwrap_or_default(), error);
        }
        if self.intake.leaving_since().is_some_and(|since| since.elapsed() > LEAVE_WITHIN) {
            self.face.tell("failed", "", error);
            return true;
        }
        self.rest.failed();
        false
    }
}

/// The keys of which messages go back to the group as soon as it can be told.
fn stopped(settlements: &[Settlement]) -> HashSet<Bytes> {
    let goes_back = |settlement: &&Settlement| matches!(settlement.what, What::Retry(..) | What::Return(_));
    settlements.iter().filter(goes_back).filter_map(|settlement| settlement.key.clone()).collect()
}

/// The answer to the question that is on its way; never, if none is.
pub(super) async fn arrival(flight: &mut Option<Flight>) -> Answered {
    match flight {
        Some(flight) => flight.await,
        None => std::future::pending().await,
    }
}
