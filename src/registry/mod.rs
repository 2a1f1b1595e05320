//! The worker registry: which workers there are, how healthy they are, and which of them crashed.
//!
//! # Promises
//!
//! - Time is the server's, in every script. No clock of a client is ever compared with another.
//! - All workers of a process send their heartbeats in one call, from the I/O thread, also while the JavaScript thread is blocked. A
//!   heartbeat that changes nothing rewrites nothing.
//! - Health is observed; status is declared. See `worker`.
//! - A registration has an epoch, which is a fencing token: an earlier holder of an id can change nothing once the id is
//!   registered again.
//! - A registry that has held an id acts on that id by its own epoch only.
//! - A damaged record spoils no other record: it is reported and removed. A later version of this package writes other keys, or
//!   what this version can read.
//! - One script call in the fleet declares a crash; one caller of `reap` gets it.
//! - A worker never has more claims than its capacity. A claim lapses with its lease, its worker's epoch or its worker.
//! - No cost grows faster than the logarithm of the number of workers.
//!
//! | file | what |
//! |---|---|
//! | `options`, `scripts` | the options of a registry; its scripts |
//! | `call` | one script call |
//! | `worker` | a worker as callers see it: state, health, JSON |
//! | `damaged_records` | records that this package cannot have written |
//! | `members`, `pending` | the workers of this process; registrations in flight |
//! | `register`, `unregister` | starting and restarting registrations; ending them |
//! | `heartbeat` | heartbeats that callers ask for, many in one call |
//! | `heartbeat_task` | the task that sends heartbeats by itself |
//! | `event_loop` | the task that checks whether the event loop answers |
//! | `authority`, `sweeper` | whether this process may declare others late or crashed; doing what is due |
//! | `events`, `watch` | events of the fleet, delivered in order; the state of one subscription to them |
//! | `death_notices` | registrations that ended without their holder's doing, for other features |
//! | `lists`, `claims`, `elections` | finding, claiming and leading |

mod authority;
mod call;
mod claims;
mod damaged_records;
mod death_notices;
mod elections;
mod event_loop;
mod events;
#[cfg(fuzzing)]
pub mod fuzzing;
mod heartbeat;
mod heartbeat_task;
mod lists;
mod members;
mod options;
mod pending;
mod register;
mod scripts;
mod sweeper;
mod unregister;
mod watch;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use death_notices::{DeathCause, DeathListener, DeathNotice, listen_for_deaths};

use crate::connection::Manager;
use crate::crossing::Outlet;
use crate::error::Result;
use crate::keys::{Namespace, RegistryKeys};
use crate::options::Options;
use crate::verb::{Class, Verb, verbs};
use authority::Authority;
use elections::Terms;
use event_loop::EventLoop;
use heartbeat::Requested;
use heartbeat_task::HeartbeatTask;
use members::Members;
use options::Settings;
use pending::PendingRegistrations;
use sweeper::ReapBacklog;
use watch::Watch;

/// A worker registry on a manager. Workers that are still registered when it is dropped are declared crashed.
#[derive(Debug)]
pub struct Registry(Arc<Inner>);

/// What the tasks of one registry share.
#[derive(Debug)]
struct Inner {
    manager: Manager,
    keys: RegistryKeys,
    settings: Settings,
    outlet: Outlet,
    /// Unique to this registry; part of the owner names that it uses.
    process: String,
    members: Members,
    pending: PendingRegistrations,
    heartbeat_task: HeartbeatTask,
    event_loop: EventLoop,
    authority: Authority,
    watch: Watch,
    reap_backlog: ReapBacklog,
    requested: Requested,
    terms: Terms,
    /// Cancelled when the registry is dropped.
    ended: CancellationToken,
}

impl Class for Registry {
    const NAME: &'static str = "registry";
    const VERBS: &'static [Verb<Self>] = verbs! { "registry" "WorkerRegistry" {
        "register" => register::register;
        "heartbeat" => heartbeat::heartbeat;
        "report" => heartbeat::report;
        "setStatus" => register::set_status;
        "unregister" => unregister::unregister;
        "cleanup" => unregister::cleanup;
        "get" => lists::get;
        "list" => lists::list;
        "count" => lists::count;
        "reap" => sweeper::reap;
        "claim" => claims::claim;
        "claimRenew" as "WorkerClaim.renew" => claims::renew;
        "claimRelease" as "WorkerClaim.release" => claims::release;
        "send" => heartbeat::send;
        "tick" => event_loop::tick;
        "watch" => events::watch;
        "unwatch" => events::unwatch;
        "taken" as "WorkerRegistry.on" => events::taken;
        "events" as "WorkerRegistry.readEvents" => events::read;
        "elect" => elections::elect;
        "electCancel" as "WorkerRegistry.elect" => elections::cancel;
        "led" as "Leadership.signal" => elections::watch;
        "resign" as "Leadership.resign" => elections::resign;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("WorkerRegistry", options)?, outlet)
    }
}

impl Registry {
    /// On `manager`, in the namespace that the options name inside the manager's.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, options: Options, outlet: Outlet) -> Result<Self> {
        let settings = Settings::read(options)?;
        let keys = registry_namespace(&manager, &settings.namespace).registry();
        Ok(Self(Arc::new(Inner {
            keys,
            outlet,
            process: format!("{:x}", uuid::Uuid::new_v4().as_u64_pair().0),
            members: Members::default(),
            pending: PendingRegistrations::default(),
            heartbeat_task: HeartbeatTask::default(),
            event_loop: EventLoop::default(),
            authority: Authority::new(settings.lease()),
            watch: Watch::default(),
            reap_backlog: ReapBacklog::default(),
            requested: Requested::default(),
            terms: Terms::default(),
            ended: CancellationToken::new(),
            settings,
            manager,
        })))
    }
}

fn registry_namespace(manager: &Manager, inner: &Namespace) -> Namespace {
    manager.namespace().containing(inner)
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.0.ended.cancel();
        unregister::abandon(&self.0);
    }
}
