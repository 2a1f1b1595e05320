//! Connections: one for all commands of a manager, one for all its subscriptions, one more for each blocking command.
//!
//! | file | what |
//! |---|---|
//! | `manager` | the handle of a manager, for all other modules |
//! | `health` | checks that the servers are reachable, serve all keys and take writes |
//! | `state` | the life of a manager, a pure state machine |
//! | `status` | the state that a manager is in, its server, its last failure |
//! | `core` | what every connection uses: configuration, metrics, state, what is known of the servers |
//! | `shared` | the inbox and the lane |
//! | `actor` | the one task that connects, serves, reconnects and ends |
//! | `pipeline` | a live connection: requests are written on it, and its replies are given to them |
//! | `outgoing`, `incoming`, `awaited`, `loading` | parts of a pipeline: bytes to write, bytes received, replies that are expected, scripts that are loaded |
//! | `refusal` | which error replies say that nothing was executed |
//! | `subscriber/` | the connections of the subscriptions, and the subscriptions |
//! | `exclusive`, `opened`, `wait` | blocking commands, their connections, and the rest of their timeouts |
//! | `silence`, `liveness` | whether a connection lives; whether a blocked connection lives |
//! | `reserved` | a connection kept for one holder's blocking commands |
//! | `request`, `command`, `script`, `packed` | commands, their bytes and their properties |
//! | `config`, `target`, `secret`, `tls` | the configuration of a manager |
//! | `connect` | one attempt to connect |
//! | `dial`, `handshake`, `server_info`, `probe` | how a stream is opened, the handshake, what the server says of itself, and why a first connect failed |
//! | `upstream` | what the actor sends requests on: one pipeline, or the pipelines of a cluster |
//! | `cluster/` | slots, routing, the nodes' pipelines |
//! | `sentinel` | asks sentinels which server is the master |
//! | `cursor`, `pages`, `walk` | which connection a cursor came from; the pages of one server's keys; a walk over all keys |
//! | `topology/` | the known master or masters, and the task that keeps this knowledge fresh |
//! | `candidates` | servers that are tried in parallel |
//! | `eviction` | whether a server evicts keys |
//! | `event` | the events of a manager |

mod actor;
mod awaited;
mod candidates;
mod cluster;
pub mod command;
pub mod config;
mod connect;
mod core;
mod cursor;
mod dial;
pub mod event;
mod eviction;
mod exclusive;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod health;
mod incoming;
mod liveness;
mod loading;
mod manager;
mod opened;
mod outgoing;
mod packed;
mod pages;
mod pipeline;
mod probe;
mod refusal;
mod request;
mod reserved;
mod script;
pub mod secret;
mod sentinel;
mod server_info;
mod shared;
mod silence;
mod state;
mod status;
mod subscriber;
mod target;
pub mod tls;
mod topology;
mod upstream;
mod wait;
mod walk;

pub use crate::embedded::{Control as MemoryControl, Silent, glob_matches};
pub use command::Command;
pub use config::{AskPassword, Config};
pub use cursor::{Cursor, Origin};
pub use event::{Event, Observer, Unobserved};
pub use health::{ClusterHealth, Health, NO_KEYS};
pub use manager::Manager;
pub use packed::Packed;
pub use pages::ScanOptions;
pub use request::{Decode, Sink};
pub use reserved::{Notice, Reserved, Tries};
pub use script::Script;
pub(crate) use script::scripts;
pub use server_info::ServerInfo;
pub use state::State;
pub use subscriber::{Channel, ChannelKind, ChannelMessage, Listener, Subscription};
pub use target::{Address, Target};
pub use walk::{Page, Walk};
