//! Whether this process may declare other workers late or crashed.
//!
//! A process that was cut off from the server, or stood still, cannot tell another worker's silence from its own. For a full
//! lease it declares nobody late or crashed. The authority that a call carries is good for half a lease of the server's time. A
//! call that arrives later, because the server stood still, declares nobody and is refused (`STALE`).
//!
//! A call can also be refused as stale although it was fast by this machine's monotonic clock. Then the server's clock was set
//! forward, and by that clock every worker is late. The next call says so to the server, and every worker gets a full lease.
//!
//! A process that was connected to another server before is refused too (`ELSEWHERE`). It declares nobody for a full lease after
//! it reaches a new master. This includes a master that was master before and was never demoted, because that server notices no
//! change itself.

use std::time::{Duration, Instant};

use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct Authority {
    lease: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// When the first call after the last answer was sent.
    unanswered_since: Option<Instant>,
    suspended_until: Option<Instant>,
    /// The last server time that was received, in milliseconds; when it was received; what tests had added to the server's clock
    /// by then.
    server_time: Option<(f64, Instant, Duration)>,
    /// The mastership of the last server that answered; nothing before the first answer.
    mastership: Option<String>,
}

/// The length of the name of a mastership: see `name_mastership` in `lua/part/deadlines.lua`.
pub(super) const MASTERSHIP: usize = 40;
/// No server has this name.
const UNKNOWN_MASTERSHIP: &str = "----------------------------------------";

/// The limit of the authority while the server's time is unknown.
const UNLIMITED: u64 = 9_999_999_999_999;
/// The caller was cut off: it may declare nobody.
const NEVER: &str = "0000000000000";
/// The caller noticed that the server's clock was set forward.
const CLOCK_AHEAD: &str = "0000000000001";

impl Authority {
    pub(super) fn new(lease: Duration) -> Self {
        Self { lease, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    pub(super) fn may_declare(&self) -> bool {
        self.may_declare_at(Instant::now())
    }

    fn may_declare_at(&self, now: Instant) -> bool {
        let inner = self.lock();
        let answered = inner.unanswered_since.is_none_or(|since| now.duration_since(since) <= self.lease / 2);
        answered && inner.suspended_until.is_none_or(|until| until <= now)
    }

    /// Until when a call that is sent now may declare workers late or crashed: ms of the server's time, in 13 digits; 0 is not at
    /// all. `added` is what tests have added to the server's clock, which counts as time that passed here too.
    pub(super) fn may_declare_until(&self, added: Duration) -> String {
        if !self.may_declare() {
            return NEVER.to_owned();
        }
        let until = self.lock().server_time.map_or(UNLIMITED, |(ms, at, then)| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times since 1970")]
            let until = (ms + (at.elapsed() + added.saturating_sub(then) + self.lease / 2).as_secs_f64() * 1e3) as u64;
            until
        });
        format!("{:013}", until.min(UNLIMITED))
    }

    /// Records the server's time, just received.
    pub(super) fn note_server_time(&self, ms: f64, added: Duration) {
        self.lock().server_time = Some((ms, Instant::now(), added));
    }

    /// A call that took `took` was refused as stale. Returns the authority of the repeated call, as
    /// [`Authority::may_declare_until`] does.
    pub(super) fn refused_as_stale(&self, took: Duration) -> &'static str {
        self.silent_for(took);
        if took > self.lease / 2 { NEVER } else { CLOCK_AHEAD }
    }

    /// The mastership of the last server that answered.
    pub(super) fn mastership(&self) -> String {
        self.lock().mastership.clone().unwrap_or_else(|| UNKNOWN_MASTERSHIP.to_owned())
    }

    /// A call was refused because it reached another server than the calls before. Returns the authority of the repeated call;
    /// nothing where it is the same as before, because this server is the first one.
    pub(super) fn refused_as_elsewhere(&self, mastership: &str) -> Option<&'static str> {
        let before = self.lock().mastership.replace(mastership.to_owned());
        if before.is_some_and(|before| before != mastership) {
            self.lock().suspended_until = Some(Instant::now() + self.lease);
        }
        (!self.may_declare()).then_some(NEVER)
    }

    /// A call was sent.
    pub(super) fn sent(&self) {
        self.sent_at(Instant::now());
    }

    fn sent_at(&self, now: Instant) {
        self.lock().unanswered_since.get_or_insert(now);
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.answered_at(Instant::now());
    }

    fn answered_at(&self, now: Instant) {
        let since = self.lock().unanswered_since.take();
        if let Some(since) = since {
            self.silent_until(now, now.duration_since(since));
        }
    }

    /// This process received nothing for `time`. Half a lease of silence here can explain why another worker's lease ended.
    pub(super) fn silent_for(&self, time: Duration) {
        self.silent_until(Instant::now(), time);
    }

    fn silent_until(&self, now: Instant, time: Duration) {
        if time > self.lease / 2 {
            self.lock().suspended_until = Some(now + self.lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_process_declares_nobody_after_half_a_lease_nor_for_a_lease_after_the_answer() {
        let authority = Authority::new(Duration::from_secs(10));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        authority.sent_at(start);
        assert!(authority.may_declare_at(after(5)));
        authority.answered_at(after(5));
        assert!(authority.may_declare_at(after(5)));
        authority.sent_at(after(10));
        authority.sent_at(after(15));
        assert!(!authority.may_declare_at(after(16)), "the first call has been unanswered for six seconds");
        authority.answered_at(after(16));
        assert!(!authority.may_declare_at(after(25)));
        assert!(authority.may_declare_at(after(26)));
    }

    #[test]
    fn a_quick_refusal_tells_of_a_clock_set_forward_and_a_slow_one_ends_the_authority() {
        let authority = Authority::new(Duration::from_secs(10));
        assert_eq!(authority.refused_as_stale(Duration::from_secs(1)), CLOCK_AHEAD);
        assert!(authority.may_declare());
        assert_eq!(authority.refused_as_stale(Duration::from_secs(6)), NEVER);
        assert!(!authority.may_declare());
    }

    #[test]
    fn another_server_ends_the_authority_for_a_lease_and_the_first_server_does_not() {
        let authority = Authority::new(Duration::from_secs(10));
        let (here, there) = ("a".repeat(MASTERSHIP), "b".repeat(MASTERSHIP));
        assert_eq!(authority.mastership().len(), MASTERSHIP);
        assert_eq!(authority.refused_as_elsewhere(&here), None);
        assert_eq!((authority.mastership(), authority.may_declare()), (here.clone(), true));
        assert_eq!(authority.refused_as_elsewhere(&here), None, "another call that was sent before the first answer");
        assert_eq!(authority.refused_as_elsewhere(&there), Some(NEVER));
        assert_eq!(authority.refused_as_elsewhere(&there), Some(NEVER), "another call that was sent before");
        assert!(!authority.may_declare());
    }

    #[test]
    fn authority_is_good_for_half_a_lease_of_the_servers_time() {
        let authority = Authority::new(Duration::from_secs(10));
        assert_eq!(authority.may_declare_until(Duration::ZERO), "9999999999999");
        authority.note_server_time(1_763_721_000_000.0, Duration::from_secs(5));
        let until = |added| authority.may_declare_until(Duration::from_secs(added)).parse::<u64>().unwrap();
        assert!((1_763_721_005_000..1_763_721_006_000).contains(&until(5)));
        assert!((1_763_721_008_000..1_763_721_009_000).contains(&until(8)));
    }
}
