//! The course of a walk over a cluster's keys: which slots are still to be walked over, and where.
//!
//! The walk goes from node to node. A node says which slots it has before its first page and after its last page. A slot that the
//! node had both times is done. A slot that moved away meanwhile is walked again at its new owner. A migrating slot is walked at its
//! old owner first and at its new owner afterwards: keys migrate in one direction only, so each key is seen at one of the two.
//! A page contains only keys whose slots are being walked. So a key comes twice only where the walk of a node starts again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::slot_set::SlotSet;
use super::slots::{SlotMap, slot_of};
use super::view::View;
use crate::connection::manager::Manager;
use crate::connection::pages::{RetryWindow, ScanOptions, ServerCursor, is_gone};
use crate::connection::request::Destination;
use crate::connection::target::Address;
use crate::error::{Delivery, Error, Result};

/// What is left of a walk.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::connection) struct Course {
    /// Slots to walk at their owners.
    owned: SlotSet,
    /// Slots to walk at the nodes that their keys migrate to.
    bound: Vec<Bound>,
    /// The walk of the current node. Its slots stay in `owned` or `bound` until this walk has ended.
    part: Option<NodeWalk>,
}

/// Slots whose keys migrate from one node to another.
#[derive(Debug, Serialize, Deserialize)]
struct Bound {
    slots: SlotSet,
    from: String,
    to: String,
    address: Address,
    /// Did the node `to` own slots? Then it is in the slot map while it is a master.
    is_master: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct NodeWalk {
    address: Address,
    /// Was the node in the slot map as a master when its walk began? Then it must stay a master.
    is_master: bool,
    cursor: ServerCursor,
    slots: SlotSet,
    /// The slots that were migrating away when the walk of the node began.
    leaving: SlotSet,
}

impl Default for Course {
    fn default() -> Self {
        Self { owned: SlotSet::all(), bound: Vec::new(), part: None }
    }
}

/// The outcome of one step of the walk.
pub(in crate::connection) struct WalkPage {
    pub(in crate::connection) keys: Vec<Bytes>,
    /// What is left of the walk; `None` at the end.
    pub(in crate::connection) course: Option<Course>,
    /// Was a part of the walk started again, or must it be walked again?
    pub(in crate::connection) disturbed: bool,
}

/// One step of the walk.
pub(in crate::connection) async fn walk_on(
    manager: &Manager,
    mut course: Course,
    options: &ScanOptions,
) -> Result<WalkPage> {
    let window = RetryWindow::new(manager.config().command_timeout);
    let mut disturbed = false;
    loop {
        let progress = match course.part.take() {
            Some(part) => course.go_on(part, manager, options, &window).await?,
            None => course.begin(manager, options, &window).await?,
        };
        match progress {
            Progress::Page { keys, all_done } => {
                let left = (!course.is_over()).then_some(course);
                return Ok(WalkPage { keys, course: left, disturbed: disturbed || !all_done });
            }
            Progress::Again => disturbed = true,
        }
    }
}

enum Progress {
    Page {
        keys: Vec<Bytes>,
        /// Must no slot be walked again?
        all_done: bool,
    },
    /// The node is no longer the same process, or no longer a master: the step starts again.
    Again,
}

impl Course {
    fn is_over(&self) -> bool {
        self.part.is_none() && self.bound.is_empty() && self.owned.lowest().is_none()
    }

    /// The first page of the next node.
    async fn begin(&mut self, manager: &Manager, options: &ScanOptions, window: &RetryWindow) -> Result<Progress> {
        let Some(address) = self.heading(manager, window).await? else { return Ok(Progress::Again) };
        // A node without slots is not in the slot map as a master.
        let is_master = manager.map().is_none_or(|map| map.masters().contains(&address));
        let first = ServerCursor::first(manager, Some(&destination(&address, is_master)), options, true, window).await;
        let (view, cursor, keys) = match first {
            Err(error) if is_gone(&error) => {
                self.give_back(&address);
                window.pause(error).await?;
                return Ok(Progress::Again);
            }
            other => other?,
        };
        let view = view.and_then(|text| View::read(&text, &address)).ok_or_else(unexpected_reply)?;
        let slots = self.enter(&view, &address);
        if slots.lowest().is_none() {
            // The node has none of the slots that the map says it has.
            if !self.is_over() {
                manager.request_topology_refresh();
                window.pause(not_served(self.owned.lowest())).await?;
            }
            return Ok(Progress::Again);
        }
        let leaving = view.leaving().and(&slots);
        self.finish(NodeWalk { address, is_master, cursor, slots, leaving }, keys, manager, options, window).await
    }

    /// The node to walk next.
    async fn heading(&mut self, manager: &Manager, window: &RetryWindow) -> Result<Option<Address>> {
        let Some(map) = manager.map() else {
            // The first command connects, and the connect gets the map.
            manager.ping().await?;
            return Ok(None);
        };
        while let Some(bound) = self.bound.first() {
            if !bound.is_master || map.masters().contains(&bound.address) {
                return Ok(Some(bound.address.clone()));
            }
            let address = bound.address.clone();
            self.give_back(&address);
        }
        let slot = self.owned.iter().find(|slot| map.owner(*slot).is_some());
        if let Some(owner) = slot.and_then(|slot| map.owner(slot)) {
            return Ok(Some(owner.clone()));
        }
        manager.request_topology_refresh();
        window.pause(not_served(self.owned.lowest())).await?;
        Ok(None)
    }

