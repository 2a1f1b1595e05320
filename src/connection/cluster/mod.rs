//! Redis Cluster: one connection to each master that is used. Requests are routed by the slots of their keys.
//!
//! | file | what |
//! |---|---|
//! | `nodes`, `node` | the connections to the nodes |
//! | `discovery`, `around` | get the slot map from the node that answers first: at the start, and again later |
//! | `slots` | the slot map, and the redirections `MOVED` and `ASK` |
//! | `route`, `scan` | where a request goes |
//! | `gather` | assembles the replies to a request that was sent in parts |
//! | `blocking` | where a blocking command goes |
//! | `course`, `view`, `slot_set` | a walk over all keys while slots may move |

mod around;
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

pub(super) use around::ask_around;
pub(super) use blocking::{connect, connect_any, connect_for};
pub(super) use course::{Course, walk_on};
#[cfg(fuzzing)]
pub(super) use discovery::ask;
pub(super) use discovery::{AwaitedMap, connect_to};
pub(super) use nodes::Nodes;
pub(super) use slot_set::{SLOTS, SlotSet};
pub(super) use slots::{Redirect, SlotMap, slot_of};
