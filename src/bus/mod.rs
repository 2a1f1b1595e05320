//! The message bus: live messages, durable ones, requests and their replies.

use crate::connection::Manager;
use crate::connection::config::read_namespace;
use crate::crossing::{Answer, Arg, Outlet};
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;

/// A message bus on a manager.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "its verbs are not built yet")]
pub struct Bus {
    manager: Manager,
    namespace: Namespace,
    outlet: Outlet,
}

/// What a call of a verb does.
pub type Call = fn(&Bus, &[Arg<'_>], Answer);

/// The verbs.
pub const CALLS: &[(&str, Call)] = &[];

impl Bus {
    /// On `manager`, in the namespace that the options name inside the manager's.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options, outlet: Outlet) -> Result<Self> {
        let inner = read_namespace(&mut options)?;
        options.finish()?;
        let namespace = manager.namespace().containing(&inner);
        Ok(Self { manager, namespace, outlet })
    }
}
