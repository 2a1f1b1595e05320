//! Checkpoints: the states of threads of long work. They are saved in order. One process at a time owns a thread, and another process takes
//! the thread over when the owner is gone.
//!
//! # Promises
//!
//! - A save is one script: it checks fence, owner, parent and size, then writes. A repetition with the same id, or by an owner for the same
//!   save, gives the same answer.
//! - A thread has two keys, and neither is of use without the other. If one is lost (evicted, deleted), the thread has no checkpoints, and
//!   starts again with the next save. No caller gets a checkpoint that cannot be loaded.
//! - Every script uses the server's time. The largest id of a scope, by its bytes, is the latest. Ids that the server makes grow.
//! - A fencing token only grows, and is checked where the thread is.
//! - The cost of a script does not grow with the number of checkpoints or threads, except by logarithms. A script trims 64 checkpoints at most.
//!
//! # Lists of all threads
//!
//! The threads of a namespace are in [`SHARES`](crate::keys::checkpoints::SHARES) shares, each of one hash slot. Each share has three lists: its
//! threads, its owned threads by the end of their leases, and its threads by their owner's registration. A list is in the slot of the threads
//! that it names, so the script that changes a thread changes the list too, and no second write can be lost between them. A thread whose keys
//! were evicted or have expired leaves an entry behind, and the next look at the list takes the entry out. The lists of a share expire with the
//! last of its threads.
//!
//! Redis may evict a list. The next save or renewal of each thread writes its entry again. The list of owned threads has a mark that goes with
//! it; where a look finds no mark, it makes the list again from the list of threads. If Redis has lost both, a thread whose owner died meanwhile
//! is found by `acquire`, not by `resume`.
//!
//! | file | what |
//! |---|---|
//! | `settings`, `scripts` | what a store is told, and what it has executed |
//! | `call` | one script call, its answer and its refusal |
//! | `part` | a part of a state: its name, version and value |
//! | `save`, `read`, `change` | checkpoints are saved and copied; found; pinned, pruned and removed |
//! | `runs` | a thread in the hands of its owner |
//! | `authority`, `crashes` | whether this process may take over threads; crashes that a registry declares |
//! | `overdue`, `resume` | threads whose owners are gone; taking them over, one after another |
//! | `news` | new checkpoints of a thread, in order |
//! | `waits` | ends a wait early |

mod authority;
mod call;
mod change;
mod crashes;
mod news;
mod overdue;
mod part;
mod read;
mod resume;
mod runs;
mod save;
mod scripts;
mod settings;
mod waits;

use std::sync::Arc;

use crate::connection::Manager;
use crate::crossing::Outlet;
use crate::error::Result;
use crate::keys::Namespace;
use crate::lease::Leases;
use crate::options::Options;
use crate::verb::{Class, Verb, verbs};
use crate::waits::Waits;
use authority::Authority;
use crashes::Crashes;
use news::Readers;
use runs::Runs;
use settings::Settings;

/// A store of checkpoints on a manager. What it owns is interrupted when it is dropped.
#[derive(Debug)]
pub struct Checkpoints(Arc<Inner>);

/// What the tasks of a store share.
#[derive(Debug)]
struct Inner {
    manager: Manager,
    namespace: Namespace,
    settings: Settings,
    leases: Arc<Leases>,
    runs: Runs,
    waits: Waits,
    readers: Readers,
    authority: Authority,
    crashes: Crashes,
}

impl Class for Checkpoints {
    const NAME: &'static str = "checkpoints";
    const VERBS: &'static [Verb<Self>] = verbs! { "checkpoints" "CheckpointStore" {
        "save" => save::save;
        "latest" => read::load;
        "load" as "CheckpointStore.get" in "checkpoints.get" => read::load;
        "history" => read::history;
        "fork" => save::fork;
        "addPending" => save::add_pending;
        "pin" => change::pin;
        "prune" => change::prune;
        "remove" => change::remove;
        "threads" => read::threads;
        "acquire" => runs::acquire;
        "lost" as "CheckpointRun.signal" => runs::lost;
        "runSave" as "CheckpointRun.save" => runs::save;
        "release" as "CheckpointRun.finish" => runs::release;
        "interrupted" => overdue::interrupted;
        "next" as "CheckpointStore.resume" in "checkpoints.resume" => resume::next;
        "watch" => news::watch;
        "news" as "CheckpointStore.watch" in "checkpoints.watch" => news::news;
        "unwatch" as "CheckpointStore.watch" in "checkpoints.watch" => news::unwatch;
        "cancel" as "CheckpointStore.acquire" in "checkpoints.acquire" => waits::cancel;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, _outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("CheckpointStore", options)?)
    }
}

impl Checkpoints {
    /// A store on `manager`, in the namespace that the options name inside the manager's.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, options: Options) -> Result<Self> {
        let settings = Settings::read(options)?;
        let namespace = manager.namespace().containing(&settings.namespace);
        Ok(Self(Arc::new(Inner {
            namespace,
            settings,
            leases: Arc::default(),
            runs: Runs::default(),
            waits: Waits::default(),
            readers: Readers::default(),
            authority: Authority::default(),
            crashes: Crashes::default(),
            manager,
        })))
    }
}
