//! The task queue: jobs, their states, and the leases of the workers that process them.
//!
//! # Guarantees
//!
//! - All times are the server's; every script reads the server's clock.
//! - All keys of a queue are in one cluster slot, and every change of a job is one script.
//! - A claimed job carries the lease under which it was claimed. Settling, renewing and writing progress name that lease. If the job
//!   no longer has the lease, nothing changes and the worker gets an error.
//! - A worker has one lease for all its jobs. The I/O thread renews it even while JavaScript is blocked. A lease that has ended never
//!   becomes valid again.
//! - The cost of a script does not depend on how many jobs wait, run or are kept.
//! - A worker that waits for jobs does not poll: the script that adds jobs wakes as many workers as are needed.
//!
//! | file | what |
//! |---|---|
//! | `record` | the states of a job, and its two records |
//! | `options` | options of jobs and workers |
//! | `adding`, `flows` | adding jobs, many calls in one script; jobs with children |
//! | `add_call` | the calls of the scripts that add jobs |
//! | `worker/` | claiming, settling, leases, and recovering the jobs of crashed workers |
//! | `reading`, `paged_listing` | jobs by id and by state; by state when a single script would block the server for too long |
//! | `snapshot` | a job as scripts return it, and its conversion for TypeScript |
//! | `changes` | changes of one job, and of many |
//! | `outbox` | messages between queues, which may be in different cluster slots |
//! | `damage` | records and keys that another program has overwritten |
//! | `events`, `wait_until_finished` | events, for listeners and for callers that wait for a job's end |
//! | `schedules` | cron lines, intervals, and one job for each tick in the whole fleet |
//! | `scripts` | the scripts and how they are called |

mod add_call;
mod adding;
mod changes;
mod damage;
mod events;
mod flows;
#[cfg(fuzzing)]
pub mod fuzzing;
mod options;
mod outbox;
mod paged_listing;
mod reading;
mod record;
mod schedules;
mod scripts;
mod snapshot;
mod wait_until_finished;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;

use crate::connection::config::read_namespace;
use crate::connection::{Command, Manager, Origin};
use crate::crossing::Outlet;
use crate::error::{Error, Result};
use crate::keys::queue::Part;
use crate::keys::{Namespace, QueueKeys};
use crate::options::Options;
use crate::resp::Reply;
use crate::verb::{Class, Parent, Verb, verbs};

pub use options::MAX_DATA;
pub use record::State;
pub use worker::Worker;

/// What all parts of one queue share.
#[derive(Debug)]
struct Core {
    manager: Manager,
    namespace: Namespace,
    name: String,
    keys: QueueKeys,
    /// The size of the keys and prefixes that most scripts are given first.
    base_size: usize,
    /// A random prefix of the ids that this handle makes.
    instance: String,
    last: AtomicU64,
    /// True while overwritten keys are being renamed.
    repairing: Arc<AtomicBool>,
}

impl Core {
    fn new(manager: Manager, namespace: Namespace, name: String) -> Self {
        let keys = namespace.queue(&name);
        let base_size = keys.base().iter().chain(keys.prefixes()).map(|key| key.len() + 16).sum();
        let instance = base36(fastrand::u64(..) >> 4);
        Self { manager, namespace, name, keys, base_size, instance, last: AtomicU64::new(0), repairing: Arc::default() }
    }

    fn key(&self, part: Part) -> &Bytes {
        self.keys.key(part)
    }

    /// A unique id.
    fn fresh_id(&self) -> String {
        format!("{}-{}", self.instance, base36(self.last.fetch_add(1, Ordering::Relaxed)))
    }

    /// The queue called `name` on the same manager and in the same namespace.
    fn sibling(&self, name: &str) -> Self {
        Self::new(self.manager.clone(), self.namespace.clone(), name.to_owned())
    }

    async fn call(&self, command: Command) -> Result<Reply> {
        self.call_located(command).await.map(|(reply, _)| reply)
    }

    /// As [`Core::call`]; also gives the connection on which the reply came.
    async fn call_located(&self, command: Command) -> Result<(Reply, Origin)> {
        let reply = self.manager.call_located(command).await;
        if let Err(error) = &reply {
            self.failed(error);
        }
        reply
    }
}

/// A unique name of a worker. It has no dot.
fn fresh_owner() -> String {
    format!("{}{}", base36(fastrand::u64(..)), base36(fastrand::u64(..) >> 32))
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

/// A task queue on a manager. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    core: Arc<Core>,
    adding: Arc<adding::Collector>,
    events: Arc<events::EventReader>,
}

impl Class for Queue {
    const NAME: &'static str = "queue";
    const VERBS: &'static [Verb<Self>] = verbs! { "queue" "TaskQueue" {
        "add" => adding::add;
        "addBulk" => adding::add_bulk;
        "get" as "TaskQueue.getJob" => reading::get;
        "list" => reading::list;
        "counts" => reading::counts;
        "logs" as "Job.logs" => reading::logs;
        "isPaused" => reading::is_paused;
        "pause" => changes::pause;
        "resume" => changes::resume;
        "drain" => changes::drain;
        "clean" => changes::clean;
        "retryFailed" => changes::retry_failed;
        "obliterate" => changes::obliterate;
        "updateData" as "Job.updateData" => changes::update_data;
        "updateProgress" as "Job.updateProgress" => changes::update_progress;
        "log" as "Job.log" => changes::log;
        "remove" as "Job.remove" => changes::remove;
        "retry" as "Job.retry" => changes::retry;
        "promote" as "Job.promote" => changes::promote;
        "changeDelay" as "Job.changeDelay" => changes::change_delay;
        "changePriority" as "Job.changePriority" => changes::change_priority;
        "cancel" as "Job.cancel" => changes::cancel;
        "schedule" => schedules::schedule;
        "schedules" => schedules::schedules;
        "unschedule" => schedules::unschedule;
        "listen" => events::listen;
        "unlisten" => events::unlisten;
        "wait" as "Job.waitUntilFinished" => wait_until_finished::wait;
        "waitCancel" as "Job.waitUntilFinished" => wait_until_finished::wait_cancel;
        "addAndWait" => wait_until_finished::add_and_wait;
        "close" => events::close;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("TaskQueue", options)?, outlet)
    }
}

impl Parent for Queue {
    const CALLED: &'static str = "task queue";
}

impl Queue {
    /// A queue on `manager`. Its namespace is the one in the options, inside the manager's.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options, outlet: Outlet) -> Result<Self> {
        let inner = read_namespace(&mut options)?;
        let name = options.text("name")?.unwrap_or_default();
        options::check_queue_name("TaskQueue.name", &name)?;
        if let Some(defaults) = options.take("defaultJobOptions") {
            // TypeScript merges the defaults into the options of each job. They are checked here, once.
            options::JobOptions::check("TaskQueue.defaultJobOptions", defaults)?;
        }
        options.finish()?;
        let namespace = manager.namespace().containing(&inner);
        let core = Arc::new(Core::new(manager, namespace, name));
        Ok(Self { adding: Arc::default(), events: Arc::new(events::EventReader::new(Arc::clone(&core), outlet)), core })
    }

    /// Sends the jobs that were added before, so that a later call sees them.
    fn flushed(&self) -> Arc<Core> {
        self.adding.flush(&self.core);
        Arc::clone(&self.core)
    }
}

/// An error as TypeScript reads it.
fn failure(error: &Error) -> serde_json::Value {
    json!({
        "kind": error.kind().name(),
        "code": error.kind().code(),
        "message": error.message(),
        "serverCode": error.server_code(),
        "retryable": error.retryable(),
        "delivery": error.delivery().name(),
    })
}
