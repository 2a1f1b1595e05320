//! The lease of a worker, one for all its jobs: its start, its renewal on the I/O thread, its loss.
//!
//! The worker counts the time of its lease from when it sent a renewal. The server counts from when it ran the renewal. So the
//! lease ends for the worker before it ends for the server. After a lost lease the worker continues under another name. The
//! sweeper recovers the jobs of the old name. A worker without jobs rests: a renewal ends its lease, and the next step that
//! claims a job starts a new one.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::serving::after;
use super::slot::{Outgoing, id_text};
use super::state::{Mode, WorkerState};
use super::step::milliseconds;
use super::{Inner, watch};
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::fresh_owner;
use crate::queue::outbox;
use crate::queue::scripts::{self, array, bytes, integer, operation, plain};
use crate::resp::Reply;

const RETRY: Duration = Duration::from_millis(250);

/// The answer to a renewal.
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent of each other")]
struct Renewed {
    now: u64,
    /// False if the worker's lease had ended.
    held: bool,
    /// True if the worker rests and nothing else is in progress in the queue.
    quiet: bool,
    /// The id, the lease and the reason of each cancelled job.
    cancelled: Vec<[Bytes; 3]>,
    /// The workers whose leases have ended.
    overdue: Vec<Bytes>,
    /// When the next schedule ticks.
    tick: Option<u64>,
    /// When the next delayed job is due.
    due: Option<u64>,
    /// True if the outbox has messages.
    messages: bool,
    /// True if jobs wait.
    waits: bool,
    /// True if parents with children in other queues are to be checked.
    looks: bool,
    /// How many damaged records and keys were found since the last report.
    damaged: u64,
    /// How many jobs the server says this worker holds.
    holds: u64,
    /// The cursor of the next page of cancellations.
    cancels_at: Bytes,
}

/// A renewal that is on its way.
struct Sent {
    term: u64,
    at: Instant,
    begins: bool,
    /// How many steps had been sent; `None` if a step was on its way.
    claims: Option<u64>,
}

impl Renewed {
    fn read(reply: Reply) -> Result<Self> {
        let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
        let mut next = || parts.next().ok_or_else(Error::unexpected_reply);
        let now = milliseconds(&next()?).ok_or_else(Error::unexpected_reply)?;
        let state = integer(&next()?);
        let (held, quiet) = (matches!(state, Some(1 | 2)), state == Some(2));
        let mut flat = array(next()?).ok_or_else(Error::unexpected_reply)?.into_iter().filter_map(bytes);
        let cancelled = std::iter::from_fn(|| Some([flat.next()?, flat.next()?, flat.next()?])).collect();
        let overdue = array(next()?).ok_or_else(Error::unexpected_reply)?.into_iter().filter_map(bytes).collect();
        let (tick, due) = (milliseconds(&next()?), milliseconds(&next()?));
        let messages = integer(&next()?).is_some_and(|count| count > 0);
        let waits = integer(&next()?) == Some(1);
        let looks = integer(&next()?) == Some(1);
        let damaged = milliseconds(&next()?).unwrap_or_default();
        let holds = milliseconds(&next()?).ok_or_else(Error::unexpected_reply)?;
        let cancels_at = bytes(next()?).ok_or_else(Error::unexpected_reply)?;
        Ok(Self { now, held, quiet, cancelled, overdue, tick, due, messages, waits, looks, damaged, holds, cancels_at })
    }
}

impl Inner {
    /// Subscribes to wake-ups and starts a lease. Then the first step is sent.
    pub(super) fn begin(self: &Arc<Self>) {
        let worker = Arc::downgrade(self);
        let (term, owner) = {
            let state = self.state();
            (state.lease.term(), state.lease.owner().to_owned())
        };
        let manager = self.core.manager.clone();
        let channels = [self.core.keys.wake_all(), self.core.keys.wake(&owner)];
        lifecycle::spawn(async move {
            let mut confirmed = Vec::new();
            for name in channels {
                let listener = Arc::new(WakeUps(worker.clone()));
                let channel = Channel { kind: ChannelKind::Exact, name };
                // Without wake-ups the worker still notices jobs by its renewals, so it starts although the subscription failed.
                if let Ok(subscription) = manager.subscribe(channel, listener).await {
                    confirmed.push(subscription);
                }
            }
            let Some(worker) = worker.upgrade() else { return };
            {
                let mut state = worker.state();
                if state.lease.term() != term {
                    return;
                }
                // The subscriptions under the old name are dropped only now, so that the common channel stays subscribed.
                state.subscriptions = confirmed;
            }
            worker.renew(true);
        });
    }

