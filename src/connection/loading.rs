//! Scripts that are loaded on a connection, and what is held back meanwhile.

use std::collections::HashSet;

use bytes::Bytes;

use super::script::Script;

/// How many digests of users' scripts a connection remembers to have loaded.
const MOST_LOADED: usize = 10_000;

/// What one connection knows of the scripts that it has loaded.
#[derive(Default)]
pub(super) struct Loading {
    /// Digests of the scripts of users that were loaded.
    loaded: HashSet<String>,
    /// The error of the `SCRIPT LOAD` that was answered last, until the next reply.
    failure: Option<Bytes>,
    /// A place in all that was ever written. A request from before it may be written again behind it. Until that is known nothing new is
    /// written: calls of one script keep their order.
    barrier: u64,
}

impl Loading {
    /// Must the script be loaded ahead of this call of it? True for the first call of a user's script on this connection: a `NOSCRIPT` to
    /// the call itself would leave in doubt whether the server says so or the script, which somebody else may have loaded meanwhile.
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

    /// Nothing new is written until all requests from before `position` are answered.
    pub(super) fn hold_back(&mut self, position: u64) {
        self.barrier = position;
    }

    /// Is something held back, where the oldest request stands at `oldest`?
    pub(super) fn holds_back(&self, oldest: Option<u64>) -> bool {
        oldest.is_some_and(|position| position < self.barrier)
    }

    /// A `SCRIPT LOAD` was refused. That is about the request right behind it, and no other.
    pub(super) fn failed(&mut self, line: Bytes) {
        self.failure = Some(line);
    }

    pub(super) fn take_failure(&mut self) -> Option<Bytes> {
        self.failure.take()
    }
}
