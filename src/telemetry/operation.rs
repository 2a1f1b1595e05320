//! The names of operations whose durations are recorded. They are a closed set, so that a metric's labels are bounded.
//!
//! The table of commands or a feature interns each name once. The first [`CAPACITY`] names have a histogram each; later names share
//! `other`.

use std::sync::OnceLock;

use super::Histogram;
use crate::sync::RwLock;

const CAPACITY: usize = 512;

/// An interned name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation(u16);

static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

impl Operation {
    /// Interns `name`. Meant for statics and tables, not for each call.
    pub fn named(name: &'static str) -> Self {
        let mut names = NAMES.write();
        if names.is_empty() {
            names.push("other");
        }
        let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            if names.len() == CAPACITY {
                return 0;
            }
            names.push(name);
            names.len() - 1
        });
        Self(u16::try_from(at).unwrap_or(0))
    }

    /// The interned name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let names = NAMES.read();
        names.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

/// A histogram for each operation that was recorded.
pub(super) struct Table(Box<[OnceLock<Box<Histogram>>]>);

impl Default for Table {
    fn default() -> Self {
        Self((0..CAPACITY).map(|_| OnceLock::new()).collect())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.recorded()).finish()
    }
}

impl Table {
    pub(super) fn of(&self, operation: Operation) -> &Histogram {
        self.0[usize::from(operation.0)].get_or_init(Box::default)
    }

    pub(super) fn recorded(&self) -> impl Iterator<Item = (Operation, &Histogram)> {
        self.0.iter().enumerate().filter_map(|(at, cell)| {
            let at = u16::try_from(at).ok()?;
            Some((Operation(at), &**cell.get()?))
        })
    }
}
