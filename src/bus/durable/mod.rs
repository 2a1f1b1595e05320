//! Topics that are streams: appended to, and consumed by groups.

use crate::connection::Manager;
use crate::crossing::Outlet;
use crate::keys::Namespace;

/// What of a bus is durable.
#[derive(Clone, Debug)]
pub(super) struct Durable;

impl Durable {
    pub(super) fn new(_manager: Manager, _namespace: Namespace, _outlet: Outlet) -> Self {
        Self
    }
}
