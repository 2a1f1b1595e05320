//! Sets of hash slots.

use serde::{Deserialize, Serialize};

/// How many hash slots a cluster has.
pub(in crate::connection) const SLOTS: u16 = 16_384;

const WORDS: usize = SLOTS as usize / 64;

/// A set of hash slots. It always takes 2 KiB. Serialized, it is a list of ranges.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u16)>", into = "Vec<(u16, u16)>")]
pub(in crate::connection) struct SlotSet(Box<[u64; WORDS]>);

impl SlotSet {
    pub(in crate::connection) fn none() -> Self {
        Self(Box::new([0; WORDS]))
    }

    pub(in crate::connection) fn all() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    pub(in crate::connection) fn has(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot / 64)).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    pub(in crate::connection) fn add(&mut self, slot: u16) {
        if let Some(word) = self.0.get_mut(usize::from(slot / 64)) {
            *word |= 1 << (slot % 64);
        }
    }

    pub(in crate::connection) fn add_range(&mut self, first: u16, last: u16) {
        (first..=last.min(SLOTS - 1)).for_each(|slot| self.add(slot));
    }

    pub(in crate::connection) fn and(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & b)
    }

    pub(in crate::connection) fn or(&self, other: &Self) -> Self {
        self.with(other, |a, b| a | b)
    }

    pub(in crate::connection) fn without(&self, other: &Self) -> Self {
        self.with(other, |a, b| a & !b)
    }

    pub(in crate::connection) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(in crate::connection) fn lowest(&self) -> Option<u16> {
        self.iter().next()
    }

    pub(in crate::connection) fn iter(&self) -> impl Iterator<Item = u16> {
        (0..SLOTS).filter(|slot| self.has(*slot))
    }

    fn with(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = Self::none();
        for ((out, a), b) in out.0.iter_mut().zip(&*self.0).zip(&*other.0) {
            *out = combine(*a, *b);
        }
        out
    }

    fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

impl From<Vec<(u16, u16)>> for SlotSet {
    fn from(ranges: Vec<(u16, u16)>) -> Self {
        let mut set = Self::none();
        ranges.into_iter().for_each(|(first, last)| set.add_range(first, last));
        set
    }
}

impl From<SlotSet> for Vec<(u16, u16)> {
    fn from(set: SlotSet) -> Self {
        set.ranges()
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_serialized_as_ranges_and_read_back() {
        let mut set = SlotSet::none();
        set.add_range(0, 63);
        set.add(64);
        set.add(16_383);
        set.add(20_000);
        assert_eq!(set.ranges(), [(0, 64), (16_383, 16_383)]);
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<SlotSet>(&text).unwrap(), set);
        assert_eq!(set.count(), 66);
        assert_eq!(SlotSet::all().without(&set).lowest(), Some(65));
        assert_eq!(SlotSet::all().and(&set), set);
        assert_eq!(SlotSet::none().or(&set), set);
        assert_eq!(SlotSet::all().count(), u32::from(SLOTS));
    }
}
