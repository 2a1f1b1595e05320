//! The known topology. Connections compare their own addresses with it, and are woken when it changes.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::connection::cluster::SlotMap;
use crate::connection::target::Address;
use crate::sync::Mutex;
use crate::telemetry::Metrics;

/// A master as a sentinel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connection) struct Named {
    pub(in crate::connection) address: Address,
    /// The configuration epoch of the sentinel's answer; 0 where the sentinel does not say. A sentinel that was cut off knows an
    /// older epoch.
    pub(in crate::connection) epoch: u64,
}

#[derive(Clone, Debug, Default)]
struct KnownTopology {
    master: Option<Named>,
    map: Option<Arc<SlotMap>>,
}

/// When the topology was confirmed or changed last.
#[derive(Clone, Copy, Debug)]
struct LastHeard {
    last: Instant,
    /// The last confirmation before the last change.
    before_change: Instant,
}

/// What a connection is for. The connection must be closed when its server is no longer the right one for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::connection) struct Seat {
    pub(in crate::connection) address: Address,
    /// In a cluster: the slot of the command. `None`: any node of the slot map will do.
    pub(in crate::connection) slot: Option<u16>,
}

/// The outcome for a master that a sentinel named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connection) enum Settled {
    /// The master was known already.
    Known,
    /// The master is new: every connection moves to it.
    Moved,
    /// The known master is newer.
    Refused,
}

/// The reasons to ask for the topology soon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trouble {
    /// The number of connections that are needed and not open.
    pub(super) missing: usize,
    /// How often a server contradicted the known topology.
    pub(super) refresh_requests: u64,
}

/// The known topology, the reasons to ask for it, and the task that asks.
pub(in crate::connection) struct Topology {
    known: watch::Sender<KnownTopology>,
    heard: Mutex<LastHeard>,
    trouble: Arc<watch::Sender<Trouble>>,
    metrics: Arc<Metrics>,
    /// Is the task running?
    watched: Mutex<bool>,
    pub(super) watchers: TaskTracker,
}

/// A connection that is needed and not open. While a value of this type exists, the topology is asked for often.
#[derive(Debug)]
pub(in crate::connection) struct Missing(Arc<watch::Sender<Trouble>>);

impl Drop for Missing {
    fn drop(&mut self) {
        self.0.send_modify(|trouble| trouble.missing -= 1);
    }
}

/// Receives each new slot map once.
#[derive(Debug)]
pub(in crate::connection) struct MapUpdates(watch::Receiver<KnownTopology>);

impl MapUpdates {
    pub(in crate::connection) fn map(&mut self) -> Option<Arc<SlotMap>> {
        if !self.0.has_changed().unwrap_or(false) {
            return None;
        }
        self.0.borrow_and_update().map.clone()
    }
}

impl Topology {
    pub(in crate::connection) fn new(metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        Self {
            known: watch::Sender::default(),
            heard: Mutex::new(LastHeard { last: now, before_change: now }),
            trouble: Arc::default(),
            metrics,
            watched: Mutex::new(false),
            watchers: TaskTracker::new(),
        }
    }

    /// The slot maps that become known from now on.
    pub(in crate::connection) fn map_updates(&self) -> MapUpdates {
        MapUpdates(self.known.subscribe())
    }

    /// The slot map of the cluster.
    pub(in crate::connection) fn map(&self) -> Option<Arc<SlotMap>> {
        self.known.borrow().map.clone()
    }

    /// The master of the sentinels.
    pub(in crate::connection) fn master(&self) -> Option<Named> {
        self.known.borrow().master.clone()
    }

    /// Was a master or a slot map found?
    pub(in crate::connection) fn is_known(&self) -> bool {
        let known = self.known.borrow();
        known.map.is_some() || known.master.is_some()
    }

    /// Takes the map that a node gave. False where it is the known map.
    pub(in crate::connection) fn learn(&self, map: &Arc<SlotMap>) -> bool {
        self.update(|known| {
            let is_new = known.map.as_ref() != Some(map);
            if is_new {
                known.map = Some(Arc::clone(map));
            }
            is_new
        })
    }

    /// A node says that `slot` has moved to `address`: changes the map, and has the whole map asked for.
    pub(in crate::connection) fn moved(&self, slot: u16, address: &Address) {
        self.update(|known| match &mut known.map {
            Some(map) if map.owner(slot) != Some(address) => {
                Arc::make_mut(map).moved(slot, address);
                true
            }
            Some(_) | None => false,
        });
        self.request_refresh();
    }

    /// Takes a master that has confirmed its role, if `allows` accepts it beside the known master. A newer master may have become
    /// known since the sentinel was asked.
    pub(in crate::connection) fn settle_on(
        &self,
        named: &Named,
        allows: impl FnOnce(Option<&Named>) -> bool,
    ) -> Settled {
        let mut settled = Settled::Known;
        self.update(|known| {
            if !allows(known.master.as_ref()) {
                settled = Settled::Refused;
                return false;
            }
            let moved = known.master.as_ref().is_none_or(|master| master.address != named.address);
            if moved {
                settled = Settled::Moved;
            }
            let before = known.master.as_ref().map_or(0, |master| master.epoch);
            let epoch = if moved && named.epoch != 0 { named.epoch } else { named.epoch.max(before) };
            // A new epoch of the same master is no change for the connections.
            known.master = Some(Named { address: named.address.clone(), epoch });
            moved
        });
        settled
    }