    /// Renews the lease, or starts it.
    pub(super) fn renew(self: &Arc<Self>, begins: bool) {
        let (command, registration, sent) = {
            let mut state = self.state();
            if begins && state.mode.is_ending() || state.mode == Mode::Closed || !(begins || state.lease.is_begun()) {
                return;
            }
            if !state.lease.send_renewal() {
                return;
            }
            let rests = !begins && state.may_rest();
            if rests
                && state.lease.rest()
                && let Some(registration) = &mut state.registration
            {
                registration.known = false;
            }
            let held = self.core.keys.held(state.lease.owner());
            let mut keys = self.core.keys.keys(Part::RENEW).to_vec();
            keys.push(&held);
            let registration = state.registration.as_ref().filter(|known| (begins || !known.known) && !rests);
            let registration = registration.map(|registration| registration.text.clone()).unwrap_or_default();
            let lease = self.options.lease.as_millis().to_string();
            let idle_for = match state.mode {
                Mode::Running if state.claiming.is_idle() && self.has_room(&state) => {
                    Self::idle_for(&state).as_millis().to_string()
                }
                Mode::Running => "0".to_owned(),
                _ => "-1".to_owned(),
            };
            let how: &[u8] = match (begins, rests) {
                (true, _) => b"1",
                (false, true) => b"2",
                (false, false) => b"0",
            };
            let (owner, lease) = (state.lease.owner().as_bytes(), lease.as_bytes());
            let args = [owner, lease, how, idle_for.as_bytes(), registration.as_bytes(), state.lease.cancels_at()];
            let command = plain(&scripts::RENEW, &keys, &args).runs(*operation::RENEW, &scripts::RENEW);
            let claims = (!state.claiming.is_requesting()).then_some(state.claiming.claims());
            (command, registration, Sent { term: state.lease.term(), at: Instant::now(), begins, claims })
        };
        let worker = Arc::clone(self);
        self.core.manager.submit(
            command,
            Sink::then(move |reply| match reply.and_then(Renewed::read) {
                Ok(renewed) => {
                    worker.registration_is_known(sent.term, &registration);
                    worker.renewed(&sent, renewed);
                }
                Err(error) => {
                    worker.core.failed(&error);
                    worker.renewal_failed(sent.term, begins, &error);
                }
            }),
        );
    }

    fn renewed(self: &Arc<Self>, sent: &Sent, mut renewed: Renewed) {
        let (cancelled, starts_watch) = {
            let mut state = self.state();
            if state.lease.term() != sent.term {
                return;
            }
            if !renewed.held {
                drop(state);
                return self.lease_is_gone(sent.term, Vec::new());
            }
            let starts_watch = self.apply_renewal(&mut state, sent, &renewed);
            let cancelled = apply_cancellations(&mut state, std::mem::take(&mut renewed.cancelled));
            self.rearm(&state);
            (cancelled, starts_watch)
        };
        if starts_watch {
            watch::begin(self);
        }
        self.emit_ended(cancelled);
        self.maintain_queue(&renewed);
        self.pump();
    }

    /// Updates the lease and the alarms after a renewal. True if `watch` checks the queue from now on.
    fn apply_renewal(&self, state: &mut WorkerState, sent: &Sent, renewed: &Renewed) -> bool {
        let now = Instant::now();
        let next = |watched| now + self.next_renewal(watched);
        let starts_watch = state.lease.renewed(sent.at, renewed.quiet, renewed.cancels_at.clone(), next);
        let at = |ms: u64| after(now, ms.saturating_sub(renewed.now));
        state.alarms.due(renewed.due.map(at));
        state.alarms.tick(renewed.tick.map(at));
        if sent.claims == Some(state.claiming.claims()) && !state.claiming.is_requesting() {
            state.compare_with(renewed.holds);
        }
        if sent.begins || renewed.waits && !state.alarms.has_limit() {
            state.claiming.want_jobs();
        }
        starts_watch
    }

