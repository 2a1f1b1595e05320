//! Asks the nodes of a cluster for the slot map: on the connections in use, and otherwise on a connection of its own to the node that
//! answers first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::pace::Pace;
use crate::connection::cluster;
use crate::connection::shared::Shared;
use crate::connection::target::Address;

/// The mean time between two questions while no connection is missing.
const CALM: Duration = Duration::from_secs(5);
/// The pause between two checks whether the first connect has found the cluster.
const UNKNOWN: Duration = Duration::from_millis(100);

pub(super) async fn watch(shared: &Arc<Shared>, seeds: &[Address]) {
    let topology = &shared.core.topology;
    let mut pace = Pace::new(topology, CALM, 1);
    let mut spare = None;
    while super::is_needed(&shared.core) {
        if topology.map().is_none() {
            // The first connect asks for the map itself.
            sleep(UNKNOWN).await;
            continue;
        }
        pace.next().await;
        // A failure is not reported: the next turn asks again, and callers get the errors of their own connections.
        if let Ok(map) = cluster::ask_around(shared, seeds, &mut spare).await {
            topology.refreshed();
            if topology.learn(&Arc::new(map)) {
                shared.core.arrived.notify_one();
            }
        }
        if topology.trouble().borrow().missing == 0 {
            spare = None;
        }
        pace.asked();
    }
}
