//! When something is due.

use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// The schedules that are due then are to tick, if there are any.
    At(Option<Instant>),
    /// They tick now.
    Ticking,
}

#[derive(Debug)]
pub(in crate::queue::worker) struct Alarms {
    /// When a delayed job is due.
    due_at: Option<Instant>,
    /// Until when the rate limit allows no start.
    limited_until: Option<Instant>,
    tick: Tick,
    /// Until when the clock sleeps.
    armed: Option<Instant>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { due_at: None, limited_until: None, tick: Tick::At(None), armed: None }
    }
}

impl Alarms {
    pub(in crate::queue::worker) fn is_limited(&self, now: Instant) -> bool {
        self.limited_until.is_some_and(|until| until > now)
    }

    pub(in crate::queue::worker) fn has_limit(&self) -> bool {
        self.limited_until.is_some()
    }

    pub(in crate::queue::worker) fn limit(&mut self, until: Option<Instant>) {
        self.limited_until = until;
    }

    /// A delayed job is due then; the earliest counts.
    pub(in crate::queue::worker) fn due(&mut self, at: Option<Instant>) {
        self.due_at = self.due_at.into_iter().chain(at).min();
    }

    /// A step is sent: it finds what is due, and what the rate limit allows.
    pub(in crate::queue::worker) fn step_sent(&mut self, now: Instant) {
        self.limited_until = None;
        self.due_at = self.due_at.filter(|at| *at > now);
    }

    /// The schedules tick then. While they tick nothing is changed: `ticked` says when they tick next.
    pub(in crate::queue::worker) fn tick(&mut self, at: Option<Instant>) {
        if self.tick != Tick::Ticking {
            self.tick = Tick::At(at);
        }
    }

    /// Schedules have ticked; the next do then.
    pub(in crate::queue::worker) fn ticked(&mut self, next: Option<Instant>) {
        self.tick = Tick::At(next);
    }

    /// Are schedules to tick now? They do from then on.
    pub(in crate::queue::worker) fn takes_tick(&mut self, now: Instant) -> bool {
        let ticks = matches!(self.tick, Tick::At(Some(at)) if at <= now);
        if ticks {
            self.tick = Tick::Ticking;
        }
        ticks
    }

    /// May there be jobs to claim now, that could not be claimed before? It is said once.
    pub(in crate::queue::worker) fn takes_due(&mut self, now: Instant) -> bool {
        let passed = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let due = passed(&mut self.due_at);
        passed(&mut self.limited_until) || due
    }

    pub(super) fn next(&self, has_room: bool) -> Option<Instant> {
        let claims = [self.due_at, self.limited_until].into_iter().filter(|_| has_room);
        let tick = if let Tick::At(at) = self.tick { at } else { None };
        claims.chain([tick]).flatten().min()
    }

    /// The clock sleeps until then.
    pub(in crate::queue::worker) fn arm(&mut self, until: Instant) {
        self.armed = Some(until);
    }

    /// Is that before the clock would look again?
    pub(in crate::queue::worker) fn is_earlier(&self, at: Instant) -> bool {
        self.armed.is_none_or(|armed| at < armed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_is_said_once_and_only_a_worker_with_room_is_woken_for_it() {
        let now = Instant::now();
        let [soon, later] = [1, 2].map(|seconds| now + Duration::from_secs(seconds));
        let mut alarms = Alarms::default();
        alarms.due(Some(later));
        alarms.due(Some(soon));
        alarms.due(None);
        assert_eq!((alarms.next(true), alarms.next(false)), (Some(soon), None));
        assert!(!alarms.takes_due(now));
        alarms.limit(Some(soon));
        assert!(alarms.takes_due(soon));
        assert!(!alarms.takes_due(later));
        assert_eq!(alarms.next(true), None);
    }

    #[test]
    fn a_step_finds_what_is_due_by_then() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut alarms = Alarms::default();
        alarms.due(Some(later));
        alarms.limit(Some(later));
        alarms.step_sent(now);
        assert_eq!((alarms.has_limit(), alarms.next(true)), (false, Some(later)));
        alarms.step_sent(later);
        assert_eq!(alarms.next(true), None);
    }

    #[test]
    fn while_schedules_tick_no_other_tick_is_due() {
        let now = Instant::now();
        let mut alarms = Alarms::default();
        alarms.tick(Some(now));
        assert!(alarms.takes_tick(now));
        alarms.tick(Some(now));
        assert!(!alarms.takes_tick(now));
        assert_eq!(alarms.next(true), None);
        alarms.ticked(Some(now));
        assert_eq!(alarms.next(false), Some(now));
    }
}
