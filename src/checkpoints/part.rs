//! Parts of a state.

use bytes::Bytes;

/// A value, or only its version.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: Bytes,
    /// An empty version stands for the id of the checkpoint.
    pub(super) version: Bytes,
    pub(super) value: Option<Bytes>,
}
