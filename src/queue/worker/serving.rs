//! Sending steps, and applying their answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::slot::{Ending, Outgoing, Slot};
use super::state::WorkerState;
use super::step::{self, Claimed, StepResult};
use super::{Inner, MOST_CLAIMS, MOST_OUTCOMES, delivery_of};
use crate::connection::{Cursor, Sink};
use crate::crossing::Outcome;
use crate::crossing::codes::{CLAIMED_VALUES, WorkerDelivery};
use crate::error::{Delivery, Error, Result};
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::outbox::deliver_messages;
use crate::queue::record::{JobRecord, RunRecord, State};
use crate::queue::scripts::{self, array, bytes, operation, plain};
use crate::queue::snapshot::options_of;
use crate::resp::Reply;

/// A step that is on its way.
struct Sent {
    term: u64,
    at: Instant,
    /// True if a claim starts the lease.
    begins: bool,
    lease: String,
    wanted: usize,
    outgoing: Vec<Outgoing>,
}

impl Inner {
    /// Sends a step, if there is something to settle or to claim and no step is on its way.
    pub(super) fn pump(self: &Arc<Self>) {
        let (command, sent) = {
            let mut state = self.state();
            let now = Instant::now();
            if !state.lease.is_begun() || !state.claiming.may_send(now) {
                return;
            }
            if state.claiming.is_unsure() {
                state.claiming.request_sent();
                drop(state);
                return self.request_held_jobs();
            }
            let wanted = state.wanted(self.options.concurrency, now).min(MOST_CLAIMS);
            if wanted == 0 && !state.in_flight.has_outcomes() {
                return self.rearm(&state);
            }
            let outgoing = state.in_flight.take_outcomes(MOST_OUTCOMES);
            let claim = state.claiming.claim();
            state.alarms.step_sent(now);
            let lease = format!("{}.{claim}", state.lease.owner());
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or_default();
            let (idle_for, begins) = (millis(Self::idle_for(&state)), state.lease.is_resting());
            let lease_ms = if begins { millis(self.options.lease) } else { 0 };
            let owner = state.lease.owner();
            let command = step::pack(&self.core, &self.options, owner, &lease, wanted, idle_for, lease_ms, &outgoing);
            (command, Sent { term: state.lease.term(), at: now, begins, lease, wanted, outgoing })
        };
        let worker = Arc::clone(self);
        self.core.manager.submit(
            command,
            Sink::then(move |reply| match reply.and_then(step::read) {
                Ok(Some(result)) => worker.step_done(sent, result),
                Ok(None) => worker.lease_is_gone(sent.term, sent.outgoing),
                Err(error) => {
                    worker.core.failed(&error);
                    worker.step_failed(sent, &error);
                }
            }),
        );
        self.core.manager.keeps();
    }

    fn step_done(self: &Arc<Self>, sent: Sent, result: StepResult) {
        let StepResult { now: server_now, refused, claimed, due_in, limited_for, messages, more, held } = result;
        let refused =
            refused.into_iter().filter_map(|at| sent.outgoing.get(at)).map(|outcome| outcome.id.clone()).collect();
        let unknown = {
            let mut state = self.state();
            if state.lease.term() != sent.term {
                // The step claimed jobs under the old lease, which is not renewed. They are recovered when it ends.
                return;
            }
            let now = Instant::now();
            let wakes = sent.begins && !claimed.is_empty();
            if wakes && now >= sent.at + self.options.lease {
                drop(state);
                return self.lease_is_gone(sent.term, sent.outgoing);
            }
            if wakes {
                state.lease.wake(sent.at, self.renewal_interval());
            }
            let woken = state.claiming.request_done();
            state.claiming.succeeded();
            if sent.wanted > 0 {
                let short = claimed.len() < sent.wanted;
                state.claiming.claimed(short, woken || more, limited_for.is_some());
                state.alarms.due(due_in.map(|ms| after(now, ms)));
                state.alarms.limit(limited_for.map(|ms| after(now, ms)));
            }
            let metrics = self.core.manager.metrics();
            metrics.queue_claimed.add(claimed.len() as u64);
            let completed = sent.outgoing.iter().filter(|outcome| matches!(outcome.kind, "c" | "C")).count();
            metrics.queue_completed.add(completed as u64);
            let lease = Bytes::from(sent.lease);
            self.start_jobs(&mut state, claimed, &lease, server_now);
            state.compare_with(held);
            if state.claiming.is_idle() && state.is_quiet() && state.in_flight.emits_idle() {
                self.emit("idle");
            }
            self.after_step(&mut state);
            wakes && state.registration.is_some()
        };
        if unknown {
            // The step started a new lease. The renewal stores the registration next to it.
            self.renew(false);
        }
        self.emit_refused(refused);
        deliver_messages(&self.core, messages);
        self.pump();
    }

