//! One common check of all quiet queues of a manager. A resting worker renews rarely, so it would notice late that a wake-up was
//! lost or that another worker of its queue crashed. One command checks many queues, instead of one command for each queue.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use tokio_util::sync::CancellationToken;

use super::state::Mode;
use super::{Inner, RENEW_EVERY};
use crate::connection::{Packed, Target};
use crate::error::Result;
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::queue::scripts::{integer, operation};
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};

/// The most queues in one command.
const CHUNK: usize = 64;
/// The keys of a queue that exist only while something is in progress.
const ACTIVITY_KEYS: [Part; 6] = [Part::Wait, Part::Ranked, Part::Parked, Part::Leases, Part::Ring, Part::Outbox];

/// Workers by the address of their manager and by their own address.
type Watched = HashMap<usize, HashMap<usize, Weak<Inner>>>;

static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(Mutex::default);

/// Locks the map. A worker's state may be locked while the map is locked, but not the other way round.
fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock()
}

/// Starts to check the queue of `worker`. The checks stop when the worker is no longer watched.
pub(super) fn begin(worker: &Arc<Inner>) {
    let manager = Arc::as_ptr(worker.core.manager.metrics()) as usize;
    let is_first = {
        let mut all = watched();
        let is_first = !all.contains_key(&manager);
        all.entry(manager).or_default().insert(Arc::as_ptr(worker) as usize, Arc::downgrade(worker));
        is_first
    };
    if is_first {
        let closing = worker.core.manager.closing();
        lifecycle::spawn(run(manager, closing));
    }
}

async fn run(manager: usize, mut closing: CancellationToken) {
    let mut end = RemoveOnDrop(Some(manager));
    loop {
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY.mul_f64(0.8 + 0.2 * fastrand::f64())) => {}
            () = closing.cancelled() => {}
        }
        let Some(workers) = still_watched(manager) else {
            end.0 = None;
            return;
        };
        closing = workers[0].core.manager.closing();
        check(&workers).await;
    }
}

/// The workers that are still watched; `None` if there are none.
fn still_watched(manager: usize) -> Option<Vec<Arc<Inner>>> {
    let mut all = watched();
    let present = all.get_mut(&manager)?;
    let mut workers = Vec::with_capacity(present.len());
    present.retain(|_, worker| {
        let Some(worker) = worker.upgrade() else { return false };
        let stays = {
            let state = worker.state();
            state.lease.is_watched() && state.mode != Mode::Closed
        };
        let stays = stays && !worker.core.manager.closing().is_cancelled();
        if stays {
            workers.push(worker);
        }
        stays
    });
    if present.is_empty() {
        all.remove(&manager);
        return None;
    }
    Some(workers)
}

/// Removes the manager's workers from the map, also if the task is dropped with its runtime.
struct RemoveOnDrop(Option<usize>);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Some(manager) = self.0 {
            watched().remove(&manager);
        }
    }
}

async fn check(workers: &[Arc<Inner>]) {
    // In a cluster the keys of two queues are in different slots.
    let is_cluster = matches!(workers[0].core.manager.config().target, Target::Cluster(_));
    let mut asked = ask(workers, if is_cluster { 1 } else { CHUNK });
    while let Some((chunk, reply)) = asked.pop() {
        // If the server does not answer, the next check asks again.
        let Ok(reply) = reply.await else { continue };
        match chunk {
            _ if integer(&reply) == Some(0) => {}
            [worker] => worker.became_active(),
            several => asked.extend(ask(several, 1)),
        }
    }
}

/// Asks how many of the activity keys exist, with one command for each `size` queues.
fn ask(workers: &[Arc<Inner>], size: usize) -> Vec<(&[Arc<Inner>], impl Future<Output = Result<Reply>> + Send)> {
    let ask = |chunk: &[Arc<Inner>]| {
        let keys = || chunk.iter().flat_map(|worker| worker.core.keys.keys(ACTIVITY_KEYS));
        let size = keys().map(|key| key.len() + 16).sum();
        let packed = Packed::sized(size).begin(1 + chunk.len() * ACTIVITY_KEYS.len(), b"EXISTS");
        let packed = keys().fold(packed, |packed, key| packed.word(key));
        chunk[0].core.manager.call(packed.reads(*operation::RENEW))
    };
    workers.chunks(size).map(|chunk| (chunk, ask(chunk))).collect()
}

impl Inner {
    /// Something is in progress in the queue, so the worker renews often again.
    fn became_active(self: &Arc<Self>) {
        self.state().lease.unwatch();
        self.renew(false);
    }
}
