//! A Redis engine inside the process.
//!
//! # Promises
//!
//! - [`connect`] gives a stream that speaks RESP2 and RESP3 as Redis 7.0 does, error texts included. Engines with the
//!   same name are one engine, for every thread of the process; its data is gone with its last stream.
//! - Commands of one engine run one after another on one thread. The engines of the process share eight: a long script
//!   never holds up the thread that reads and writes the stream, and seldom another engine.
//! - Expiry is real and follows the engine's clock, which a test moves with [`Control::advance`].
//! - No bytes a client can send make it panic, and nothing is reserved for bytes that were only announced.
//! - No script ends the process, exhausts its memory or runs for ever: time and memory are bounded, also within one call
//!   of a library function. Whoever connects while a script runs for too long is answered BUSY.
//!
//! It does not persist, replicate or listen on a socket, and has no users but the default one, no modules, functions or
//! tracking of what clients cache. It is for development, tests and single-process tools.
//!
//! # The map
//!
//! ```text
//! duplex ── hub ── engine ── session ── commands/ ── keyspace ── value, list, zset, stream
//!  (bytes)  (the way  (thread)  (a client's  (what each     (databases, expiry, memory)
//!            there)              turn)        command does)
//! protocol, reply: bytes ↔ arguments and replies      scripting/: Lua
//! state: everything one engine owns                   control: a test's hold on it
//! ```
//!
//! Of the rest of the crate it knows the table of commands only.

mod blocking;
mod bytes;
mod client;
mod clock;
mod commands;
mod config;
mod control;
mod delivery;
mod duplex;
mod engine;
mod geohash;
mod glob;
mod hub;
mod hyperloglog;
mod keyspace;
mod list;
mod long_double;
mod memory;
mod name;
mod number;
mod payload;
mod pipe;
mod protocol;
mod reply;
mod scripting;
mod session;
mod state;
mod stream;
mod subscribers;
mod value;
mod zset;

#[cfg(test)]
mod tests;

pub use control::{Control, Silent, time_added};
pub use duplex::ClientStream;
pub use engine::{Hold, connect, hold};
pub use glob::matches as glob_matches;
