//! The scripts of `lua/`.

use crate::connection::{Script, scripts};

scripts! {
    before ["part/session.lua"];
    APPEND = "append.lua";
    CREATE = "create.lua";
    DESTROY = "destroy.lua";
    LOAD = "load.lua";
    RECENT = "recent.lua";
    REGENERATE = "regenerate.lua";
    SAVE = "save.lua";
    TOUCH = "touch.lua";
}

// The scripts of a user's list have another key than the scripts of a session.
scripts! {
    ENLIST = "enlist.lua";
    PAGE = "page.lua";
    TIDY = "tidy.lua";
}

#[cfg(test)]
mod tests {
    use crate::keys::parts::lua;
    use crate::keys::sessions::Part;

    #[test]
    fn scripts_take_the_keys_in_the_order_in_which_they_are_given() {
        let names = lua::names(include_str!("lua/part/session.lua"), "KEYS");
        let parts = Part::ALL.iter().map(|part| part.text().trim_end_matches(':')).enumerate();
        assert_eq!(names, parts.map(|(at, name)| (at + 1, name)).collect::<Vec<_>>());
    }
}
