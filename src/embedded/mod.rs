//! A Redis engine inside the process.
//!
//! # Guarantees
//!
//! - [`connect`] gives a stream that behaves as Redis 7.0 does in RESP2 and RESP3, including error texts. Engines with the same name are
//!   one engine for all threads of the process. Its data is removed with its last stream.
//! - The commands of one engine run one after another on one thread. All engines of the process share eight threads. So a long script
//!   never delays the thread that reads and writes the stream, and seldom another engine.
//! - Keys expire by the engine's clock, which a test moves with [`Control::advance`].
//! - No input of a client causes a panic, and no memory is reserved for bytes that were only announced.
//! - No script ends the process, exhausts its memory or runs for ever. Time and memory are limited, also within one call of a library
//!   function. A client that connects while a script runs for too long gets the error BUSY.
//!
//! The engine does not persist, replicate or listen on a socket. It has only the default user, and no modules, functions or
//! client-side caching. It is for development, tests and single-process tools.
//!
//! # Structure
//!
//! ```text
//! duplex ── hub ── engine ── session ── commands/ ── keyspace ── value, list, zset, stream
//!  (bytes)  (queue of (thread)  (commands    (one function  (databases, expiry, memory)
//!            messages)           of a client) per command)
//! protocol, reply: bytes ↔ arguments and replies      scripting/: Lua
//! state: the state of one engine                      control: control of an engine by tests
//! ```
//!
//! The engine uses only the table of commands from the rest of the crate.

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
