//! Sending turns, and what is made of their answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::shift::Shift;
use super::slot::{Ending, Outgoing, Slot};
use super::turn::{self, Claimed, Turned};
use super::{Inner, MOST_CLAIMS, MOST_OUTCOMES, delivery_of};
use crate::connection::{Cursor, Sink};
use crate::crossing::Outcome;
use crate::crossing::codes::{CLAIMED_VALUES, WorkerDelivery};
use crate::error::{Delivery, Error, Result};
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::outbox::see_to_messages;
use crate::queue::record::{Progressed, State, Stored};
use crate::queue::scripts::{self, array, bytes, operation, plain};
use crate::queue::snapshot::options_of;
use crate::resp::Reply;

/// A turn that is on its way.
struct Sent {
    term: u64,
    at: Instant,
    /// Does what it claims begin a lease?
    begins: bool,
    lease: String,
    wanted: usize,
    outgoing: Vec<Outgoing>,
}

impl Inner {
    /// Sends a turn, if there is something to settle or to claim and none is on its way.
    pub(super) fn pump(self: &Arc<Self>) {
        let (command, sent) = {
            let mut shift = self.shift();
            let now = Instant::now();
            if !shift.lease.is_begun() || !shift.claiming.may_send(now) {
                return;
            }
            if shift.claiming.is_unsure() {
                shift.claiming.depart();
                drop(shift);
                return self.ask_what_is_held();
            }
            let wanted = shift.wanted(self.options.concurrency, now).min(MOST_CLAIMS);
            if wanted == 0 && !shift.hand.has_outcomes() {
                return self.rearm(&shift);
            }
            let outgoing = shift.hand.take_outcomes(MOST_OUTCOMES);
            let claim = shift.claiming.claim();
            shift.alarms.depart(now);
            let lease = format!("{}.{claim}", shift.lease.owner());
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or_default();
            let (believed, begins) = (millis(Self::believed(&shift)), shift.lease.is_resting());
            let begins_ms = if begins { millis(self.options.lease) } else { 0 };
            let owner = shift.lease.owner();
            let command = turn::pack(&self.core, &self.options, owner, &lease, wanted, believed, begins_ms, &outgoing);
            (command, Sent { term: shift.lease.term(), at: now, begins, lease, wanted, outgoing })
        };
        let worker = Arc::clone(self);
        self.core.manager.submit(
            command,
            Sink::then(move |reply| match reply.and_then(turn::read) {
                Ok(Some(turned)) => worker.turned(sent, turned),
                Ok(None) => worker.lease_is_gone(sent.term, sent.outgoing),
                Err(error) => {
                    worker.core.failed(&error);
                    worker.turn_failed(sent, &error);
                }
            }),
        );
        self.core.manager.keeps();
    }

    fn turned(self: &Arc<Self>, sent: Sent, turned: Turned) {
        let Turned { now: server_now, refused, claimed, due_in, limited_for, messages, more, held } = turned;
        let refused =
            refused.into_iter().filter_map(|at| sent.outgoing.get(at)).map(|outcome| outcome.id.clone()).collect();
        let unknown = {
            let mut shift = self.shift();
            if shift.lease.term() != sent.term {
                // What it claimed is held by an owner whom nobody renews: it is given away when that lease ends.
                return;
            }
            let now = Instant::now();
            let wakes = sent.begins && !claimed.is_empty();
            if wakes && now >= sent.at + self.options.lease {
                drop(shift);
                return self.lease_is_gone(sent.term, sent.outgoing);
            }
            if wakes {
                shift.lease.wake(sent.at, self.renewal_interval());
            }
            let woken = shift.claiming.land();
            shift.claiming.succeeded();
            if sent.wanted > 0 {
                let short = claimed.len() < sent.wanted;
                shift.claiming.answered(short, woken || more, limited_for.is_some());
                shift.alarms.due(due_in.map(|ms| after(now, ms)));
                shift.alarms.limit(limited_for.map(|ms| after(now, ms)));
            }
            let metrics = self.core.manager.metrics();
            metrics.queue_claimed.add(claimed.len() as u64);
            let completed = sent.outgoing.iter().filter(|outcome| matches!(outcome.what, "c" | "C")).count();
            metrics.queue_completed.add(completed as u64);
            let lease = Bytes::from(sent.lease);
            self.take_in_hand(&mut shift, claimed, &lease, server_now);
            shift.compare_with(held);
            if shift.claiming.is_idle() && shift.is_quiet() && shift.hand.tells_idle() {
                self.tell("idle");
            }
            self.after_turn(&mut shift);
            wakes && shift.registration.is_some()
        };
        if unknown {
            // Whose lease it is.
            self.renew(false);
        }
        self.tell_refused(refused);
        see_to_messages(&self.core, messages);
        self.pump();
    }

