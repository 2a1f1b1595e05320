//! The binding: the only folder that may name napi.
//!
//! | file | what |
//! |---|---|
//! | `exports` | the functions that the TypeScript face calls: synchronous, short, and no panic leaves them |
//! | `port` | where outcomes and events wait for one environment, and its wake-up |
//! | `item` | an outcome or event that waits |
//! | `frame` | calls as they come in: many in two typed arrays |
//! | `verbs` | the classes that can be opened, one line each |
//! | `raw` | outcomes as JavaScript values, a function held weakly; the one file with `unsafe` |
//! | `manager` | the verbs of a connection manager, its events, its password callback |
//! | `memory` | a test's control of an embedded engine |
//! | `failure` | errors as fields |
//!
//! A call crosses in [`exports::submit`], its outcome in [`exports::drain`]; one wake-up announces any number of outcomes.
//! Nothing here is `async`: connecting and closing are calls like any other, so there is no second runtime.

mod exports;
mod failure;
mod frame;
mod item;
mod manager;
mod memory;
mod port;
mod raw;
mod verbs;
