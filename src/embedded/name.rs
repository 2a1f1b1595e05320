//! The name of an engine, which decides its thread.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The most threads that run engines. A parked thread costs little more than the pages of its stack that it has used.
pub(super) const THREADS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum EngineName {
    Shared(String),
    /// The engine of one connection, by the connection's number.
    Private(u64),
}

impl Default for EngineName {
    /// The name of no engine: the numbers of connections start with 1.
    fn default() -> Self {
        EngineName::Private(0)
    }
}

impl EngineName {
    /// The index of the engine's thread.
    pub(super) fn place(&self) -> usize {
        let hash = match self {
            EngineName::Shared(name) => BuildHasherDefault::<DefaultHasher>::new().hash_one(name),
            EngineName::Private(id) => *id,
        };
        usize::try_from(hash % THREADS as u64).unwrap_or(0)
    }
}
