//! The state of a subscription to events: whether there is one, the callers that wait for it, and how many events JavaScript has
//! not taken.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::crossing::{Answer, Outcome};
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

/// The current subscription to events, if any.
#[derive(Debug, Default)]
pub(super) struct Watch {
    current: Mutex<Option<Arc<WatchSession>>>,
    /// Events that were delivered and that JavaScript has not taken.
    pub(super) untaken: AtomicU64,
    pub(super) taken: Notify,
}

/// One subscription, from a `watch` to an `unwatch`.
#[derive(Debug)]
pub(super) struct WatchSession {
    pub(super) stop: CancellationToken,
    /// The callers that get the result of the next attempt to start; nothing once it has started.
    waiting: Mutex<Option<Vec<Answer>>>,
}

impl Watch {
    pub(super) fn current(&self) -> MutexGuard<'_, Option<Arc<WatchSession>>> {
        self.current.lock()
    }
}

impl WatchSession {
    pub(super) fn new(answer: Answer) -> Self {
        Self { stop: CancellationToken::new(), waiting: Mutex::new(Some(vec![answer])) }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Answer>>> {
        self.waiting.lock()
    }

    /// Answers when no event can be missed any more, or with why the next attempt failed.
    pub(super) fn wait(&self, answer: Answer) {
        match &mut *self.waiting() {
            Some(waiting) => waiting.push(answer),
            None => answer.give(Ok(Outcome::Nothing)),
        }
    }

    pub(super) fn started(&self) {
        for answer in self.waiting().take().into_iter().flatten() {
            answer.give(Ok(Outcome::Nothing));
        }
    }

    pub(super) fn failed(&self, error: &Error) {
        let waiting = self.waiting().as_mut().map(std::mem::take);
        for answer in waiting.into_iter().flatten() {
            answer.give(Err(error.clone()));
        }
    }
}
