//! May this process judge others? One that was cut off from the server itself, or stood still, cannot tell their silence
//! from its own: for a full lease it declares nobody late or crashed. And a judgement is good for half a lease of the server's
//! time: a call that reaches the server later, because that stood still, judges nobody (`STALE`). One that did not take so long
//! by the clock here, which nobody sets, was refused because the server's clock was set forward. Then by that clock everybody is
//! late, and this process says so to the server with its next call: everyone has a full lease from then on.
//!
//! Nor does one judge that was at another server before (`ELSEWHERE`): for a full lease from when it comes to a new master, also where
//! that was master before and was not demoted since, so that it notices nothing itself.

use std::time::{Duration, Instant};

use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Sight {
    lease: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// When the first call was sent after the last answer.
    unanswered_since: Option<Instant>,
    blind_until: Option<Instant>,
    /// The server's time in milliseconds, when that was heard, and what tests had added to the server's clock by then.
    heard: Option<(f64, Instant, Duration)>,
    /// What the server that was asked last calls its mastership; nothing before the first answer.
    mastership: Option<String>,
}

/// The length of what a server calls its mastership: see `name_mastership` in `lua/part/sweep.lua`.
pub(super) const MASTERSHIP: usize = 40;
/// No server calls it so.
const NO_MASTERSHIP: &str = "----------------------------------------";

/// Until when a judgement is good while the server's time is not known: for ever.
const FOR_EVER: u64 = 9_999_999_999_999;
/// The caller was cut off.
const NOT_AT_ALL: &str = "0000000000000";
/// The server's clock was set forward.
const AHEAD: &str = "0000000000001";

impl Sight {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(super) fn judges(&self) -> bool {
        self.judges_at(Instant::now())
    }

    fn judges_at(&self, now: Instant) -> bool {
        let inner = self.lock();
        let heard = inner.unanswered_since.is_none_or(|since| now.duration_since(since) <= self.lease / 2);
        heard && inner.blind_until.is_none_or(|until| until <= now)
    }

    /// Until when a call that is sent now may judge, in 13 digits: milliseconds of the server's time; 0 is not at all. `added` is what
    /// tests have added to the server's clock: time that passed here too.
    pub(super) fn judges_until(&self, added: Duration) -> String {
        if !self.judges() {
            return NOT_AT_ALL.to_owned();
        }
        let until = self.lock().heard.map_or(FOR_EVER, |(ms, at, then)| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times since 1970")]
            let until = (ms + (at.elapsed() + added.saturating_sub(then) + self.lease / 2).as_secs_f64() * 1e3) as u64;
            until
        });
        format!("{:013}", until.min(FOR_EVER))
    }

    /// The server's time, just heard.
    pub(super) fn heard(&self, ms: f64, added: Duration) {
        self.lock().heard = Some((ms, Instant::now(), added));
    }

    /// A call that took so long was refused as stale. Gives what it says when it is made again, as [`Sight::judges_until`] does.
    pub(super) fn refused(&self, took: Duration) -> &'static str {
        self.stood_still(took);
        if took > self.lease / 2 { NOT_AT_ALL } else { AHEAD }
    }

    /// What the server that was asked last calls its mastership.
    pub(super) fn mastership(&self) -> String {
        self.lock().mastership.clone().unwrap_or_else(|| NO_MASTERSHIP.to_owned())
    }

    /// A call was refused because it came to another server than the ones before. Gives until when it may judge when it is made
    /// again: where it was the first of all, as it did.
    pub(super) fn moved(&self, mastership: &str) -> Option<&'static str> {
        let before = self.lock().mastership.replace(mastership.to_owned());
        if before.is_some_and(|before| before != mastership) {
            self.lock().blind_until = Some(Instant::now() + self.lease);
        }
        (!self.judges()).then_some(NOT_AT_ALL)
    }

    /// A call is sent.
    pub(super) fn asks(&self) {
        self.asks_at(Instant::now());
    }

    fn asks_at(&self, now: Instant) {
        self.lock().unanswered_since.get_or_insert(now);
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.answered_at(Instant::now());
    }

    fn answered_at(&self, now: Instant) {
        let since = self.lock().unanswered_since.take();
        if let Some(since) = since {
            self.stood_still_until(now, now.duration_since(since));
        }
    }

    /// For `time` nothing could be heard here. Half a lease of it is enough to explain that another one's is over.
    pub(super) fn stood_still(&self, time: Duration) {
        self.stood_still_until(Instant::now(), time);
    }

    fn stood_still_until(&self, now: Instant, time: Duration) {
        if time > self.lease / 2 {
            self.lock().blind_until = Some(now + self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_answered_for_half_a_lease_does_not_judge_then_nor_for_a_lease_afterwards() {
        let sight = Sight::new(Duration::from_secs(10));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        sight.asks_at(begin);
        assert!(sight.judges_at(after(5)));
        sight.answered_at(after(5));
        assert!(sight.judges_at(after(5)));
        sight.asks_at(after(10));
        sight.asks_at(after(15));
        assert!(!sight.judges_at(after(16)), "the first of them is not answered for six seconds");
        sight.answered_at(after(16));
        assert!(!sight.judges_at(after(25)));
        assert!(sight.judges_at(after(26)));
    }

    #[test]
    fn who_is_refused_at_once_says_that_the_servers_clock_was_set_forward_and_who_waited_does_not_judge() {
        let sight = Sight::new(Duration::from_secs(10));
        assert_eq!(sight.refused(Duration::from_secs(1)), AHEAD);
        assert!(sight.judges());
        assert_eq!(sight.refused(Duration::from_secs(6)), NOT_AT_ALL);
        assert!(!sight.judges());
    }

    #[test]
    fn who_comes_to_another_server_does_not_judge_for_a_lease_and_who_comes_to_the_first_does() {
        let sight = Sight::new(Duration::from_secs(10));
        let (here, there) = ("a".repeat(MASTERSHIP), "b".repeat(MASTERSHIP));
        assert_eq!(sight.mastership().len(), MASTERSHIP);
        assert_eq!(sight.moved(&here), None);
        assert_eq!((sight.mastership(), sight.judges()), (here.clone(), true));
        assert_eq!(sight.moved(&here), None, "another call that was sent before the first answer");
        assert_eq!(sight.moved(&there), Some(NOT_AT_ALL));
        assert_eq!(sight.moved(&there), Some(NOT_AT_ALL), "another call that was sent before");
        assert!(!sight.judges());
    }

    #[test]
    fn a_judgement_is_good_for_half_a_lease_of_the_servers_time() {
        let sight = Sight::new(Duration::from_secs(10));
        assert_eq!(sight.judges_until(Duration::ZERO), "9999999999999");
        sight.heard(1_763_721_000_000.0, Duration::from_secs(5));
        let until = |added| sight.judges_until(Duration::from_secs(added)).parse::<u64>().unwrap();
        assert!((1_763_721_005_000..1_763_721_006_000).contains(&until(5)));
        assert!((1_763_721_008_000..1_763_721_009_000).contains(&until(8)));
    }
}
