//! Exponential backoff with full jitter.
//!
//! Source: Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the "full jitter" variant:
//! the delay of attempt *n* is uniform in `[min, min(max, min · 2ⁿ)]`. So clients that lose the same server at once come back spread over
//! the whole span.

use std::time::Duration;

/// The delays of one series of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The least delay.
    pub min: Duration,
    /// The longest delay.
    pub max: Duration,
}

impl Backoff {
    /// The delay before attempt number `attempt` (0 is the first).
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Duration {
        let cap = self.cap(attempt);
        let span = cap.saturating_sub(self.min);
        self.min + span.mul_f64(fastrand::f64())
    }

    /// The longest delay [`Backoff::delay`] can give for `attempt`.
    #[must_use]
    pub fn cap(&self, attempt: u32) -> Duration {
        // The first delay is already spread, up to twice the minimum. The minimum alone would be no jitter.
        let factor = 2u32.saturating_pow(attempt.saturating_add(1).min(30));
        self.min.saturating_mul(factor).clamp(self.min, self.max.max(self.min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_stays_between_minimum_and_cap(min in 0u64..5_000, extra in 0u64..60_000, attempt in 0u32..u32::MAX) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(min + extra) };
            let delay = backoff.delay(attempt);
            prop_assert!(delay >= backoff.min);
            prop_assert!(delay <= backoff.cap(attempt));
            prop_assert!(backoff.cap(attempt) <= backoff.max);
        }
    }

    #[test]
    fn a_thousand_clients_spread_over_the_span() {
        let backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };
        let mut tenths = [0u32; 10];
        for _ in 0..1_000 {
            let part = backoff.delay(10).as_secs_f64() / 2.0;
            let tenth = (0..9).find(|tenth| part * 10.0 < f64::from(tenth + 1)).unwrap_or(9);
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (40..200).contains(n)), "{tenths:?}");
    }
}