    /// Passes claimed jobs to JavaScript.
    fn start_jobs(&self, state: &mut WorkerState, claimed: Vec<Claimed>, lease: &Bytes, now: u64) {
        let mut values = delivery_of(WorkerDelivery::Jobs);
        values.reserve(claimed.len() * CLAIMED_VALUES as usize);
        for Claimed { id, stored, run, progress } in claimed {
            let made = stored.and_then(|stored| {
                let slot = Slot::new(id.clone(), lease.clone(), &stored, &run)?;
                Ok((slot, stored))
            });
            match made {
                Ok((slot, stored)) => {
                    let number = state.in_flight.hold(slot);
                    deliver(&mut values, number, id, stored, &run, now, progress);
                }
                Err(error) => {
                    let slot = Slot::damaged(id, lease.clone(), &run);
                    let reason = format!("{}: {}", error.kind().name(), error.message());
                    state
                        .in_flight
                        .settle(slot.end(&self.core, Ending::Failed { reason, stack: None, for_good: true }));
                    self.emit_error(&error);
                }
            }
        }
        if values.len() > 1 {
            self.outlet.deliver(values);
        }
    }

    /// Notifies the callers that wait until no job is in flight.
    pub(super) fn after_step(&self, state: &mut WorkerState) {
        if state.is_quiet() {
            for answer in state.pausing.drain(..) {
                answer.give(Ok(Outcome::Nothing));
            }
            self.quiet.notify_waiters();
        }
        self.rearm(state);
    }

    fn step_failed(self: &Arc<Self>, sent: Sent, error: &Error) {
        {
            let mut state = self.state();
            if state.lease.term() != sent.term {
                return;
            }
            state.claiming.request_done();
            if sent.begins && error.delivery() == Delivery::MaybeExecuted {
                state.lease.wake(sent.at, self.renewal_interval());
            }
            // The step may have been executed. Before the next step the server is asked which jobs this worker holds.
            state.claiming.mark_unsure();
            state.in_flight.put_back(sent.outgoing);
            state.claiming.failed();
            self.rearm(&state);
        }
        self.emit_error(error);
    }

    /// Asks the server which jobs this worker holds, after a step whose outcome is unknown.
    fn request_held_jobs(self: &Arc<Self>) {
        let (worker, (term, owner)) = (Arc::clone(self), {
            let state = self.state();
            (state.lease.term(), state.lease.owner().to_owned())
        });
        lifecycle::spawn(async move {
            let held = worker.held_by(&owner).await;
            worker.reconcile_held(term, &owner, held);
        });
    }

