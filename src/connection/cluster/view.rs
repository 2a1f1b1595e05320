//! The answer of a cluster's node to `CLUSTER NODES`: its own slots, and the other nodes.

use super::slot_set::SlotSet;
use super::slots::at_host;
use crate::connection::target::Address;

/// A node, as another node describes it.
#[derive(Debug)]
pub(super) struct OtherNode {
    pub(super) id: String,
    pub(super) address: Option<Address>,
    /// Is the node a master that has not failed?
    pub(super) serves: bool,
    pub(super) slots: SlotSet,
}

/// A cluster as one of its nodes sees it.
#[derive(Debug)]
pub(super) struct View {
    /// The id of the node that answered.
    pub(super) id: String,
    /// Is the node that answered a master?
    pub(super) is_master: bool,
    /// The slots that the node owns.
    pub(super) owned: SlotSet,
    /// The slots that the node imports from other nodes.
    pub(super) importing: SlotSet,
    /// The slots that the node migrates to others, and the ids of these nodes.
    pub(super) migrating: Vec<(u16, String)>,
    /// The other nodes.
    pub(super) others: Vec<OtherNode>,
}

impl View {
    /// Reads the answer of the node at `asked`.
    pub(super) fn read(text: &str, asked: &Address) -> Option<Self> {
        let mut me = None;
        let mut others = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, address, flags, _, _, _, _, _, ranges @ ..] = &words[..] else { return None };
            let is = |flag: &str| flags.split(',').any(|one| one == flag);
            let mut slots = SlotSet::none();
            let (mut importing, mut migrating) = (SlotSet::none(), Vec::new());
            for range in ranges {
                if let Some(open) = range.strip_prefix('[').and_then(|range| range.strip_suffix(']')) {
                    if let Some((slot, to)) = open.split_once("->-") {
                        migrating.push((slot.parse().ok()?, to.to_owned()));
                    } else if let Some((slot, _)) = open.split_once("-<-") {
                        importing.add(slot.parse().ok()?);
                    }
                    continue;
                }
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                slots.add_range(first.parse().ok()?, last.parse().ok()?);
            }
            if is("myself") {
                let (id, is_master) = ((*id).to_owned(), is("master"));
                me = Some(Self { id, is_master, owned: slots, importing, migrating, others: Vec::new() });
            } else {
                let serves = is("master") && !is("fail") && !is("noaddr");
                others.push(OtherNode { id: (*id).to_owned(), address: address_in(address, asked), serves, slots });
            }
        }
        me.map(|me| Self { others, ..me })
    }

    /// The slots that the node migrates to others.
    pub(super) fn leaving(&self) -> SlotSet {
        let mut slots = SlotSet::none();
        self.migrating.iter().for_each(|(slot, _)| slots.add(*slot));
        slots
    }

    pub(super) fn other(&self, id: &str) -> Option<&OtherNode> {
        self.others.iter().find(|other| other.id == id)
    }
}

/// `host:port@bus,name,…`
fn address_in(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.split(['@', ',']).next()?.rsplit_once(':')?;
    at_host(host, port.parse().ok().filter(|port| *port != 0)?, asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn a_view_has_the_own_slots_the_migrating_slots_and_the_other_nodes() {
        let text = "aa 10.0.0.1:7@17 myself,master - 0 0 5 connected 0-99 200 [99->-bb] [300-<-cc]\n\
                    bb 10.0.0.2:7@17,b.example,shard-id=x master - 0 1 6 connected\n\
                    cc :9@19 slave,fail aa 0 1 5 connected\n";
        let view = View::read(text, &at("asked", 1)).unwrap();
        assert_eq!((view.id.as_str(), view.is_master), ("aa", true));
        assert_eq!(format!("{:?} {:?}", view.owned, view.importing), "[(0, 99), (200, 200)] [(300, 300)]");
        assert_eq!(view.migrating, [(99, "bb".to_owned())]);
        assert_eq!(view.other("bb").unwrap().address, Some(at("10.0.0.2", 7)));
        assert!(view.other("bb").unwrap().serves && !view.other("cc").unwrap().serves);
        assert_eq!(view.other("cc").unwrap().address, Some(at("asked", 9)));
        assert!(View::read("", &at("asked", 1)).is_none());
        assert!(View::read("not what it should be", &at("asked", 1)).is_none());
    }
}
