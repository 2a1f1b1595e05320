//! The stream: entries by id, consumer groups, pending entries.
//!
//! Entries are grouped in runs, as Redis groups them in nodes. Clients can see this: approximate trimming (`~`) removes whole
//! nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::Bytes;
use super::number;

const NODE_ENTRIES: usize = 100;
const NODE_BYTES: usize = 4096;

/// An entry's id, with the order of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Id {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl Id {
    pub(super) const MIN: Id = Id { ms: 0, seq: 0 };
    pub(super) const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    pub(super) fn next(self) -> Option<Id> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Id { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Id { ms, seq: 0 }),
        }
    }

    pub(super) fn previous(self) -> Option<Id> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Id { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Id { ms, seq: u64::MAX }),
        }
    }

    pub(super) fn text(self) -> Vec<u8> {
        format!("{}-{}", self.ms, self.seq).into_bytes()
    }

    /// Reads `<ms>-<seq>` or `<ms>`. The sequence of `<ms>` is `missing`.
    pub(super) fn parse(text: &[u8], missing: u64) -> Option<Id> {
        match text.iter().position(|&b| b == b'-') {
            Some(at) => Some(Id { ms: digits(&text[..at])?, seq: digits(&text[at + 1..])? }),
            None => Some(Id { ms: digits(text)?, seq: missing }),
        }
    }
}

/// Canonical digits, or another text that `strtoull` reads completely: with leading blanks, zeros or a plus.
fn digits(text: &[u8]) -> Option<u64> {
    number::unsigned(text).or_else(|| std::str::from_utf8(text).ok()?.trim_ascii_start().parse().ok())
}

/// Fields and values, alternating.
pub(super) type Fields = Vec<Bytes>;

#[derive(Debug, Clone, Default)]
struct Node {
    live: usize,
    ever: usize,
    bytes: usize,
}

/// One pending entry of a group.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) consumer: Bytes,
    pub(super) delivered: i64,
    pub(super) count: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Consumer {
    pub(super) seen: i64,
    pub(super) pending: BTreeSet<Id>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) last: Id,
    /// How many entries the group has read in total, if that is known.
    pub(super) read: Option<i64>,
    pub(super) pending: BTreeMap<Id, Pending>,
    pub(super) consumers: BTreeMap<Bytes, Consumer>,
}

