//! Pausing and closing a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::{sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::shift::Mode;
use super::slot::Ending;
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
    /// Cancelled when the time of what is in hand is over.
    over: CancellationToken,
}

impl Inner {
    /// Claims nothing any more; the answer is given when nothing is in hand.
    pub(super) fn pause(self: &Arc<Self>, answer: Answer) {
        {
            let mut shift = self.shift();
            if shift.mode == Mode::Running {
                shift.mode = Mode::Paused;
            }
            shift.pausing.push(answer);
            self.after_turn(&mut shift);
        }
        // Nobody wakes it for a job from then on.
        self.renew(false);
    }

    /// Claims nothing from now on, ahead of [`Inner::close`].
    pub(super) fn stop_claiming(&self) {
        let mut shift = self.shift();
        if matches!(shift.mode, Mode::Running | Mode::Paused) {
            shift.mode = Mode::Closing;
        }
    }

    /// Claims nothing any more and waits until nothing is in hand, for at most the `grace` of whichever call is over first; what is left
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
            let mut shift = self.shift();
            if shift.mode == Mode::Off {
                shift.mode = Mode::Closed;
            }
            if shift.mode == Mode::Closed {
                return !shift.hand.has_jobs();
            }
            shift.mode = Mode::Closing;
        }
        let finished = self.until_quiet(self.closing.over.cancelled()).await;
        let left = self.hand_back();
        let end = Instant::now() + LAST_WORDS.min(self.core.manager.config().command_timeout);
        if left || !finished {
            self.pump();
            self.until_quiet(sleep_until(end.into())).await;
        }
        let owner = {
            let mut shift = self.shift();
            shift.mode = Mode::Closed;
            shift.subscriptions.clear();
            shift.mourning = None;
            self.after_turn(&mut shift);
            shift.lease.may_be_there().then(|| shift.lease.owner().to_owned())
        };
        self.nudge.notify_one();
        if let Some(owner) = owner {
            let [leases, idle, owners, meta] =
                self.core.keys.keys([Part::Leases, Part::Idle, Part::Owners, Part::Meta]);
            let keys = [leases, idle, &self.core.keys.held(&owner), owners, meta];
            let command = plain(&scripts::LEAVE, &keys, &[owner.as_bytes()]).runs(*operation::RENEW, &scripts::LEAVE);
            // A lease that cannot be given up now runs out by itself.
            let _ = timeout_at(end.into(), self.core.call(command)).await;
        }
        !left
    }

    /// Waits until nothing is in hand or on its way. False when `over` comes first.
    async fn until_quiet(&self, over: impl Future<Output = ()>) -> bool {
        tokio::pin!(over);
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            {
                let shift = self.shift();
                if shift.is_quiet() || shift.mode == Mode::Closed {
                    return true;
                }
            }
            tokio::select! {
                () = quiet => {}
                () = &mut over => return false,
            }
        }
    }

    /// Has everything in hand given back. True where there was something.
    fn hand_back(&self) -> bool {
        let ended: Vec<_> = {
            let mut shift = self.shift();
            let slots = shift.hand.take_all();
            slots
                .into_iter()
                .map(|(number, slot)| {
                    shift.hand.settle(slot.end(&self.core, Ending::HandedBack));
                    (number, "closed", None)
                })
                .collect()
        };
        let left = !ended.is_empty();
        self.tell_ended(ended);
        left
    }
}
