//! The Redis protocol: reads RESP2 and RESP3 replies incrementally and within a memory limit, and packs commands.
//!
//! | file | what |
//! |---|---|
//! | `reader` | assembles whole replies from the bytes that have arrived |
//! | `element` | one element: a value, or the head of an aggregate |
//! | `passing` | skipping data that is not kept |
//! | `tail` | the rest of a string that is skipped |
//! | `pack` | the encoding of commands |
//!
//! Specification: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

mod element;
mod pack;
mod passing;
mod reader;
mod tail;

use bytes::Bytes;

pub use pack::{begin, pack, push, push_joined, unpack};
pub use reader::Reader;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A bulk or verbatim string.
    Bulk(Bytes),
    /// A status such as `OK`.
    Simple(Bytes),
    /// An integer that may not fit 64 bits, in decimal.
    BigNumber(Bytes),
    /// An error reply, without its leading `-`.
    Error(Bytes),
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    /// Out-of-band data, which answers no request.
    Push(Vec<Reply>),
}

/// What a [`Reader`] has read completely.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    Reply(Reply),
    Passed(Passed),
}

/// A reply or a push that was skipped.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    pub why: Why,
    pub is_push: bool,
    /// The first elements of a push, if the reader keeps pushes.
    pub head: Vec<Reply>,
}

/// Why data was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody waits for it.
    Unwanted,
    /// It exceeds the memory limit of one reply.
    TooLong,
    /// Its aggregates are nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// The deepest nesting of aggregates that is kept.
pub const MAX_DEPTH: usize = 256;

/// The stream is not RESP; nothing after this point can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not the Redis protocol: {0}")]
pub struct ProtocolError(&'static str);
