//! The KV store: JSON values and bytes by key, counters, compare-and-set, recent lists, a cache, locks.
//!
//! # Promises
//!
//! - A value's key is the manager's namespace, the store's and the user's key, one after another: without a namespace
//!   `foo` is key `foo`, also for other programs.
//! - What takes several steps on the server is one command, one transaction or one script.
//! - Bad arguments are refused before anything is sent, with kind `config` naming them; stored bytes that are no text with
//!   kind `serialization`.
//! - A call that only reads is sent again after a lost connection; no other is.
//! - A write ends the load of its key that is under way: what was loaded before is not stored ([`load`]).
//! - What is held for a time (a lock, the right to load, a `once`) is renewed by a task of the I/O thread, whatever the
//!   caller's thread does.
//!
//! | file | what |
//! |---|---|
//! | `values` | get, set, delete, counters, expiry, recent lists: one command each, packed and sent at once |
//! | `cas` | compare-and-set |
//! | `scan` | listing and clearing |
//! | `lease` | what is held by a token for a time, and its renewal |
//! | `lock`, `load`, `once` | what is held |
//! | `lines` | who waits for a lock |
//! | `waits` | waits that the face may end |
//! | `decode`, `scripts` | how replies become outcomes, and the scripts |

mod cas;
mod decode;
mod lease;
mod lines;
mod load;
mod lock;
mod once;
mod scan;
mod scripts;
mod values;
mod waits;

use std::future::Future;
use std::sync::Arc;

use crate::connection::config::read_namespace;
use crate::connection::{Command, Decode, Manager, Sink, Target};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::Result;
use crate::keys::Namespace;
use crate::lifecycle;
use crate::options::Options;

use lease::Leases;

/// A KV store on a manager. Cheap to clone; what it holds is given up when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Kv {
    manager: Manager,
    namespace: Namespace,
    leases: Arc<Leases>,
    waits: Arc<waits::Waits>,
    lines: Arc<lines::Lines>,
}

/// What a call of a verb does.
pub type Call = fn(&Kv, &[Arg<'_>], Answer);

/// The verbs of a KV store.
pub const CALLS: &[(&str, Call)] = &[
    ("kv.get", values::get),
    ("kv.set", values::set),
    ("kv.setIfAbsent", values::set_if_absent),
    ("kv.getBuffer", values::get_buffer),
    ("kv.setBuffer", values::set_buffer),
    ("kv.del", values::del),
    ("kv.has", values::has),
    ("kv.mget", values::mget),
    ("kv.mset", values::mset),
    ("kv.incr", values::incr),
    ("kv.decr", values::decr),
    ("kv.getDel", values::get_del),
    ("kv.getSet", values::get_set),
    ("kv.ttl", values::ttl),
    ("kv.expire", values::expire),
    ("kv.persist", values::persist),
    ("kv.lpushRecent", values::lpush_recent),
    ("kv.getRecent", values::get_recent),
    ("kv.cacheGet", values::cache_get),
    ("kv.cacheSet", values::cache_set),
    ("kv.deduplicateEvent", values::deduplicate_event),
    ("kv.cas", cas::cas),
    ("kv.read", cas::read),
    ("kv.casRaw", cas::cas_raw),
    ("kv.scan", scan::scan),
    ("kv.clear", scan::clear),
    ("kv.peek", load::peek),
    ("kv.load", load::load),
    ("kv.loaded", load::loaded),
    ("kv.loadFailed", lease::release),
    ("kv.once", once::once),
    ("kv.onceDone", once::done),
    ("kv.onceFailed", lease::release),
    ("kv.lock", lock::lock),
    ("kv.lockLost", lease::watch),
    ("kv.lockExtend", lock::extend),
    ("kv.lockRelease", lease::release),
    ("kv.wait", waits::wait),
    ("kv.waitCancel", waits::cancel),
];

impl Kv {
    /// A store on `manager`, in the namespace that the options name inside the manager's.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options) -> Result<Self> {
        let inner = read_namespace(&mut options)?;
        options.finish()?;
        let namespace = manager.namespace().containing(&inner);
        Ok(Self { manager, namespace, leases: Arc::default(), waits: Arc::default(), lines: Arc::default() })
    }

    fn is_on_cluster(&self) -> bool {
        matches!(self.manager.config().target, Target::Cluster(_))
    }

    /// Sends what `pack` gives; its reply becomes the answer.
    fn send(&self, answer: Answer, decode: Decode, pack: impl FnOnce() -> Result<Command>) {
        match pack() {
            Ok(command) => self.manager.submit(command, Sink::Answer(answer, decode)),
            Err(error) => answer.give(Err(error)),
        }
    }

    /// Does the steps that `prepare` gives, if it gives any, on the I/O thread.
    fn run<F>(&self, answer: Answer, prepare: impl FnOnce(Self) -> Result<F>)
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        match prepare(self.clone()) {
            Ok(steps) => {
                lifecycle::spawn(async move { answer.give(steps.await) });
            }
            Err(error) => answer.give(Err(error)),
        }
    }
}
