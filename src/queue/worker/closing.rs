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

/// For telling the server what has become of the jobs, after the time that they are given: who asks for an end is not held up by a server that is away.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// One closing, which all calls share.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// What it came to, once it has.
    outcome: Mutex<Option<bool>>,
    /// Cancelled when the time of what is in flight is over.
    over: CancellationToken,
}

impl Inner {
    /// Claims nothing any more; the answer is given when nothing is in flight.
    pub(super) fn pause(self: &Arc<Self>, answer: Answer) {
        {
            let mut state = self.state();
            if state.mode == Mode::Running {
                state.mode = Mode::Paused;
            }
            state.pausing.push(answer);
            self.after_step(&mut state);
        }
        // Nobody wakes it for a job from then on.
        self.renew(false);
    }

    /// Claims nothing from now on, ahead of [`Inner::close`].
    pub(super) fn stop_claiming(&self) {
        let mut state = self.state();
        if matches!(state.mode, Mode::Running | Mode::Paused) {
            state.mode = Mode::Closing;
        }
    }

    /// Claims nothing any more and waits until nothing is in flight, for at most the `grace` of whichever call is over first; what is left
    /// then is handed back. False where something was.
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
        let finished = self.until_quiet(self.closing.over.cancelled()).await;
        let left = self.hand_back();
        let end = Instant::now() + LAST_WORDS.min(self.core.manager.config().command_timeout);
        if left || !finished {
            self.pump();
            self.until_quiet(sleep_until(end.into())).await;
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
            // A lease that cannot be given up now runs out by itself.
            let _ = timeout_at(end.into(), self.core.call(command)).await;
        }
        !left
    }

    /// Waits until nothing is in flight or on its way. False when `over` comes first.
    async fn until_quiet(&self, over: impl Future<Output = ()>) -> bool {
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

    /// Has everything in flight given back. True where there was something.
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