    /// Takes claimed jobs in hand and hands them to JavaScript.
    fn take_in_hand(&self, shift: &mut Shift, claimed: Vec<Claimed>, lease: &Bytes, now: u64) {
        let mut values = delivery_of(WorkerDelivery::Jobs);
        values.reserve(claimed.len() * CLAIMED_VALUES as usize);
        for Claimed { id, stored, progressed, noted } in claimed {
            let made = stored.and_then(|stored| {
                let slot = Slot::new(id.clone(), lease.clone(), &stored, &progressed)?;
                Ok((slot, stored))
            });
            match made {
                Ok((slot, stored)) => {
                    let number = shift.hand.hold(slot);
                    deliver(&mut values, number, id, stored, &progressed, now, noted);
                }
                Err(error) => {
                    let slot = Slot::damaged(id, lease.clone(), &progressed);
                    let reason = format!("{}: {}", error.kind().name(), error.message());
                    shift.hand.settle(slot.end(&self.core, Ending::Failed { reason, stack: None, for_good: true }));
                    self.tell_error(&error);
                }
            }
        }
        if values.len() > 1 {
            self.outlet.deliver(values);
        }
    }

    /// Tells those who wait for it where nothing is in hand.
    pub(super) fn after_turn(&self, shift: &mut Shift) {
        if shift.is_quiet() {
            for answer in shift.pausing.drain(..) {
                answer.give(Ok(Outcome::Nothing));
            }
            self.quiet.notify_waiters();
        }
        self.rearm(shift);
    }

    fn turn_failed(self: &Arc<Self>, sent: Sent, error: &Error) {
        {
            let mut shift = self.shift();
            if shift.lease.term() != sent.term {
                return;
            }
            shift.claiming.land();
            if sent.begins && error.delivery() == Delivery::MaybeExecuted {
                shift.lease.wake(sent.at, self.renewal_interval());
            }
            // It may have been executed: what is held tells, before anything is sent again.
            shift.claiming.doubt();
            shift.hand.put_back(sent.outgoing);
            shift.claiming.failed();
            self.rearm(&shift);
        }
        self.tell_error(error);
    }

    /// After a turn whose outcome is unknown: the server is asked which jobs this worker holds.
    fn ask_what_is_held(self: &Arc<Self>) {
        let (worker, (term, owner)) = (Arc::clone(self), {
            let shift = self.shift();
            (shift.lease.term(), shift.lease.owner().to_owned())
        });
        lifecycle::spawn(async move {
            let held = worker.held_by(&owner).await;
            worker.held_is_known(term, &owner, held);
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
                self.core.call_located(command.runs_reading(*operation::TURN, &scripts::HELD)).await?;
            let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
            let next_page = parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)?;
            let mut next = || Some((parts.next()?, parts.next()?, parts.next()?, parts.next()?));
            while let Some((Reply::Bulk(id), body, record, noted)) = next() {
                if seen.insert(id.clone()) {
                    held.push(Held {
                        id,
                        noted: bytes(noted).unwrap_or_default(),
                        stored: Stored::read(&bytes(body).unwrap_or_default()),
                        progressed: Progressed::read(bytes(record).as_ref()),
                    });
                }
            }
            if !cursor.advance(origin, next_page) {
                return Ok(held);
            }
        }
    }

