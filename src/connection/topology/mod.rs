//! The known master, or the known masters of a cluster, and the task that keeps this knowledge fresh.
//!
//! | file | what |
//! |---|---|
//! | `known` | the known topology; wakes connections when it changes |
//! | `pace` | when to ask next: seldom while all is well, often while a connection is missing |
//! | `cluster` | asks nodes for the slot map |
//! | `sentinel` | listens to sentinels, and asks them |
//!
//! The task notices a failover, a switch or a removed node before a command fails. Then each connection of the manager moves by
//! itself: it compares its own address with the known topology.
//!
//! Start: with the first use of a manager whose target is a cluster or sentinels ([`watch`]), at most one task per manager.
//! Shutdown: `disconnect()`, the drop of the last handle, or when no connection is needed any more. `disconnect()` waits for the task.

mod cluster;
mod known;
mod pace;
mod sentinel;

use std::sync::Arc;

pub(super) use known::{MapUpdates, Missing, Named, Seat, Settled, Topology};

use super::core::Core;
use super::shared::Shared;
use super::state::State;
use super::target::Target;

/// Starts the task, where the target has a topology and no task is running. To be called after the user of a connection has started:
/// see [`is_needed`].
pub(super) fn watch(shared: &Arc<Shared>) {
    if matches!(shared.core.config.target, Target::Sentinel { .. } | Target::Cluster(_)) && shared.core.topology.start()
    {
        shared.core.topology.watchers.spawn_on(run(Arc::clone(shared)), crate::lifecycle::io());
    }
}

async fn run(shared: Arc<Shared>) {
    loop {
        let interrupted = shared.core.interruption();
        let work = async {
            match &shared.core.config.target {
                Target::Cluster(seeds) => cluster::watch(&shared, seeds).await,
                _ => sentinel::watch(&shared.core).await,
            }
        };
        tokio::select! {
            () = work => {}
            () = interrupted.cancelled() => {}
        }
        // After `disconnect()`, `connect()` may have been called before this task could end.
        if shared.core.topology.end_unless(|| is_needed(&shared.core)) {
            return;
        }
    }
}

/// Is there a connection, or an attempt to open one?
fn is_needed(core: &Core) -> bool {
    let live = matches!(core.status.state(), State::Connecting | State::Ready | State::Reconnecting);
    !core.interruption().is_cancelled() && (live || !core.exclusive.is_empty())
}
