//! Whether this registry reads events, who wants to know, and how much of what it was told is taken.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::crossing::{Answer, Outcome};
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

/// Whether this registry watches, and how much of what it was told is taken.
#[derive(Debug, Default)]
pub(super) struct Watch {
    present: Mutex<Option<Arc<Watching>>>,
    /// Events that were told and that JavaScript has not taken.
    pub(super) untaken: AtomicU64,
    pub(super) taken: Notify,
}

/// One time of watching, from a `watch` to an `unwatch`.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) stop: CancellationToken,
    /// Who is told what comes of the next attempt to begin; nothing when it has begun.
    asking: Mutex<Option<Vec<Answer>>>,
}

impl Watch {
    pub(super) fn present(&self) -> MutexGuard<'_, Option<Arc<Watching>>> {
        self.present.lock()
    }
}

impl Watching {
    pub(super) fn new(answer: Answer) -> Self {
        Self { stop: CancellationToken::new(), asking: Mutex::new(Some(vec![answer])) }
    }

    fn asking(&self) -> MutexGuard<'_, Option<Vec<Answer>>> {
        self.asking.lock()
    }

    /// Tells `answer` when it is certain that nothing will be missed, or why the next attempt at that failed.
    pub(super) fn ask(&self, answer: Answer) {
        match &mut *self.asking() {
            Some(asking) => asking.push(answer),
            None => answer.give(Ok(Outcome::Nothing)),
        }
    }

    pub(super) fn begun(&self) {
        for answer in self.asking().take().into_iter().flatten() {
            answer.give(Ok(Outcome::Nothing));
        }
    }

    pub(super) fn failed(&self, error: &Error) {
        let asking = self.asking().as_mut().map(std::mem::take);
        for answer in asking.into_iter().flatten() {
            answer.give(Err(error.clone()));
        }
    }
}