    fn held_is_known(self: &Arc<Self>, term: u64, owner: &str, held: Result<Vec<Held>>) {
        let mut ended = Vec::new();
        {
            let mut shift = self.shift();
            if shift.lease.term() != term {
                return;
            }
            shift.claiming.land();
            if let Ok(held) = held {
                let count = held.len() as u64;
                let leases: HashSet<_> = held.iter().map(|held| (held.id.clone(), fence_of(held))).collect();
                // What the server does not hold for us any more was settled, or is not ours to settle.
                shift.hand.retain_outcomes(|outcome| leases.contains(&(outcome.id.clone(), outcome.fence.clone())));
                // Nor is a claim ours that was lost with a master: somebody else will have it.
                let is_lost = |slot: &Slot| !leases.contains(&(slot.id.clone(), slot.fence()));
                let lost: Vec<_> =
                    shift.hand.slots().filter(|(_, slot)| is_lost(slot)).map(|(number, _)| number).collect();
                for number in lost {
                    shift.hand.take(number);
                    ended.push((number, "lease-lost", None));
                }
                for job in held {
                    self.adopt(&mut shift, owner, job);
                }
                let difference = shift.hand.difference_from(count);
                shift.claiming.is_known(difference);
                shift.claiming.look();
            } else {
                shift.claiming.failed();
            }
            self.after_turn(&mut shift);
        }
        self.core.manager.metrics().queue_leases_lost.add(ended.len() as u64);
        self.tell_ended(ended);
        self.pump();
    }

    /// Takes a job in hand that was claimed by a turn whose answer was lost.
    fn adopt(&self, shift: &mut Shift, owner: &str, held: Held) {
        let Held { id, stored, progressed, noted } = held;
        let Ok(progressed) = progressed else { return };
        let ours = progressed.state == State::Active && progressed.lease.starts_with(owner.as_bytes());
        let known = shift.hand.slots().any(|(_, slot)| slot.id == id && slot.lease == progressed.lease)
            || shift.hand.outcomes().iter().any(|outcome| outcome.id == id);
        if ours && !known {
            let (lease, started) = (progressed.lease.clone(), progressed.started);
            self.take_in_hand(shift, vec![Claimed { id, stored, progressed, noted }], &lease, started);
        }
    }
}

/// A job that the server says a worker holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: Bytes,
    pub(super) stored: Result<Stored>,
    pub(super) progressed: Result<Progressed>,
    /// Its progress; empty where nothing was noted.
    pub(super) noted: Bytes,
}

fn fence_of(held: &Held) -> String {
    held.progressed
        .as_ref()
        .map_or_else(|_| String::new(), |progressed| format!("a|{}|", String::from_utf8_lossy(&progressed.lease)))
}

/// The values of a job for JavaScript.
fn deliver(
    values: &mut Vec<Outcome>,
    slot: u64,
    id: Bytes,
    stored: Stored,
    progressed: &Progressed,
    now: u64,
    noted: Bytes,
) {
    let job: [Outcome; CLAIMED_VALUES as usize] = [
        Outcome::Number(slot as f64),
        Outcome::Text(id),
        Outcome::Text(stored.name),
        Outcome::Text(stored.data),
        options_of(&stored.options, progressed.priority),
        Outcome::Number(progressed.attempts as f64),
        Outcome::Number(stored.added as f64),
        Outcome::Number(now as f64),
        Outcome::Number(progressed.stalls as f64),
        if noted.is_empty() { Outcome::Null } else { Outcome::Text(noted) },
    ];
    values.extend(job);
}

/// So many milliseconds after `now`, a day at most: then the server is asked again.
pub(in crate::queue) fn after(now: Instant, ms: u64) -> Instant {
    now + Duration::from_millis(ms).min(Duration::from_hours(24))
}
