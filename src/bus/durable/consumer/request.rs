//! The requests of a consumer to the server, and how their answers are handled.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::in_flight::{Action, Message, Settlement};
use super::super::protocol::{
    self, AuditPage, Doubt, GroupState, MaintainReply, NewDeadLetter, Notices, PollReply, Room,
};
use super::super::scripts::bulk;
use super::{Consumer, put};
use crate::connection::Command;
use crate::crossing::batch;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;

/// The least room for messages that queue behind an earlier message of their key. Quick handlers get more room, because parking a
/// message costs the server several times as much.
const QUEUED: usize = 256;
/// The most messages of new keys in one poll. Each costs the server more than a message that queues, and a script delays all other
/// clients.
const MOST_NEW_KEYS: usize = 500;
/// How long a leaving consumer tries to send its settlements.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// The result of a request.
pub(super) enum Completed {
    Poll(Result<PollReply>),
    Maintain(Result<MaintainReply>),
    Audit(Result<AuditPage>),
    Join(Result<Bytes>),
    Leave(Result<()>),
}

/// A request in flight.
pub(super) type PendingRequest = Pin<Box<dyn Future<Output = Completed> + Send>>;

impl Consumer {
    fn room(&self) -> Room {
        if self.intake.is_closed() {
            return Room::default();
        }
        let running = self.in_flight.running();
        let slots = self.settings.concurrency.saturating_sub(running);
        let new_keys = (self.settings.concurrency + self.pace.ahead()).saturating_sub(running);
        let new_keys = new_keys.min(self.pace.at_once()).min(MOST_NEW_KEYS);
        let same_key =
            (QUEUED + 2 * self.pace.ahead()).min(self.pace.at_once()).saturating_sub(self.in_flight.queued());
        Room { slots: slots.min(new_keys), new_keys, same_key }
    }

    /// Sends the next request, if there is one.
    pub(super) fn send_next(&mut self, now: Instant) -> Option<PendingRequest> {
        if !self.request_pause.is_over(now) {
            return None;
        }
        if self.membership.is_lost() {
            self.membership.rename();
            let command = protocol::join(&self.settings, self.membership.name(), self.membership.start(), true);
            return Some(self.request(command, |reply| {
                Completed::Join(reply.and_then(|reply| bulk(reply).ok_or_else(Error::unexpected_reply)))
            }));
        }
        // Leaving comes before maintenance, which would count deliveries of messages that never arrived.
        let name = self.membership.name();
        if self.settlements.is_done() && self.intake.leaving_since().is_some() {
            let command = protocol::leave(&self.settings, name);
            return Some(self.request(command, |reply| Completed::Leave(reply.map(drop))));
        }
        if self.maintenance.next() <= now {
            let (may_take_over, counts_unread) = (self.maintenance.may_take_over(now), self.reading.counts_unread());
            let command = protocol::maintain(
                &self.settings,
                name,
                may_take_over,
                self.maintenance.parked_cursor(),
                counts_unread,
            );
            self.maintenance.sent(now, self.settings.lease);
            return Some(self.request(command, |reply| Completed::Maintain(reply.and_then(protocol::read_maintain))));
        }
        if let Some(place) = self.maintenance.audit() {
            let command = protocol::audit(&self.settings, name, place);
            return Some(self.request(command, |reply| Completed::Audit(reply.and_then(protocol::read_audit))));
        }
        self.pace.measure(now);
        let room = self.room();
        let takes = self.reading.may_take(now) && room.new_keys > 0;
        if !takes && self.settlements.is_done() {
            return None;
        }
        // Every poll fetches what it can.
        self.reading.sent();
        let (settlements, doubt) = (self.settlements.all(), self.settlements.doubt());
        let (command, settled) = protocol::poll(&self.settings, name, room, &self.in_flight, settlements, doubt);
        self.settlements.sent(settled);
        Some(self.request(command, |reply| Completed::Poll(reply.and_then(protocol::read_poll))))
    }

    fn request(&self, command: Command, read: fn(Result<Reply>) -> Completed) -> PendingRequest {
        let manager = self.manager.clone();
        Box::pin(async move { read(manager.call(command).await) })
    }

