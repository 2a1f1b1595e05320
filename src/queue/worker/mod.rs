//! A worker: claims jobs for a processor in JavaScript, keeps its lease, settles what the processor made of them.
//!
//! All of it is one state under one lock ([`shift::Shift`]). Whoever has news changes it and then calls
//! [`Inner::pump`], which sends a turn if there is one to send and none is on its way: JavaScript's thread does so when it
//! settles a job, so that a job costs no thread a detour; the I/O thread when an answer, a wake-up or a timer comes. While
//! a turn is on its way outcomes collect, so the faster jobs end, the more of them one script settles.
//!
//! | file | what |
//! |---|---|
//! | `slot` | a job in hand, and what becomes of it |
//! | `shift/` | what a worker has in hand and is about to do |
//! | `turn` | what the script of a turn is asked and answers |
//! | `serving` | sending turns, and their answers |
//! | `lease` | the lease: begin, renewal, loss |
//! | `clock` | the one task with timers |
//! | `watch` | the look at all quiet queues of a manager |
//! | `sweeper` | giving away the jobs of workers that are gone |
//! | `parents` | asking for children in other queues whose news were lost |
//! | `registered` | a worker that is in a registry, and the crashes that one reports |
//! | `closing` | pausing and closing |
//! | `verbs` | what JavaScript calls |

mod clock;
mod closing;
mod lease;
mod parents;
mod registered;
mod serving;
mod shift;
mod slot;
mod sweeper;
mod turn;
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
use shift::{Mode, Shift};

pub(super) use serving::after;
#[cfg(fuzzing)]
pub(super) use slot::end_in_every_way;

/// The longest time between renewals: they also look whether a wake-up was missed.
const LOOK: Duration = Duration::from_secs(5);
/// The same where the look at all quiet queues of the manager is for this one too.
const RARELY: Duration = Duration::from_mins(2);
/// For how long others believe that a worker waits for jobs, and one that rests.
const BELIEVED: Duration = Duration::from_secs(16);
const BELIEVED_AT_REST: Duration = Duration::from_mins(5);
/// Outcomes in one turn at most, and jobs that it claims: a script holds up everybody else, and Lua hands some thousands of values to a
/// command, and no more.
const MOST_OUTCOMES: usize = 125;
const MOST_CLAIMS: usize = 125;

/// A delivery without its values.
fn delivery_of(what: WorkerDelivery) -> Vec<Outcome> {
    vec![Outcome::Number(f64::from(what as u32))]
}

/// A worker. Dropped, it hands back what it has in hand.
#[derive(Debug)]
pub struct Worker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    options: WorkerOptions,
    outlet: Outlet,
    shift: Mutex<Shift>,
    /// Wakes the clock.
    nudge: Notify,
    /// Told whenever nothing is in hand any more.
    quiet: Notify,
    closing: closing::Closing,
}

impl Worker {
    /// On `queue`; it does nothing until it is run.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(queue: &Queue, options: Options, outlet: Outlet) -> Result<Self> {
        let options = WorkerOptions::read(options)?;
        let core = Arc::clone(&queue.core);
        let shift = Mutex::new(Shift::new(fresh_owner(), Instant::now()));
        Ok(Self(Arc::new(Inner {
            core,
            options,
            outlet,
            shift,
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
    fn shift(&self) -> MutexGuard<'_, Shift> {
        self.shift.lock()
    }

    /// How long from one renewal to the next; not the same for all, so that a fleet does not renew at once.
    fn renewal_interval(&self) -> Duration {
        (self.options.lease / 3).min(LOOK).mul_f64(0.8 + 0.2 * fastrand::f64())
    }

    /// How long from now to the next renewal.
    fn next_renewal(&self, watched: bool) -> Duration {
        if watched { RARELY.mul_f64(0.8 + 0.2 * fastrand::f64()) } else { self.renewal_interval() }
    }

    /// For how long others are to believe that it waits for jobs.
    fn believed(shift: &Shift) -> Duration {
        if shift.lease.is_resting() { BELIEVED_AT_REST } else { BELIEVED }
    }

    /// Tells JavaScript that slots have ended.
    fn tell_ended(&self, ended: impl IntoIterator<Item = (u64, &'static str, Option<Bytes>)>) {
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

    /// Tells JavaScript of jobs whose outcome was refused.
    fn tell_refused(&self, refused: Vec<Bytes>) {
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

    fn tell(&self, event: &str) {
        self.outlet.tell(json!({ "event": event }).to_string());
    }

    fn tell_error(&self, error: &Error) {
        self.outlet.tell(json!({ "event": "error", "error": failure(error) }).to_string());
    }

    /// Has the clock look again if something is due before it would.
    fn rearm(&self, shift: &Shift) {
        let next = shift.next_alarm(self.has_room(shift));
        if next.is_some_and(|next| shift.alarms.is_earlier(next)) {
            self.nudge.notify_one();
        }
    }

    fn has_room(&self, shift: &Shift) -> bool {
        shift.mode == Mode::Running && shift.hand.room(self.options.concurrency) > 0
    }
}
