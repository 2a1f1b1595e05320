//! The sorted set: members ordered by score and then by bytes. An element is found by its member or by its rank.
//!
//! The order is stored in chunks of at most [`CHUNK`] elements. Finding a position takes two binary searches. Finding a rank adds
//! up the lengths of the chunks: a set of a million members has some four thousand chunks.

use std::cmp::Ordering;
use std::ops::Range;
use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::bytes::LISTPACK_VALUE;

const CHUNK: usize = 512;
const LISTPACK_ENTRIES: usize = 128;

/// One end of a score range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ScoreEnd {
    Inclusive(f64),
    Exclusive(f64),
}

/// One end of a lexicographic range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LexEnd {
    Lowest,
    Highest,
    Inclusive(Vec<u8>),
    Exclusive(Vec<u8>),
}

type Item = (f64, Rc<[u8]>);

#[derive(Debug, Clone)]
pub(super) struct Zset {
    scores: IndexMap<Rc<[u8]>, f64, FxBuildHasher>,
    chunks: Vec<Vec<Item>>,
    pub(super) small: bool,
    bytes: usize,
}

impl Default for Zset {
    fn default() -> Self {
        Zset { scores: IndexMap::default(), chunks: Vec::new(), small: true, bytes: 0 }
    }
}

fn order(a: &Item, score: f64, member: &[u8]) -> Ordering {
    a.0.partial_cmp(&score).unwrap_or(Ordering::Equal).then_with(|| (*a.1).cmp(member))
}

impl Zset {
    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn size(&self) -> usize {
        64 + self.bytes + self.scores.len() * 88
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// The element at this position of the hash, which is the order of SCAN in a large set.
    pub(super) fn hashed(&self, index: usize) -> Option<(&[u8], f64)> {
        self.scores.get_index(index).map(|(m, &s)| (&**m, s))
    }

    /// `true` if the member is new.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) -> bool {
        // Negative zero becomes zero: Redis stores the scores of a small sorted set as integers.
        let score = score + 0.0;
        if let Some(old) = self.scores.get_mut(member) {
            let before = std::mem::replace(old, score);
            if before.partial_cmp(&score) != Some(Ordering::Equal) {
                let shared = self.take(before, member);
                self.place(score, shared);
            }
            return false;
        }
        let shared: Rc<[u8]> = member.into();
        self.scores.insert(Rc::clone(&shared), score);
        self.place(score, shared);
        self.bytes += member.len();
        self.small &= member.len() <= LISTPACK_VALUE && self.scores.len() <= LISTPACK_ENTRIES;
        true
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        let Some(score) = self.scores.swap_remove(member) else {
            return false;
        };
        self.take(score, member);
        self.bytes -= member.len();
        true
    }

    fn chunk_of(&self, score: f64, member: &[u8]) -> usize {
        self.chunks.partition_point(|c| c.last().is_some_and(|i| order(i, score, member) == Ordering::Less))
    }

