//! Which engine is meant.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The most threads there are. A parked one costs little more than the pages of its stack that it has used.
pub(super) const THREADS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum EngineName {
    Shared(String),
    /// One connection's own.
    Private(u64),
}

impl Default for EngineName {
    /// No engine's: numbers of connections start with 1.
    fn default() -> Self {
        EngineName::Private(0)
    }
}

impl EngineName {
    /// Which of the threads.
    pub(super) fn place(&self) -> usize {
        let hash = match self {
            EngineName::Shared(name) => BuildHasherDefault::<DefaultHasher>::new().hash_one(name),
            EngineName::Private(id) => *id,
        };
        usize::try_from(hash % THREADS as u64).unwrap_or(0)
    }
}
