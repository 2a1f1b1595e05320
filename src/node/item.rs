//! The items that wait in a port for its face.

use crate::crossing::Outcome;
use crate::error::Result;

/// An item that waits to be taken out.
#[derive(Debug)]
pub(super) enum Item {
    Outcome(u32, Result<Outcome>),
    /// An event of the target of that handle, as JSON.
    Event(u32, String),
    /// Values for the target of that handle.
    Delivery(u32, Vec<Outcome>),
}
