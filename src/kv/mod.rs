//! The KV store: JSON values and bytes by key, counters, compare-and-set, recent lists, a cache, locks.
//!
//! # Guarantees
//!
//! - The Redis key of a value is the manager's namespace, the store's namespace and the user's key. Without a namespace the key
//!   `foo` is `foo`, also for other programs.
//! - A call that needs several steps on the server is one command, one transaction or one script.
//! - Wrong arguments are refused before anything is sent, with an error of kind `config` that names them. Stored bytes that are not
//!   text are refused with kind `serialization`.
//! - Only a call that only reads is sent again after a lost connection.
//! - A write ends a load of its key that is in progress: the loaded value is not stored ([`load`]).
//! - A lease (of a lock, of the right to load, of a `once`) is renewed by a task on the I/O thread, even while the caller's thread is
//!   blocked.
//!
//! | file | what |
//! |---|---|
//! | `values` | get, set, delete, counters, expiry, recent lists: one command each, packed and sent at once |
//! | `cas` | compare-and-set |
//! | `scan` | listing and clearing |
//! | `held` | the kinds of leases, and their scripts |
//! | `lock`, `load`, `once` | the features that hold a lease |
//! | `lock_queues` | the callers that wait for a lock |
//! | `waits` | waits that TypeScript may end early |
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

/// A KV store on a manager. Cheap to clone. Its leases are given up when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Kv {
    manager: Manager,
    namespace: Namespace,
    leases: Arc<Leases>,
    waits: Arc<crate::waits::Waits>,
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
    /// A store on `manager`. Its namespace is the one in the options, inside the manager's.
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