    /// Applies `change`, which returns whether the topology is a new one. Counts changes.
    fn update(&self, change: impl FnOnce(&mut KnownTopology) -> bool) -> bool {
        let mut heard = self.heard.lock();
        let mut is_first = false;
        let is_new = self.known.send_if_modified(|known| {
            is_first = known.map.is_none() && known.master.is_none();
            change(known)
        });
        let last = std::mem::replace(&mut heard.last, Instant::now());
        if is_new {
            heard.before_change = last;
            self.metrics.topology_changes.add(u64::from(!is_first));
        }
        is_new
    }

    /// When the topology before the last change was confirmed last.
    pub(in crate::connection) fn before_change(&self) -> Instant {
        self.heard.lock().before_change
    }

    /// Is the server of `seat` still the right one?
    pub(in crate::connection) fn is_right(&self, seat: &Seat) -> bool {
        self.known.borrow().is_right(seat)
    }

    /// Ends when the server of `seat` is no longer the right one; never where there is no seat.
    pub(in crate::connection) async fn left(&self, seat: Option<&Seat>) {
        let mut known = self.known.subscribe();
        let left = match seat {
            Some(seat) => known.wait_for(|known| !known.is_right(seat)).await.is_ok(),
            None => false,
        };
        if !left {
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the topology changes after this call, also before the future is polled.
    pub(in crate::connection) fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut known = self.known.subscribe();
        async move {
            if known.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Records that a connection is needed and not open, until the returned value is dropped.
    pub(in crate::connection) fn missing(&self) -> Missing {
        self.trouble.send_modify(|trouble| trouble.missing += 1);
        Missing(Arc::clone(&self.trouble))
    }

    /// Has the topology asked for once, soon, because a server contradicts it.
    pub(in crate::connection) fn request_refresh(&self) {
        self.trouble.send_modify(|trouble| trouble.refresh_requests += 1);
    }

    pub(super) fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.subscribe()
    }

    pub(super) fn refreshed(&self) {
        self.metrics.topology_refreshes.add(1);
    }

    /// False where the task is running already.
    pub(super) fn start(&self) -> bool {
        !std::mem::replace(&mut *self.watched.lock(), true)
    }

    /// True if the task is not `needed`. Then it counts as ended from this call on.
    pub(super) fn end_unless(&self, needed: impl FnOnce() -> bool) -> bool {
        let mut watched = self.watched.lock();
        *watched = needed();
        !*watched
    }

    /// Ends when no task is left.
    pub(in crate::connection) async fn unwatched(&self) {
        self.watchers.close();
        self.watchers.wait().await;
        self.watchers.reopen();
    }
}

impl KnownTopology {
    fn is_right(&self, seat: &Seat) -> bool {
        let master = self.master.as_ref().is_none_or(|master| master.address == seat.address);
        let map = self.map.as_ref().is_none_or(|map| match seat.slot {
            // Any node will do for a slot without an owner.
            Some(slot) => map.owner(slot).is_none_or(|owner| *owner == seat.address),
            None => map.has(&seat.address),
        });
        master && map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Reply;

    fn at(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    fn topology() -> Topology {
        Topology::new(Arc::default())
    }

    fn map(owner: i64, replica: i64) -> Arc<SlotMap> {
        let node = |port| Reply::Array(vec![Reply::Bulk("h".into()), Reply::Int(port)]);
        let range = Reply::Array(vec![Reply::Int(0), Reply::Int(16_383), node(owner), node(replica)]);
        Arc::new(SlotMap::read(&Reply::Array(vec![range]), &at(1)).unwrap())
    }

    #[tokio::test]
    async fn a_connection_is_left_for_another_master_and_not_for_a_higher_epoch() {
        let topology = topology();
        let seat = Seat { address: at(1), slot: None };
        let settle = |port, epoch| topology.settle_on(&Named { address: at(port), epoch }, |_| true);
        assert_eq!(settle(1, 1), Settled::Moved);
        let mut left = std::pin::pin!(topology.left(Some(&seat)));
        assert_eq!(settle(1, 5), Settled::Known);
        tokio::select! {
            biased;
            () = &mut left => panic!("the server is the right one"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(settle(2, 6), Settled::Moved);
        left.await;
        assert_eq!(topology.master(), Some(Named { address: at(2), epoch: 6 }));
        assert_eq!(topology.metrics.topology_changes.get(), 1);
    }

    #[test]
    fn a_master_of_an_older_epoch_is_refused() {
        let topology = topology();
        let newer = |named: Named| move |known: Option<&Named>| known.is_none_or(|known| known.epoch <= named.epoch);
        let settle = |port, epoch| {
            let named = Named { address: at(port), epoch };
            topology.settle_on(&named, newer(named.clone()))
        };
        assert_eq!(settle(2, 6), Settled::Moved);
        assert_eq!(settle(1, 5), Settled::Refused);
        assert_eq!(topology.master(), Some(Named { address: at(2), epoch: 6 }));
        assert!(topology.is_right(&Seat { address: at(2), slot: None }));
    }

    #[test]
    fn a_replica_is_the_right_node_for_a_connection_without_a_slot() {
        let topology = topology();
        topology.learn(&map(1, 2));
        let right = |port, slot| topology.is_right(&Seat { address: at(port), slot });
        assert!(right(1, Some(7)) && right(1, None) && right(2, None));
        assert!(!right(2, Some(7)) && !right(3, None));
    }

    #[test]
    fn a_missing_connection_counts_until_the_drop() {
        let topology = topology();
        let (one, other) = (topology.missing(), topology.missing());
        drop(one);
        assert_eq!(topology.trouble().borrow().missing, 1);
        drop(other);
        assert_eq!(topology.trouble().borrow().missing, 0);
    }
}
