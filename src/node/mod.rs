//! The binding: the only folder that may name napi.
//!
//! | file | what |
//! |---|---|
//! | `exports` | the functions that the TypeScript face calls: synchronous and short; a panic becomes an exception |
//! | `port` | the queue of outcomes and events for one environment, and its wake-up |
//! | `item` | a queued outcome or event |
//! | `frame` | decodes calls: many calls in two typed arrays |
//! | `verbs` | the classes that can be opened, one line each |
//! | `raw` | outcomes as JavaScript values, a weak reference to a function; the only file with `unsafe` |
//! | `manager` | the verbs of a connection manager, its events, its password callback |
//! | `memory` | a test's control of an embedded engine |
//! | `failure` | errors as fields |
//!
//! A call crosses in [`exports::submit`], and its outcome in [`exports::drain`]. One wake-up announces any number of outcomes. No
//! function of this folder is `async`, because connect and close are ordinary calls. So there is no second runtime.

mod exports;
mod failure;
mod frame;
mod item;
mod manager;
mod memory;
mod port;
mod raw;
mod verbs;
