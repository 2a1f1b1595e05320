//! Which node of a cluster owns which hash slot.

use crc::{CRC_16_XMODEM, Crc, Table};

use super::slot_set::{SLOTS, SlotSet};
use crate::connection::server_info::field;
use crate::connection::target::Address;
use crate::keys::hash_tag;
use crate::resp::Reply;

const CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);
const NOBODY: u16 = u16::MAX;

/// The slot of `key`, or of its hash tag, if the key has one.
pub(in crate::connection) fn slot_of(key: &[u8]) -> u16 {
    CRC.checksum(hash_tag(key)) % SLOTS
}

/// The masters of a cluster, their slots and their replicas, as one node gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connection) struct SlotMap {
    masters: Vec<Address>,
    replicas: Vec<Address>,
    /// For each slot the index of its master in `masters`.
    owners: Vec<u16>,
    /// The cluster's current epoch, as this node knows it; 0 where it gave none. A node that was cut off knows an older epoch.
    epoch: u64,
}

impl SlotMap {
    /// Reads the answer of `asked` to `CLUSTER SLOTS`. An entry without a host has the host of `asked`.
    pub(in crate::connection) fn read(reply: &Reply, asked: &Address) -> Option<Self> {
        let Reply::Array(ranges) = reply else { return None };
        let mut map =
            Self { masters: Vec::new(), replicas: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)], epoch: 0 };
        for range in ranges {
            let Reply::Array(parts) = range else { return None };
            let [Reply::Int(first), Reply::Int(last), Reply::Array(master), replicas @ ..] = &parts[..] else {
                return None;
            };
            for replica in replicas {
                let Reply::Array(replica) = replica else { return None };
                map.replicas.extend(node(replica, asked).filter(|replica| !map.replicas.contains(replica)));
            }
            let Some(master) = node(master, asked) else {
                // The address of the master is not known yet. Its slots have no owner until it is.
                continue;
            };
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            let index = map.index_of(&master)?;
            map.owners.get_mut(first..=last)?.fill(index);
        }
        Some(map)
    }

    /// The same map, with the epoch in the answer of `asked` to `CLUSTER INFO`. Only the epoch of a master counts: a replica that was
    /// cut off raises its epoch with each attempt to be elected.
    pub(super) fn at_epoch(mut self, info: &Reply, asked: &Address) -> Self {
        if let Reply::Bulk(info) = info
            && self.masters.contains(asked)
        {
            let info = String::from_utf8_lossy(info);
            let epoch = field(&info, "cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
            self.epoch = epoch.unwrap_or(0);
        }
        self
    }

    /// Is the epoch of this map older than the epoch of `other`?
    pub(super) fn is_older_than(&self, other: &Self) -> bool {
        self.epoch != 0 && self.epoch < other.epoch
    }

    pub(in crate::connection) fn masters(&self) -> &[Address] {
        &self.masters
    }

    pub(in crate::connection) fn replicas(&self) -> &[Address] {
        &self.replicas
    }

    /// Is the node at `address` a master with slots, or a replica of one?
    pub(in crate::connection) fn has(&self, address: &Address) -> bool {
        self.masters.contains(address) || self.replicas.contains(address)
    }

    /// The owner of `slot`.
    pub(in crate::connection) fn owner(&self, slot: u16) -> Option<&Address> {
        self.owners.get(usize::from(slot)).and_then(|index| self.masters.get(usize::from(*index)))
    }

    /// The slots of a master.
    pub(in crate::connection) fn slots_of(&self, master: &Address) -> SlotSet {
        let mut slots = SlotSet::none();
        (0..SLOTS).filter(|slot| self.owner(*slot) == Some(master)).for_each(|slot| slots.add(slot));
        slots
    }

    /// Makes `address` the owner of `slot`, after a `MOVED`.
    pub(in crate::connection) fn moved(&mut self, slot: u16, address: &Address) {
        if let Some(index) = self.index_of(address)
            && let Some(owner) = self.owners.get_mut(usize::from(slot))
        {
            *owner = index;
        }
    }

    /// The lowest slot of each master, ascending.
    pub(super) fn lowest_slots(&self) -> Vec<u16> {
        let mut seen = vec![false; self.masters.len()];
        (0..SLOTS)
            .filter(|slot| match seen.get_mut(usize::from(self.owners[usize::from(*slot)])) {
                Some(seen) => !std::mem::replace(seen, true),
                None => false,
            })
            .collect()
    }

    fn index_of(&mut self, master: &Address) -> Option<u16> {
        let at = self.masters.iter().position(|known| known == master).unwrap_or_else(|| {
            self.masters.push(master.clone());
            self.masters.len() - 1
        });
        u16::try_from(at).ok().filter(|index| *index != NOBODY)
    }
}

/// The address of a node in an answer of `asked`: `[host, port, …]`.
fn node(parts: &[Reply], asked: &Address) -> Option<Address> {
    let [host, Reply::Int(port), ..] = parts else { return None };
    let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
    let host = match host {
        Reply::Nil => "",
        Reply::Bulk(host) | Reply::Simple(host) => std::str::from_utf8(host).ok()?,
        _ => return None,
    };
    at_host(host, port, asked)
}

