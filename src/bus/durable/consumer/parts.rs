//! The parts of what a consumer knows: its place in the group, what it has to tell, when it asks, and whether it takes anything.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::hands::{Settlement, What};
use super::super::publish::Retention;
use super::super::turn::{Doubt, Place, State};
use super::{LOOK_EVERY, TRIM_EVERY};
use crate::backoff::Backoff;
use crate::crossing::Answer;

/// After a question that failed.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_secs(2) };

/// What a consumer is to its group.
pub(super) struct Membership {
    /// Unlike that of any other consumer, and of itself before it was lost.
    name: String,
    /// The id after which its group began.
    start: Bytes,
    /// Not one of it any more; it is to join again, by another name.
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

    /// Takes the name by which it joins again.
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

/// What the server must be told.
pub(super) struct Telling {
    /// In order; the first `asked` of it with the question that is on its way.
    settlements: Vec<Settlement>,
    asked: usize,
    /// May the consumer have been given more than it knows of?
    doubt: Doubt,
}

impl Default for Telling {
    fn default() -> Self {
        Self { settlements: Vec::new(), asked: 0, doubt: Doubt::None }
    }
}

impl Telling {
    pub(super) fn is_done(&self) -> bool {
        self.settlements.is_empty() && self.doubt == Doubt::None
    }

    pub(super) fn doubt(&self) -> Doubt {
        self.doubt
    }

    pub(super) fn settlements(&self) -> &[Settlement] {
        &self.settlements
    }

    /// To add to it: what is there stays where it is.
    pub(super) fn list(&mut self) -> &mut Vec<Settlement> {
        &mut self.settlements
    }

    /// A question tells the first `asked`.
    pub(super) fn sent(&mut self, asked: usize) {
        self.asked = asked;
    }

    /// The question was answered: what it told is known, and what was given too.
    pub(super) fn answered(&mut self) {
        self.settlements.drain(..self.asked);
        self.asked = 0;
        self.doubt = Doubt::None;
    }

    pub(super) fn doubts(&mut self, doubt: Doubt) {
        self.doubt = self.doubt.max(doubt);
    }

    /// It is not one of the group any more. Handled is handled, whoever has it now; everything else is up to others.
    pub(super) fn lose(&mut self) {
        self.settlements.retain(|settlement| settlement.what == What::Acknowledge);
        self.settlements.iter_mut().for_each(|settlement| settlement.key = None);
        self.asked = 0;
        self.doubt = Doubt::None;
    }
}

/// Whether there may be something to take.
pub(super) struct Reading {
    /// May there be something to take?
    look: bool,
    /// May there be what nobody of the group has read?
    behind: bool,
    /// When something is due.
    due: Option<Instant>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { look: true, behind: true, due: None }
    }
}

impl Reading {
    /// There may be something.
    pub(super) fn look(&mut self) {
        self.look = true;
    }

    /// Is it worth the server's while to count what the group has not read?
    pub(super) fn counts(&self) -> bool {
        self.behind || self.look
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// May there be something to take now?
    pub(super) fn may_take(&mut self, now: Instant) -> bool {
        if self.due.take_if(|due| *due <= now).is_some() {
            self.look = true;
        }
        self.look
    }

    /// A question takes what there is: that there was nothing is known only until something is published.
    pub(super) fn sent(&mut self) {
        self.look = false;
    }

    /// The question was answered: is more there, and has the group read all that there is?
    pub(super) fn answered(&mut self, more: bool, all_read: bool) {
        // What it was woken for since may have come after that.
        self.behind = !all_read || self.look;
        self.look |= more;
    }

    pub(super) fn due_in(&mut self, now: Instant, due_in: Option<Duration>) {
        self.due = due_in.map(|ms| now + ms.max(Duration::from_millis(1)));
    }

    pub(super) fn lose(&mut self) {
        self.behind = true;
    }
}

/// What a consumer does for its group: it keeps its lease, looks after others, audits, trims.
pub(super) struct Upkeep {
    retention: Retention,
    tend: Instant,
    /// From when on it may take over from others.
    judges_from: Instant,
    /// Where its look at what is parked goes on.
    looked: Bytes,
    /// Where the audit goes on that it makes of the group.
    audit: Option<Place>,
    trim: Instant,
}

impl Upkeep {
    pub(super) fn new(retention: Retention, now: Instant) -> Self {
        let looked = Bytes::from_static(b"0");
        Self { retention, tend: now, judges_from: now, looked, audit: None, trim: now + TRIM_EVERY }
    }

    pub(super) fn next(&self) -> Instant {
        self.tend
    }

