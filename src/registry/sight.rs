//! May this process judge others? One that was cut off from the server itself, or stood still, cannot tell their silence
//! from its own: for a full lease it declares nobody late or crashed. And a judgement is good for half a lease of the server's
//! time: a call that reaches the server later, because that stood still, judges nobody (`STALE`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// The server's time in milliseconds, and when that was heard.
    heard: Option<(f64, Instant)>,
}

/// Until when a judgement is good while the server's time is not known: for ever.
const FOR_EVER: u64 = 9_999_999_999_999;

impl Sight {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn judges(&self) -> bool {
        let inner = self.lock();
        let heard = inner.unanswered_since.is_none_or(|since| since.elapsed() <= self.lease / 2);
        heard && inner.blind_until.is_none_or(|until| until <= Instant::now())
    }

    /// Until when a call that is sent now may judge, in 13 digits: milliseconds of the server's time; 0 is not at all.
    pub(super) fn judges_until(&self) -> String {
        if !self.judges() {
            return format!("{:013}", 0);
        }
        let until = self.lock().heard.map_or(FOR_EVER, |(ms, at)| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times since 1970")]
            let until = (ms + (at.elapsed() + self.lease / 2).as_secs_f64() * 1e3) as u64;
            until
        });
        format!("{:013}", until.min(FOR_EVER))
    }

    /// The server's time, just heard.
    pub(super) fn heard(&self, ms: f64) {
        self.lock().heard = Some((ms, Instant::now()));
    }

    /// A call is sent.
    pub(super) fn asks(&self) {
        self.lock().unanswered_since.get_or_insert_with(Instant::now);
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        let since = self.lock().unanswered_since.take();
        if let Some(since) = since {
            self.stood_still(since.elapsed());
        }
    }

    /// For `time` nothing could be heard here. Half a lease of it is enough to explain that another one's is over.
    pub(super) fn stood_still(&self, time: Duration) {
        if time > self.lease / 2 {
            self.lock().blind_until = Some(Instant::now() + self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_answered_for_half_a_lease_does_not_judge_then_nor_for_a_lease_afterwards() {
        let sight = Sight::new(Duration::from_millis(40));
        sight.asks();
        assert!(sight.judges());
        sight.answered();
        assert!(sight.judges());
        sight.asks();
        std::thread::sleep(Duration::from_millis(25));
        assert!(!sight.judges());
        assert_eq!(sight.judges_until(), "0000000000000");
        sight.answered();
        assert!(!sight.judges());
        std::thread::sleep(Duration::from_millis(45));
        assert!(sight.judges());
    }

    #[test]
    fn a_judgement_is_good_for_half_a_lease_of_the_servers_time() {
        let sight = Sight::new(Duration::from_secs(10));
        assert_eq!(sight.judges_until(), "9999999999999");
        sight.heard(1_763_721_000_000.0);
        let until: u64 = sight.judges_until().parse().unwrap();
        assert!((1_763_721_005_000..1_763_721_006_000).contains(&until), "{until}");
    }
}
