//! The clock of an engine: the wall clock at its start, advanced by the monotonic clock, plus the time that tests added.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds and microseconds since the Unix epoch. The clock goes back only if a test sets it back.
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

    /// This runs for every command, so it avoids the 128-bit arithmetic of `Duration::as_micros`. It cannot overflow: `advance`
    /// limits the time that tests add.
    pub(super) fn micros(&self) -> i64 {
        let now = self.now();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        seconds.saturating_mul(1_000_000).saturating_add(i64::from(now.subsec_micros()))
    }

    /// Moves the clock by `by_ms`, forward or back, but not before 1970.
    pub(super) fn set(&mut self, by_ms: i64) {
        let by = Duration::from_millis(by_ms.unsigned_abs());
        self.epoch = if by_ms < 0 { self.epoch.saturating_sub(by) } else { self.epoch.saturating_add(by) };
    }

    /// Moves the clock forward by `by`, up to a limit that prevents overflows.
    pub(super) fn advance(&mut self, by: Duration) {
        self.added = self.added.checked_add(by).filter(|d| d.as_secs() < 1 << 40).unwrap_or(self.added);
    }
}
