//! Jobs in flight, and outcomes that wait to be sent to the server.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::super::slot::{Outgoing, Slot};

#[derive(Debug, Default)]
pub(in crate::queue::worker) struct InFlight {
    slots: HashMap<u64, Slot>,
    last_slot: u64,
    /// The deadlines of slots that have one, with the numbers of the slots.
    deadlines: BTreeSet<(Instant, u64)>,
    outgoing: Vec<Outgoing>,
    /// JavaScript got the event `idle`, and no job has started since then.
    idle_emitted: bool,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.outgoing.is_empty()
    }

    pub(in crate::queue::worker) fn has_jobs(&self) -> bool {
        !self.slots.is_empty()
    }

    pub(in crate::queue::worker) fn has_outcomes(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// How many more jobs may be in flight.
    pub(in crate::queue::worker) fn room(&self, concurrency: usize) -> usize {
        concurrency.saturating_sub(self.slots.len())
    }

    /// How many more jobs the server counts as held (`held`) than are in flight here.
    pub(in crate::queue::worker) fn difference_from(&self, held: u64) -> i64 {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        i64::try_from(held).unwrap_or(i64::MAX).saturating_sub(count(self.slots.len() + self.outgoing.len()))
    }

    /// Adds a job, and returns the number of its slot.
    pub(in crate::queue::worker) fn hold(&mut self, slot: Slot) -> u64 {
        self.last_slot += 1;
        if let Some(deadline) = slot.deadline {
            self.deadlines.insert((deadline, self.last_slot));
        }
        self.slots.insert(self.last_slot, slot);
        self.idle_emitted = false;
        self.last_slot
    }

    pub(in crate::queue::worker) fn take(&mut self, number: u64) -> Option<Slot> {
        let slot = self.slots.remove(&number)?;
        if let Some(deadline) = slot.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        Some(slot)
    }

    pub(in crate::queue::worker) fn slot(&self, number: u64) -> Option<&Slot> {
        self.slots.get(&number)
    }

    pub(in crate::queue::worker) fn slots(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.slots.iter().map(|(number, slot)| (*number, slot))
    }

    pub(in crate::queue::worker) fn slots_mut(&mut self) -> impl Iterator<Item = (u64, &mut Slot)> {
        self.slots.iter_mut().map(|(number, slot)| (*number, slot))
    }

    /// Takes all jobs.
    pub(in crate::queue::worker) fn take_all(&mut self) -> Vec<(u64, Slot)> {
        self.deadlines.clear();
        self.slots.drain().collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes a job whose deadline has passed.
    pub(in crate::queue::worker) fn take_overdue(&mut self, now: Instant) -> Option<(u64, Slot)> {
        let (_, number) = self.deadlines.first().copied().filter(|(at, _)| *at <= now)?;
        Some((number, self.take(number)?))
    }

    /// Adds an outcome that is to be sent.
    pub(in crate::queue::worker) fn settle(&mut self, outcome: Outgoing) {
        self.outgoing.push(outcome);
    }

    pub(in crate::queue::worker) fn outcomes(&self) -> &[Outgoing] {
        &self.outgoing
    }

    /// Takes the first `most` outcomes.
    pub(in crate::queue::worker) fn take_outcomes(&mut self, most: usize) -> Vec<Outgoing> {
        self.outgoing.drain(..most.min(self.outgoing.len())).collect()
    }

    /// Puts outcomes that could not be sent before all others.
    pub(in crate::queue::worker) fn put_back(&mut self, outcomes: Vec<Outgoing>) {
        self.outgoing.splice(0..0, outcomes);
    }

    pub(in crate::queue::worker) fn retain_outcomes(&mut self, keeps: impl FnMut(&Outgoing) -> bool) {
        self.outgoing.retain(keeps);
    }

    /// The worker has nothing to do. False if JavaScript got the event already.
    pub(in crate::queue::worker) fn emits_idle(&mut self) -> bool {
        !std::mem::replace(&mut self.idle_emitted, true)
    }
}
