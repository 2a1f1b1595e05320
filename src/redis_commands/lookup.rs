//! The row of a command.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::keys::Keys;
use super::spec::{Spec, flag};
use super::table::TABLE;

/// A look-up costs one hash and one comparison of the name.
static INDEX: LazyLock<FxHashMap<&'static [u8], &'static Spec>> =
    LazyLock::new(|| TABLE.iter().map(|spec| (spec.name.as_bytes(), spec)).collect());

/// Every name in the table is shorter than this, also the name of a subcommand with its command.
const LONGEST: usize = 40;

/// The key of a command that is not in the table: the first argument, as in nearly every command of Redis and its modules. Where this is
/// wrong, a cluster answers `MOVED` or `CROSSSLOT`, so no command is executed in the wrong place.
const UNLISTED: Keys = Keys::Range(1, 1, 1);

/// The row with this name, in any case of letters: `get`, or `client|list`.
#[must_use]
pub fn named(name: &[u8]) -> Option<&'static Spec> {
    let mut lower = [0; LONGEST];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    INDEX.get(&*lower).copied()
}

/// The row of the command in `words`. For a command with subcommands: the row of the subcommand that the second word names, or the row
/// of the command where no subcommand has this name.
#[must_use]
pub fn find(words: &[&[u8]]) -> Option<&'static Spec> {
    let name = words.first().filter(|name| !name.contains(&b'|'))?;
    let spec = named(name)?;
    match words.get(1) {
        Some(sub) if spec.has(flag::CONTAINER) => subcommand(name, sub).or(Some(spec)),
        _ => Some(spec),
    }
}

fn subcommand(name: &[u8], sub: &[u8]) -> Option<&'static Spec> {
    let mut full = [0; LONGEST];
    let full = full.get_mut(..name.len() + 1 + sub.len())?;
    full[..name.len()].copy_from_slice(name);
    full[name.len()] = b'|';
    full[name.len() + 1..].copy_from_slice(sub);
    named(full)
}

/// The keys of the command in `words`, by which a cluster routes it.
#[must_use]
pub fn keys_of<'a>(words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    match find(words).map_or(UNLISTED, |spec| spec.keys) {
        Keys::Unannounced => words.get(2).copied().into_iter().collect(),
        keys => keys.among(words).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_commands::Sharing;

    #[test]
    fn names_are_unique_and_in_lower_case() {
        assert_eq!(INDEX.len(), TABLE.len());
        assert!(TABLE.iter().all(|spec| spec.name == spec.name.to_lowercase() && spec.name.len() < LONGEST));
        assert!(TABLE.iter().enumerate().all(|(at, spec)| usize::from(spec.number) == at));
    }

    #[test]
    fn only_commands_with_subcommands_are_containers() {
        let has_subcommands = |spec: &Spec| {
            let prefix = format!("{}|", spec.name);
            TABLE.iter().any(|other| other.name.starts_with(&prefix))
        };
        for spec in TABLE.iter().filter(|spec| !spec.is_subcommand()) {
            assert_eq!(spec.has(flag::CONTAINER), has_subcommands(spec), "{}", spec.name);
        }
    }

    #[test]
    fn a_blocking_command_never_uses_the_shared_connection() {
        for spec in TABLE.iter().filter(|spec| spec.has(flag::BLOCKING)) {
            assert_ne!(spec.sharing, Sharing::Shared, "{}", spec.name);
        }
    }

    #[test]
    fn a_subcommand_is_found_by_two_words_and_an_unknown_subcommand_as_its_command() {
        let name = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            find(&words).map(|spec| spec.name)
        };
        assert_eq!(name("Get a"), Some("get"));
        assert_eq!(name("CLIENT List"), Some("client|list"));
        assert_eq!(name("CLIENT"), Some("client"));
        assert_eq!(name("CLIENT a-name-longer-than-that-of-any-subcommand"), Some("client"));
        assert_eq!(name("client|list"), None);
        assert_eq!(name("a-name-that-is-longer-than-that-of-any-command"), None);
    }

    fn keys(command: &str) -> String {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let keys: Vec<_> = keys_of(&words).into_iter().map(String::from_utf8_lossy).collect();
        keys.join(" ")
    }

    #[test]
    fn keys_are_found_at_the_places_that_redis_defines() {
        for (command, expected) in [
            ("PING", ""),
            ("publish c m", ""),
            ("get a", "a"),
            ("JSON.SET a $ 1", "a"),
            ("a-name-longer-than-any-command a", "a"),
            ("MSET a 1 b 2", "a b"),
            ("RENAME a b", "a b"),
            ("BLPOP a b 0", "a b"),
            ("BITOP AND d a b", "d a b"),
            ("OBJECT ENCODING a", "a"),
            ("OBJECT not-known-yet a", "a"),
            ("DEBUG OBJECT a", "a"),
            ("MEMORY DOCTOR", ""),
            ("ZUNION 2 a b WEIGHTS 1 2", "a b"),
            ("EVALSHA sha 2 a b c", "a b"),
            ("EVAL text 0 x", ""),
            ("EVAL text soon a", ""),
            ("BLMPOP 1 2 a b LEFT", "a b"),
            ("ZUNIONSTORE d 2 a b", "d a b"),
            ("XREAD COUNT 1 STREAMS a b 0 0", "a b"),
            ("XREADGROUP GROUP g c STREAMS a >", "a"),
            ("XREAD COUNT 1", ""),
            ("MIGRATE h 1 a 0 5", "a"),
            ("MIGRATE h 1  0 5 KEYS a b", "a b"),
            ("SORT a", "a"),
            ("SORT a BY store GET store LIMIT store 1 ALPHA", "a"),
            ("SORT a STORE b store c", "a c"),
            ("GEORADIUSBYMEMBER a store 5 m STOREDIST b", "a b"),
            ("MGET", ""),
            ("BLPOP", ""),
            ("SORT", ""),
        ] {
            assert_eq!(keys(command), expected, "{command}");
        }
    }
}
