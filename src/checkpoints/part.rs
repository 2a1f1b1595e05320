//! Parts of a state.

use bytes::Bytes;

/// A value, or its version alone.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: Bytes,
    /// Empty: the id of the checkpoint.
    pub(super) version: Bytes,
    pub(super) value: Option<Bytes>,
}
