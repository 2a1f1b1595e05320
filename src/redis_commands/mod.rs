//! What is known of the commands of Redis: one table, read by whoever sends them, routes them, or executes them.
//!
//! | file | what |
//! |---|---|
//! | `table` | the table: one row for each command and subcommand |
//! | `spec` | what a row says |
//! | `keys` | which words of a command are its keys |
//! | `lookup` | the row of a command |
//!
//! `tests/redis_commands.rs` compares the table with what a server says of its commands.

mod keys;
mod lookup;
mod spec;
mod table;

pub use keys::Keys;
pub use lookup::{find, keys_of, named};
pub use spec::{Merge, Reach, Sharing, Spec, Timeout, flag};
pub use table::TABLE;
