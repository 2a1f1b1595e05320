//! The KV store: JSON values and bytes by key, counters, compare-and-set, recent lists, a cache, locks.
//!
//! # Promises
//!
//! - A value's key is the manager's namespace, the store's and the user's key, one after another: without a namespace
//!   `foo` is key `foo`, also for other programs.
//! - A call that takes several steps on the server is one command, one transaction or one script.
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
//! | `held` | what is held by a token for a time, and by which scripts |
//! | `lock`, `load`, `once` | what is held |
//! | `lock_queues` | the callers that wait for a lock |
//! | `waits` | waits that the face may end |
//! | `decode`, `scripts` | how replies become outcomes, and the scripts |

mod cas;
mod decode;
mod held;
mod load;
mod lock;
mod lock_queues;
mod once;
mod scan;
mod scripts;
mod values;
mod waits;

use std::sync::Arc;

use crate::connection::config::read_namespace;
use crate::connection::{Manager, Target};
use crate::crossing::Outlet;
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;
use crate::verb::{Class, Verb, verbs};

use crate::lease::Leases;

/// A KV store on a manager. Cheap to clone; what it holds is given up when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Kv {
    manager: Manager,
    namespace: Namespace,
    leases: Arc<Leases>,
    waits: Arc<waits::Waits>,
    lock_queues: Arc<lock_queues::LockQueues>,
}

impl Class for Kv {
    const NAME: &'static str = "kv";
    const VERBS: &'static [Verb<Self>] = verbs! { "kv" "KVStore" {
        "get" => values::get;
        "set" => values::set;
        "setIfAbsent" => values::set_if_absent;
        "getBuffer" => values::get_buffer;
        "setBuffer" => values::set_buffer;
        "del" => values::del;
        "has" => values::has;
        "mget" => values::mget;
        "mset" => values::mset;
        "incr" => values::incr;
        "decr" in "kv.incr" => values::decr;
        "getDel" => values::get_del;
        "getSet" => values::get_set;
        "ttl" => values::ttl;
        "expire" => values::expire;
        "persist" => values::persist;
        "lpushRecent" => values::lpush_recent;
        "getRecent" => values::get_recent;
        "cacheGet" => values::cache_get;
        "cacheSet" => values::cache_set;
        "deduplicateEvent" as "deduplicateEvent" => values::deduplicate_event;
        "cas" => cas::cas;
        "read" as "KVStore.update" in "kv.update" => cas::read;
        "casRaw" as "KVStore.update" in "kv.update" => cas::cas_raw;
        "scan" => scan::scan;
        "clear" => scan::clear;
        "peek" as "KVStore.getOrSet" in "kv.getOrSet" => load::peek;
        "load" as "KVStore.getOrSet" in "kv.getOrSet" => load::load;
        "loaded" as "KVStore.getOrSet" in "kv.getOrSet" => load::loaded;
        "loadFailed" as "KVStore.getOrSet" => held::release;
        "once" as "once" => once::once;
        "onceDone" as "once" => once::done;
        "onceFailed" as "once" => held::release;
        "lock" => lock::lock;
        "lockLost" as "Lock.signal" => held::watch;
        "lockExtend" as "Lock.extend" => lock::extend;
        "lockRelease" as "Lock.release" => held::release;
        "wait" => waits::wait;
        "waitCancel" as "KVStore.wait" => waits::cancel;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, _outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("KVStore", options)?)
    }
}

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
        Ok(Self { manager, namespace, leases: Arc::default(), waits: Arc::default(), lock_queues: Arc::default() })
    }

    fn is_on_cluster(&self) -> bool {
        matches!(self.manager.config().target, Target::Cluster(_))
    }
}
