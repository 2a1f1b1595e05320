//! The types of values.
//!
//! Hashes and sets have the two encodings of Redis: small and ordered, large and hashed. Clients can see the encoding in OBJECT
//! ENCODING, in the order of HGETALL and SMEMBERS, and in the result of one SCAN step.

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;

use super::bytes::{Bytes, LISTPACK_VALUE};
use super::list::List;
use super::number;
use super::stream::Stream;
use super::zset::Zset;

pub(super) const LISTPACK_ENTRIES: usize = 512;
pub(super) const INTSET_ENTRIES: usize = 512;

#[derive(Debug, Clone)]
pub(super) enum Value {
    Str(Str),
    List(List),
    Hash(Hash),
    Set(Set),
    Zset(Zset),
    Stream(Box<Stream>),
}

/// How a string was written. Only OBJECT ENCODING shows the difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Made {
    #[default]
    Whole,
    /// A sum of floats, which Redis never stores as an integer.
    Sum,
    /// Changed in place.
    Edited,
}

/// A string.
#[derive(Debug, Clone, Default)]
pub(super) struct Str {
    pub(super) bytes: Vec<u8>,
    pub(super) made: Made,
}

/// A hash, in insertion order while it is small.
#[derive(Debug, Clone)]
pub(super) struct Hash {
    pub(super) fields: IndexMap<Bytes, Bytes, FxBuildHasher>,
    pub(super) small: bool,
    bytes: usize,
}

impl Default for Hash {
    fn default() -> Self {
        Hash { fields: IndexMap::default(), small: true, bytes: 0 }
    }
}

impl Hash {
    /// `true` if the field is new.
    pub(super) fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.small &= field.len() <= LISTPACK_VALUE && value.len() <= LISTPACK_VALUE;
        self.bytes += value.len();
        let new = if let Some(old) = self.fields.get_mut(field) {
            self.bytes -= old.len();
            *old = value.into();
            false
        } else {
            self.bytes += field.len();
            self.fields.insert(field.into(), value.into());
            true
        };
        self.small &= self.fields.len() <= LISTPACK_ENTRIES;
        new
    }

    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        let removed =
            if self.small { self.fields.shift_remove_entry(field) } else { self.fields.swap_remove_entry(field) };
        if let Some((field, value)) = &removed {
            self.bytes -= field.len() + value.len();
        }
        removed.is_some()
    }
}

/// A set. A small set of integers is sorted; any other set is hashed.
#[derive(Debug, Clone)]
pub(super) enum Set {
    Ints(Vec<i64>),
    Hashed { members: IndexSet<Bytes, FxBuildHasher>, bytes: usize },
}

impl Default for Set {
    fn default() -> Self {
        Set::Ints(Vec::new())
    }
}

impl Set {
    pub(super) fn len(&self) -> usize {
        match self {
            Set::Ints(ints) => ints.len(),
            Set::Hashed { members, .. } => members.len(),
        }
    }

    pub(super) fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Ints(ints) => number::integer(member).is_some_and(|n| ints.binary_search(&n).is_ok()),
            Set::Hashed { members, .. } => members.contains(member),
        }
    }

    pub(super) fn insert(&mut self, member: &[u8]) -> bool {
        if let Set::Ints(ints) = self {
            if let Some(n) = number::integer(member) {
                let Err(at) = ints.binary_search(&n) else {
                    return false;
                };
                ints.insert(at, n);
                if ints.len() > INTSET_ENTRIES {
                    self.hash();
                }
                return true;
            }
            self.hash();
        }
        let Set::Hashed { members, bytes } = self else {
            return false;
        };
        let new = !members.contains(member) && members.insert(member.into());
        if new {
            *bytes += member.len();
        }
        new
    }

    fn hash(&mut self) {
        if let Set::Ints(ints) = self {
            let members: IndexSet<Bytes, FxBuildHasher> = ints.iter().map(|&n| number::i64_bytes(n).into()).collect();
            let bytes = members.iter().map(|m| m.len()).sum();
            *self = Set::Hashed { members, bytes };
        }
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Ints(ints) => match number::integer(member).map(|n| ints.binary_search(&n)) {
                Some(Ok(at)) => {
                    ints.remove(at);
                    true
                }
                _ => false,
            },
            Set::Hashed { members, bytes } => {
                let removed = members.swap_remove(member);
                if removed {
                    *bytes -= member.len();
                }
                removed
            }
        }
    }

    pub(super) fn at(&self, index: usize) -> Option<Vec<u8>> {
        match self {
            Set::Ints(ints) => ints.get(index).map(|&n| number::i64_bytes(n)),
            Set::Hashed { members, .. } => members.get_index(index).map(|m| m.to_vec()),
        }
    }

    pub(super) fn members(&self) -> Vec<Vec<u8>> {
        match self {
            Set::Ints(ints) => ints.iter().map(|&n| number::i64_bytes(n)).collect(),
            Set::Hashed { members, .. } => members.iter().map(|m| m.to_vec()).collect(),
        }
    }
}

impl Value {
    pub(super) fn string(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Str(Str { bytes: bytes.into(), made: Made::Whole })
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Str(_) => "string",
            Value::List(_) => "list",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
            Value::Zset(_) => "zset",
            Value::Stream(_) => "stream",
        }
    }

    pub(super) fn encoding(&self) -> &'static str {
        match self {
            Value::Str(s) if s.made == Made::Whole && number::integer(&s.bytes).is_some() => "int",
            Value::Str(s) if s.made != Made::Edited && s.bytes.len() <= 44 => "embstr",
            Value::Str(_) => "raw",
            Value::List(_) => "quicklist",
            Value::Hash(h) if h.small => "listpack",
            Value::Set(Set::Ints(_)) => "intset",
            Value::Hash(_) | Value::Set(Set::Hashed { .. }) => "hashtable",
            Value::Zset(z) if z.small => "listpack",
            Value::Zset(_) => "skiplist",
            Value::Stream(_) => "stream",
        }
    }

    /// Whether the value is an empty collection, whose key is deleted. An empty stream is kept.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Value::Str(_) | Value::Stream(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Hash(hash) => hash.fields.is_empty(),
            Value::Set(set) => set.len() == 0,
            Value::Zset(zset) => zset.len() == 0,
        }
    }

    /// An estimate of the memory of the value, cheap enough to compute after every write.
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Str(s) => 24 + s.bytes.capacity(),
            Value::List(list) => list.size(),
            Value::Hash(hash) => 64 + hash.bytes + hash.fields.len() * 56,
            Value::Set(Set::Ints(ints)) => 32 + ints.len() * 8,
            Value::Set(Set::Hashed { members, bytes }) => 64 + bytes + members.len() * 40,
            Value::Zset(zset) => zset.size(),
            Value::Stream(stream) => stream.size(),
        }
    }
}
