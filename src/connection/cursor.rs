//! Cursors of `SCAN` and its kind: each means something to the server process that gave it, and to no other.
//!
//! A process hashes with a seed of its own. Carried on to another process (a promoted replica, a restarted server) a cursor passes over
//! elements without a word. A connection ends no later than the process it goes to, so whoever walks compares the connections.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A connection, among all that this process ever opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin(u64);

impl Origin {
    /// That of a new connection.
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The place of a walk through one collection (`HSCAN`, `SSCAN`, `ZSCAN`).
#[derive(Debug)]
pub struct Cursor {
    at: Bytes,
    origin: Option<Origin>,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { at: Bytes::from_static(b"0"), origin: None }
    }
}

impl Cursor {
    /// What the next page is asked for with.
    #[must_use]
    pub fn word(&self) -> &[u8] {
        &self.at
    }

    /// Takes the cursor in that came with a page from `origin`. False when the walk is over. Where the connection is another than that of
    /// the page before, the walk starts again: a page may come twice, and none is passed over.
    pub fn advance(&mut self, origin: Origin, next: Bytes) -> bool {
        if self.origin.replace(origin).is_some_and(|before| before != origin) {
            *self = Self::default();
            return true;
        }
        self.at = next;
        &self.at[..] != b"0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_begins_anew_where_the_connection_is_another_one() {
        let (first, second) = (Origin::new(), Origin::new());
        let mut cursor = Cursor::default();
        assert!(cursor.advance(first, Bytes::from_static(b"7")));
        assert_eq!(cursor.word(), b"7");
        // The page is from another process: its end is not the end of the walk.
        assert!(cursor.advance(second, Bytes::from_static(b"0")));
        assert_eq!(cursor.word(), b"0");
        assert!(cursor.advance(second, Bytes::from_static(b"9")));
        assert!(!cursor.advance(second, Bytes::from_static(b"0")));
    }
}
