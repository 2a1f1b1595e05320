//! Pausing and closing a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::Inner;
use super::shift::Mode;
use super::slot::Ending;
use crate::crossing::Answer;
use crate::keys::queue::Part;
use crate::queue::scripts::{self, operation, plain};

/// For telling the server what has become of the jobs, after the time that they are given: who asks for an end is not held up by a server that is away.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What closing came to, once it has: all calls share one.
#[derive(Debug, Default)]
pub(super) struct Closing(Mutex<Option<bool>>);

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

    /// Claims nothing any more and waits until nothing is in hand, for at most `grace`; what is left then is handed back.
    /// False where something was.
    pub(super) async fn close(self: &Arc<Self>, grace: Duration) -> bool {
        let mut outcome = self.closing.0.lock().await;
        if let Some(finished) = *outcome {
            return finished;
        }
        let finished = self.shut_down(grace).await;
        *outcome = Some(finished);
        finished
    }

    async fn shut_down(self: &Arc<Self>, grace: Duration) -> bool {
        {
            let mut shift = self.shift();
            if shift.mode == Mode::Off {
                shift.mode = Mode::Closed;
            }
            if shift.mode == Mode::Closed {
                return shift.slots.is_empty();
            }
            shift.mode = Mode::Closing;
        }
        let finished = self.until_quiet(Instant::now() + grace).await;
        let left = self.hand_back();
        let end = Instant::now() + LAST_WORDS.min(self.core.manager.config().command_timeout);
        if left || !finished {
            self.pump();
            self.until_quiet(end).await;
        }
        let owner = {
            let mut shift = self.shift();
            shift.mode = Mode::Closed;
            shift.subscriptions.clear();
            shift.mourning = None;
            self.after_turn(&mut shift);
            (shift.begun || shift.renewing).then(|| shift.owner.clone())
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

    /// Waits until nothing is in hand or on its way. False when `until` comes first.
    async fn until_quiet(&self, until: Instant) -> bool {
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
            if timeout_at(until.into(), quiet).await.is_err() {
                return false;
            }
        }
    }

    /// Has everything in hand given back. True where there was something.
    fn hand_back(&self) -> bool {
        let ended: Vec<_> = {
            let mut shift = self.shift();
            let slots: Vec<_> = shift.slots.drain().collect();
            shift.deadlines.clear();
            slots
                .into_iter()
                .map(|(number, slot)| {
                    shift.outgoing.push(slot.end(&self.core, Ending::HandedBack));
                    (number, "closed", None)
                })
                .collect()
        };
        let left = !ended.is_empty();
        self.tell_ended(ended);
        left
    }
}
