//! The state of a worker under one lock: its lease, its jobs in flight, its next step.
//!
//! | file | what |
//! |---|---|
//! | `lease` | the lease: its owner's name, its state, its next renewal |
//! | `claiming` | steps: whether one is on its way, and whether there may be jobs to claim |
//! | `in_flight` | jobs in flight, and outcomes that wait to be sent |
//! | `alarms` | the times at which the worker has something to do |

mod alarms;
mod claiming;
mod in_flight;
mod lease;

use std::time::Instant;

use crate::connection::Subscription;
use crate::crossing::Answer;

use alarms::Alarms;
use claiming::Claiming;
use in_flight::InFlight;
use lease::Lease;

/// The mode of a worker.
///
/// ```text
/// Off ──run──► Running ◄──resume── Paused
///                 └──────pause──────► Paused
/// any ──close, manager disconnected──► Closing ──► Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    Running,
    Paused,
    Closing,
    Closed,
}

impl Mode {
    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Closing | Self::Closed)
    }
}

/// The worker's registration in a registry.
#[derive(Debug)]
pub(super) struct Registration {
    /// `<epoch> <id>`.
    pub(super) text: String,
    /// True if the server has stored it.
    pub(super) known: bool,
}

#[derive(Debug)]
pub(super) struct WorkerState {
    pub(super) mode: Mode,
    pub(super) lease: Lease,
    pub(super) claiming: Claiming,
    pub(super) in_flight: InFlight,
    pub(super) alarms: Alarms,
    /// The answers to callers that wait until no job is in flight.
    pub(super) pausing: Vec<Answer>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) registration: Option<Registration>,
    /// The subscription to the death notices of the registry.
    pub(super) deaths: Option<Subscription>,
}

impl WorkerState {
    pub(super) fn new(owner: String, now: Instant) -> Self {
        Self {
            mode: Mode::Off,
            lease: Lease::new(owner, now),
            claiming: Claiming::default(),
            in_flight: InFlight::default(),
            alarms: Alarms::default(),
            pausing: Vec::new(),
            subscriptions: Vec::new(),
            registration: None,
            deaths: None,
        }
    }

    /// Compares the server's number of held jobs with the worker's. If they differ in a new way, the held jobs are read. A
    /// failover can lose the last acknowledged writes: a completion, so that a job stays active although no worker holds it, or a
    /// claim.
    pub(super) fn compare_with(&mut self, held: u64) {
        self.claiming.compare(self.in_flight.difference_from(held));
    }

    /// How many jobs may be claimed now.
    pub(super) fn wanted(&self, concurrency: usize, now: Instant) -> usize {
        let may = self.mode == Mode::Running && self.claiming.wants_jobs() && !self.alarms.is_limited(now);
        if may { self.in_flight.room(concurrency) } else { 0 }
    }

    /// True if the worker may rest. It may not while the server may count a held job.
    pub(super) fn may_rest(&self) -> bool {
        self.lease.is_resting() || self.lease.is_begun() && self.is_quiet() && !self.claiming.is_unsure()
    }

    /// True if no job is in flight and no step is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && !self.claiming.is_requesting()
    }

    /// The next time at which the worker has something to do.
    pub(super) fn next_alarm(&self, has_room: bool) -> Option<Instant> {
        let renewal = self.lease.next_renewal();
        [self.alarms.next(has_room), renewal, self.claiming.retry_at(), self.in_flight.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::lease::START;
    use super::*;

    #[test]
    fn jobs_are_wanted_only_by_a_running_worker_that_may_start_some() {
        let now = Instant::now();
        let mut state = WorkerState::new("o".to_owned(), now);
        assert_eq!(state.wanted(3, now), 0, "it does not run");
        state.mode = Mode::Running;
        assert_eq!(state.wanted(3, now), 3);
        state.alarms.limit(Some(now + Duration::from_secs(1)));
        assert_eq!(state.wanted(3, now), 0, "the rate limit allows none");
        assert_eq!(state.wanted(3, now + Duration::from_secs(1)), 3);
    }

    #[test]
    fn a_worker_may_rest_only_if_the_server_counts_no_held_job() {
        let now = Instant::now();
        let mut state = WorkerState::new("o".to_owned(), now);
        assert!(!state.may_rest(), "it has no lease");
        assert!(state.lease.send_renewal());
        state.lease.renewed(now, false, START, |_| now);
        assert!(state.may_rest());
        state.claiming.request_sent();
        assert!(!state.may_rest(), "a step is on its way");
        state.claiming.request_done();
        state.compare_with(1);
        assert!(!state.may_rest(), "the server counts a job that the worker does not know");
        state.claiming.is_known(1);
        state.compare_with(1);
        assert!(state.may_rest(), "the difference is known");
    }
}