    async fn go_on(
        &mut self,
        part: NodeWalk,
        manager: &Manager,
        options: &ScanOptions,
        window: &RetryWindow,
    ) -> Result<Progress> {
        let destination = destination(&part.address, part.is_master);
        match part.cursor.clone().next(manager, Some(&destination), options, window).await {
            Ok(Some((cursor, keys))) => self.finish(NodeWalk { cursor, ..part }, keys, manager, options, window).await,
            Ok(None) => Ok(Progress::Again),
            Err(error) if is_gone(&error) => Ok(Progress::Again),
            Err(error) => Err(error),
        }
    }

    /// Returns a page. After the node's last page, determines which slots are done.
    async fn finish(
        &mut self,
        part: NodeWalk,
        mut keys: Vec<Bytes>,
        manager: &Manager,
        options: &ScanOptions,
        window: &RetryWindow,
    ) -> Result<Progress> {
        keys.retain(|key| part.slots.has(slot_of(key)));
        if !part.cursor.is_over() {
            self.part = Some(part);
            return Ok(Progress::Page { keys, all_done: true });
        }
        let destination = destination(&part.address, part.is_master);
        let view = match part.cursor.view(manager, Some(&destination), options, window).await {
            Err(error) if is_gone(&error) => None,
            other => other?,
        };
        let all_done = match view {
            Some(text) => {
                let view = View::read(&text, &part.address).ok_or_else(unexpected_reply)?;
                self.leave(&part, &view, manager.map().as_deref())
            }
            None => false,
        };
        if !all_done {
            manager.request_topology_refresh();
        }
        Ok(Progress::Page { keys, all_done })
    }

    /// The migrating slots that were to be walked at `address` will be walked at their owners instead.
    fn give_back(&mut self, address: &Address) {
        for bound in self.bound.extract_if(.., |bound| bound.address == *address) {
            self.owned = self.owned.or(&bound.slots);
        }
    }

    /// The slots to walk at the node of `view`, which was reached at `address`.
    fn enter(&mut self, view: &View, address: &Address) -> SlotSet {
        if !view.is_master || self.bound.iter().any(|bound| bound.address == *address && bound.to != view.id) {
            self.give_back(address);
        }
        if !view.is_master {
            return SlotSet::none();
        }
        let mut slots = self.owned.and(&view.owned);
        let has = view.owned.or(&view.importing);
        for bound in self.bound.iter_mut().filter(|bound| bound.to == view.id) {
            let refused = bound.slots.without(&has);
            // A slot that the old owner still has, and that this node does not import, has no reachable keys here.
            let stays = view.other(&bound.from).map_or_else(SlotSet::none, |from| refused.and(&from.slots));
            self.owned = self.owned.or(&refused.without(&stays));
            bound.slots = bound.slots.and(&has);
            slots = slots.or(&bound.slots);
        }
        self.bound.retain(|bound| bound.slots.lowest().is_some());
        slots
    }

    /// Removes the slots that are done at the node of `view`. False where a slot must be walked again.
    fn leave(&mut self, part: &NodeWalk, view: &View, map: Option<&SlotMap>) -> bool {
        self.owned = self.owned.without(&part.slots);
        for bound in &mut self.bound {
            bound.slots = bound.slots.without(&part.slots);
        }
        self.bound.retain(|bound| bound.slots.lowest().is_some());
        if !view.is_master {
            self.owned = self.owned.or(&part.slots);
            return false;
        }
        let leaving = view.leaving();
        let stayed = view.owned.without(&leaving).without(&part.leaving).or(&view.importing);
        let mut open = part.slots.without(&stayed);
        for (slot, to) in &view.migrating {
            if open.has(*slot) && self.bind(*slot, view, to, map) {
                open = open.without(&SlotSet::from(vec![(*slot, *slot)]));
            }
        }
        self.owned = self.owned.or(&open);
        open.lowest().is_none()
    }

