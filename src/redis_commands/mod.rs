//! The properties of the commands of Redis, in one table. The connection, the cluster's routing and the embedded engine read it.
//!
//! | file | what |
//! |---|---|
//! | `table` | the table: one row for each command and subcommand |
//! | `spec` | the fields of a row |
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