    /// Handles a result. Returns true if the subscription has ended.
    pub(super) fn complete(&mut self, answered: Completed) -> bool {
        let outcome = match answered {
            Completed::Poll(Ok(turn)) => {
                self.settlements.answered();
                match turn {
                    PollReply::Lost => self.lose(),
                    PollReply::Given { due_in, more, all_read, messages, notices } => {
                        self.reading.answered(more, all_read);
                        self.report_notices(&notices);
                        let now = Instant::now();
                        self.reading.due_in(now, due_in);
                        self.deliver_messages(messages, now);
                    }
                }
                Ok(())
            }
            Completed::Maintain(Ok(MaintainReply::Lost)) => {
                self.lose();
                Ok(())
            }
            Completed::Maintain(Ok(MaintainReply::Fine(state))) => {
                self.maintained(&state);
                Ok(())
            }
            Completed::Audit(Ok(AuditPage { next, damaged, restored })) => {
                self.maintenance.page_audited(next);
                if restored > 0 {
                    self.reading.wake();
                }
                self.report_repair(damaged, restored);
                Ok(())
            }
            Completed::Join(Ok(start)) => {
                self.membership.joined(start);
                self.reading.wake();
                Ok(())
            }
            Completed::Leave(Ok(())) => return true,
            Completed::Poll(Err(error)) => {
                if error.delivery() != Delivery::NotSent {
                    self.settlements.doubts(Doubt::Answer);
                }
                self.reading.wake();
                Err(error)
            }
            Completed::Maintain(Err(error)) => {
                self.maintenance.run_soon();
                Err(error)
            }
            Completed::Join(Err(error)) | Completed::Leave(Err(error)) | Completed::Audit(Err(error)) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.request_pause.succeeded();
                false
            }
            Err(error) => self.failed(&error),
        }
    }

    fn deliver_messages(&mut self, messages: Vec<Message>, now: Instant) {
        if self.intake.is_closed() {
            // The consumer was paused while the request was in flight.
            return self.settlements.list_mut().extend(messages.into_iter().map(Message::given_back));
        }
        if self.in_flight.is_empty() {
            self.pace.idle_until(now);
        }
        let mut delivery = Vec::with_capacity(messages.len() * 6);
        let stopped = stopped(self.settlements.all());
        for message in messages {
            if message.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                // An earlier message of the key failed meanwhile. The later message must not overtake it.
                self.settlements.list_mut().push(message.given_back());
                continue;
            }
            self.pace.came(message.data.as_ref().map_or(0, Bytes::len));
            if let Some((number, message)) = self.in_flight.take(message, now) {
                put(&mut delivery, number, message);
            }
        }
        batch(|| self.face.deliver(delivery));
    }

    fn maintained(&mut self, state: &GroupState) {
        let now = Instant::now();
        self.report_repair(state.damaged, 0);
        self.reading.due_in(now, state.due_in);
        // Other programs publish no wake-up for their entries. A poll is the cheapest way to find such entries.
        self.reading.wake();
        self.manager.metrics().bus_lag.set(&self.settings.topic, &self.settings.group, state.lag);
        if let Some(retention) = self.maintenance.completed(now, state) {
            retention.trim(&self.manager, &self.settings.topic_keys);
        }
    }

    fn report_notices(&mut self, notices: &Notices) {
        if notices.damaged > 0 {
            self.maintenance.run_soon();
            self.report_repair(notices.damaged, 0);
        }
        if let Some(reason) = &notices.dead_letter_error {
            let said = String::from_utf8_lossy(reason);
            let message = format!("a dead letter could not be written, and its message is tried again later: {said}");
            self.face.emit("failed", "", &Error::new(ErrorKind::Server, message));
            // The key of the dead letters may have another type; maintenance removes it.
            self.maintenance.run_soon();
        }
        for NewDeadLetter { letter_id, id, attempts, error } in &notices.dead_letters {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            self.manager.metrics().bus_dead_letters.add(1);
            let event = serde_json::json!({
                "event": "deadLetter",
                "id": self.face.id,
                "letterId": text(letter_id),
                "streamId": text(id),
                "attempts": attempts,
                "lastError": text(error),
            });
            self.face.outlet.emit(event.to_string());
        }
    }

    /// Reports and counts damaged or lost records of the group.
    fn report_repair(&self, damaged: u64, restored: u64) {
        if damaged + restored == 0 {
            return;
        }
        self.manager.metrics().bus_malformed.add(damaged);
        self.manager.metrics().bus_restored.add(restored);
        let message = format!(
            "records of the group in Redis were damaged or lost: {damaged} removed, {restored} messages restored that no consumer would have received"
        );
        self.face.emit("failed", "", &Error::new(ErrorKind::Server, message));
    }

    /// The consumer is no longer a member of the group: its messages belong to other consumers.
    fn lose(&mut self) {
        let upto = self.in_flight.lose();
        self.settlements.lose();
        self.reading.lose();
        if self.intake.leaving_since().is_none() {
            self.membership.lose();
        }
        let event = serde_json::json!({ "event": "lost", "id": self.face.id, "upto": upto });
        self.face.outlet.emit(event.to_string());
    }

    /// A request failed. Returns true if another attempt is useless.
    fn failed(&mut self, error: &Error) -> bool {
        if error.server_code() == Some("NOGROUP") {
            self.lose();
            return false;
        }
        if error.server_code() == Some("WRONGTYPE") {
            // Maintenance removes a key of another type.
            self.maintenance.run_soon();
        }
        if error.kind() == ErrorKind::Server && self.request_pause.is_first() {
            self.face.emit("failed", error.server_code().unwrap_or_default(), error);
        }
        if self.intake.leaving_since().is_some_and(|since| since.elapsed() > LEAVE_WITHIN) {
            self.face.emit("failed", "", error);
            return true;
        }
        self.request_pause.failed();
        false
    }
}

/// The keys whose messages go back to the group with the next poll.
fn stopped(settlements: &[Settlement]) -> HashSet<Bytes> {
    let goes_back = |settlement: &&Settlement| matches!(settlement.action, Action::Retry(..) | Action::Return(_));
    settlements.iter().filter(goes_back).filter_map(|settlement| settlement.key.clone()).collect()
}

/// The result of the request in flight; never resolves if there is none.
pub(super) async fn completion(pending: &mut Option<PendingRequest>) -> Completed {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}
