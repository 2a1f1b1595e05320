//! Clients that wait for a key: the keys they wait for, and the client that is served next.
//!
//! A waiting client keeps its command. When a key it waits for changes, the command runs again: either it answers now,
//! or the client keeps its place in the line.

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
    /// Clients by the key they wait for, first come first served.
    lines: HashMap<(usize, Key), VecDeque<usize>>,
    deadlines: BTreeSet<(i64, usize)>,
    /// Keys that changed and have a line.
    ready: Vec<(usize, Key)>,
    /// The key whose line is being served.
    serving: Option<Key>,
}

impl Waiting {
    pub(super) fn add(&mut self, client: usize, db: usize, wait: &Wait) {
        for key in &wait.keys {
            let line = self.lines.entry((db, Key::from(key.as_slice()))).or_default();
            if !line.contains(&client) {
                line.push_back(client);
            }
        }
        if let Some(at) = wait.deadline {
            self.deadlines.insert((at, client));
        }
    }

    pub(super) fn remove(&mut self, client: usize, blocked: &Blocked) {
        for key in &blocked.wait.keys {
            let place = (blocked.db, Key::from(key.as_slice()));
            if let Some(line) = self.lines.get_mut(&place) {
                line.retain(|&c| c != client);
                if line.is_empty() {
                    self.lines.remove(&place);
                }
            }
        }
        if let Some(at) = blocked.wait.deadline {
            self.deadlines.remove(&(at, client));
        }
    }

    pub(super) fn changed(&mut self, db: usize, key: &[u8]) {
        if self.lines.is_empty() {
            return;
        }
        let place = (db, Key::from(key));
        if self.lines.contains_key(&place) && !self.ready.contains(&place) {
            self.ready.push(place);
        }
    }

    /// Every key of `db` may have changed.
    pub(super) fn changed_all(&mut self, db: usize) {
        let keys: Vec<Key> = self.lines.keys().filter(|k| k.0 == db).map(|k| Key::clone(&k.1)).collect();
        for key in keys {
            self.changed(db, &key);
        }
    }

    pub(super) fn take_ready(&mut self) -> Vec<(usize, Key)> {
        std::mem::take(&mut self.ready)
    }

    /// A waiting client is served from the key that became ready, whatever else it waits for.
    pub(super) fn serve(&mut self, key: Option<Key>) {
        self.serving = key;
    }

    pub(super) fn serves(&self, key: &[u8]) -> bool {
        self.serving.as_deref().is_none_or(|serving| serving == key)
    }

    pub(super) fn ready_keys(&self) -> usize {
        self.ready.len()
    }

    /// Forgets the keys that became ready after the first `keep`.
    pub(super) fn forget_ready(&mut self, keep: usize) {
        self.ready.truncate(keep);
    }

    pub(super) fn line(&self, place: &(usize, Key)) -> Vec<usize> {
        self.lines.get(place).map(|line| line.iter().copied().collect()).unwrap_or_default()
    }

    pub(super) fn first_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|d| d.0)
    }

    pub(super) fn overdue(&self, now: i64) -> Vec<usize> {
        self.deadlines.iter().take_while(|d| d.0 <= now).map(|d| d.1).collect()
    }

    pub(super) fn clients(&self) -> usize {
        self.lines.values().flatten().collect::<std::collections::HashSet<_>>().len()
    }
}
