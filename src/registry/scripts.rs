//! The scripts of `lua/`, and the names under which their durations are recorded.

use std::sync::LazyLock;

use crate::connection::{Script, scripts};
use crate::telemetry::Operation;

/// A script and its operation.
#[derive(Debug)]
pub(super) struct Procedure {
    pub(super) script: Script,
    pub(super) operation: Operation,
    /// Is a second run harmless? Then the script is sent again when the outcome of the first run is unknown.
    pub(super) repeatable: bool,
}

impl Procedure {
    fn new(text: &str, operation: &'static str, repeatable: bool) -> Self {
        Self { script: Script::new(text), operation: Operation::named(operation), repeatable }
    }
}

scripts! {
    as Procedure;
    before ["part/keys.lua" "part/call.lua" "part/worker.lua" "part/deadlines.lua"];
    HEARTBEAT = "part/repair.lua" "heartbeat.lua", "registry.heartbeat", true;
    CLAIM = "claim.lua", "registry.claim", true;
    COUNT = "count.lua", "registry.count", true;
    DISCARD = "discard.lua", "registry.discard", true;
    PAGE = "page.lua", "registry.list", true;
    GET = "get.lua", "registry.get", true;
    REAP = "part/repair.lua" "reap.lua", "registry.reap", true;
    REGISTER = "register.lua", "registry.register", true;
    RELEASE = "release.lua", "registry.release", false;
    RENEW = "renew.lua", "registry.renew", true;
    SEARCH = "search.lua", "registry.claim", true;
    SEND = "send.lua", "registry.send", false;
    SIZES = "sizes.lua", "registry.list", true;
    STATUS = "status.lua", "registry.setStatus", true;
    SWEEP = "part/repair.lua" "sweep.lua", "registry.sweep", true;
    UNREGISTER = "unregister.lua", "registry.unregister", false;
}

// Elections have a key of their own.
scripts! {
    as Procedure;
    before ["part/leader.lua"];
    ELECT = "elect.lua", "registry.elect", true;
    REELECT = "reelect.lua", "registry.reelect", true;
    RESIGN = "resign.lua", "registry.resign", false;
}

/// The operation of reading events.
pub(super) static EVENTS: LazyLock<Operation> = LazyLock::new(|| Operation::named("registry.events"));

#[cfg(test)]
mod tests {
    use crate::keys::parts::lua;
    use crate::keys::registry::Part;

    #[test]
    fn scripts_take_the_keys_in_the_order_in_which_they_are_given() {
        let mut names = lua::names(include_str!("lua/part/keys.lua"), "KEYS");
        names.sort_unstable();
        let names: Vec<_> = names.into_iter().map(|(place, name)| (place, name.to_lowercase())).collect();
        let parts = Part::ALL.iter().map(|part| part.text().trim_end_matches(':').to_owned());
        assert_eq!(names, parts.enumerate().map(|(at, name)| (at + 1, name)).collect::<Vec<_>>());
    }
}
