//! The scripts of `lua/`.

use crate::connection::{Script, scripts};

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
