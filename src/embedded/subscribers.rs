//! The subscribers of channels, patterns and sharded channels.

use std::collections::HashMap;

use indexmap::IndexMap;

/// The kind of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];
}

/// The slots of the subscribed clients, by name. A name without subscribers has no entry.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    pub(super) channels: HashMap<Vec<u8>, Vec<usize>>,
    pub(super) patterns: IndexMap<Vec<u8>, Vec<usize>>,
    pub(super) shards: HashMap<Vec<u8>, Vec<usize>>,
}

impl Subscribers {
    /// Adds a subscription, which must not exist yet.
    pub(super) fn add(&mut self, kind: Kind, name: &[u8], slot: usize) {
        match kind {
            Kind::Channel => self.channels.entry(name.to_vec()),
            Kind::Shard => self.shards.entry(name.to_vec()),
            Kind::Pattern => return self.patterns.entry(name.to_vec()).or_default().push(slot),
        }
        .or_default()
        .push(slot);
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &[u8], slot: usize) {
        let slots = match kind {
            Kind::Channel => self.channels.get_mut(name),
            Kind::Shard => self.shards.get_mut(name),
            Kind::Pattern => self.patterns.get_mut(name),
        };
        let Some(slots) = slots else { return };
        slots.retain(|other| *other != slot);
        if slots.is_empty() {
            match kind {
                Kind::Channel => drop(self.channels.remove(name)),
                Kind::Shard => drop(self.shards.remove(name)),
                Kind::Pattern => drop(self.patterns.swap_remove(name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_entry_as_long_as_it_has_a_subscriber() {
        for kind in Kind::ALL {
            let mut subscribers = Subscribers::default();
            let names = |subscribers: &Subscribers| {
                [subscribers.channels.len(), subscribers.patterns.len(), subscribers.shards.len()]
            };
            subscribers.add(kind, b"a", 1);
            subscribers.add(kind, b"a", 2);
            subscribers.remove(kind, b"a", 1);
            subscribers.remove(kind, b"b", 2);
            assert_eq!(names(&subscribers).iter().sum::<usize>(), 1, "{kind:?}");
            subscribers.remove(kind, b"a", 2);
            assert_eq!(names(&subscribers), [0; 3], "{kind:?}");
        }
    }
}
