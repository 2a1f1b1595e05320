//! A worker: claims jobs for a processor in JavaScript, renews its lease, and settles the jobs with their outcomes.
//!
//! One state under one lock holds everything ([`state::WorkerState`]). A caller changes the state and then calls [`Inner::pump`].
//! It sends a step if there is something to settle or to claim and no step is on its way. JavaScript's thread calls it when it
//! settles a job, which saves a change of threads. The I/O thread calls it after an answer, a wake-up or a timer. While a step is
//! on its way, outcomes collect. So the faster jobs end, the more of them one script settles.
//!
//! | file | what |
//! |---|---|
//! | `slot` | a job in flight, and its outcome |
//! | `state/` | the state of a worker: its lease, its jobs in flight, its next step |
//! | `step` | the call and the answer of the script of a step |
//! | `serving` | sending steps, and their answers |
//! | `lease` | the lease: start, renewal, loss |
//! | `clock` | the one task with timers |
//! | `watch` | one common check of all quiet queues of a manager |
//! | `sweeper` | recovering the jobs of workers whose leases have ended |
//! | `parents` | checking parents with children in other queues, because updates may have been lost |
//! | `registered` | a worker that is in a registry, and the crashes that the registry reports |
//! | `closing` | pausing and closing |
//! | `verbs` | the verbs that JavaScript calls |

mod clock;
mod closing;
mod lease;
mod parents;
mod registered;
mod serving;
mod slot;
mod state;
mod step;
mod sweeper;
mod verbs;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;

use super::options::WorkerOptions;
use super::{Core, Queue, failure, fresh_owner};
use crate::crossing::codes::{ENDED_VALUES, REFUSED_VALUES, WorkerDelivery};
use crate::crossing::{Outcome, Outlet};
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::options::Options;
use crate::sync::{Mutex, MutexGuard};
use state::{Mode, WorkerState};

pub(super) use serving::after;
#[cfg(fuzzing)]
pub(super) use slot::end_in_every_way;

/// The longest time between renewals. A renewal also makes up for a missed wake-up.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The longest time between renewals of a worker whose queue `watch` checks.
const RENEW_WATCHED_EVERY: Duration = Duration::from_mins(2);
/// How long after a renewal the server counts a worker as waiting for jobs, and how long a resting worker.
const IDLE_FOR: Duration = Duration::from_secs(16);
const IDLE_FOR_AT_REST: Duration = Duration::from_mins(5);
/// The most outcomes in one step, and the most jobs that it claims. A script blocks the server, and Lua passes at most a few
/// thousand values to one command.
const MOST_OUTCOMES: usize = 125;
const MOST_CLAIMS: usize = 125;

/// The start of a delivery to JavaScript; the values follow.
fn delivery_of(what: WorkerDelivery) -> Vec<Outcome> {
    vec![Outcome::Number(f64::from(what as u32))]
}

/// A worker. When it is dropped, it hands back its jobs in flight.
#[derive(Debug)]
pub struct Worker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    options: WorkerOptions,
    outlet: Outlet,
    state: Mutex<WorkerState>,
    /// Wakes the clock.
    nudge: Notify,
    /// Notified when no job is in flight any more.
    quiet: Notify,
    closing: closing::Closing,
}

impl Worker {
    /// A worker on `queue`. It claims no jobs before `run`.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(queue: &Queue, options: Options, outlet: Outlet) -> Result<Self> {
        let options = WorkerOptions::read(options)?;
        let core = Arc::clone(&queue.core);
        let state = Mutex::new(WorkerState::new(fresh_owner(), Instant::now()));
        Ok(Self(Arc::new(Inner {
            core,
            options,
            outlet,
            state,
            nudge: Notify::new(),
            quiet: Notify::new(),
            closing: closing::Closing::default(),
        })))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let inner = Arc::clone(&self.0);
        lifecycle::spawn(async move { inner.close(Duration::ZERO).await });
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, WorkerState> {
        self.state.lock()
    }

    /// The time from one renewal to the next. It is random, so that the workers of a fleet do not all renew at the same time.
    fn renewal_interval(&self) -> Duration {
        (self.options.lease / 3).min(RENEW_EVERY).mul_f64(0.8 + 0.2 * fastrand::f64())
    }

    /// The time from now to the next renewal.
    fn next_renewal(&self, watched: bool) -> Duration {
        if watched { RENEW_WATCHED_EVERY.mul_f64(0.8 + 0.2 * fastrand::f64()) } else { self.renewal_interval() }
    }

    /// How long the server counts the worker as waiting for jobs.
    fn idle_for(state: &WorkerState) -> Duration {
        if state.lease.is_resting() { IDLE_FOR_AT_REST } else { IDLE_FOR }
    }

    /// Tells JavaScript that slots have ended.
    fn emit_ended(&self, ended: impl IntoIterator<Item = (u64, &'static str, Option<Bytes>)>) {
        let mut values = delivery_of(WorkerDelivery::Ended);
        for (slot, why, text) in ended {
            let ended: [Outcome; ENDED_VALUES as usize] = [
                Outcome::Number(slot as f64),
                Outcome::Text(Bytes::from_static(why.as_bytes())),
                text.map_or(Outcome::Null, Outcome::Text),
            ];
            values.extend(ended);
        }
        if values.len() > 1 {
            self.outlet.deliver(values);
        }
    }

    /// Tells JavaScript which jobs had their outcome refused.
    fn emit_refused(&self, refused: Vec<Bytes>) {
        if refused.is_empty() {
            return;
        }
        let why = Bytes::from_static(b"the job's lease was lost before it was settled");
        let mut values = delivery_of(WorkerDelivery::Refused);
        for id in refused {
            let refused: [Outcome; REFUSED_VALUES as usize] = [Outcome::Text(id), Outcome::Text(why.clone())];
            values.extend(refused);
        }
        self.outlet.deliver(values);
    }

    fn emit(&self, event: &str) {
        self.outlet.emit(json!({ "event": event }).to_string());
    }

    fn emit_error(&self, error: &Error) {
        self.outlet.emit(json!({ "event": "error", "error": failure(error) }).to_string());
    }

    /// Wakes the clock if something is due before the end of its sleep.
    fn rearm(&self, state: &WorkerState) {
        let next = state.next_alarm(self.has_room(state));
        if next.is_some_and(|next| state.alarms.is_earlier(next)) {
            self.nudge.notify_one();
        }
    }

    fn has_room(&self, state: &WorkerState) -> bool {
        state.mode == Mode::Running && state.in_flight.room(self.options.concurrency) > 0
    }
}
