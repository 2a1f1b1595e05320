//! May this process judge others? One that was cut off from the server itself, or stood still, cannot tell their silence
//! from its own: for a full lease it declares nobody late or crashed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Sight {
    lease: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Since when nothing was answered.
    failing_since: Option<Instant>,
    blind_until: Option<Instant>,
}

impl Sight {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn judges(&self) -> bool {
        self.lock().blind_until.is_none_or(|until| until <= Instant::now())
    }

    /// A call that began at `began` was answered.
    pub(super) fn answered(&self, began: Instant) {
        let since = self.lock().failing_since.take().unwrap_or(began);
        self.stood_still(since.elapsed());
    }

    /// A call that began at `began` was not.
    pub(super) fn failed(&self, began: Instant) {
        self.lock().failing_since.get_or_insert(began);
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
    fn who_was_cut_off_for_half_a_lease_does_not_judge_for_one() {
        let sight = Sight::new(Duration::from_secs(10));
        let now = Instant::now();
        sight.answered(now);
        assert!(sight.judges());
        sight.failed(now.checked_sub(Duration::from_secs(4)).unwrap());
        sight.answered(now);
        assert!(sight.judges());
        sight.failed(now.checked_sub(Duration::from_secs(6)).unwrap());
        sight.failed(now);
        assert!(sight.judges(), "it has heard nothing yet that it could judge by");
        sight.answered(now);
        assert!(!sight.judges());
    }
}
