//! The lease of a worker as the worker knows it.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// The cursor at which a scan starts and ends.
pub(super) const START: Bytes = Bytes::from_static(b"0");

/// ```text
/// Absent ──a renewal starts it──► Held ──no job in flight──► Resting
///                                   ◄──a step claims a job──┘
/// any ──lost──► Absent, under another name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseState {
    /// The server has no lease of this owner.
    Absent,
    Held,
    /// The worker holds no job and has given up the lease. The next step that claims a job starts a lease.
    Resting {
        /// Nothing else is in progress in the queue, so the common check in `watch` includes the queue.
        watched: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Idle,
    /// A renewal is on its way.
    Sent {
        /// Another renewal was requested since then.
        again: bool,
    },
}

/// A lost lease never becomes valid again: the worker continues under another name.
#[derive(Debug)]
pub(in crate::queue::worker) struct Lease {
    owner: String,
    /// Counts the names of the owner. An answer to a request of an earlier term is ignored.
    term: u64,
    state: LeaseState,
    /// When the last confirmed renewal was sent.
    confirmed: Instant,
    renewal: Renewal,
    renew_at: Instant,
    /// The cursor of the scan through cancellations.
    cancels_at: Bytes,
}

impl Lease {
    pub(super) fn new(owner: String, now: Instant) -> Self {
        Self {
            owner,
            term: 0,
            state: LeaseState::Absent,
            confirmed: now,
            renewal: Renewal::Idle,
            renew_at: now,
            cancels_at: START,
        }
    }

    pub(in crate::queue::worker) fn owner(&self) -> &str {
        &self.owner
    }

    pub(in crate::queue::worker) fn term(&self) -> u64 {
        self.term
    }

    pub(in crate::queue::worker) fn cancels_at(&self) -> &Bytes {
        &self.cancels_at
    }

    /// True if the server has this owner's lease, or had it until the worker rested.
    pub(in crate::queue::worker) fn is_begun(&self) -> bool {
        self.state != LeaseState::Absent
    }

    /// True if the server may have a lease of this owner.
    pub(in crate::queue::worker) fn may_be_there(&self) -> bool {
        self.is_begun() || self.renewal != Renewal::Idle
    }

    pub(in crate::queue::worker) fn is_resting(&self) -> bool {
        matches!(self.state, LeaseState::Resting { .. })
    }

    pub(in crate::queue::worker) fn is_watched(&self) -> bool {
        self.state == LeaseState::Resting { watched: true }
    }

    /// When the lease ends unless it is renewed; `None` if the worker holds no lease.
    pub(in crate::queue::worker) fn ends(&self, lasts: Duration) -> Option<Instant> {
        (self.state == LeaseState::Held).then(|| self.confirmed + lasts)
    }

    /// When the lease is to be renewed; `None` while a renewal is on its way.
    pub(in crate::queue::worker) fn next_renewal(&self) -> Option<Instant> {
        (self.is_begun() && self.renewal == Renewal::Idle).then_some(self.renew_at)
    }

    /// A renewal is to be sent. False if one is on its way; another one follows it then.
    pub(in crate::queue::worker) fn send_renewal(&mut self) -> bool {
        let idle = self.renewal == Renewal::Idle;
        self.renewal = Renewal::Sent { again: !idle };
        idle
    }

    /// The worker rests from now on. False if it rested already.
    pub(in crate::queue::worker) fn rest(&mut self) -> bool {
        let starts = !self.is_resting();
        if starts {
            self.state = LeaseState::Resting { watched: false };
        }
        starts
    }

    /// The common check in `watch` no longer includes the queue.
    pub(in crate::queue::worker) fn unwatch(&mut self) {
        if self.is_resting() {
            self.state = LeaseState::Resting { watched: false };
        }
    }

    /// A step that was sent at `sent` has started a lease, or may have started one.
    pub(in crate::queue::worker) fn wake(&mut self, sent: Instant, interval: Duration) {
        self.state = LeaseState::Held;
        self.confirmed = sent;
        self.renew_at = self.renew_at.min(sent + interval);
    }

