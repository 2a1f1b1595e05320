//! The databases: keys, their values, their expiry, and an estimate of their memory.
//!
//! No command sees a key after its expiry. A sweep removes expired keys soon (`expired_keys`), so that keys which no client reads
//! do not use memory for ever.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::bytes::Key;
use super::value::Value;

pub(super) const DATABASES: usize = 16;
/// The memory of a key besides its name and its value, in bytes.
const KEY_OVERHEAD: usize = 96;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    /// Milliseconds since the epoch.
    pub(super) expire: Option<i64>,
    /// The part of `used` that this key has.
    counted: usize,
    pub(super) accessed: i64,
}

/// One database. SCAN depends on the index order: a removal moves the last key into the gap. So a scan from the end to the start
/// never misses a key that exists for the whole scan.
#[derive(Debug, Default)]
pub(super) struct Db {
    pub(super) keys: IndexMap<Key, Entry, FxBuildHasher>,
    pub(super) expires: BTreeSet<(i64, Key)>,
    used: usize,
}

impl Db {
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Whether the key has expired but is not removed yet.
    pub(super) fn is_overdue(&self, key: &[u8], now: i64) -> bool {
        self.expires.first().is_some_and(|first| first.0 < now)
            && self.keys.get(key).is_some_and(|entry| entry.expire.is_some_and(|at| at < now))
    }

    /// The entry, which must not be overdue.
    pub(super) fn live(&mut self, key: &[u8], now: i64) -> Option<&mut Entry> {
        let entry = self.keys.get_mut(key)?;
        entry.accessed = now;
        Some(entry)
    }

    /// Sets a value, and removes the previous value and its expiry.
    pub(super) fn put(&mut self, key: &[u8], value: Value, now: i64) {
        let counted = KEY_OVERHEAD + key.len() + value.size();
        if let Some((shared, entry)) = self.keys.get_full_mut(key).map(|(_, k, e)| (k, e)) {
            if let Some(at) = entry.expire.take() {
                self.expires.remove(&(at, Key::clone(shared)));
            }
            self.used = self.used - entry.counted + counted;
            entry.counted = counted;
            entry.value = value;
            entry.accessed = now;
        } else {
            self.used += counted;
            self.keys.insert(key.into(), Entry { value, expire: None, counted, accessed: now });
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let (shared, entry) = self.keys.swap_remove_entry(key)?;
        self.used -= entry.counted;
        if let Some(at) = entry.expire {
            self.expires.remove(&(at, shared));
        }
        Some(entry)
    }

    pub(super) fn set_expire(&mut self, key: &[u8], at: Option<i64>) {
        if let Some((_, shared, entry)) = self.keys.get_full_mut(key) {
            if let Some(old) = entry.expire {
                self.expires.remove(&(old, Key::clone(shared)));
            }
            entry.expire = at;
            if let Some(at) = at {
                self.expires.insert((at, Key::clone(shared)));
            }
        }
    }

    /// Counts the memory of a value again after a change in place. Removes the key if the value is empty now.
    pub(super) fn recount(&mut self, key: &[u8]) {
        let Some(entry) = self.keys.get_mut(key) else {
            return;
        };
        if entry.value.is_empty() {
            self.remove(key);
            return;
        }
        let counted = KEY_OVERHEAD + key.len() + entry.value.size();
        self.used = self.used - entry.counted + counted;
        entry.counted = counted;
    }

    pub(super) fn counted(&self, key: &[u8]) -> Option<usize> {
        self.keys.get(key).map(|e| e.counted)
    }

    pub(super) fn expired_keys(&self, now: i64, limit: usize) -> Vec<Key> {
        self.expires.iter().take_while(|(at, _)| *at < now).take(limit).map(|(_, k)| Key::clone(k)).collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Db::default();
    }
}
