//! The times at which a worker has something to do.

use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// When the next schedule ticks, if there is one.
    At(Option<Instant>),
    /// The due schedules are ticking now.
    Ticking,
}

#[derive(Debug)]
pub(in crate::queue::worker) struct Alarms {
    /// When a delayed job is due.
    due_at: Option<Instant>,
    /// Until when the rate limit allows no start.
    limited_until: Option<Instant>,
    tick: Tick,
    /// When the clock wakes up.
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

    /// Sets when a delayed job is due. The earliest of these times is kept.
    pub(in crate::queue::worker) fn due(&mut self, at: Option<Instant>) {
        self.due_at = self.due_at.into_iter().chain(at).min();
    }

    /// A step is sent. It claims due jobs, and its answer has the new state of the rate limit.
    pub(in crate::queue::worker) fn step_sent(&mut self, now: Instant) {
        self.limited_until = None;
        self.due_at = self.due_at.filter(|at| *at > now);
    }

    /// Sets when the next schedule ticks. Has no effect while schedules tick, because `ticked` follows.
    pub(in crate::queue::worker) fn tick(&mut self, at: Option<Instant>) {
        if self.tick != Tick::Ticking {
            self.tick = Tick::At(at);
        }
    }

    /// The due schedules have ticked. `next` is the time of the next tick.
    pub(in crate::queue::worker) fn ticked(&mut self, next: Option<Instant>) {
        self.tick = Tick::At(next);
    }

    /// True if schedules are due. They count as ticking from then on.
    pub(in crate::queue::worker) fn take_tick(&mut self, now: Instant) -> bool {
        let ticks = matches!(self.tick, Tick::At(Some(at)) if at <= now);
        if ticks {
            self.tick = Tick::Ticking;
        }
        ticks
    }

    /// True if a delayed job is due or the rate limit has ended, so that there may be new jobs to claim. True only once.
    pub(in crate::queue::worker) fn take_due(&mut self, now: Instant) -> bool {
        let passed = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        let due = passed(&mut self.due_at);
        passed(&mut self.limited_until) || due
    }

    pub(super) fn next(&self, has_room: bool) -> Option<Instant> {
        let claims = [self.due_at, self.limited_until].into_iter().filter(|_| has_room);
        let tick = if let Tick::At(at) = self.tick { at } else { None };
        claims.chain([tick]).flatten().min()
    }

    /// Sets when the clock wakes up.
    pub(in crate::queue::worker) fn arm(&mut self, until: Instant) {
        self.armed = Some(until);
    }

    /// True if `at` is before the clock wakes up.
    pub(in crate::queue::worker) fn is_earlier(&self, at: Instant) -> bool {
        self.armed.is_none_or(|armed| at < armed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_due_job_is_reported_once_and_wakes_only_a_worker_with_room() {
        let now = Instant::now();
        let [soon, later] = [1, 2].map(|seconds| now + Duration::from_secs(seconds));
        let mut alarms = Alarms::default();
        alarms.due(Some(later));
        alarms.due(Some(soon));
        alarms.due(None);
        assert_eq!((alarms.next(true), alarms.next(false)), (Some(soon), None));
        assert!(!alarms.take_due(now));
        alarms.limit(Some(soon));
        assert!(alarms.take_due(soon));
        assert!(!alarms.take_due(later));
        assert_eq!(alarms.next(true), None);
    }

    #[test]
    fn sending_a_step_clears_what_is_due_by_then() {
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
    fn no_tick_is_due_while_schedules_tick() {
        let now = Instant::now();
        let mut alarms = Alarms::default();
        alarms.tick(Some(now));
        assert!(alarms.take_tick(now));
        alarms.tick(Some(now));
        assert!(!alarms.take_tick(now));
        assert_eq!(alarms.next(true), None);
        alarms.ticked(Some(now));
        assert_eq!(alarms.next(false), Some(now));
    }
}
