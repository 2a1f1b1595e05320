//! Where the master is, or the masters of a cluster are: what is known of it, and the task that asks on its own.
//!
//! | file | what |
//! |---|---|
//! | `known` | what is known; wakes connections when that changes |
//! | `pace` | when to ask next: seldom while all is well, often while something is missing |
//! | `cluster` | asks nodes for the slot map |
//! | `sentinel` | listens to sentinels, and asks them |
//!
//! Responsible for: knowing of a failover, a switch or a removed node without having to fail first. Each connection of the
//! manager then moves by itself: it compares its own address with what is known.
//!
//! Start: with the first use of a manager whose target is a cluster or sentinels ([`watch`]), at most one task per manager.
//! Shutdown: `disconnect()`, the last handle dropped, or nothing left that needs a connection. `disconnect()` waits for it.

mod cluster;
mod known;
mod pace;
mod sentinel;

use std::sync::Arc;

pub(super) use known::{Missing, Named, News, Seat, Settled, Topology};

use super::core::Core;
use super::shared::Shared;
use super::state::State;
use super::target::Target;

/// Has the topology watched from now on, where there is one and it is not watched yet. To be called after what needs it
/// has begun: see [`is_needed`].
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
        // `connect()` after `disconnect()` may have come before this task could end.
        if shared.core.topology.end_unless(|| is_needed(&shared.core)) {
            return;
        }
    }
}

/// Is there a connection, or an attempt to have one?
fn is_needed(core: &Core) -> bool {
    let live = matches!(core.status.state(), State::Connecting | State::Ready | State::Reconnecting);
    !core.interruption().is_cancelled() && (live || !core.exclusive.is_empty())
}