    pub(super) fn judges(&self, now: Instant) -> bool {
        self.judges_from <= now
    }

    pub(super) fn looked(&self) -> &Bytes {
        &self.looked
    }

    pub(super) fn audit(&self) -> Option<&Place> {
        self.audit.as_ref()
    }

    /// Tends as soon as it may ask.
    pub(super) fn tend_soon(&mut self) {
        self.tend = Instant::now();
    }

    /// A question tends; the next does when a part of the lease is over.
    pub(super) fn tends(&mut self, now: Instant, lease: Duration) {
        self.tend = now + LOOK_EVERY.min(lease / 3);
    }

    /// Takes in what tending gave. The retention, where it is time to trim.
    pub(super) fn tended(&mut self, now: Instant, state: &State) -> Option<&Retention> {
        if !state.lenient.is_zero() {
            self.judges_from = now + state.lenient;
        }
        self.looked = state.goes_on.clone();
        if state.amiss {
            self.audit.get_or_insert_with(Place::first);
        }
        let trims = self.trim <= now;
        if trims {
            self.trim = now + TRIM_EVERY;
        }
        trims.then_some(&self.retention)
    }

    pub(super) fn audited(&mut self, next: Option<Place>) {
        self.audit = next;
    }
}

/// The time after questions that failed.
#[derive(Default)]
pub(super) struct Rest {
    /// Not to ask before.
    until: Option<Instant>,
    /// In a row.
    failures: u32,
}

impl Rest {
    /// May something be asked?
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

    /// Asks at once, whatever failed.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    /// Is it the first failure in a row?
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

/// Whether a consumer takes messages, and whether it leaves.
#[derive(Default)]
pub(super) struct Intake {
    closed: bool,
    /// Since when, and who is told at the end.
    leaving: Option<(Option<Answer>, Instant)>,
    /// Nobody will ask any more.
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

    /// Takes nothing more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn leave(&mut self, answer: Answer) {
        self.closed = true;
        self.leaving = Some((Some(answer), Instant::now()));
    }

    /// Nobody will ask any more; it leaves unless it does so already.
    pub(super) fn abandon(&mut self) {
        (self.closed, self.abandoned) = (true, true);
        self.leaving.get_or_insert((None, Instant::now()));
    }

    /// Who is told that it has left.
    pub(super) fn left(self) -> Option<Answer> {
        self.leaving.and_then(|(answer, _)| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_question_told_is_told_and_what_came_since_is_not() {
        let settlement = |what| Settlement { id: Bytes::new(), key: Some(Bytes::new()), noted: false, what };
        let mut telling = Telling::default();
        telling.list().push(settlement(What::Acknowledge));
        telling.sent(1);
        telling.list().push(settlement(What::Return(0)));
        telling.doubts(Doubt::Server);
        telling.doubts(Doubt::Answer);
        assert!(telling.doubt() == Doubt::Server, "the greater doubt stays");
        telling.answered();
        assert!(telling.settlements() == [settlement(What::Return(0))] && telling.doubt() == Doubt::None);
        telling.answered();
        assert!(!telling.is_done(), "the next answer is not to what was not asked");
        telling.list().push(settlement(What::Acknowledge));
        telling.lose();
        assert!(telling.settlements() == [Settlement { key: None, ..settlement(What::Acknowledge) }]);
    }

    #[test]
    fn it_looks_where_something_is_due_or_was_published_since_it_asked() {
        let now = Instant::now();
        let mut reading = Reading::default();
        assert!(reading.may_take(now));
        reading.sent();
        reading.answered(false, true);
        assert!(!reading.may_take(now) && !reading.counts());
        reading.sent();
        reading.look();
        reading.answered(false, true);
        assert!(reading.may_take(now) && reading.counts(), "it was woken meanwhile");
        reading.sent();
        reading.due_in(now, Some(Duration::ZERO));
        assert!(!reading.may_take(now));
        assert!(reading.next().is_some_and(|due| reading.may_take(due)));
        assert_eq!(reading.next(), None);
    }

    #[test]
    fn after_failures_it_rests_longer_each_time_until_one_question_succeeds() {
        let mut rest = Rest::default();
        assert!(rest.is_first() && rest.is_over(Instant::now()));
        rest.failed();
        assert!(!rest.is_first());
        let until = rest.until().expect("it rests");
        assert!(rest.is_over(until) && rest.until().is_none());
        rest.failed();
        rest.end();
        assert!(rest.is_over(Instant::now()));
        rest.succeeded();
        assert!(rest.is_first());
    }

    #[test]
    fn who_is_abandoned_leaves_and_takes_nothing() {
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