    /// Adds `slot` to the slots to walk at the node `to`, where its keys migrate. False if this node is unknown.
    fn bind(&mut self, slot: u16, view: &View, to: &str, map: Option<&SlotMap>) -> bool {
        if let Some(bound) = self.bound.iter_mut().find(|bound| bound.from == view.id && bound.to == to) {
            bound.slots.add(slot);
            return true;
        }
        let Some(there) = view.other(to) else { return false };
        if !there.serves {
            // No key is reachable there, and no key migrates there.
            return true;
        }
        // The address as in the slot map, where the node has a slot there.
        let spelled = there.slots.lowest().and_then(|slot| map?.owner(slot).cloned());
        let is_master = spelled.is_some();
        let Some(address) = spelled.or_else(|| there.address.clone()) else { return false };
        let slots = SlotSet::from(vec![(slot, slot)]);
        self.bound.push(Bound { slots, from: view.id.clone(), to: to.to_owned(), address, is_master });
        true
    }
}

/// The destination of a node. A request to a [`Destination::Master`] fails when the node is no longer a master.
fn destination(address: &Address, is_master: bool) -> Destination {
    let address = Box::new(address.clone());
    if is_master { Destination::Master(address) } else { Destination::Node(address) }
}

fn not_served(slot: Option<u16>) -> Error {
    Error::from_reply("CLUSTERDOWN Hash slot not served")
        .with_message(|message| format!("{message}: slot {}", slot.unwrap_or_default()))
}

fn unexpected_reply() -> Error {
    Error::unexpected_reply().to_command(|| "`CLUSTER NODES`".to_owned()).with_delivery(Delivery::NotSent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::cursor::Origin;

    fn at(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    /// The view of node `me`, of the nodes `a` (port 1) and `b` (port 2). The arguments are the slots of the nodes.
    fn view(me: &str, a: &str, b: &str) -> View {
        let line = |id: &str, port: u16, slots: &str| {
            let role = if slots == "replica" { "slave" } else { "master" };
            let (myself, slots) = (if id == me { "myself," } else { "" }, slots.trim_start_matches("replica"));
            format!("{id} h:{port}@9 {myself}{role} - 0 0 1 connected {slots}\n")
        };
        View::read(&(line("a", 1, a) + &line("b", 2, b)).replace(" \n", "\n"), &at(1)).unwrap()
    }

    fn part(course: &mut Course, view: &View, address: &Address) -> NodeWalk {
        let slots = course.enter(view, address);
        let leaving = view.leaving().and(&slots);
        NodeWalk {
            address: address.clone(),
            is_master: true,
            cursor: ServerCursor::at("0", Origin::default()),
            slots,
            leaving,
        }
    }

    fn over_both() -> Course {
        Course { owned: SlotSet::from(vec![(0, 9)]), bound: Vec::new(), part: None }
    }

    #[test]
    fn a_walk_ends_after_all_nodes_if_no_slot_moved() {
        let mut course = over_both();
        for (me, port) in [("a", 1), ("b", 2)] {
            let view = view(me, "0-4", "5-9");
            let part = part(&mut course, &view, &at(port));
            assert!(course.leave(&part, &view, None));
        }
        assert!(course.is_over());
    }

    #[test]
    fn a_slot_that_moved_is_walked_again_at_its_new_owner() {
        let mut course = over_both();
        let before = view("b", "0-4", "5-9");
        let part_of_b = part(&mut course, &before, &at(2));
        assert!(!course.leave(&part_of_b, &view("b", "0-5", "6-9"), None));
        assert_eq!(format!("{:?}", course.owned), "[(0, 5)]");
        let now = view("a", "0-5", "6-9");
        let part_of_a = part(&mut course, &now, &at(1));
        assert!(course.leave(&part_of_a, &now, None));
        assert!(course.is_over());
    }

    #[test]
    fn a_migrating_slot_is_walked_at_its_old_owner_and_then_at_its_new_owner() {
        let mut course = over_both();
        let giving = view("a", "0-4 [4->-b]", "5-9");
        let part_of_a = part(&mut course, &giving, &at(1));
        // No slot must be walked again, but the walk is not over.
        assert!(course.leave(&part_of_a, &giving, None));
        assert_eq!(course.bound.len(), 1);
        let taking = view("b", "0-4", "5-9 [4-<-a]");
        let part_of_b = part(&mut course, &taking, &at(2));
        assert_eq!(format!("{:?}", part_of_b.slots), "[(4, 9)]");
        assert!(course.leave(&part_of_b, &taking, None));
        assert!(course.is_over());
    }

    #[test]
    fn a_slot_that_migrates_to_a_node_that_does_not_import_it_does_not_stop_the_walk() {
        let mut course = over_both();
        let giving = view("a", "0-4 [4->-b]", "5-9");
        let part_of_a = part(&mut course, &giving, &at(1));
        course.leave(&part_of_a, &giving, None);
        let part_of_b = part(&mut course, &view("b", "0-4", "5-9"), &at(2));
        assert!(course.leave(&part_of_b, &view("b", "0-4", "5-9"), None));
        assert!(course.is_over());
    }

    #[test]
    fn a_slot_whose_migration_was_cancelled_is_walked_again_at_its_owner() {
        let mut course = over_both();
        let part_of_a = part(&mut course, &view("a", "0-4 [4->-b]", "5-9"), &at(1));
        assert!(!course.leave(&part_of_a, &view("a", "0-4", "5-9"), None));
        assert_eq!(format!("{:?}", course.owned), "[(4, 9)]");
    }

    #[test]
    fn the_slots_of_a_master_that_became_a_replica_are_walked_again() {
        let mut course = over_both();
        let part_of_a = part(&mut course, &view("a", "0-4", "5-9"), &at(1));
        assert!(!course.leave(&part_of_a, &view("a", "replica", "0-9"), None));
        assert_eq!(format!("{:?}", course.owned), "[(0, 9)]");
        assert!(course.enter(&view("a", "replica", "0-9"), &at(1)).lowest().is_none());
    }
}
