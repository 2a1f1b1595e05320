//! Who waits for locks in this store: a line for each lock, of which only the first asks the server.
//!
//! The others cost the server nothing. The first asks when it is told that the lock was released, on a channel that the manager
//! subscribes to while anyone waits; when the lease of whoever holds the lock ends; and from time to time, since a message may be lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::connection::{Channel, ChannelKind, Listener, Manager, Message, Subscription};
use crate::error::Error;
use crate::lifecycle;
use crate::sync::{Mutex, MutexGuard};

/// For how long a line stays that nobody stands in, so that waits one after another share a subscription.
const LINGER: Duration = Duration::from_secs(1);

/// The lines of one store, by the key of the lock.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<Bytes, Line>>);

#[derive(Debug, Default)]
struct Line {
    /// Whoever came first is first.
    waiting: BTreeMap<u64, Arc<Notify>>,
    last: u64,
    /// Is a release told to this line?
    hears: bool,
    subscription: Option<Subscription>,
    /// Does a task look whether the line is still of use?
    lingers: bool,
}

impl Line {
    fn wake_first(&self) {
        if let Some(first) = self.waiting.values().next() {
            first.notify_one();
        }
    }
}

impl Lines {
    fn lines(&self) -> MutexGuard<'_, HashMap<Bytes, Line>> {
        self.0.lock()
    }

    /// Puts the caller at the end of the line for the lock at `key`.
    pub(super) fn join(self: &Arc<Self>, manager: &Manager, key: &Bytes) -> Place {
        let turn = Arc::new(Notify::new());
        let (number, is_new) = {
            let mut lines = self.lines();
            let is_new = !lines.contains_key(key);
            let line = lines.entry(key.clone()).or_default();
            line.last += 1;
            line.waiting.insert(line.last, Arc::clone(&turn));
            (line.last, is_new)
        };
        if is_new {
            self.listen(manager, key);
        }
        Place { lines: Arc::clone(self), key: key.clone(), number, turn }
    }

    /// Subscribes to what is told of the lock. Where that is refused the first of the line asks more often.
    fn listen(self: &Arc<Self>, manager: &Manager, key: &Bytes) {
        let ears = Arc::new(Ears { lines: Arc::downgrade(self), key: key.clone() });
        let subscribed = manager.subscribe(Channel { kind: ChannelKind::Exact, name: key.clone() }, ears);
        let (lines, key) = (Arc::downgrade(self), key.clone());
        lifecycle::spawn(async move {
            let Ok(subscription) = subscribed.await else { return };
            if let Some(lines) = lines.upgrade()
                && let Some(line) = lines.lines().get_mut(&key)
            {
                line.subscription = Some(subscription);
                line.hears = true;
                // It may have been released before.
                line.wake_first();
            }
        });
    }

    fn hears(&self, key: &Bytes, hears: bool) {
        if let Some(line) = self.lines().get_mut(key) {
            line.hears = hears;
            line.wake_first();
        }
    }

    fn leave(self: &Arc<Self>, key: &Bytes, number: u64) {
        let lingers = {
            let mut lines = self.lines();
            let Some(line) = lines.get_mut(key) else { return };
            let was_first = line.waiting.keys().next() == Some(&number);
            line.waiting.remove(&number);
            if was_first {
                // Whatever the one before knew, the next asks anew.
                line.wake_first();
            }
            line.waiting.is_empty() && !std::mem::replace(&mut line.lingers, true)
        };
        if lingers {
            let (lines, key) = (Arc::downgrade(self), key.clone());
            lifecycle::spawn(async move {
                tokio::time::sleep(LINGER).await;
                if let Some(lines) = lines.upgrade() {
                    drop(lines.end(&key));
                }
            });
        }
    }

    /// Ends a line in which nobody stands. What it gives is dropped without the lock.
    fn end(&self, key: &Bytes) -> Option<Line> {
        let mut lines = self.lines();
        let line = lines.get_mut(key)?;
        line.lingers = false;
        line.waiting.is_empty().then(|| lines.remove(key)).flatten()
    }
}

/// A place in a line. Dropped, the next one moves up.
#[derive(Debug)]
pub(super) struct Place {
    lines: Arc<Lines>,
    key: Bytes,
    number: u64,
    turn: Arc<Notify>,
}

impl Place {
    /// Is it the first? Only that one asks the server.
    pub(super) fn is_first(&self) -> bool {
        self.of_line(|line| line.waiting.keys().next() == Some(&self.number))
    }

    /// Is a release told to this line?
    pub(super) fn hears(&self) -> bool {
        self.of_line(|line| line.hears)
    }

    /// Resolves when it became the first, or may have the lock.
    pub(super) async fn called(&self) {
        self.turn.notified().await;
    }

    fn of_line(&self, ask: impl FnOnce(&Line) -> bool) -> bool {
        self.lines.lines().get(&self.key).is_some_and(ask)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.leave(&self.key, self.number);
    }
}

struct Ears {
    lines: Weak<Lines>,
    key: Bytes,
}

impl Ears {
    fn hear(&self, hears: bool) {
        if let Some(lines) = self.lines.upgrade() {
            lines.hears(&self.key, hears);
        }
    }
}

impl Listener for Ears {
    fn message(&self, _message: &Message) {
        self.hear(true);
    }

    fn lost(&self, _error: &Error) {
        self.hear(false);
    }

    fn restored(&self, _gap: Duration) {
        self.hear(true);
    }

    fn ended(&self, _error: &Error) {
        self.hear(false);
    }
}
