//! Asks the nodes of a cluster for the slot map: over connections that are in use where there are some, else over one of
//! its own to whichever node answers first.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::pace::Pace;
use crate::connection::cluster;
use crate::connection::shared::Shared;
use crate::connection::target::Address;

/// The mean time between two questions while nothing is missing.
const CALM: Duration = Duration::from_secs(5);
/// How long to wait for somebody to find the cluster for the first time, before looking again whether to go on.
const UNKNOWN: Duration = Duration::from_millis(100);

pub(super) async fn watch(shared: &Arc<Shared>, seeds: &[Address]) {
    let topology = &shared.core.topology;
    let mut pace = Pace::new(topology, CALM, 1);
    let mut spare = None;
    while super::is_needed(&shared.core) {
        if topology.map().is_none() {
            // Whoever connects first asks by itself.
            sleep(UNKNOWN).await;
            continue;
        }
        pace.next().await;
        // A question that nobody answers is asked again at the next turn; who needs an answer has errors of its own.
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
