//! Clients that wait for keys, and the order in which they are served.
//!
//! A waiting client keeps its command. When one of its keys changes, the command runs again. If there is still nothing for the
//! client, it keeps its place in the queue.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::bytes::Key;
use super::reply::Wait;

/// A waiting client.
#[derive(Debug)]
pub(super) struct Blocked {
    pub(super) wait: Wait,
    pub(super) db: usize,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The queue of clients for each key. The first client in a queue is served first.
    queues: HashMap<(usize, Key), VecDeque<usize>>,
    deadlines: BTreeSet<(i64, usize)>,
    /// Keys that changed and have a queue.
    ready: Vec<(usize, Key)>,
    /// The key whose queue is being served.
    serving: Option<Key>,
}

impl Waiting {
    pub(super) fn add(&mut self, client: usize, db: usize, wait: &Wait) {
        for key in &wait.keys {
            let queue = self.queues.entry((db, Key::from(key.as_slice()))).or_default();
            if !queue.contains(&client) {
                queue.push_back(client);
            }
        }
        if let Some(at) = wait.deadline {
            self.deadlines.insert((at, client));
        }
    }

    pub(super) fn remove(&mut self, client: usize, blocked: &Blocked) {
        for key in &blocked.wait.keys {
            let place = (blocked.db, Key::from(key.as_slice()));
            if let Some(queue) = self.queues.get_mut(&place) {
                queue.retain(|&c| c != client);
                if queue.is_empty() {
                    self.queues.remove(&place);
                }
            }
        }
        if let Some(at) = blocked.wait.deadline {
            self.deadlines.remove(&(at, client));
        }
    }

    pub(super) fn changed(&mut self, db: usize, key: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        let place = (db, Key::from(key));
        if self.queues.contains_key(&place) && !self.ready.contains(&place) {
            self.ready.push(place);
        }
    }

    /// Every key of `db` may have changed.
    pub(super) fn changed_all(&mut self, db: usize) {
        let keys: Vec<Key> = self.queues.keys().filter(|k| k.0 == db).map(|k| Key::clone(&k.1)).collect();
        for key in keys {
            self.changed(db, &key);
        }
    }

    pub(super) fn take_ready(&mut self) -> Vec<(usize, Key)> {
        std::mem::take(&mut self.ready)
    }

    /// Sets the key whose queue is being served. A client gets data from this key only, although it may wait for others too.
    pub(super) fn serve(&mut self, key: Option<Key>) {
        self.serving = key;
    }

    pub(super) fn serves(&self, key: &[u8]) -> bool {
        self.serving.as_deref().is_none_or(|serving| serving == key)
    }

    pub(super) fn ready_keys(&self) -> usize {
        self.ready.len()
    }

    /// Keeps only the first `keep` of the keys that became ready.
    pub(super) fn forget_ready(&mut self, keep: usize) {
        self.ready.truncate(keep);
    }

    pub(super) fn queue(&self, place: &(usize, Key)) -> Vec<usize> {
        self.queues.get(place).map(|queue| queue.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn first_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|d| d.0)
    }

    pub(super) fn overdue(&self, now: i64) -> Vec<usize> {
        self.deadlines.iter().take_while(|d| d.0 <= now).map(|d| d.1).collect()
    }

    pub(super) fn clients(&self) -> usize {
        self.queues.values().flatten().collect::<std::collections::HashSet<_>>().len()
    }
}
