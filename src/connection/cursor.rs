//! Cursors of `SCAN`, `HSCAN`, `SSCAN` and `ZSCAN`. A cursor is valid only for the server process that gave it.
//!
//! Each process hashes with its own seed. With another process (a promoted replica, a restarted server), a cursor silently skips
//! elements. A connection ends with its server process, so a walk compares the connections.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Identifies a connection among all connections that this process ever opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin(u64);

impl Origin {
    /// The identity of a new connection.
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
    /// The cursor to ask for the next page with.
    #[must_use]
    pub fn word(&self) -> &[u8] {
        &self.at
    }

    /// Takes the cursor of a page from `origin`. False when the walk is over. Where the page before came on another connection, the
    /// walk starts again: elements may come twice, but none is skipped.
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
    fn a_walk_starts_again_on_another_connection() {
        let (first, second) = (Origin::new(), Origin::new());
        let mut cursor = Cursor::default();
        assert!(cursor.advance(first, Bytes::from_static(b"7")));
        assert_eq!(cursor.word(), b"7");
        // The page may be from another process: its end is not the end of the walk.
        assert!(cursor.advance(second, Bytes::from_static(b"0")));
        assert_eq!(cursor.word(), b"0");
        assert!(cursor.advance(second, Bytes::from_static(b"9")));
        assert!(!cursor.advance(second, Bytes::from_static(b"0")));
    }
}
