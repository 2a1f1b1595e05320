//! May this process judge others? One that was cut off from the server, or stood still, for longer than half of an owner's lease
//! cannot tell the owner's silence from its own: for a lease it takes nothing from that owner.

use std::time::{Duration, Instant};

use crate::lease::millis;
use crate::sync::Mutex;

/// The longest time that this process was cut off lately, and its end.
#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<Option<(Duration, Instant)>>);

impl Sight {
    /// Nothing could be heard for `gap`, until now.
    pub(super) fn was_cut_off(&self, gap: Duration) {
        self.was_cut_off_at(gap, Instant::now());
    }

    fn was_cut_off_at(&self, gap: Duration, now: Instant) {
        let mut last = self.0.lock();
        // A short gap soon after a long one does not make that forgotten; one that is longer ago than it was long does not count.
        let longest = match *last {
            Some((before, ended)) if now.duration_since(ended) < before * 2 => before.max(gap),
            _ => gap,
        };
        *last = Some((longest, now));
    }

    /// Something that takes no time took so long. A few seconds are nothing: any machine is busy for as long.
    pub(super) fn was_cut_off_for(&self, time: Duration) {
        /// Half of the shortest lease is shorter than what a busy machine takes; such owners are judged by the server's clock alone.
        const LEAST: Duration = Duration::from_secs(1);
        if time > LEAST {
            self.was_cut_off(time);
        }
    }

    /// For how many ms it was cut off, and since when it is not.
    pub(super) fn told(&self) -> (u64, u64) {
        match *self.0.lock() {
            Some((gap, ended)) => (millis(gap), u64::try_from(ended.elapsed().as_millis()).unwrap_or(u64::MAX)),
            None => (0, 0),
        }
    }

    /// May it take something from an owner whose lease is so many ms long?
    pub(super) fn judges(&self, lease: u64) -> bool {
        let (gap, back) = self.told();
        gap <= lease / 2 || back >= lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_cut_off_for_half_a_lease_does_not_judge_for_a_lease() {
        let sight = Sight::default();
        assert!(sight.judges(1));
        sight.was_cut_off(Duration::from_secs(10));
        assert!(!sight.judges(19_000) && sight.judges(20_000));
    }

    #[test]
    fn a_short_gap_does_not_make_a_long_one_forgotten_until_that_is_long_ago() {
        let sight = Sight::default();
        let now = Instant::now();
        sight.was_cut_off_at(Duration::from_secs(10), now);
        sight.was_cut_off_at(Duration::from_millis(1), now + Duration::from_secs(5));
        assert_eq!(sight.told().0, 10_000);
        sight.was_cut_off_at(Duration::from_millis(1), now + Duration::from_mins(1));
        assert_eq!(sight.told().0, 1);
    }
}
