//! What a worker has in hand and what it is about to do: one state, changed under one lock by whoever has news.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::slot::{Outgoing, Slot};
use crate::connection::Subscription;
use crate::crossing::Answer;

/// The cursor at which a look begins, and ends.
pub(super) const START: Bytes = Bytes::from_static(b"0");

/// What a worker is doing.
///
/// ```text
/// Off ──run──► Running ◄──resume── Paused
///                 └──────pause──────► Paused
/// any ──close, manager disconnected──► Closing ──► Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    Running,
    Paused,
    Closing,
    Closed,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Shift {
    pub(super) mode: Mode,
    /// Whose lease all this is under. A lease that was lost never comes back: the worker goes on under another name.
    pub(super) owner: String,
    /// Counts owners, so that an answer to an earlier one is known for it.
    pub(super) term: u64,
    /// Has the server this owner's lease?
    pub(super) begun: bool,
    /// Does it hold nothing, and has no lease either? The next turn that claims something begins one.
    pub(super) resting: bool,
    /// Is nothing else under way in the queue? Then the look at all such queues of the manager is for this one too, see `watch`.
    pub(super) watched: bool,
    /// Where the look through cancellations goes on.
    pub(super) cancels_at: Bytes,
    /// When the last renewal that the server confirmed was sent.
    pub(super) confirmed: Instant,
    pub(super) renewing: bool,
    /// Has something come, since the renewal was sent that is on its way, that only another one can tell about?
    pub(super) renew_again: bool,
    pub(super) renew_at: Instant,
    /// Counts claims: no lease is named twice.
    pub(super) claims: u64,
    pub(super) slots: HashMap<u64, Slot>,
    pub(super) last_slot: u64,
    pub(super) deadlines: BTreeSet<(Instant, u64)>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) in_flight: bool,
    /// A turn failed and may have been executed, or the server holds another number of jobs for this worker than are in hand: what
    /// the worker holds is to be asked before anything else.
    pub(super) unsure: bool,
    /// By how many jobs the server and this worker differed after it was asked last.
    pub(super) difference: i64,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// May jobs wait, as far as is known?
    pub(super) hungry: bool,
    /// Has a wake-up come since the turn was sent that is on its way? It may have overtaken the answer.
    pub(super) woken: bool,
    /// Does the server believe that this worker waits for jobs?
    pub(super) idle: bool,
    pub(super) idle_told: bool,
    pub(super) due_at: Option<Instant>,
    pub(super) limited_until: Option<Instant>,
    pub(super) tick_at: Option<Instant>,
    pub(super) ticking: bool,
    /// Until when the clock sleeps.
    pub(super) armed: Option<Instant>,
    /// Who waits until nothing is in hand.
    pub(super) pausing: Vec<Answer>,
    pub(super) subscriptions: Vec<Subscription>,
    /// `<epoch> <id>` of the worker's registration in a registry, and whether the server knows it.
    pub(super) registration: Option<(String, bool)>,
    /// To the deaths of that registry.
    pub(super) mourning: Option<Subscription>,
}

impl Shift {
    pub(super) fn new(owner: String, now: Instant) -> Self {
        Self {
            mode: Mode::Off,
            owner,
            term: 0,
            begun: false,
            resting: false,
            watched: false,
            cancels_at: START,
            confirmed: now,
            renewing: false,
            renew_again: false,
            renew_at: now,
            claims: 0,
            slots: HashMap::new(),
            last_slot: 0,
            deadlines: BTreeSet::new(),
            outgoing: Vec::new(),
            in_flight: false,
            unsure: false,
            difference: 0,
            failures: 0,
            retry_at: None,
            hungry: true,
            woken: false,
            idle: false,
            idle_told: false,
            due_at: None,
            limited_until: None,
            tick_at: None,
            ticking: false,
            armed: None,
            pausing: Vec::new(),
            subscriptions: Vec::new(),
            registration: None,
            mourning: None,
        }
    }

    /// By how many jobs the server's word differs from what is in hand, where it says that this worker holds `held`.
    pub(super) fn difference_from(&self, held: u64) -> i64 {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        i64::try_from(held).unwrap_or(i64::MAX).saturating_sub(count(self.slots.len() + self.outgoing.len()))
    }

    /// Has the server be asked which jobs this worker holds where it says another number than is known. A failover can lose the
    /// end of what the old master acknowledged: a completion, so that a job stays active that no worker holds, or a claim.
    pub(super) fn compare_with(&mut self, held: u64) {
        self.unsure |= self.difference_from(held) != self.difference;
    }

    /// Takes a job in hand and gives the number of its slot.
    pub(super) fn hold(&mut self, slot: Slot) -> u64 {
        self.last_slot += 1;
        if let Some(deadline) = slot.deadline {
            self.deadlines.insert((deadline, self.last_slot));
        }
        self.slots.insert(self.last_slot, slot);
        self.idle_told = false;
        self.last_slot
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Slot> {
        let slot = self.slots.remove(&number)?;
        if let Some(deadline) = slot.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        Some(slot)
    }

    /// How many jobs may be claimed now.
    pub(super) fn wanted(&self, concurrency: usize, now: Instant) -> usize {
        let may = self.mode == Mode::Running && self.hungry && self.limited_until.is_none_or(|until| until <= now);
        if may { concurrency.saturating_sub(self.slots.len()) } else { 0 }
    }

    /// Has it a lease that can be lost?
    pub(super) fn has_lease(&self) -> bool {
        self.begun && !self.resting
    }

    /// May it rest? Not where the server may hold something for it.
    pub(super) fn may_rest(&self) -> bool {
        self.resting || self.begun && self.is_quiet() && !self.unsure
    }

    /// A turn that was sent at `sent` has begun a lease, or may have.
    pub(super) fn wakes(&mut self, sent: Instant, interval: Duration) {
        self.resting = false;
        self.watched = false;
        self.confirmed = sent;
        self.renew_at = self.renew_at.min(sent + interval);
    }

    /// Is nothing in hand and nothing on its way?
    pub(super) fn is_quiet(&self) -> bool {
        self.slots.is_empty() && self.outgoing.is_empty() && !self.in_flight
    }

    /// When there is something to do if no news comes.
    pub(super) fn next_alarm(&self, has_room: bool) -> Option<Instant> {
        let due = self.due_at.filter(|_| has_room);
        let limited = self.limited_until.filter(|_| has_room);
        let renew = (self.begun && !self.renewing).then_some(self.renew_at);
        let tick = self.tick_at.filter(|_| !self.ticking);
        [due, limited, renew, tick, self.retry_at, self.deadlines.first().map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .min()
    }
}