    /// Does the maintenance of the queue that a renewal found necessary. Any worker may do it.
    fn maintain_queue(self: &Arc<Self>, renewed: &Renewed) {
        self.sweep(&renewed.overdue);
        if renewed.messages {
            let worker = Arc::downgrade(self);
            outbox::spawn_delivery_reporting(Arc::clone(&self.core), move |error| {
                if let Some(worker) = worker.upgrade() {
                    worker.emit_error(error);
                }
            });
        }
        if renewed.damaged > 0 {
            self.core.manager.metrics().queue_damaged.add(renewed.damaged);
            let said = format!("the queue had {} damaged records or keys, which are ignored now", renewed.damaged);
            self.emit_error(&Error::new(ErrorKind::Serialization, said));
        }
        if renewed.looks {
            self.check_parents();
        }
    }

    fn renewal_failed(self: &Arc<Self>, term: u64, begins: bool, error: &Error) {
        {
            let mut state = self.state();
            if state.lease.term() != term {
                return;
            }
            state.lease.renewal_failed(Instant::now() + RETRY);
            self.rearm(&state);
        }
        self.emit_error(error);
        if begins {
            let worker = Arc::downgrade(self);
            lifecycle::spawn(async move {
                tokio::time::sleep(RETRY).await;
                if let Some(worker) = worker.upgrade()
                    && !worker.core.manager.closing().is_cancelled()
                {
                    worker.renew(true);
                }
            });
        }
    }

    /// The lease of `term` has ended, and other workers may claim the jobs in flight. The worker continues under another name.
    pub(super) fn lease_is_gone(self: &Arc<Self>, term: u64, sent: Vec<Outgoing>) {
        let (ended, refused, goes_on) = {
            let mut state = self.state();
            if state.lease.term() != term {
                return;
            }
            let refused =
                sent.into_iter().chain(state.in_flight.take_outcomes(usize::MAX)).map(|outcome| outcome.id).collect();
            let lost = state.in_flight.take_all().into_iter();
            let ended: Vec<_> = lost.map(|(number, _)| (number, "lease-lost", None)).collect();
            state.lease.lose(fresh_owner());
            state.claiming.start_over();
            self.after_step(&mut state);
            (ended, refused, !state.mode.is_ending())
        };
        self.core.manager.metrics().queue_leases_lost.add(ended.len() as u64);
        self.emit_ended(ended);
        self.emit_refused(refused);
        if goes_on {
            self.begin();
        }
    }

    /// Handles a wake-up.
    fn woken(self: &Arc<Self>, payload: &[u8]) {
        let after = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
        match payload.split_first() {
            Some((b'c', _)) => self.renew(false),
            // The payload is a server time. A renewal returns the server's present time too, and so the time that is left.
            Some((b'd' | b't', rest)) if after(rest).is_some() => self.renew(false),
            _ => {
                self.state().claiming.wake();
                self.pump();
            }
        }
    }
}

/// Cancels jobs in flight, given by id, lease and reason. Returns the notices for JavaScript.
fn apply_cancellations(state: &mut WorkerState, cancelled: Vec<[Bytes; 3]>) -> Vec<(u64, &'static str, Option<Bytes>)> {
    let mut ended = Vec::new();
    for [id, lease, reason] in cancelled {
        let slot = state.in_flight.slots_mut().find(|(_, slot)| slot.id == id && slot.lease == lease);
        if let Some((number, slot)) = slot {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            slot.cancelled = Some(reason.as_ref().map_or_else(|| "cancelled".to_owned(), id_text));
            ended.push((number, "cancelled", reason));
        }
    }
    ended
}

struct WakeUps(Weak<Inner>);

impl Listener for WakeUps {
    fn message(&self, message: &ChannelMessage) {
        if let Some(worker) = self.0.upgrade() {
            worker.woken(&message.payload);
        }
    }

    fn restored(&self, _gap: Duration) {
        // A wake-up may have been missed.
        if let Some(worker) = self.0.upgrade() {
            worker.woken(b"w");
        }
    }
}
