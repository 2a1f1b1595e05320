//! Redis Cluster: one connection to each master that is used, requests routed by the slots of their keys.
//!
//! | file | what |
//! |---|---|
//! | `nodes`, `node` | the connections, in place of the one of a single server |
//! | `discovery` | the slot map, from whichever node gives it |
//! | `slots` | which node owns which slot, and what `MOVED` and `ASK` say |
//! | `route`, `scan` | where a request goes |
//! | `gather` | the answers of a request that went in parts |
//! | `blocking` | where a blocking command goes |
//! | `course`, `view`, `slot_set` | a walk over all keys, whatever moves meanwhile |

mod blocking;
mod course;
mod discovery;
mod gather;
mod node;
mod nodes;
mod route;
mod scan;
mod slot_set;
mod slots;
mod view;

pub(super) use blocking::{connect, connect_any, connect_for};
pub(super) use course::{Course, walk_on};
#[cfg(fuzzing)]
pub(super) use discovery::ask;
pub(super) use discovery::{Answer, ask_around, connect_to, open};
pub(super) use nodes::Nodes;
pub(super) use route::{Place, unpack};
pub(super) use slot_set::SlotSet;
pub(super) use slots::{Redirect, SLOTS, SlotMap, slot_of};

/// Is `code` that of an error reply which says "not here" or "not now", so that nothing was executed?
pub(super) fn is_elsewhere(code: &[u8]) -> bool {
    matches!(code, b"MOVED" | b"ASK" | b"TRYAGAIN" | b"CLUSTERDOWN" | b"LOADING" | b"MASTERDOWN" | b"READONLY")
}
