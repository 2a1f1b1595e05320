//! For fuzzing: how the bus reads messages and answers.

use bytes::Bytes;

pub use super::durable::fuzzing::*;

/// The id of the request that a reply is for.
#[must_use]
pub fn request_of(reply: &Bytes) -> Option<Bytes> {
    super::requests::request_of(reply)
}
