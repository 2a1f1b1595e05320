//! Everything a TypeScript service does with Redis, through one set of connections.
//!
//! # The map
//!
//! ```text
//!  node          the only folder that names napi: calls in, outcomes and events out, in batches
//!    │
//!  queue ──► registry        features: what users ask for, in terms of commands and scripts
//!  checkpoints ──► registry  strangers to each other, but for these two arrows
//!  bus  kv  sessions  bullmq
//!    │
//!  verb   lease  verb: the calls of each class of targets; lease: a key that a token holds for a time
//!    │
//!  connection    the only folder that opens a stream ──► embedded    a Redis engine inside the process: one of the streams
//!    │
//!  arguments     reads the arguments of a call, and refuses bad ones by name
//!    │
//!  keys  backoff  sync  lifecycle  telemetry  options  resp  crossing  redis_commands  waits  json   leaves
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
//! - A command is sent twice only if it only reads, if the server refused it unexecuted, or if its feature declares that a
//!   repetition gives the same answer ([`connection::Packed::runs_repeatable`]).
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
pub mod json;
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
pub mod waits;
