//! Whether this process may take over threads from their owners.
//!
//! A process that was cut off from the server, or stood still, cannot tell an owner's silence from its own. If that lasted longer
//! than half of an owner's lease, the process takes nothing from that owner for a full lease.

use std::time::{Duration, Instant};

use crate::lease::millis;
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(super) struct Authority(Mutex<Gaps>);

/// The times for which this process was cut off.
#[derive(Debug, Default)]
struct Gaps {
    /// The longest one lately, and its end.
    last: Option<(Duration, Instant)>,
    /// Since when no call is answered.
    silent_since: Option<Instant>,
}

impl Authority {
    /// No message could reach this process for `gap`, until now.
    pub(super) fn was_cut_off(&self, gap: Duration) {
        self.was_cut_off_at(gap, Instant::now());
    }

    fn was_cut_off_at(&self, gap: Duration, now: Instant) {
        let mut gaps = self.0.lock();
        // A short gap soon after a long one does not make that forgotten. A gap counts for twice as long as it was.
        let longest = match gaps.last {
            Some((before, ended)) if now.duration_since(ended) < before * 2 => before.max(gap),
            _ => gap,
        };
        gaps.last = Some((longest, now));
    }

    /// A step that takes no time took so long. A few seconds are nothing: any machine is busy for as long.
    pub(super) fn was_cut_off_for(&self, time: Duration) {
        /// Half of the shortest lease is shorter than what a busy machine takes; such owners are judged by the server's clock alone.
        const LEAST: Duration = Duration::from_secs(1);
        if time > LEAST {
            self.was_cut_off(time);
        }
    }

    /// A call that was made at `asked` failed, because the server did not answer or could not serve it.
    pub(super) fn was_refused(&self, asked: Instant) {
        self.0.lock().silent_since.get_or_insert(asked);
    }

    /// A call that was made at `asked` was answered.
    pub(super) fn was_answered(&self, asked: Instant) {
        let since = self.0.lock().silent_since.take();
        self.was_cut_off_for(since.unwrap_or(asked).elapsed());
    }

    /// For how many ms the process was cut off, and since when it is not.
    pub(super) fn last_gap(&self) -> (u64, u64) {
        let gaps = self.0.lock();
        match (gaps.silent_since, gaps.last) {
            (Some(since), _) => (millis(since.elapsed()), 0),
            (None, Some((gap, ended))) => (millis(gap), u64::try_from(ended.elapsed().as_millis()).unwrap_or(u64::MAX)),
            (None, None) => (0, 0),
        }
    }

    /// Whether the process may take threads from an owner whose lease is `lease` ms long.
    pub(super) fn may_take_over(&self, lease: u64) -> bool {
        let (gap, back) = self.last_gap();
        gap <= lease / 2 || back >= lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_cut_off_for_half_a_lease_takes_nothing_for_a_lease() {
        let authority = Authority::default();
        assert!(authority.may_take_over(1));
        authority.was_cut_off(Duration::from_secs(10));
        assert!(!authority.may_take_over(19_000) && authority.may_take_over(20_000));
    }

    #[test]
    fn a_short_gap_does_not_make_a_long_one_forgotten_until_that_is_long_ago() {
        let authority = Authority::default();
        let now = Instant::now();
        authority.was_cut_off_at(Duration::from_secs(10), now);
        authority.was_cut_off_at(Duration::from_millis(1), now + Duration::from_secs(5));
        assert_eq!(authority.last_gap().0, 10_000);
        authority.was_cut_off_at(Duration::from_millis(1), now + Duration::from_mins(1));
        assert_eq!(authority.last_gap().0, 1);
    }

    #[test]
    fn a_process_without_answers_takes_nothing_and_nothing_for_a_lease_after_the_first() {
        let authority = Authority::default();
        let asked = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        authority.was_refused(asked);
        authority.was_refused(Instant::now());
        assert!(!authority.may_take_over(19_000));
        assert_eq!(authority.last_gap().1, 0);
        authority.was_answered(Instant::now());
        assert!(!authority.may_take_over(19_000) && authority.may_take_over(21_000));
        assert!(authority.last_gap().0 >= 10_000);
    }
}