/// `host` with `port`. An empty host is the host of `asked`; `?` is an unknown host.
pub(super) fn at_host(host: &str, port: u16, asked: &Address) -> Option<Address> {
    match host {
        "?" => None,
        "" => Some(Address { host: asked.host.clone(), port }),
        host => Some(Address { host: host.to_owned(), port }),
    }
}

/// A redirection: where an error reply sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connection) struct Redirect {
    pub(in crate::connection) slot: u16,
    pub(in crate::connection) address: Address,
    /// Is the redirection for this one request only, which must be preceded by `ASKING`? The slot has not moved yet.
    pub(in crate::connection) ask: bool,
}

impl Redirect {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`, sent by `asked`.
    pub(in crate::connection) fn read(line: &[u8], asked: &Address) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        // An IPv6 address has no brackets here, so the port is behind the last colon.
        let (host, port) = words.next()?.rsplit_once(':')?;
        let address = at_host(host, port.parse().ok().filter(|port| *port != 0)?, asked)?;
        Some(Self { slot, address, ask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    fn range(first: i64, last: i64, host: Reply, port: i64) -> Reply {
        Reply::Array(vec![
            Reply::Int(first),
            Reply::Int(last),
            Reply::Array(vec![host, Reply::Int(port), Reply::Bulk("id".into()), Reply::Array(Vec::new())]),
        ])
    }

    #[test]
    fn slots_are_those_of_the_redis_specification() {
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{foo}bar"), slot_of(b"foo"));
        assert_eq!(slot_of(b"foo{}{bar}"), CRC.checksum(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn a_map_has_owners_and_gaps_and_fills_in_the_host_that_was_asked() {
        let reply = Reply::Array(vec![
            range(0, 99, Reply::Nil, 1),
            range(200, 16_383, Reply::Bulk("b".into()), 2),
            range(100, 100, Reply::Bulk("?".into()), 3),
        ]);
        let mut map = SlotMap::read(&reply, &at("asked", 9)).unwrap();
        assert_eq!(map.masters(), [at("asked", 1), at("b", 2)]);
        assert_eq!(map.owner(99), Some(&at("asked", 1)));
        assert_eq!(map.owner(100), None);
        assert_eq!(map.owner(16_383), Some(&at("b", 2)));
        assert_eq!(map.lowest_slots(), [0, 200]);
        map.moved(99, &at("c", 3));
        assert_eq!(map.owner(99), Some(&at("c", 3)));
        assert_eq!(map.lowest_slots(), [0, 99, 200]);
    }

    #[test]
    fn a_map_has_replicas_and_the_epoch_of_a_master() {
        let node = |port| Reply::Array(vec![Reply::Bulk("h".into()), Reply::Int(port)]);
        let range = Reply::Array(vec![Reply::Int(0), Reply::Int(9), node(1), node(2), node(2)]);
        let map = SlotMap::read(&Reply::Array(vec![range]), &at("h", 1)).unwrap();
        assert_eq!(map.replicas(), [at("h", 2)]);
        assert!(map.has(&at("h", 1)) && map.has(&at("h", 2)) && !map.has(&at("h", 3)));
        let of = |epoch, asked| {
            let info = format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n");
            map.clone().at_epoch(&Reply::Bulk(info.into()), &at("h", asked))
        };
        assert!(of(4, 1).is_older_than(&of(5, 1)) && !of(5, 1).is_older_than(&of(5, 1)));
        assert!(!of(4, 2).is_older_than(&of(5, 1)), "the epoch of a replica does not count");
        assert!(!of(4, 1).is_older_than(&of(5, 2)));
    }

    #[test]
    fn an_answer_that_is_no_slot_map_is_refused() {
        for reply in [
            Reply::Nil,
            Reply::Array(vec![Reply::Nil]),
            Reply::Array(vec![range(5, 99_999, Reply::Nil, 1)]),
            Reply::Array(vec![range(9, 5, Reply::Nil, 1)]),
        ] {
            // A range that ends before its start is empty or refused, without a panic.
            let map = SlotMap::read(&reply, &at("h", 1));
            assert!(map.is_none_or(|map| map.lowest_slots().is_empty()), "{reply:?}");
        }
    }

    #[test]
    fn redirections_are_read() {
        let asked = at("asked", 1);
        let read = |line: &str| Redirect::read(line.as_bytes(), &asked);
        assert_eq!(read("MOVED 5 10.0.0.1:7"), Some(Redirect { slot: 5, address: at("10.0.0.1", 7), ask: false }));
        assert_eq!(read("ASK 5 ::1:7"), Some(Redirect { slot: 5, address: at("::1", 7), ask: true }));
        assert_eq!(read("MOVED 5 :7"), Some(Redirect { slot: 5, address: at("asked", 7), ask: false }));
        for line in ["MOVED", "MOVED 5", "MOVED 16384 h:1", "MOVED 5 h:0", "MOVED 5 ?:7", "ERR no"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
