//! The scripts of `lua/`, and the names under which durations are recorded.

use std::sync::LazyLock;

use crate::connection::Script;
use crate::telemetry::Operation;

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!(concat!("lua/", $file))),+))
        });)*
    };
}

scripts! {
    CAS = "cas.lua";
    CLAIM = "claim.lua";
    EXTEND = "extend.lua";
    GIVE_UP = "give_up.lua";
    INCR = "incr.lua";
    LEAVE_LOAD = "leave_load.lua";
    LOAD = "part/found.lua" "load.lua";
    LOCK = "lock.lua";
    LPUSH_RECENT = "lpush_recent.lua";
    PEEK = "peek.lua";
    RELEASE = "release.lua";
    RENEW = "renew.lua";
    RENEW_LOAD = "part/found.lua" "renew_load.lua";
    STORE = "part/found.lua" "store.lua";
}

/// Interned names, one static each.
pub(super) mod operation {
    use super::{LazyLock, Operation};

    macro_rules! operations {
        ($($name:ident = $text:literal,)*) => {
            $(pub(in crate::kv) static $name: LazyLock<Operation> = LazyLock::new(|| Operation::named($text));)*
        };
    }

    operations! {
        CACHE_GET = "kv.cacheGet",
        CACHE_SET = "kv.cacheSet",
        CAS = "kv.cas",
        CLEAR = "kv.clear",
        DEDUPLICATE_EVENT = "kv.deduplicateEvent",
        DEL = "kv.del",
        EXPIRE = "kv.expire",
        GET = "kv.get",
        GET_BUFFER = "kv.getBuffer",
        GET_DEL = "kv.getDel",
        GET_OR_SET = "kv.getOrSet",
        GET_RECENT = "kv.getRecent",
        GET_SET = "kv.getSet",
        HAS = "kv.has",
        INCR = "kv.incr",
        LEASE = "kv.renew",
        LOCK = "kv.lock",
        LPUSH_RECENT = "kv.lpushRecent",
        MGET = "kv.mget",
        MSET = "kv.mset",
        ONCE = "kv.once",
        PERSIST = "kv.persist",
        SCAN = "kv.scan",
        SET = "kv.set",
        SET_BUFFER = "kv.setBuffer",
        SET_IF_ABSENT = "kv.setIfAbsent",
        TTL = "kv.ttl",
        UPDATE = "kv.update",
    }
}
