//! What a worker has in hand and what it is about to do: one state, changed under one lock by whoever has news.
//!
//! | file | what |
//! |---|---|
//! | `lease` | the lease: under which name, how far it is, when it is renewed |
//! | `claiming` | turns: whether one is on its way, and whether there may be something to claim |
//! | `in_hand` | jobs in hand, and outcomes that the server is to be told |
//! | `alarms` | when something is due if no news comes |

mod alarms;
mod claiming;
mod in_hand;
mod lease;

use std::time::Instant;

use crate::connection::Subscription;
use crate::crossing::Answer;

use alarms::Alarms;
use claiming::Claiming;
use in_hand::InHand;
use lease::Lease;

/// What a worker is doing.
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
    /// Does the server know it?
    pub(super) known: bool,
}

#[derive(Debug)]
pub(super) struct Shift {
    pub(super) mode: Mode,
    /// Whose lease all this is under.
    pub(super) lease: Lease,
    pub(super) claiming: Claiming,
    pub(super) hand: InHand,
    pub(super) alarms: Alarms,
    /// Who waits until nothing is in hand.
    pub(super) pausing: Vec<Answer>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) registration: Option<Registration>,
    /// To the deaths of that registry.
    pub(super) mourning: Option<Subscription>,
}

impl Shift {
    pub(super) fn new(owner: String, now: Instant) -> Self {
        Self {
            mode: Mode::Off,
            lease: Lease::new(owner, now),
            claiming: Claiming::default(),
            hand: InHand::default(),
            alarms: Alarms::default(),
            pausing: Vec::new(),
            subscriptions: Vec::new(),
            registration: None,
            mourning: None,
        }
    }

    /// Asks the server which jobs this worker holds, where the server's number differs from the known one. A failover can lose the
    /// end of what the old master acknowledged: a completion, so that a job stays active that no worker holds, or a claim.
    pub(super) fn compare_with(&mut self, held: u64) {
        self.claiming.compare(self.hand.difference_from(held));
    }

    /// How many jobs may be claimed now.
    pub(super) fn wanted(&self, concurrency: usize, now: Instant) -> usize {
        let may = self.mode == Mode::Running && self.claiming.wants_jobs() && !self.alarms.is_limited(now);
        if may { self.hand.room(concurrency) } else { 0 }
    }

    /// May it rest? Not where the server may hold something for it.
    pub(super) fn may_rest(&self) -> bool {
        self.lease.is_resting() || self.lease.is_begun() && self.is_quiet() && !self.claiming.is_unsure()
    }

    /// Is nothing in hand and nothing on its way?
    pub(super) fn is_quiet(&self) -> bool {
        self.hand.is_empty() && !self.claiming.is_in_flight()
    }

    /// When there is something to do if no news comes.
    pub(super) fn next_alarm(&self, has_room: bool) -> Option<Instant> {
        let renewal = self.lease.next_renewal();
        [self.alarms.next(has_room), renewal, self.claiming.retry_at(), self.hand.next_deadline()]
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
    fn jobs_are_wanted_only_while_it_runs_and_may_start_some() {
        let now = Instant::now();
        let mut shift = Shift::new("o".to_owned(), now);
        assert_eq!(shift.wanted(3, now), 0, "it does not run");
        shift.mode = Mode::Running;
        assert_eq!(shift.wanted(3, now), 3);
        shift.alarms.limit(Some(now + Duration::from_secs(1)));
        assert_eq!(shift.wanted(3, now), 0, "the rate limit allows none");
        assert_eq!(shift.wanted(3, now + Duration::from_secs(1)), 3);
    }

    #[test]
    fn it_may_rest_only_where_the_server_holds_nothing_for_it() {
        let now = Instant::now();
        let mut shift = Shift::new("o".to_owned(), now);
        assert!(!shift.may_rest(), "it has no lease");
        assert!(shift.lease.send_renewal());
        shift.lease.renewed(now, false, START, |_| now);
        assert!(shift.may_rest());
        shift.claiming.depart();
        assert!(!shift.may_rest(), "a turn is on its way");
        shift.claiming.land();
        shift.compare_with(1);
        assert!(!shift.may_rest(), "the server holds a job of which it does not know");
        shift.claiming.is_known(1);
        shift.compare_with(1);
        assert!(shift.may_rest(), "that it holds one more is known");
    }
}
