//! The callers of this store that wait for locks: a queue for each lock.
//!
//! Only the first caller of a queue asks the server; the others cost the server nothing. The first caller asks in three cases: a
//! message says that the lock was released; the holder's lease ends; some time has passed, since a message may be lost. The
//! manager is subscribed to the channel of these messages while anyone waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Manager, Subscription};
use crate::error::Error;
use crate::lifecycle;
use crate::sync::{Mutex, MutexGuard};

/// How long an empty queue is kept, so that consecutive waits share a subscription.
const LINGER: Duration = Duration::from_secs(1);

/// The queues of one store, by the key of the lock.
#[derive(Debug, Default)]
pub(super) struct LockQueues(Mutex<HashMap<Bytes, LockQueue>>);

#[derive(Debug, Default)]
struct LockQueue {
    /// The waiting callers by number; the first caller has the smallest number.
    waiting: BTreeMap<u64, Arc<Notify>>,
    last: u64,
    /// True if the queue is subscribed to messages about releases.
    is_subscribed: bool,
    subscription: Option<Subscription>,
    /// True if a task will remove the queue if it is still empty then.
    lingers: bool,
}

impl LockQueue {
    fn wake_first(&self) {
        if let Some(first) = self.waiting.values().next() {
            first.notify_one();
        }
    }
}

impl LockQueues {
    fn queues(&self) -> MutexGuard<'_, HashMap<Bytes, LockQueue>> {
        self.0.lock()
    }

    /// Puts the caller at the end of the queue for the lock at `key`.
    pub(super) fn join(self: &Arc<Self>, manager: &Manager, key: &Bytes) -> Ticket {
        let turn = Arc::new(Notify::new());
        let (number, is_new) = {
            let mut queues = self.queues();
            let is_new = !queues.contains_key(key);
            let queue = queues.entry(key.clone()).or_default();
            queue.last += 1;
            queue.waiting.insert(queue.last, Arc::clone(&turn));
            (queue.last, is_new)
        };
        if is_new {
            self.listen(manager, key);
        }
        Ticket { queues: Arc::clone(self), key: key.clone(), number, turn }
    }

    /// Subscribes to the messages about the lock. If the subscription is refused, the first caller of the queue asks more often.
    fn listen(self: &Arc<Self>, manager: &Manager, key: &Bytes) {
        let listener = Arc::new(ReleaseListener { queues: Arc::downgrade(self), key: key.clone() });
        let subscribed = manager.subscribe(Channel { kind: ChannelKind::Exact, name: key.clone() }, listener);
        let (queues, key) = (Arc::downgrade(self), key.clone());
        lifecycle::spawn(async move {
            let Ok(subscription) = subscribed.await else { return };
            if let Some(queues) = queues.upgrade()
                && let Some(queue) = queues.queues().get_mut(&key)
            {
                queue.subscription = Some(subscription);
                queue.is_subscribed = true;
                // The lock may have been released before the subscription.
                queue.wake_first();
            }
        });
    }

    fn set_subscribed(&self, key: &Bytes, is_subscribed: bool) {
        if let Some(queue) = self.queues().get_mut(key) {
            queue.is_subscribed = is_subscribed;
            queue.wake_first();
        }
    }

    fn leave(self: &Arc<Self>, key: &Bytes, number: u64) {
        let lingers = {
            let mut queues = self.queues();
            let Some(queue) = queues.get_mut(key) else { return };
            let was_first = queue.waiting.keys().next() == Some(&number);
            queue.waiting.remove(&number);
            if was_first {
                // A message may have woken the caller that leaves, so the next caller tries too.
                queue.wake_first();
            }
            queue.waiting.is_empty() && !std::mem::replace(&mut queue.lingers, true)
        };
        if lingers {
            let (queues, key) = (Arc::downgrade(self), key.clone());
            lifecycle::spawn(async move {
                tokio::time::sleep(LINGER).await;
                if let Some(queues) = queues.upgrade() {
                    drop(queues.end(&key));
                }
            });
        }
    }

    /// Removes an empty queue. The caller drops it outside of the mutex.
    fn end(&self, key: &Bytes) -> Option<LockQueue> {
        let mut queues = self.queues();
        let queue = queues.get_mut(key)?;
        queue.lingers = false;
        queue.waiting.is_empty().then(|| queues.remove(key)).flatten()
    }
}

/// A place in a queue. When it is dropped, the next caller moves up.
#[derive(Debug)]
pub(super) struct Ticket {
    queues: Arc<LockQueues>,
    key: Bytes,
    number: u64,
    turn: Arc<Notify>,
}

impl Ticket {
    /// True if this caller is the first. Only the first caller asks the server.
    pub(super) fn is_first(&self) -> bool {
        self.of_queue(|queue| queue.waiting.keys().next() == Some(&self.number))
    }

    /// True if the queue is subscribed to messages about releases.
    pub(super) fn is_subscribed(&self) -> bool {
        self.of_queue(|queue| queue.is_subscribed)
    }

    /// Resolves when this caller becomes the first, or when the lock may be free.
    pub(super) async fn notified(&self) {
        self.turn.notified().await;
    }

    fn of_queue(&self, ask: impl FnOnce(&LockQueue) -> bool) -> bool {
        self.queues.queues().get(&self.key).is_some_and(ask)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queues.leave(&self.key, self.number);
    }
}

struct ReleaseListener {
    queues: Weak<LockQueues>,
    key: Bytes,
}

impl ReleaseListener {
    fn set_subscribed(&self, is_subscribed: bool) {
        if let Some(queues) = self.queues.upgrade() {
            queues.set_subscribed(&self.key, is_subscribed);
        }
    }
}

impl Listener for ReleaseListener {
    fn message(&self, _message: &ChannelMessage) {
        self.set_subscribed(true);
    }

    fn lost(&self, _error: &Error) {
        self.set_subscribed(false);
    }

    fn restored(&self, _gap: Duration) {
        self.set_subscribed(true);
    }

    fn ended(&self, _error: &Error) {
        self.set_subscribed(false);
    }
}
