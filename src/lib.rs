//! Everything a TypeScript service does with Redis, through one set of connections.
//!
//! # The map
//!
//! ```text
//!  node          the only folder that names napi: calls in, outcomes and events out, in batches
//!    │
//!  queue, checkpoints    features: what users ask for, in terms of commands and scripts
//!     └──► registry      strangers to each other, but for these two arrows
//!  bus  kv  bullmq  sessions
//!    │
//!  verb   lease  what can be called: one row per verb, one trait per class; what a token holds for a time
//!    │
//!  connection    the only folder that opens a stream ──► embedded    a Redis engine inside the process: one of the streams
//!    │
//!  arguments     reads what crosses
//!    │
//!  keys  backoff  lifecycle  telemetry  options  resp  crossing  redis_commands   leaves: know nothing of each other
//!    └─────────┴─────────┴──────────┴──────────┴───────┴──────────► error
//! ```
//!
//! Arrows point down only. The TypeScript face in `src/js` stands on `node`; it holds types, wrapping and disposal, and
//! no Redis logic.
//!
//! # Invariants
//!
//! - One I/O thread per process ([`lifecycle`]); every connection, timer and renewal is a task of it.
//! - Every request is settled exactly once ([`connection::Sink`]), within its deadline.
//! - Nothing is sent twice unless it only reads, or the server said that it executed nothing.
//! - Answers are matched by order; a settled request keeps its place until its answer came.
//! - Secrets never leave Rust: no error, event, metric or `Debug` holds one. The one call that hands them out is
//!   [`bullmq::ioredis_options`].

pub mod arguments;
pub mod backoff;
pub mod bullmq;
pub mod bus;
pub mod checkpoints;
pub mod connection;
pub mod crossing;
pub mod embedded;
pub mod error;
pub mod keys;
pub mod kv;
pub mod lease;
pub mod lifecycle;
#[cfg(feature = "node")]
mod node;
pub mod options;
pub mod queue;
pub mod redis_commands;
pub mod registry;
pub mod resp;
pub mod sessions;
pub mod sync;
pub mod telemetry;
pub mod verb;