impl Group {
    pub(super) fn forget(&mut self, id: Id) -> bool {
        let Some(entry) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&entry.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// Makes `consumer` the owner of `id`.
    pub(super) fn assign(&mut self, id: Id, consumer: &[u8], delivered: i64, count: i64) {
        self.forget(id);
        self.pending.insert(id, Pending { consumer: consumer.into(), delivered, count });
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.pending.insert(id);
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TrimTo {
    Length(usize),
    From(Id),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    pub(super) to: TrimTo,
    pub(super) approximate: bool,
    /// The most entries that an approximate trim removes; 0: no limit.
    pub(super) limit: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    pub(super) entries: BTreeMap<Id, Fields>,
    nodes: BTreeMap<Id, Node>,
    pub(super) last: Id,
    pub(super) max_deleted: Id,
    pub(super) added: u64,
    pub(super) groups: BTreeMap<Bytes, Group>,
    bytes: usize,
}

impl Stream {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn size(&self) -> usize {
        let pending: usize = self.groups.values().map(|g| 64 + g.pending.len() * 96 + g.consumers.len() * 64).sum();
        128 + self.bytes + self.entries.len() * 64 + pending
    }

    pub(super) fn first(&self) -> Option<Id> {
        self.entries.keys().next().copied()
    }

    /// Adds an entry; `id` must be larger than `last`.
    pub(super) fn append(&mut self, id: Id, fields: Fields) {
        let bytes: usize = fields.iter().map(|f| f.len() + 2).sum::<usize>() + 8;
        let full =
            self.nodes.last_key_value().is_none_or(|(_, n)| n.ever >= NODE_ENTRIES || n.bytes + bytes > NODE_BYTES);
        if full {
            self.nodes.insert(id, Node { live: 1, ever: 1, bytes });
        } else if let Some(mut last) = self.nodes.last_entry() {
            let last = last.get_mut();
            last.live += 1;
            last.ever += 1;
            last.bytes += bytes;
        }
        self.bytes += bytes;
        self.entries.insert(id, fields);
        self.last = id;
        self.added += 1;
    }

    /// Removes an entry without recording it as deleted.
    fn drop_entry(&mut self, id: Id) -> bool {
        let Some(fields) = self.entries.remove(&id) else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(fields.iter().map(|f| f.len() + 2).sum::<usize>() + 8);
        if let Some((&start, node)) = self.nodes.range_mut(..=id).next_back() {
            node.live -= 1;
            if node.live == 0 {
                self.nodes.remove(&start);
            }
        }
        true
    }

    /// XDEL of one id.
    pub(super) fn delete(&mut self, id: Id) -> bool {
        let deleted = self.drop_entry(id);
        if deleted && id > self.max_deleted {
            self.max_deleted = id;
        }
        deleted
    }

    /// Removes the oldest entries. Gives how many were removed.
    pub(super) fn trim(&mut self, trim: Trim) -> usize {
        let mut removed = 0;
        while let Some(first) = self.first() {
            let done = match trim.to {
                TrimTo::Length(n) => self.len() <= n,
                TrimTo::From(id) => first >= id,
            };
            if done {
                break;
            }
            if !trim.approximate {
                self.drop_entry(first);
                removed += 1;
                continue;
            }
            let Some((&start, node)) = self.nodes.first_key_value() else {
                break;
            };
            let live = node.live;
            if trim.limit > 0 && removed + live > trim.limit {
                break;
            }
            let next = self.nodes.keys().nth(1).copied();
            let whole = match trim.to {
                TrimTo::Length(n) => self.len() - live >= n,
                TrimTo::From(id) => {
                    self.entries.range(start..next.unwrap_or(Id::MAX)).next_back().is_some_and(|(l, _)| *l < id)
                }
            };
            if !whole {
                break;
            }
            let ids: Vec<Id> = self.entries.keys().take(live).copied().collect();
            for id in ids {
                self.drop_entry(id);
            }
            removed += live;
        }
        removed
    }

    pub(super) fn range(&self, from: Id, to: Id) -> impl DoubleEndedIterator<Item = (Id, &Fields)> {
        // An inverted range is empty. BTreeMap would panic.
        let to = if from > to { None } else { Some(to) };
        to.into_iter().flat_map(move |to| self.entries.range(from..=to)).map(|(id, fields)| (*id, fields))
    }

    /// Whether a deleted entry may be after `from`, so that the entries from there cannot be counted by their ids.
    pub(super) fn has_tombstones(&self, from: Option<Id>) -> bool {
        if self.len() == 0 || self.max_deleted == Id::MIN || self.first().is_some_and(|first| self.max_deleted < first)
        {
            return false;
        }
        self.max_deleted >= from.unwrap_or(Id::MIN)
    }

    /// How many entries were added in total up to `id`, if that is known.
    pub(super) fn counter_at(&self, id: Id) -> Option<i64> {
        let added = i64::try_from(self.added).unwrap_or(i64::MAX);
        let len = i64::try_from(self.len()).unwrap_or(i64::MAX);
        if self.added == 0 {
            return Some(0);
        }
        if self.len() == 0 && id < self.last {
            return Some(added);
        }
        if id == self.last {
            return Some(added);
        }
        if id > self.last {
            return None;
        }
        let first = self.first().unwrap_or_default();
        if self.max_deleted == Id::MIN || self.max_deleted < first {
            return match id.cmp(&first) {
                std::cmp::Ordering::Less => Some(added - len),
                std::cmp::Ordering::Equal => Some(added - len + 1),
                std::cmp::Ordering::Greater => None,
            };
        }
        None
    }
}
