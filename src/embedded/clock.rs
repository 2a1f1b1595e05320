//! The time an engine lives in: the wall clock at its start, driven by the monotonic clock, plus what a test added.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds and microseconds since the Unix epoch. Goes back only where a test sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    epoch: Duration,
    added: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), epoch, added: Duration::ZERO }
    }
}

impl Clock {
    fn now(&self) -> Duration {
        self.epoch + self.started.elapsed() + self.added
    }

    pub(super) fn millis(&self) -> i64 {
        self.micros() / 1000
    }

    /// Read for every command, so without the 128 bits of `Duration::as_micros`. What tests add keeps it far from
    /// overflowing (`advance`).
    pub(super) fn micros(&self) -> i64 {
        let now = self.now();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        seconds.saturating_mul(1_000_000).saturating_add(i64::from(now.subsec_micros()))
    }

    /// Moves the clock by `by_ms`, forward or back; not before 1970.
    pub(super) fn set(&mut self, by_ms: i64) {
        let by = Duration::from_millis(by_ms.unsigned_abs());
        self.epoch = if by_ms < 0 { self.epoch.saturating_sub(by) } else { self.epoch.saturating_add(by) };
    }

    /// Moves every deadline of the engine nearer by `by`. Stops short of overflowing.
    pub(super) fn advance(&mut self, by: Duration) {
        self.added = self.added.checked_add(by).filter(|d| d.as_secs() < 1 << 40).unwrap_or(self.added);
    }
}
