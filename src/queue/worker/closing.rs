//! Pausing and closing a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::{sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::slot::Ending;
use super::state::Mode;
use crate::crossing::Answer;
use crate::keys::queue::Part;
use crate::queue::scripts::{self, operation, plain};

/// How long after the grace period the worker tries to send the outcomes. A server that does not answer must not delay the close.
const FINAL_CALLS: Duration = Duration::from_secs(2);

/// The closing of a worker, which all calls of `close` share.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// True if all jobs finished in time. `None` until the worker is closed.
    outcome: Mutex<Option<bool>>,
    /// Cancelled when the grace period for jobs in flight is over.
    over: CancellationToken,
}

impl Inner {
    /// Stops claiming jobs. Gives the answer when no job is in flight.
    pub(super) fn pause(self: &Arc<Self>, answer: Answer) {
        {
            let mut state = self.state();
            if state.mode == Mode::Running {
                state.mode = Mode::Paused;
            }
            state.pausing.push(answer);
            self.after_step(&mut state);
        }
        // The renewal tells the server that this worker does not wait for jobs.
        self.renew(false);
    }

    /// Stops claiming jobs at once; [`Inner::close`] follows.
    pub(super) fn stop_claiming(&self) {
        let mut state = self.state();
        if matches!(state.mode, Mode::Running | Mode::Paused) {
            state.mode = Mode::Closing;
        }
    }

    /// Stops claiming jobs and waits until no job is in flight, for at most `grace`. The jobs that are left then are handed back.
    /// Of several calls the first `grace` that is over counts. False if a job was handed back.
    pub(super) async fn close(self: &Arc<Self>, grace: Duration) -> bool {
        let closed = async {
            let mut outcome = self.closing.outcome.lock().await;
            if let Some(finished) = *outcome {
                return finished;
            }
            let finished = self.shut_down().await;
            *outcome = Some(finished);
            finished
        };
        tokio::pin!(closed);
        tokio::select! {
            biased;
            finished = &mut closed => return finished,
            () = sleep(grace) => self.closing.over.cancel(),
        }
        closed.await
    }

    async fn shut_down(self: &Arc<Self>) -> bool {
        {
            let mut state = self.state();
            if state.mode == Mode::Off {
                state.mode = Mode::Closed;
            }
            if state.mode == Mode::Closed {
                return !state.in_flight.has_jobs();
            }
            state.mode = Mode::Closing;
        }
        let finished = self.wait_until_quiet(self.closing.over.cancelled()).await;
        let left = self.hand_back();
        let end = Instant::now() + FINAL_CALLS.min(self.core.manager.config().command_timeout);
        if left || !finished {
            self.pump();
            self.wait_until_quiet(sleep_until(end.into())).await;
        }
        let owner = {
            let mut state = self.state();
            state.mode = Mode::Closed;
            state.subscriptions.clear();
            state.deaths = None;
            self.after_step(&mut state);
            state.lease.may_be_there().then(|| state.lease.owner().to_owned())
        };
        self.nudge.notify_one();
        if let Some(owner) = owner {
            let [leases, idle, owners, meta] =
                self.core.keys.keys([Part::Leases, Part::Idle, Part::Owners, Part::Meta]);
            let keys = [leases, idle, &self.core.keys.held(&owner), owners, meta];
            let command =
                plain(&scripts::END_LEASE, &keys, &[owner.as_bytes()]).runs(*operation::RENEW, &scripts::END_LEASE);
            // If the lease cannot be given up now, it ends by itself.
            let _ = timeout_at(end.into(), self.core.call(command)).await;
        }
        !left
    }

    /// Waits until no job is in flight and no step is on its way. False if `over` resolves first.
    async fn wait_until_quiet(&self, over: impl Future<Output = ()>) -> bool {
        tokio::pin!(over);
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            {
                let state = self.state();
                if state.is_quiet() || state.mode == Mode::Closed {
                    return true;
                }
            }
            tokio::select! {
                () = quiet => {}
                () = &mut over => return false,
            }
        }
    }

    /// Hands back all jobs in flight. True if there were any.
    fn hand_back(&self) -> bool {
        let ended: Vec<_> = {
            let mut state = self.state();
            let slots = state.in_flight.take_all();
            slots
                .into_iter()
                .map(|(number, slot)| {
                    state.in_flight.settle(slot.end(&self.core, Ending::HandedBack));
                    (number, "closed", None)
                })
                .collect()
        };
        let left = !ended.is_empty();
        self.emit_ended(ended);
        left
    }
}
