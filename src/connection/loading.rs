//! The scripts that are loaded on a connection, and the requests that must wait for them.

use std::collections::HashSet;

use bytes::Bytes;

use super::script::Script;

/// How many digests of loaded users' scripts a connection remembers.
const MOST_LOADED: usize = 10_000;

/// What one connection knows of the scripts that it has loaded.
#[derive(Default)]
pub(super) struct Loading {
    /// The digests of the users' scripts that were loaded.
    loaded: HashSet<String>,
    /// The error of the last `SCRIPT LOAD`, until the next reply.
    failure: Option<Bytes>,
    /// A position in the written bytes. A request before this position may have to be written again. No further request is written
    /// until all requests before the position are answered, so that the calls of one script keep their order.
    barrier: u64,
}

impl Loading {
    /// Must the script be loaded before this call? True for the first call of a user's script on this connection. Without the load a
    /// `NOSCRIPT` could come from the server, or from the script itself, if another client has loaded it.
    pub(super) fn must_load_first(&mut self, script: &Script) -> bool {
        if script.is_ours() || self.loaded.contains(script.digest()) {
            return false;
        }
        if self.loaded.len() >= MOST_LOADED {
            self.loaded.clear();
        }
        self.loaded.insert(script.digest().to_owned());
        true
    }

    /// Holds further requests back until all requests before `position` are answered.
    pub(super) fn hold_back(&mut self, position: u64) {
        self.barrier = position;
    }

    /// Are further requests held back? `oldest` is the position of the oldest request.
    pub(super) fn holds_back(&self, oldest: Option<u64>) -> bool {
        oldest.is_some_and(|position| position < self.barrier)
    }

    /// The server refused a `SCRIPT LOAD`. The error is for the next request only.
    pub(super) fn failed(&mut self, line: Bytes) {
        self.failure = Some(line);
    }

    pub(super) fn take_failure(&mut self) -> Option<Bytes> {
        self.failure.take()
    }
}
