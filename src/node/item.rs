//! What a port has for its face.

use crate::crossing::Outcome;
use crate::error::Result;

/// What waits to be taken out.
#[derive(Debug)]
pub(super) enum Item {
    Outcome(u32, Result<Outcome>),
    /// Something happened to the target of that handle; JSON.
    Event(u32, String),
    /// Values for the target of that handle.
    Delivery(u32, Vec<Outcome>),
}
