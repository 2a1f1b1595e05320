//! The worker registry: who works, how well, and who takes over when one is gone.

use crate::connection::Manager;
use crate::connection::config::read_namespace;
use crate::crossing::{Answer, Arg, Outlet};
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;

/// A worker registry on a manager.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "its verbs are not built yet")]
pub struct Registry {
    manager: Manager,
    namespace: Namespace,
    outlet: Outlet,
}

/// What a call of a verb does.
pub type Call = fn(&Registry, &[Arg<'_>], Answer);

/// The verbs.
pub const CALLS: &[(&str, Call)] = &[];

impl Registry {
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
