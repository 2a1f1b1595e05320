//! How many messages a consumer fetches ahead of its handlers: as many as they finish in [`AHEAD_MS`].
//!
//! Quick handlers get large batches, which are cheap per message. Slow handlers hold back no message from other consumers.

use std::time::Instant;

const AHEAD_MS: f64 = 25.0;
const MOST: usize = 512;
/// The weight of the last measurement.
const WEIGHT: f64 = 0.3;
/// Bytes to fetch at once, roughly.
const BYTES: f64 = 4.0 * 1024.0 * 1024.0;

#[derive(Debug)]
pub(super) struct Pace {
    /// Messages finished per millisecond.
    rate: f64,
    /// Average bytes of a message.
    size: f64,
    finished: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { rate: 0.0, size: 0.0, finished: 0, since: now }
    }

    /// Handlers have finished `count` messages.
    pub(super) fn finished(&mut self, count: usize) {
        self.finished = self.finished.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A message of `bytes` bytes has arrived.
    pub(super) fn came(&mut self, bytes: usize) {
        let size = bytes as f64;
        self.size += (size - self.size) * if size > self.size { 0.5 } else { 0.05 };
    }

    /// Updates the rate, if any handler has finished.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.finished == 0 {
            return;
        }
        let ms = now.saturating_duration_since(self.since).as_secs_f64().max(1e-6) * 1e3;
        self.rate += (f64::from(self.finished) / ms - self.rate) * WEIGHT;
        self.finished = 0;
        self.since = now;
    }

    /// The consumer had no messages until now.
    pub(super) fn idle_until(&mut self, now: Instant) {
        self.since = now;
    }

    /// Messages to fetch beyond those that can run.
    pub(super) fn ahead(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let ahead = (self.rate * AHEAD_MS) as usize;
        ahead.min(MOST).min(self.at_once())
    }

    /// Messages to fetch at once.
    pub(super) fn at_once(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let by_size = (BYTES / self.size.max(1.0)) as usize;
        by_size.clamp(1, 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn nothing_is_held_back_for_slow_handlers_and_much_for_quick_ones() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for second in 1..20 {
            pace.finished(1);
            pace.measure(begin + Duration::from_secs(second));
        }
        assert_eq!(pace.ahead(), 0);
        let mut pace = Pace::new(begin);
        for ms in 1..20 {
            pace.finished(100);
            pace.measure(begin + Duration::from_millis(ms));
        }
        assert_eq!(pace.ahead(), MOST);
    }

    #[test]
    fn large_messages_are_taken_a_few_at_a_time() {
        let mut pace = Pace::new(Instant::now());
        assert_eq!(pace.at_once(), 1000);
        for _ in 0..20 {
            pace.came(1024 * 1024);
        }
        assert_eq!(pace.at_once(), 4);
        for _ in 0..20 {
            pace.came(100 * 1024 * 1024);
        }
        assert_eq!(pace.at_once(), 1);
    }
}
