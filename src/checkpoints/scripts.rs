//! The scripts of `lua/`.

use crate::connection::{Script, scripts};

scripts! {
    ACQUIRE = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "part/load.lua" "acquire.lua";
    INTERRUPT_OWNED = "interrupt_owned.lua";
    HISTORY = "part/base.lua" "history.lua";
    LAPSE = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "lapse.lua";
    LOAD = "part/base.lua" "part/load.lua" "load.lua";
    NEWS = "part/base.lua" "news.lua";
    OVERDUE = "part/mastership.lua" "overdue.lua";
    PENDING = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "pending.lua";
    PIN = "part/base.lua" "part/write.lua" "pin.lua";
    PRUNE = "part/base.lua" "part/write.lua" "prune.lua";
    RELIST = "relist.lua";
    RELEASE = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "release.lua";
    REMOVE = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "remove.lua";
    RENEW = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "renew.lua";
    SAVE = "part/base.lua" "part/write.lua" "part/mastership.lua" "part/own.lua" "save.lua";
    THREADS = "threads.lua";
}

#[cfg(test)]
mod tests {
    use crate::keys::checkpoints::Part;
    use crate::keys::parts::lua;

    #[test]
    fn scripts_take_the_keys_in_the_order_in_which_they_are_given() {
        let base = include_str!("lua/part/base.lua");
        let named: Vec<_> = lua::names(base, "KEYS").into_iter().map(|(at, name)| (at, name.to_lowercase())).collect();
        let expected: Vec<_> =
            Part::ALL.iter().enumerate().map(|(at, part)| (at + 1, part.text().to_owned())).collect();
        assert_eq!(named, expected);
        let headed: Vec<_> = lua::header(base).into_iter().map(|(_, what)| what).collect();
        assert_eq!(headed, Part::ALL.iter().map(|part| part.text()).collect::<Vec<_>>());
    }
}
