//! The state of a consumer: its membership, its settlements, when it polls, its maintenance, and whether it fetches.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::in_flight::{Action, Settlement};
use super::super::protocol::{AuditCursor, Doubt, GroupState};
use super::super::publish::Retention;
use super::{LOOK_EVERY, TRIM_EVERY};
use crate::backoff::Backoff;
use crate::crossing::Answer;

/// The pause after a failed request.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_secs(2) };

/// The membership in a group.
pub(super) struct Membership {
    /// Unique; a consumer that was removed joins again under another name.
    name: String,
    /// The id after which the group started.
    start: Bytes,
    /// Is the consumer no longer a member? Then it must join again.
    lost: bool,
}

impl Membership {
    pub(super) fn new(start: Bytes) -> Self {
        Self { name: new_name(), start, lost: false }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn start(&self) -> &Bytes {
        &self.start
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Takes a new name for the next join.
    pub(super) fn rename(&mut self) {
        self.name = new_name();
    }

    pub(super) fn joined(&mut self, start: Bytes) {
        self.start = start;
        self.lost = false;
    }

    pub(super) fn lose(&mut self) {
        self.lost = true;
    }
}

fn new_name() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::new_v4().simple())
}

/// Settlements that the server has not confirmed yet.
pub(super) struct Settlements {
    /// In order; the first `sent` of them are in the request in flight.
    list: Vec<Settlement>,
    sent: usize,
    /// May the consumer have been given messages that it does not know of?
    doubt: Doubt,
}

impl Default for Settlements {
    fn default() -> Self {
        Self { list: Vec::new(), sent: 0, doubt: Doubt::None }
    }
}

impl Settlements {
    pub(super) fn is_done(&self) -> bool {
        self.list.is_empty() && self.doubt == Doubt::None
    }

    pub(super) fn doubt(&self) -> Doubt {
        self.doubt
    }

    pub(super) fn all(&self) -> &[Settlement] {
        &self.list
    }

    /// To append to; existing settlements keep their places.
    pub(super) fn list_mut(&mut self) -> &mut Vec<Settlement> {
        &mut self.list
    }

    /// A request carries the first `sent` settlements.
    pub(super) fn sent(&mut self, sent: usize) {
        self.sent = sent;
    }

    /// The request was answered: its settlements are done, and its messages arrived.
    pub(super) fn answered(&mut self) {
        self.list.drain(..self.sent);
        self.sent = 0;
        self.doubt = Doubt::None;
    }

    pub(super) fn doubts(&mut self, doubt: Doubt) {
        self.doubt = self.doubt.max(doubt);
    }

    /// The consumer was removed from the group. Handled messages are still acknowledged; the others belong to other consumers.
    pub(super) fn lose(&mut self) {
        self.list.retain(|settlement| settlement.action == Action::Acknowledge);
        self.list.iter_mut().for_each(|settlement| settlement.key = None);
        self.sent = 0;
        self.doubt = Doubt::None;
    }
}

/// Whether there may be something to fetch.
pub(super) struct Reading {
    /// May there be something to fetch?
    may_have_messages: bool,
    /// May there be messages that the group has not read?
    may_have_unread: bool,
    /// When the next retry is due.
    due: Option<Instant>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { may_have_messages: true, may_have_unread: true, due: None }
    }
}

impl Reading {
    /// There may be something to fetch.
    pub(super) fn wake(&mut self) {
        self.may_have_messages = true;
    }

