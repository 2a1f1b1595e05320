//! The one task of a worker that has timers: renewals, due jobs, timeouts of attempts, ticks of schedules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Inner;
use super::slot::Ending;
use super::state::Mode;
use crate::lifecycle;
use crate::queue::schedules;

/// How long the clock sleeps when nothing is due.
const MAX_SLEEP: Duration = Duration::from_hours(1);

impl Inner {
    /// Starts the clock. It stops when the worker is closed or the manager is disconnected.
    pub(super) fn start_clock(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move { worker.run_clock().await });
    }

    async fn run_clock(self: Arc<Self>) {
        let closing = self.core.manager.closing();
        loop {
            let next = {
                let mut state = self.state();
                if state.mode == Mode::Closed {
                    return;
                }
                let room = self.has_room(&state);
                let alarm = state.next_alarm(room).into_iter().chain(state.lease.ends(self.options.lease)).min();
                let next = alarm.unwrap_or_else(|| Instant::now() + MAX_SLEEP);
                state.alarms.arm(next);
                next
            };
            tokio::select! {
                () = sleep_until(next.into()) => self.on_alarm(),
                () = self.nudge.notified() => {}
                () = closing.cancelled() => return self.disconnected(),
            }
        }
    }

    /// Handles everything that is due.
    fn on_alarm(self: &Arc<Self>) {
        let now = Instant::now();
        let (renew, tick, lost, term) = {
            let mut state = self.state();
            let lost = state.lease.ends(self.options.lease).is_some_and(|at| at <= now);
            let renew = state.lease.next_renewal().is_some_and(|at| at <= now);
            let tick = state.alarms.take_tick(now);
            if state.alarms.take_due(now) {
                state.claiming.want_jobs();
            }
            (renew, tick, lost, state.lease.term())
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

    /// Fails the attempts that took longer than their `timeoutMs`.
    fn end_attempts(&self, now: Instant) {
        let mut ended = Vec::new();
        {
            let mut state = self.state();
            while let Some((number, slot)) = state.in_flight.take_overdue(now) {
                let for_good = slot.cancelled.is_some();
                let late = || "the attempt took longer than timeoutMs".to_owned();
                let reason = slot.cancelled.clone().unwrap_or_else(late);
                state.in_flight.settle(slot.end(&self.core, Ending::Failed { reason, stack: None, for_good }));
                state.claiming.want_jobs();
                ended.push((number, "timeout", None));
            }
        }
        self.emit_ended(ended);
    }

    /// Runs the ticks of schedules that are due.
    fn tick(self: &Arc<Self>) {
        let worker = Arc::clone(self);
        lifecycle::spawn(async move {
            let ticked = schedules::tick(&worker.core).await;
            let mut state = worker.state();
            match ticked {
                Ok(next) => state.alarms.ticked(next),
                Err(error) => {
                    state.alarms.ticked(Some(Instant::now() + Duration::from_secs(1)));
                    worker.emit_error(&error);
                }
            }
            worker.rearm(&state);
        });
    }

    /// The manager was disconnected. The lease is not renewed any more, so the worker gives up all jobs in flight.
    fn disconnected(self: &Arc<Self>) {
        let ended: Vec<_> = {
            let mut state = self.state();
            if state.mode == Mode::Closed {
                return;
            }
            state.mode = Mode::Closed;
            state.lease.end_term();
            state.in_flight.take_outcomes(usize::MAX);
            state.claiming.request_done();
            state.subscriptions.clear();
            let ended = state.in_flight.take_all().into_iter().map(|(number, _)| (number, "closed", None)).collect();
            self.after_step(&mut state);
            ended
        };
        self.emit_ended(ended);
        self.emit("closed");
    }
}
