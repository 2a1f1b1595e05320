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
                let alarm = shift.next_alarm(room).into_iter().chain(shift.lease.ends(self.options.lease)).min();
                let next = alarm.unwrap_or_else(|| Instant::now() + LONG);
                shift.alarms.arm(next);
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
            let lost = shift.lease.ends(self.options.lease).is_some_and(|at| at <= now);
            let renew = shift.lease.next_renewal().is_some_and(|at| at <= now);
            let tick = shift.alarms.takes_tick(now);
            if shift.alarms.takes_due(now) {
                shift.claiming.look();
            }
            (renew, tick, lost, shift.lease.term())
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
            while let Some((number, slot)) = shift.hand.take_late(now) {
                let for_good = slot.cancelled.is_some();
                let late = || "the attempt took longer than timeoutMs".to_owned();
                let reason = slot.cancelled.clone().unwrap_or_else(late);
                shift.hand.settle(slot.end(&self.core, Ending::Failed { reason, stack: None, for_good }));
                shift.claiming.look();
                ended.push((number, "timeout", None));
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
            match ticked {
                Ok(next) => shift.alarms.ticked(next),
                Err(error) => {
                    shift.alarms.ticked(Some(Instant::now() + Duration::from_secs(1)));
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
            shift.lease.end_term();
            shift.hand.take_outcomes(usize::MAX);
            shift.claiming.land();
            shift.subscriptions.clear();
            let ended = shift.hand.take_all().into_iter().map(|(number, _)| (number, "closed", None)).collect();
            self.after_turn(&mut shift);
            ended
        };
        self.tell_ended(ended);
        self.tell("closed");
    }
}
