//! Steps of a worker: whether one is on its way, and whether there may be jobs to claim.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Idle,
    /// A step or a request for the held jobs is on its way.
    Sent {
        /// A wake-up has come since then. It may be newer than the answer.
        woken: bool,
    },
}

#[derive(Debug)]
pub(in crate::queue::worker) struct Claiming {
    /// The number of claims so far, which makes the name of each lease unique.
    claims: u64,
    request: Request,
    /// A failed step may have been executed, or the server counts another number of held jobs than are in flight. The held jobs
    /// must be read before the next step.
    unsure: bool,
    /// The difference between the server's number of held jobs and the worker's, when the held jobs were last read.
    difference: i64,
    /// Failures in a row.
    failures: u32,
    retry_at: Option<Instant>,
    /// True if jobs may wait.
    wants_jobs: bool,
    /// True if the server counts this worker as waiting for jobs.
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

    /// True if a step may be sent now. After a failure there is a pause.
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

    /// A step or a request for the held jobs is sent.
    pub(in crate::queue::worker) fn request_sent(&mut self) {
        self.request = Request::Sent { woken: false };
    }

    /// A step is sent. Returns the number of its claim.
    pub(in crate::queue::worker) fn claim(&mut self) -> u64 {
        self.request_sent();
        self.claims += 1;
        self.claims
    }

    /// The request was answered or failed. True if a wake-up has come meanwhile.
    pub(in crate::queue::worker) fn request_done(&mut self) -> bool {
        std::mem::replace(&mut self.request, Request::Idle) == Request::Sent { woken: true }
    }

    /// A step that wanted jobs was answered. `short`: it got fewer jobs than it wanted. `more`: jobs may wait nevertheless.
    /// `limited`: the rate limit allows no start now.
    pub(in crate::queue::worker) fn claimed(&mut self, short: bool, more: bool, limited: bool) {
        self.wants_jobs = more || limited || !short && self.wants_jobs;
        self.idle = short && !limited && !more;
    }

    pub(in crate::queue::worker) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The request failed. The next one is sent after a pause.
    pub(in crate::queue::worker) fn failed(&mut self) {
        self.retry_at = Some(Instant::now() + BACKOFF.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }

    /// The step that failed may have been executed.
    pub(in crate::queue::worker) fn mark_unsure(&mut self) {
        self.unsure = true;
    }

    /// The server counts `difference` more held jobs than are in flight. If that is new, the held jobs must be read.
    pub(super) fn compare(&mut self, difference: i64) {
        self.unsure |= difference != self.difference;
    }

    /// The held jobs were read: the server has `difference` more of them than are in flight now.
    pub(in crate::queue::worker) fn is_known(&mut self, difference: i64) {
        self.unsure = false;
        self.difference = difference;
    }

    /// The lease has ended, so answers to earlier requests are ignored.
    pub(in crate::queue::worker) fn start_over(&mut self) {
        self.request = Request::Idle;
        self.is_known(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_counts_for_the_step_that_is_on_its_way() {
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
    fn after_a_step_a_worker_wants_jobs_if_jobs_may_wait_and_is_idle_otherwise() {
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
        assert!(!claiming.wants_jobs(), "a full claim does not say that more jobs wait");
    }

    #[test]
    fn a_failed_step_is_repeated_after_a_pause_and_only_one_is_on_its_way() {
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
