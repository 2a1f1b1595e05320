//! When to ask for the topology next.
//!
//! While all is well: once in a period that the caller chooses. While a connection is missing: every 50 to 100 ms for half a minute,
//! then ten times as seldom. After a request: once, soon. All times are jittered, so that many processes do not ask at the same moment.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::known::{Topology, Trouble};

/// The least time between two questions. While a connection is missing, the mean time is one and a half times as long.
const QUICK: Duration = Duration::from_millis(50);
/// How long a connection may be missing before the questions become ten times as seldom.
const PATIENCE: Duration = Duration::from_secs(30);

/// The times of one asker.
pub(super) struct Pace {
    trouble: watch::Receiver<Trouble>,
    /// The mean time between two questions while all is well.
    calm: Duration,
    /// The number of askers that share the work. While a connection is missing, each asks this many times more seldom.
    askers: u32,
    last: Instant,
    jitter: f64,
    refresh_requests: u64,
    missing_since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(topology: &Topology, calm: Duration, askers: u32) -> Self {
        let trouble = topology.trouble();
        let refresh_requests = trouble.borrow().refresh_requests;
        let (last, jitter) = (Instant::now(), fastrand::f64());
        Self { trouble, calm, askers, last, jitter, refresh_requests, missing_since: None }
    }

    /// Ends when it is time to ask. An early drop of the future changes nothing.
    pub(super) async fn next(&mut self) {
        loop {
            let trouble = *self.trouble.borrow_and_update();
            let at = self.due(trouble, Instant::now());
            tokio::select! {
                () = sleep_until(at.into()) => return self.asked(),
                changed = self.trouble.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    /// Records that the topology was asked for now.
    pub(super) fn asked(&mut self) {
        self.last = Instant::now();
        self.jitter = fastrand::f64();
        self.refresh_requests = self.trouble.borrow().refresh_requests;
    }

    fn due(&mut self, trouble: Trouble, now: Instant) -> Instant {
        let mut wait = self.calm.mul_f64(0.75 + self.jitter / 2.0);
        if trouble.missing == 0 {
            self.missing_since = None;
        } else {
            let since = *self.missing_since.get_or_insert(now);
            let seldom = if now.duration_since(since) < PATIENCE { 1 } else { 10 };
            wait = wait.min(QUICK.mul_f64(1.0 + self.jitter) * seldom * self.askers);
        }
        if trouble.refresh_requests != self.refresh_requests {
            wait = wait.min(QUICK.mul_f64(1.0 + self.jitter));
        }
        self.last + wait
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CALM: Duration = Duration::from_secs(4);

    fn wait(pace: &mut Pace, trouble: Trouble, now: Instant) -> Duration {
        pace.due(trouble, now).duration_since(pace.last)
    }

    #[test]
    fn questions_are_frequent_while_a_connection_is_missing_but_not_forever() {
        let topology = Topology::new(Arc::default());
        let mut pace = Pace::new(&topology, CALM, 1);
        let now = pace.last;
        let (well, ill) = (Trouble::default(), Trouble { missing: 1, refresh_requests: 0 });
        assert!(wait(&mut pace, well, now) >= CALM.mul_f64(0.75));
        assert!(wait(&mut pace, ill, now) <= QUICK * 2);
        assert!(wait(&mut pace, ill, now + PATIENCE) >= QUICK * 10);
        assert!(wait(&mut pace, well, now + PATIENCE) >= CALM.mul_f64(0.75));
        assert!(wait(&mut pace, ill, now + PATIENCE * 2) <= QUICK * 2);
        assert!(wait(&mut pace, Trouble { missing: 0, refresh_requests: 1 }, now) <= QUICK * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_is_one_question() {
        let topology = Topology::new(Arc::default());
        let mut pace = Pace::new(&topology, CALM, 1);
        topology.request_refresh();
        pace.next().await;
        assert_eq!(pace.refresh_requests, 1);
        let trouble = *topology.trouble().borrow();
        let last = pace.last;
        assert!(wait(&mut pace, trouble, last) >= CALM.mul_f64(0.75));
    }
}
