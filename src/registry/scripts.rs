//! The scripts of `lua/`, and the names under which durations are recorded.

use std::sync::LazyLock;

use crate::connection::Script;
use crate::telemetry::Operation;

/// A script and the name of what it does.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) script: Script,
    pub(super) operation: Operation,
    /// Does it do no more harm when it runs twice? Then it may be sent again when nobody knows whether it ran.
    pub(super) repeatable: bool,
}

macro_rules! verbs {
    ($($name:ident = $($file:literal)+, $text:literal, $repeatable:literal;)*) => {
        $(pub(super) static $name: LazyLock<Verb> = LazyLock::new(|| Verb {
            script: Script::new(concat!(
                include_str!("lua/part/base.lua"),
                include_str!("lua/part/worker.lua"),
                include_str!("lua/part/sweep.lua"),
                $(include_str!(concat!("lua/", $file)),)+
            )),
            operation: Operation::named($text),
            repeatable: $repeatable,
        });)*
    };
}

verbs! {
    BEAT = "part/mend.lua" "beat.lua", "registry.heartbeat", true;
    CLAIM = "claim.lua", "registry.claim", true;
    COUNT = "count.lua", "registry.count", true;
    DISCARD = "discard.lua", "registry.discard", true;
    PAGE = "page.lua", "registry.list", true;
    READ = "read.lua", "registry.get", true;
    REAP = "part/mend.lua" "reap.lua", "registry.reap", true;
    REGISTER = "register.lua", "registry.register", true;
    RELEASE = "release.lua", "registry.release", false;
    RENEW = "renew.lua", "registry.renew", true;
    SEARCH = "search.lua", "registry.claim", true;
    SEND = "send.lua", "registry.send", false;
    SIZES = "sizes.lua", "registry.list", true;
    STATUS = "status.lua", "registry.setStatus", true;
    SWEEP = "part/mend.lua" "sweep.lua", "registry.sweep", true;
    UNREGISTER = "unregister.lua", "registry.unregister", false;
}

/// Scripts of elections, which have a key of their own.
macro_rules! elections {
    ($($name:ident = $file:literal, $text:literal, $repeatable:literal;)*) => {
        $(pub(super) static $name: LazyLock<Verb> = LazyLock::new(|| Verb {
            script: Script::new(concat!(include_str!("lua/part/role.lua"), include_str!(concat!("lua/", $file)))),
            operation: Operation::named($text),
            repeatable: $repeatable,
        });)*
    };
}

elections! {
    ELECT = "elect.lua", "registry.elect", true;
    REELECT = "reelect.lua", "registry.reelect", true;
    RESIGN = "resign.lua", "registry.resign", false;
}

/// Reading events.
pub(super) static EVENTS: LazyLock<Operation> = LazyLock::new(|| Operation::named("registry.events"));

#[cfg(test)]
mod tests {
    use crate::keys::parts::lua;
    use crate::keys::registry::Part;

    #[test]
    fn scripts_take_the_keys_in_the_order_in_which_they_are_given() {
        let mut names = lua::names(include_str!("lua/part/base.lua"), "KEYS");
        names.sort_unstable();
        let names: Vec<_> = names.into_iter().map(|(place, name)| (place, name.to_lowercase())).collect();
        let parts = Part::ALL.iter().map(|part| part.text().trim_end_matches(':').to_owned());
        assert_eq!(names, parts.enumerate().map(|(at, name)| (at + 1, name)).collect::<Vec<_>>());
    }
}
