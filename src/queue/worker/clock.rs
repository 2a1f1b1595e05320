//! The one task of a worker with timers: renewals, jobs that are due, ends of attempts, ticks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Inner;
use super::shift::Mode;
use super::slot::Ending;
use crate::lifecycle;
use crate::queue::schedules;

/// Where nothing is due at all.
const LONG: Duration = Duration::from_hours(1);

impl Inner {
    /// Starts the clock; it ends when the worker is closed or the manager disconnected.
    pub(super) fn start_clock(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move { worker.keep_time().await });
    }

    async fn keep_time(self: Arc<Self>) {
        let closing = self.core.manager.closing();
        loop {
            let next = {
                let mut shift = self.shift();
                if shift.mode == Mode::Closed {
                    return;
                }
                let room = self.has_room(&shift);
                let ends = shift.confirmed + self.options.lease;
                let alarm = shift.next_alarm(room).into_iter().chain(shift.has_lease().then_some(ends)).min();
                let next = alarm.unwrap_or_else(|| Instant::now() + LONG);
                shift.armed = Some(next);
                next
            };
            tokio::select! {
                () = sleep_until(next.into()) => self.ring(),
                () = self.nudge.notified() => {}
                () = closing.cancelled() => return self.disconnected(),
            }
        }
    }

    /// Does what is due.
    fn ring(self: &Arc<Self>) {
        let now = Instant::now();
        let (renew, tick, lost, term) = {
            let mut shift = self.shift();
            let lost = shift.has_lease() && now >= shift.confirmed + self.options.lease;
            let renew = shift.begun && !shift.renewing && now >= shift.renew_at;
            let tick = !shift.ticking && shift.tick_at.is_some_and(|at| at <= now);
            if tick {
                shift.ticking = true;
                shift.tick_at = None;
            }
            if shift.due_at.is_some_and(|at| at <= now) {
                shift.due_at = None;
                shift.hungry = true;
            }
            if shift.limited_until.is_some_and(|at| at <= now) {
                shift.limited_until = None;
                shift.hungry = true;
            }
            (renew, tick, lost, shift.term)
        };
        if lost {
            return self.lease_is_gone(term, Vec::new());
        }
        self.end_attempts(now);
        if renew {
            self.renew(false);
        }
        if tick {
            self.tick();
        }
        self.pump();
    }

    /// Attempts that took longer than their `timeoutMs` have failed.
    fn end_attempts(&self, now: Instant) {
        let mut ended = Vec::new();
        {
            let mut shift = self.shift();
            while let Some((at, number)) = shift.deadlines.first().copied().filter(|(at, _)| *at <= now) {
                shift.deadlines.remove(&(at, number));
                if let Some(slot) = shift.take(number) {
                    let for_good = slot.cancelled.is_some();
                    let late = || "the attempt took longer than timeoutMs".to_owned();
                    let reason = slot.cancelled.clone().unwrap_or_else(late);
                    let outcome = slot.end(&self.core, Ending::Failed { reason, stack: None, for_good });
                    shift.outgoing.push(outcome);
                    shift.hungry = true;
                    ended.push((number, "timeout", None));
                }
            }
        }
        self.tell_ended(ended);
    }

    /// Has schedules tick that are due.
    fn tick(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move {
            let ticked = schedules::tick(&worker.core).await;
            let mut shift = worker.shift();
            shift.ticking = false;
            match ticked {
                Ok(next) => shift.tick_at = next,
                Err(error) => {
                    shift.tick_at = Some(Instant::now() + Duration::from_secs(1));
                    worker.tell_error(&error);
                }
            }
            worker.rearm(&shift);
        });
    }

    /// The manager was disconnected: nobody renews, so nothing in hand is ours for long.
    fn disconnected(self: &Arc<Self>) {
        let ended: Vec<_> = {
            let mut shift = self.shift();
            if shift.mode == Mode::Closed {
                return;
            }
            shift.mode = Mode::Closed;
            shift.term += 1;
            shift.deadlines.clear();
            shift.outgoing.clear();
            shift.in_flight = false;
            shift.subscriptions.clear();
            let ended = shift.slots.drain().map(|(number, _)| (number, "closed", None)).collect();
            self.after_turn(&mut shift);
            ended
        };
        self.tell_ended(ended);
        self.tell("closed");
    }
}