    fn place(&mut self, score: f64, member: Rc<[u8]>) {
        if self.chunks.is_empty() {
            self.chunks.push(vec![(score, member)]);
            return;
        }
        let at = self.chunk_of(score, &member).min(self.chunks.len() - 1);
        let chunk = &mut self.chunks[at];
        let place = chunk.partition_point(|i| order(i, score, &member) == Ordering::Less);
        chunk.insert(place, (score, member));
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.chunks.insert(at + 1, upper);
        }
    }

    fn take(&mut self, score: f64, member: &[u8]) -> Rc<[u8]> {
        let at = self.chunk_of(score, member);
        if let Some(chunk) = self.chunks.get_mut(at) {
            let place = chunk.partition_point(|i| order(i, score, member) == Ordering::Less);
            if chunk.get(place).is_some_and(|i| &*i.1 == member) {
                let (_, shared) = chunk.remove(place);
                if chunk.is_empty() {
                    self.chunks.remove(at);
                }
                return shared;
            }
        }
        member.into()
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.count_before(|i| order(i, score, member) == Ordering::Less))
    }

    /// For how many elements `before` is true. These elements must be the first ones.
    fn count_before(&self, before: impl Fn(&Item) -> bool) -> usize {
        let whole = self.chunks.partition_point(|c| c.last().is_some_and(&before));
        let partial = self.chunks.get(whole).map_or(0, |c| c.partition_point(&before));
        self.chunks[..whole].iter().map(Vec::len).sum::<usize>() + partial
    }

    /// The ranks between two scores.
    pub(super) fn by_score(&self, min: ScoreEnd, max: ScoreEnd) -> Range<usize> {
        let from = self.count_before(|i| match min {
            ScoreEnd::Inclusive(s) => i.0 < s,
            ScoreEnd::Exclusive(s) => i.0 <= s,
        });
        let to = self.count_before(|i| match max {
            ScoreEnd::Inclusive(s) => i.0 <= s,
            ScoreEnd::Exclusive(s) => i.0 < s,
        });
        from..to.max(from)
    }

    /// The ranks between two members. The result is meaningful only if all scores are equal.
    pub(super) fn by_lex(&self, min: &LexEnd, max: &LexEnd) -> Range<usize> {
        let from = self.count_before(|i| match min {
            LexEnd::Lowest => false,
            LexEnd::Highest => true,
            LexEnd::Inclusive(m) => *i.1 < **m,
            LexEnd::Exclusive(m) => *i.1 <= **m,
        });
        let to = self.count_before(|i| match max {
            LexEnd::Lowest => false,
            LexEnd::Highest => true,
            LexEnd::Inclusive(m) => *i.1 <= **m,
            LexEnd::Exclusive(m) => *i.1 < **m,
        });
        from..to.max(from)
    }

    /// The elements from rank `from` upwards.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = (&[u8], f64)> {
        let mut skip = from;
        let mut first = 0;
        while first < self.chunks.len() && skip >= self.chunks[first].len() {
            skip -= self.chunks[first].len();
            first += 1;
        }
        self.chunks[first..].iter().flatten().skip(skip).map(|(s, m)| (&**m, *s))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.iter_from(0)
    }

    /// The elements of a range of ranks, copied; backwards if `reverse`.
    pub(super) fn slice(&self, range: Range<usize>, reverse: bool) -> Vec<(Vec<u8>, f64)> {
        let n = range.len();
        let mut items: Vec<_> = self.iter_from(range.start).take(n).map(|(m, s)| (m.to_vec(), s)).collect();
        if reverse {
            items.reverse();
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_sorted_list(
            steps in proptest::collection::vec((0u16..400, -5i32..5, any::<bool>()), 0..3000),
        ) {
            let mut zset = Zset::default();
            let mut model: Vec<(f64, Vec<u8>)> = Vec::new();
            for (member, score, add) in steps {
                let name = format!("m{member}").into_bytes();
                let known = model.iter().position(|i| i.1 == name);
                if let Some(at) = known {
                    model.remove(at);
                }
                if add {
                    prop_assert_eq!(zset.insert(&name, f64::from(score)), known.is_none());
                    model.push((f64::from(score), name));
                } else {
                    prop_assert_eq!(zset.remove(&name), known.is_some());
                }
            }
            model.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let all: Vec<_> = zset.iter().map(|(m, s)| (s, m.to_vec())).collect();
            prop_assert_eq!(&all, &model);
            for (rank, (_, member)) in model.iter().enumerate() {
                prop_assert_eq!(zset.rank(member), Some(rank));
            }
            let range = zset.by_score(ScoreEnd::Inclusive(-1.0), ScoreEnd::Exclusive(3.0));
            prop_assert_eq!(range.len(), model.iter().filter(|i| i.0 >= -1.0 && i.0 < 3.0).count());
        }
    }
}
