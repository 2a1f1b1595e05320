//! One client of an engine: its input, its output, and its modes.

use std::sync::Arc;

use indexmap::IndexSet;

use super::blocking::Blocked;
use super::bytes::Key;
use super::pipe::Pipe;
use super::protocol::Parser;
use super::subscribers::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command gets no reply.
    Skip,
}

/// An open transaction (MULTI) with its queued commands.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) commands: Vec<Vec<Vec<u8>>>,
    pub(super) broken: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent modes of a Redis client")]
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) pipe: Arc<Pipe>,
    pub(super) parser: Parser,
    /// Received bytes that have not been executed. They start where the parser's command starts.
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Whether the client is on the list of clients with output.
    pub(super) marked: bool,
    pub(super) resp3: bool,
    pub(super) db: usize,
    pub(super) name: Vec<u8>,
    pub(super) transaction: Option<Transaction>,
    /// Watched keys; `true` if the key had already expired when WATCH was called.
    pub(super) watched: Vec<((usize, Key), bool)>,
    pub(super) watch_broken: bool,
    pub(super) channels: IndexSet<Vec<u8>>,
    pub(super) patterns: IndexSet<Vec<u8>>,
    pub(super) shards: IndexSet<Vec<u8>>,
    pub(super) blocked: Option<Blocked>,
    pub(super) reply_mode: ReplyMode,
    /// The client is closed when its output has been passed on.
    pub(super) closing: bool,
    /// The peer has closed the connection.
    pub(super) hung_up: bool,
    /// A fault dropped a reply: nothing more may be sent.
    pub(super) lossy: bool,
    pub(super) no_evict: bool,
    /// The client has given the password, or connected while there was none.
    pub(super) authenticated: bool,
    pub(super) created: i64,
    pub(super) active: i64,
    pub(super) last_command: String,
}

impl Client {
    pub(super) fn new(pipe: Arc<Pipe>, now: i64, authenticated: bool) -> Self {
        Client {
            id: pipe.id,
            pipe,
            parser: Parser::default(),
            input: Vec::new(),
            output: Vec::new(),
            marked: false,
            resp3: false,
            db: 0,
            name: Vec::new(),
            transaction: None,
            watched: Vec::new(),
            watch_broken: false,
            channels: IndexSet::new(),
            patterns: IndexSet::new(),
            shards: IndexSet::new(),
            blocked: None,
            reply_mode: ReplyMode::On,
            closing: false,
            hung_up: false,
            lossy: false,
            no_evict: false,
            authenticated,
            created: now,
            active: now,
            last_command: "NULL".to_owned(),
        }
    }

    /// The client's subscriptions of one kind.
    pub(super) fn names(&mut self, kind: Kind) -> &mut IndexSet<Vec<u8>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub(super) fn is_subscriber(&self) -> bool {
        self.subscriptions() + self.shards.len() > 0
    }
}
