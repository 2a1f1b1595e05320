//! Steps of a worker: whether one is on its way, and whether there may be jobs to claim.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Idle,
    /// A step is on its way, or the question what this worker holds.
    Sent {
        /// A wake-up has come since. It may have overtaken the answer.
        woken: bool,
    },
}

#[derive(Debug)]
pub(in crate::queue::worker) struct Claiming {
    /// Counts claims: no lease is named twice.
    claims: u64,
    request: Request,
    /// A step failed and may have been executed, or the server holds another number of jobs for this worker than are in flight: what
    /// the worker holds is to be asked before anything else.
    unsure: bool,
    /// By how many jobs the server and this worker differed after it was asked last.
    difference: i64,
    /// Failures in a row.
    failures: u32,
    retry_at: Option<Instant>,
    /// May jobs wait, as far as is known?
    wants_jobs: bool,
    /// Does the server believe that this worker waits for jobs?
    idle: bool,
}

impl Default for Claiming {
    fn default() -> Self {
        Self {
            claims: 0,
            request: Request::Idle,
            unsure: false,
            difference: 0,
            failures: 0,
            retry_at: None,
            wants_jobs: true,
            idle: false,
        }
    }
}

impl Claiming {
    pub(in crate::queue::worker) fn claims(&self) -> u64 {
        self.claims
    }

    pub(in crate::queue::worker) fn is_requesting(&self) -> bool {
        self.request != Request::Idle
    }

    pub(in crate::queue::worker) fn is_unsure(&self) -> bool {
        self.unsure
    }

    pub(in crate::queue::worker) fn wants_jobs(&self) -> bool {
        self.wants_jobs
    }

    pub(in crate::queue::worker) fn is_idle(&self) -> bool {
        self.idle
    }

    pub(in crate::queue::worker) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// May a step be sent now? One that failed is not sent again at once.
    pub(in crate::queue::worker) fn may_send(&mut self, now: Instant) -> bool {
        let may = !self.is_requesting() && self.retry_at.is_none_or(|at| at <= now);
        if may {
            self.retry_at = None;
        }
        may
    }

    /// Jobs may wait.
    pub(in crate::queue::worker) fn want_jobs(&mut self) {
        self.wants_jobs = true;
    }

    /// A wake-up has come.
    pub(in crate::queue::worker) fn wake(&mut self) {
        self.idle = false;
        self.wants_jobs = true;
        if let Request::Sent { woken } = &mut self.request {
            *woken = true;
        }
    }

    /// A step is sent, or the question what this worker holds.
    pub(in crate::queue::worker) fn request_sent(&mut self) {
        self.request = Request::Sent { woken: false };
    }

    /// A step is sent. Gives the number of its claim.
    pub(in crate::queue::worker) fn claim(&mut self) -> u64 {
        self.request_sent();
        self.claims += 1;
        self.claims
    }

    /// What was sent is on its way no more. True where a wake-up has come meanwhile.
    pub(in crate::queue::worker) fn request_done(&mut self) -> bool {
        std::mem::replace(&mut self.request, Request::Idle) == Request::Sent { woken: true }
    }

    /// A step that asked for jobs was answered: did it get fewer than it wanted, may jobs wait all the same, and is that for the rate limit
    /// alone?
    pub(in crate::queue::worker) fn claimed(&mut self, short: bool, more: bool, limited: bool) {
        self.wants_jobs = more || limited || !short && self.wants_jobs;
        self.idle = short && !limited && !more;
    }

    pub(in crate::queue::worker) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// What was sent failed; it is tried again after a while.
    pub(in crate::queue::worker) fn failed(&mut self) {
        self.retry_at = Some(Instant::now() + BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// The step that failed may have been executed.
    pub(in crate::queue::worker) fn mark_unsure(&mut self) {
        self.unsure = true;
    }

    /// The server holds `difference` more jobs for this worker than are in flight. Unless that is known, the server is asked which.
    pub(super) fn compare(&mut self, difference: i64) {
        self.unsure |= difference != self.difference;
    }

    /// The server has said which jobs it holds: `difference` more than are in flight now.
    pub(in crate::queue::worker) fn is_known(&mut self, difference: i64) {
        self.unsure = false;
        self.difference = difference;
    }

    /// The lease is over: nothing that was sent counts any more.
    pub(in crate::queue::worker) fn start_over(&mut self) {
        self.request = Request::Idle;
        self.is_known(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_counts_for_the_step_that_was_on_its_way_when_it_came() {
        let mut claiming = Claiming::default();
        claiming.wake();
        claiming.request_sent();
        assert!(!claiming.request_done(), "it came before");
        claiming.request_sent();
        claiming.wake();
        assert!(claiming.request_done());
        assert!(!claiming.request_done(), "nothing is on its way");
    }

    #[test]
    fn after_a_step_it_wants_jobs_where_some_may_wait_and_is_idle_where_none_do() {
        for (short, more, limited, wants_jobs, idle) in [
            (false, false, false, true, false),
            (true, false, false, false, true),
            (true, true, false, true, false),
            (true, false, true, true, false),
        ] {
            let mut claiming = Claiming::default();
            claiming.claimed(short, more, limited);
            assert_eq!((claiming.wants_jobs(), claiming.is_idle()), (wants_jobs, idle), "{short} {more} {limited}");
        }
        let mut claiming = Claiming::default();
        claiming.claimed(true, false, false);
        claiming.claimed(false, false, false);
        assert!(!claiming.wants_jobs(), "that it got all it wanted is no news of others");
    }

    #[test]
    fn one_that_failed_is_sent_again_later_and_never_beside_another() {
        let now = Instant::now();
        let mut claiming = Claiming::default();
        assert_eq!(claiming.claim(), 1);
        assert!(!claiming.may_send(now));
        claiming.request_done();
        claiming.failed();
        assert!(!claiming.may_send(now));
        assert!(claiming.may_send(now + BACKOFF.max));
        assert_eq!((claiming.retry_at(), claiming.claim()), (None, 2));
    }
}
