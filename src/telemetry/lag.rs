//! The lag of the consumer groups of durable topics.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

/// The lag of each group, by topic and by group.
pub type LagSnapshot = BTreeMap<String, BTreeMap<String, u64>>;

/// Unacknowledged messages of the groups that this process consumes.
#[derive(Debug, Default)]
pub struct Lags(Mutex<BTreeMap<(Bytes, Bytes), u64>>);

impl Lags {
    pub fn set(&self, topic: &Bytes, group: &Bytes, lag: u64) {
        self.lock().insert((topic.clone(), group.clone()), lag);
    }

    pub fn forget(&self, topic: &Bytes, group: &Bytes) {
        self.lock().remove(&(topic.clone(), group.clone()));
    }

    #[must_use]
    pub fn snapshot(&self) -> LagSnapshot {
        let mut snapshot = LagSnapshot::new();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        for ((topic, group), lag) in &*self.lock() {
            snapshot.entry(text(topic)).or_default().insert(text(group), *lag);
        }
        snapshot
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Bytes, Bytes), u64>> {
        self.0.lock()
    }
}
