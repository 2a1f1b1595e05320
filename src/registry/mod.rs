//! The worker registry: who works, how well, and who takes over when one is gone.
//!
//! # Promises
//!
//! - Time is the server's, in every script. No clock of a client is ever compared with another.
//! - The workers of a process beat in one call, from the I/O thread, whatever the caller's thread does. A beat that changes
//!   nothing rewrites nothing.
//! - Health is observed, status is declared; see `worker`.
//! - A registration has an epoch, a fencing token: who registered an id before the present holder changes nothing any more.
//! - What a registry once held it touches by its own epoch only.
//! - A record that no registry has written spoils no other; it is told and taken away. A later version writes other keys, or what
//!   this one can read.
//! - Each crash is declared by one script call in the fleet, and handed to one caller of `reap`.
//! - A claim never exceeds a worker's capacity, and lapses with its lease, its worker's epoch, or its worker.
//! - Every cost is independent of how many workers there are, or grows with its logarithm.
//!
//! | file | what |
//! |---|---|
//! | `options`, `scripts` | what a registry is told, and what it has executed |
//! | `call` | one script call |
//! | `worker` | a worker as it is told: state, health, JSON |
//! | `damage` | records that nobody of this package has written |
//! | `members`, `entering` | the workers of this process; those that are about to be |
//! | `register`, `leaving` | registering, again too; ending it |
//! | `heartbeat` | heartbeats that somebody asks for, many in one call |
//! | `beats` | the task that beats by itself |
//! | `pulse` | the task that asks whether the event loop answers |
//! | `sight`, `sweeper` | who may judge; doing what is due |
//! | `events`, `watching` | what happens in the fleet, told in order; who wants to be told |
//! | `deaths` | registrations that are over, for other features |
//! | `lists`, `claims`, `elections` | finding, claiming and leading |

mod beats;
mod call;
mod claims;
mod damage;
mod deaths;
mod elections;
mod entering;
mod events;
#[cfg(fuzzing)]
pub mod fuzzing;
mod heartbeat;
mod leaving;
mod lists;
mod members;
mod options;
mod pulse;
mod register;
mod scripts;
mod sight;
mod sweeper;
mod watching;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use deaths::{Death, How, Mourner, deaths};

use crate::connection::Manager;
use crate::crossing::Outlet;
use crate::error::Result;
use crate::keys::{Namespace, RegistryKeys};
use crate::options::Options;
use crate::verb::{Class, Verb, verbs};
use beats::Beats;
use elections::Terms;
use entering::Entering;
use heartbeat::Asked;
use members::Members;
use options::Settings;
use pulse::Pulse;
use sight::Sight;
use sweeper::Unread;
use watching::Watch;

/// A worker registry on a manager. Dropped while workers are registered, it declares them crashed: nobody said goodbye.
#[derive(Debug)]
pub struct Registry(Arc<Inner>);

/// What the tasks of a registry share.
#[derive(Debug)]
struct Inner {
    manager: Manager,
    keys: RegistryKeys,
    settings: Settings,
    outlet: Outlet,
    /// Makes what this registry says unlike what any other does.
    process: String,
    members: Members,
    entering: Entering,
    beats: Beats,
    pulse: Pulse,
    sight: Sight,
    watch: Watch,
    unread: Unread,
    asked: Asked,
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
        "unregister" => leaving::unregister;
        "cleanup" => leaving::cleanup;
        "get" => lists::get;
        "list" => lists::list;
        "count" => lists::count;
        "reap" => sweeper::reap;
        "claim" => claims::claim;
        "claimRenew" as "WorkerClaim.renew" => claims::renew;
        "claimRelease" as "WorkerClaim.release" => claims::release;
        "send" => heartbeat::send;
        "tick" => pulse::tick;
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
            entering: Entering::default(),
            beats: Beats::default(),
            pulse: Pulse::default(),
            sight: Sight::new(settings.lease()),
            watch: Watch::default(),
            unread: Unread::default(),
            asked: Asked::default(),
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
        leaving::abandon(&self.0);
    }
}
