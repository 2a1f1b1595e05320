//! The lease of a worker, as far as the worker knows.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// The cursor at which a look begins, and ends.
pub(super) const START: Bytes = Bytes::from_static(b"0");

/// ```text
/// Outside ──a renewal begins it──► Held ──nothing in flight──► Resting
///                                   ◄──a step claims something──┘
/// any ──lost──► Outside, under another name
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The server has no lease of this owner.
    Outside,
    Held,
    /// It holds nothing and has given the lease up. The next step that claims something begins one.
    Resting {
        /// Nothing else is under way in the queue: the look at all such queues of the manager is for this one too, see `watch`.
        watched: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Idle,
    /// One is on its way.
    Sent {
        /// Something has come since, that only another one can tell about.
        again: bool,
    },
}

/// A lease that was lost never comes back: the worker goes on under another name.
#[derive(Debug)]
pub(in crate::queue::worker) struct Lease {
    owner: String,
    /// Counts owners, so that an answer to an earlier one is known for it.
    term: u64,
    standing: Standing,
    /// When the last renewal that the server confirmed was sent.
    confirmed: Instant,
    renewal: Renewal,
    renew_at: Instant,
    /// Where the look through cancellations goes on.
    cancels_at: Bytes,
}

impl Lease {
    pub(super) fn new(owner: String, now: Instant) -> Self {
        Self {
            owner,
            term: 0,
            standing: Standing::Outside,
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

    /// Has the server this owner's lease, or had it until the worker rested?
    pub(in crate::queue::worker) fn is_begun(&self) -> bool {
        self.standing != Standing::Outside
    }

    /// May the server have a lease of this owner?
    pub(in crate::queue::worker) fn may_be_there(&self) -> bool {
        self.is_begun() || self.renewal != Renewal::Idle
    }

    pub(in crate::queue::worker) fn is_resting(&self) -> bool {
        matches!(self.standing, Standing::Resting { .. })
    }

    pub(in crate::queue::worker) fn is_watched(&self) -> bool {
        self.standing == Standing::Resting { watched: true }
    }

    /// When it ends unless it is renewed, where there is one that can end.
    pub(in crate::queue::worker) fn ends(&self, lasts: Duration) -> Option<Instant> {
        (self.standing == Standing::Held).then(|| self.confirmed + lasts)
    }

    /// When it is to be renewed, unless a renewal is on its way.
    pub(in crate::queue::worker) fn next_renewal(&self) -> Option<Instant> {
        (self.is_begun() && self.renewal == Renewal::Idle).then_some(self.renew_at)
    }

    /// A renewal is to be sent. False where one is on its way: then another one follows it.
    pub(in crate::queue::worker) fn send_renewal(&mut self) -> bool {
        let idle = self.renewal == Renewal::Idle;
        self.renewal = Renewal::Sent { again: !idle };
        idle
    }

    /// The worker rests from now on. False where it did already.
    pub(in crate::queue::worker) fn rest(&mut self) -> bool {
        let starts = !self.is_resting();
        if starts {
            self.standing = Standing::Resting { watched: false };
        }
        starts
    }

    /// The worker looks after its queue by itself again.
    pub(in crate::queue::worker) fn unwatch(&mut self) {
        if self.is_resting() {
            self.standing = Standing::Resting { watched: false };
        }
    }

    /// A step that was sent at `sent` has begun a lease, or may have.
    pub(in crate::queue::worker) fn wake(&mut self, sent: Instant, interval: Duration) {
        self.standing = Standing::Held;
        self.confirmed = sent;
        self.renew_at = self.renew_at.min(sent + interval);
    }

    /// The server has confirmed the renewal that was sent at `sent`, and says whether nothing else is under way in the queue, and where
    /// the look through cancellations goes on. `next` says when to renew where all has been told, by whether it is watched. True where it
    /// is watched from now on.
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
        self.standing = if self.is_resting() { Standing::Resting { watched: quiet } } else { Standing::Held };
        self.renew_at = if again { Instant::now() } else { next(self.is_watched()) };
        self.is_watched() && !was_watched
    }

    /// The renewal that was sent failed.
    pub(in crate::queue::worker) fn renewal_failed(&mut self, retry_at: Instant) {
        self.renewal = Renewal::Idle;
        self.renew_at = retry_at;
    }

    /// It is over; the worker goes on as `owner`.
    pub(in crate::queue::worker) fn lose(&mut self, owner: String) {
        let (confirmed, renew_at) = (self.confirmed, self.renew_at);
        *self = Self { term: self.term + 1, confirmed, renew_at, ..Self::new(owner, confirmed) };
    }

    /// Answers to what was sent until now are of no interest any more.
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
    fn it_ends_a_lease_after_the_renewal_that_was_confirmed_was_sent() {
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
    fn what_comes_while_a_renewal_is_on_its_way_is_told_by_the_next() {
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
        assert!(lease.next_renewal().is_some_and(|at| at < later), "the look through cancellations goes on");
    }

    #[test]
    fn one_that_rests_has_nothing_to_lose_and_is_watched_while_its_queue_is_quiet() {
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
        assert!(!lease.is_resting(), "one that is held does not rest for that");
    }

    #[test]
    fn one_that_was_lost_begins_anew_under_another_name() {
        let now = Instant::now();
        let mut lease = held(now);
        assert!(lease.send_renewal());
        lease.lose("b".to_owned());
        assert_eq!((lease.owner(), lease.term()), ("b", 1));
        assert!(!lease.may_be_there());
        assert!(lease.send_renewal(), "no renewal of it is on its way");
        assert!(lease.may_be_there());
    }
}