    /// The server has confirmed the renewal that was sent at `sent`. `quiet`: nothing else is in progress in the queue.
    /// `cancels_at`: the cursor of the scan through cancellations. `next` gives the time of the next renewal, depending on
    /// whether the queue is watched; it is not used if another renewal must follow at once. True if the queue is watched from now
    /// on.
    pub(in crate::queue::worker) fn renewed(
        &mut self,
        sent: Instant,
        quiet: bool,
        cancels_at: Bytes,
        next: impl FnOnce(bool) -> Instant,
    ) -> bool {
        let was_watched = self.is_watched();
        let again = self.renewal == Renewal::Sent { again: true } || cancels_at != START;
        self.renewal = Renewal::Idle;
        self.confirmed = sent;
        self.cancels_at = cancels_at;
        self.state = if self.is_resting() { LeaseState::Resting { watched: quiet } } else { LeaseState::Held };
        self.renew_at = if again { Instant::now() } else { next(self.is_watched()) };
        self.is_watched() && !was_watched
    }

    /// The renewal failed.
    pub(in crate::queue::worker) fn renewal_failed(&mut self, retry_at: Instant) {
        self.renewal = Renewal::Idle;
        self.renew_at = retry_at;
    }

    /// The lease has ended. The worker continues as `owner`.
    pub(in crate::queue::worker) fn lose(&mut self, owner: String) {
        let (confirmed, renew_at) = (self.confirmed, self.renew_at);
        *self = Self { term: self.term + 1, confirmed, renew_at, ..Self::new(owner, confirmed) };
    }

    /// Answers to earlier requests are ignored from now on.
    pub(in crate::queue::worker) fn end_term(&mut self) {
        self.term += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(30);

    fn held(now: Instant) -> Lease {
        let mut lease = Lease::new("a".to_owned(), now);
        assert!(lease.send_renewal());
        lease.renewed(now, false, START, |_| now + LASTS);
        lease
    }

    #[test]
    fn a_lease_is_counted_from_when_the_last_confirmed_renewal_was_sent() {
        let now = Instant::now();
        assert_eq!(Lease::new("a".to_owned(), now).ends(LASTS), None, "there is none yet");
        let mut lease = held(now);
        assert_eq!(lease.ends(LASTS), Some(now + LASTS));
        assert!(lease.send_renewal());
        lease.renewal_failed(now + Duration::from_secs(1));
        assert_eq!(lease.ends(LASTS), Some(now + LASTS), "a renewal that failed confirms nothing");
        assert_eq!(lease.next_renewal(), Some(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_renewal_that_is_requested_while_another_is_on_its_way_follows_at_once() {
        let now = Instant::now();
        let later = now + LASTS;
        let mut lease = held(now);
        assert!(lease.send_renewal());
        assert_eq!(lease.next_renewal(), None, "one is on its way");
        assert!(!lease.send_renewal());
        lease.renewed(now, false, START, |_| later);
        assert!(lease.next_renewal().is_some_and(|at| at < later), "another one follows at once");
        assert!(lease.send_renewal());
        lease.renewed(now, false, START, |_| later);
        assert_eq!(lease.next_renewal(), Some(later), "and no third");
        assert!(lease.send_renewal());
        lease.renewed(now, false, Bytes::from_static(b"17"), |_| later);
        assert!(lease.next_renewal().is_some_and(|at| at < later), "the scan through cancellations goes on");
    }

    #[test]
    fn a_resting_worker_has_no_lease_and_is_watched_while_its_queue_is_quiet() {
        let now = Instant::now();
        let mut lease = held(now);
        assert!(lease.rest());
        assert!(!lease.rest(), "it rests already");
        assert_eq!(lease.ends(LASTS), None);
        assert!(lease.send_renewal());
        assert!(lease.renewed(now, true, START, |watched| if watched { now + LASTS } else { now }));
        assert_eq!(lease.next_renewal(), Some(now + LASTS));
        assert!(lease.send_renewal());
        assert!(!lease.renewed(now, true, START, |_| now), "it was watched before");
        lease.unwatch();
        assert!(lease.is_resting() && !lease.is_watched());
        lease.wake(now, LASTS);
        assert_eq!((lease.is_resting(), lease.ends(LASTS)), (false, Some(now + LASTS)));
        lease.unwatch();
        assert!(!lease.is_resting(), "a held lease stays held");
    }

    #[test]
    fn after_a_lost_lease_another_name_starts_again() {
        let now = Instant::now();
        let mut lease = held(now);
        assert!(lease.send_renewal());
        lease.lose("b".to_owned());
        assert_eq!((lease.owner(), lease.term()), ("b", 1));
        assert!(!lease.may_be_there());
        assert!(lease.send_renewal(), "no renewal of the new lease is on its way");
        assert!(lease.may_be_there());
    }
}