    /// The jobs that `owner` holds.
    pub(super) async fn held_by(&self, owner: &str) -> Result<Vec<Held>> {
        let [jobs, run, more] = self.core.keys.keys([Part::Jobs, Part::Run, Part::More]);
        let held_key = self.core.keys.held(owner);
        let keys = [&held_key, jobs, run, more];
        let mut held = Vec::new();
        let mut seen = HashSet::new();
        let mut cursor = Cursor::default();
        loop {
            let command = plain(&scripts::HELD, &keys, &[cursor.word()]);
            let (reply, origin) =
                self.core.call_located(command.runs_repeatable(*operation::STEP, &scripts::HELD)).await?;
            let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
            let next_page = parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)?;
            let mut next = || Some((parts.next()?, parts.next()?, parts.next()?, parts.next()?));
            while let Some((Reply::Bulk(id), body, record, progress)) = next() {
                if seen.insert(id.clone()) {
                    held.push(Held {
                        id,
                        progress: bytes(progress).unwrap_or_default(),
                        stored: JobRecord::read(&bytes(body).unwrap_or_default()),
                        run: RunRecord::read(bytes(record).as_ref()),
                    });
                }
            }
            if !cursor.advance(origin, next_page) {
                return Ok(held);
            }
        }
    }

    fn reconcile_held(self: &Arc<Self>, term: u64, owner: &str, held: Result<Vec<Held>>) {
        let mut ended = Vec::new();
        {
            let mut state = self.state();
            if state.lease.term() != term {
                return;
            }
            state.claiming.request_done();
            if let Ok(held) = held {
                let count = held.len() as u64;
                let leases: HashSet<_> = held.iter().map(|held| (held.id.clone(), fence_of(held))).collect();
                // A job that the server no longer lists for this worker was settled, or belongs to another worker.
                state
                    .in_flight
                    .retain_outcomes(|outcome| leases.contains(&(outcome.id.clone(), outcome.fence.clone())));
                // A failover can lose a claim. Such a job is no longer this worker's.
                let is_lost = |slot: &Slot| !leases.contains(&(slot.id.clone(), slot.fence()));
                let lost: Vec<_> =
                    state.in_flight.slots().filter(|(_, slot)| is_lost(slot)).map(|(number, _)| number).collect();
                for number in lost {
                    state.in_flight.take(number);
                    ended.push((number, "lease-lost", None));
                }
                for job in held {
                    self.adopt(&mut state, owner, job);
                }
                let difference = state.in_flight.difference_from(count);
                state.claiming.is_known(difference);
                state.claiming.want_jobs();
            } else {
                state.claiming.failed();
            }
            self.after_step(&mut state);
        }
        self.core.manager.metrics().queue_leases_lost.add(ended.len() as u64);
        self.emit_ended(ended);
        self.pump();
    }

    /// Starts a job that was claimed by a step whose answer did not arrive.
    fn adopt(&self, state: &mut WorkerState, owner: &str, held: Held) {
        let Held { id, stored, run, progress } = held;
        let Ok(run) = run else { return };
        let ours = run.state == State::Active && run.lease.starts_with(owner.as_bytes());
        let known = state.in_flight.slots().any(|(_, slot)| slot.id == id && slot.lease == run.lease)
            || state.in_flight.outcomes().iter().any(|outcome| outcome.id == id);
        if ours && !known {
            let (lease, started) = (run.lease.clone(), run.started);
            self.start_jobs(state, vec![Claimed { id, stored, run, progress }], &lease, started);
        }
    }
}

/// A job that a worker holds, according to the server.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: Bytes,
    pub(super) stored: Result<JobRecord>,
    pub(super) run: Result<RunRecord>,
    /// The job's progress; empty if there is none.
    pub(super) progress: Bytes,
}

fn fence_of(held: &Held) -> String {
    held.run.as_ref().map_or_else(|_| String::new(), |run| format!("a|{}|", String::from_utf8_lossy(&run.lease)))
}

/// Appends the values of a job for JavaScript.
fn deliver(
    values: &mut Vec<Outcome>,
    slot: u64,
    id: Bytes,
    stored: JobRecord,
    run: &RunRecord,
    now: u64,
    progress: Bytes,
) {
    let job: [Outcome; CLAIMED_VALUES as usize] = [
        Outcome::Number(slot as f64),
        Outcome::Text(id),
        Outcome::Text(stored.name),
        Outcome::Text(stored.data),
        options_of(&stored.options, run.priority),
        Outcome::Number(run.attempts as f64),
        Outcome::Number(stored.added as f64),
        Outcome::Number(now as f64),
        Outcome::Number(run.stalls as f64),
        if progress.is_empty() { Outcome::Null } else { Outcome::Text(progress) },
    ];
    values.extend(job);
}

/// The time `ms` after `now`, at most a day later. The server is asked again then.
pub(in crate::queue) fn after(now: Instant, ms: u64) -> Instant {
    now + Duration::from_millis(ms).min(Duration::from_hours(24))
}