    /// Should the server count the unread messages?
    pub(super) fn counts_unread(&self) -> bool {
        self.may_have_unread || self.may_have_messages
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// May there be something to fetch now?
    pub(super) fn may_take(&mut self, now: Instant) -> bool {
        if self.due.take_if(|due| *due <= now).is_some() {
            self.may_have_messages = true;
        }
        self.may_have_messages
    }

    /// A poll fetches all there is; after it only a wake-up says that there is more.
    pub(super) fn sent(&mut self) {
        self.may_have_messages = false;
    }

    /// The poll was answered: is there more, and has the group read the whole stream?
    pub(super) fn answered(&mut self, more: bool, all_read: bool) {
        // A wake-up since then may be for a later message.
        self.may_have_unread = !all_read || self.may_have_messages;
        self.may_have_messages |= more;
    }

    pub(super) fn due_in(&mut self, now: Instant, due_in: Option<Duration>) {
        self.due = due_in.map(|ms| now + ms.max(Duration::from_millis(1)));
    }

    pub(super) fn lose(&mut self) {
        self.may_have_unread = true;
    }
}

/// The maintenance that a consumer does for its group: it renews its lease, takes over from others, audits and trims.
pub(super) struct Maintenance {
    retention: Retention,
    next: Instant,
    /// From when on the consumer may take over from others.
    may_take_over_from: Instant,
    /// The cursor of the check of parked messages.
    parked_cursor: Bytes,
    /// The cursor of a running audit.
    audit: Option<AuditCursor>,
    trim: Instant,
}

impl Maintenance {
    pub(super) fn new(retention: Retention, now: Instant) -> Self {
        let parked_cursor = Bytes::from_static(b"0");
        Self { retention, next: now, may_take_over_from: now, parked_cursor, audit: None, trim: now + TRIM_EVERY }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn may_take_over(&self, now: Instant) -> bool {
        self.may_take_over_from <= now
    }

    pub(super) fn parked_cursor(&self) -> &Bytes {
        &self.parked_cursor
    }

    pub(super) fn audit(&self) -> Option<&AuditCursor> {
        self.audit.as_ref()
    }

    /// Runs maintenance with the next request.
    pub(super) fn run_soon(&mut self) {
        self.next = Instant::now();
    }

    /// Maintenance was sent; the next follows after a part of the lease.
    pub(super) fn sent(&mut self, now: Instant, lease: Duration) {
        self.next = now + LOOK_EVERY.min(lease / 3);
    }

    /// Handles the result. Returns the retention when it is time to trim.
    pub(super) fn completed(&mut self, now: Instant, state: &GroupState) -> Option<&Retention> {
        if !state.grace.is_zero() {
            self.may_take_over_from = now + state.grace;
        }
        self.parked_cursor = state.parked_cursor.clone();
        if state.needs_audit {
            self.audit.get_or_insert_with(AuditCursor::first);
        }
        let trims = self.trim <= now;
        if trims {
            self.trim = now + TRIM_EVERY;
        }
        trims.then_some(&self.retention)
    }

    pub(super) fn page_audited(&mut self, next: Option<AuditCursor>) {
        self.audit = next;
    }
}

/// The pause after failed requests.
#[derive(Default)]
pub(super) struct RequestPause {
    /// No request before this.
    until: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

impl RequestPause {
    /// May a request be sent?
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let over = self.until.is_none_or(|until| until <= now);
        if over {
            self.until = None;
        }
        over
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the pause.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// Is the next failure the first in a row?
    pub(super) fn is_first(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn failed(&mut self) {
        self.until = Some(Instant::now() + BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}

/// Whether a consumer fetches messages, and whether it leaves.
#[derive(Default)]
pub(super) struct Intake {
    closed: bool,
    /// The answer to give at the end, and since when the consumer leaves.
    leaving: Option<(Option<Answer>, Instant)>,
    /// Was the sender of commands dropped?
    abandoned: bool,
}

impl Intake {
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub(super) fn leaving_since(&self) -> Option<Instant> {
        self.leaving.as_ref().map(|(_, since)| *since)
    }

    /// The consumer fetches no more messages.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn leave(&mut self, answer: Answer) {
        self.closed = true;
        self.leaving = Some((Some(answer), Instant::now()));
    }

    /// The sender of commands was dropped: the consumer leaves.
    pub(super) fn abandon(&mut self) {
        (self.closed, self.abandoned) = (true, true);
        self.leaving.get_or_insert((None, Instant::now()));
    }

    /// The answer to give when the consumer has left.
    pub(super) fn left(self) -> Option<Answer> {
        self.leaving.and_then(|(answer, _)| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_completes_the_settlements_that_were_sent_and_no_later_ones() {
        let settlement = |action| Settlement { id: Bytes::new(), key: Some(Bytes::new()), noted: false, action };
        let mut list = Settlements::default();
        list.list_mut().push(settlement(Action::Acknowledge));
        list.sent(1);
        list.list_mut().push(settlement(Action::Return(0)));
        list.doubts(Doubt::Server);
        list.doubts(Doubt::Answer);
        assert!(list.doubt() == Doubt::Server, "the greater doubt wins");
        list.answered();
        assert!(list.all() == [settlement(Action::Return(0))] && list.doubt() == Doubt::None);
        list.answered();
        assert!(!list.is_done(), "the settlement was not sent");
        list.list_mut().push(settlement(Action::Acknowledge));
        list.lose();
        assert!(list.all() == [Settlement { key: None, ..settlement(Action::Acknowledge) }]);
    }

    #[test]
    fn a_consumer_polls_when_a_message_is_due_or_was_published_since_the_last_poll() {
        let now = Instant::now();
        let mut reading = Reading::default();
        assert!(reading.may_take(now));
        reading.sent();
        reading.answered(false, true);
        assert!(!reading.may_take(now) && !reading.counts_unread());
        reading.sent();
        reading.wake();
        reading.answered(false, true);
        assert!(reading.may_take(now) && reading.counts_unread(), "the wake-up came after the poll was sent");
        reading.sent();
        reading.due_in(now, Some(Duration::ZERO));
        assert!(!reading.may_take(now));
        assert!(reading.next().is_some_and(|due| reading.may_take(due)));
        assert_eq!(reading.next(), None);
    }

    #[test]
    fn the_pause_grows_with_each_failure_until_a_request_succeeds() {
        let mut pause = RequestPause::default();
        assert!(pause.is_first() && pause.is_over(Instant::now()));
        pause.failed();
        assert!(!pause.is_first());
        let until = pause.until().expect("a pause");
        assert!(pause.is_over(until) && pause.until().is_none());
        pause.failed();
        pause.end();
        assert!(pause.is_over(Instant::now()));
        pause.succeeded();
        assert!(pause.is_first());
    }

    #[test]
    fn an_abandoned_consumer_leaves_and_fetches_nothing() {
        let mut intake = Intake::default();
        assert!(!intake.is_closed() && intake.leaving_since().is_none());
        intake.abandon();
        assert!(intake.is_closed() && intake.is_abandoned());
        let since = intake.leaving_since();
        assert!(since.is_some());
        intake.abandon();
        assert_eq!(intake.leaving_since(), since);
    }
}
