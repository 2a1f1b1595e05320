//! The items of a port's queue.

use crate::crossing::Outcome;
use crate::error::Result;

/// An item that the face has not taken yet.
#[derive(Debug)]
pub(super) enum Item {
    Outcome(u32, Result<Outcome>),
    /// An event of the target with this handle, as JSON.
    Event(u32, String),
    /// Values for the target with this handle.
    Delivery(u32, Vec<Outcome>),
}
