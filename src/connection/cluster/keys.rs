//! Which words of a command are keys.
//!
//! From the key specifications in Redis' own command table (`COMMAND DOCS`, Redis 7). A command that is not listed has
//! its key behind its name, as nearly every command of Redis and of its modules has; where that is wrong the
//! server answers `MOVED` or `CROSSSLOT`, so nothing is ever executed in the wrong place.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where the keys stand. Word 0 is the command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// From the first to the last, counted from the end where negative, every so many words.
    Range(usize, isize, usize),
    /// So many as that word says, behind it.
    Counted(usize),
    /// The first word, and so many as the second says.
    TargetAndCounted,
    /// The first half of what follows `STREAMS`.
    Streams,
    /// The third word, or all that follow `KEYS`.
    Migrate,
}

static TABLE: LazyLock<HashMap<&'static str, Place>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    let mut put = |names: &'static str, place| {
        for name in names.split_ascii_whitespace() {
            table.insert(name, place);
        }
    };
    put(
        "ACL ASKING AUTH BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DBSIZE DISCARD ECHO EXEC FAILOVER FLUSHALL FLUSHDB FUNCTION \
         HELLO INFO KEYS LASTSAVE LATENCY LOLWUT MODULE MONITOR MULTI PING PUBLISH PUBSUB QUIT RANDOMKEY READONLY READWRITE REPLICAOF \
         RESET ROLE SAVE SCAN SCRIPT SELECT SHUTDOWN SLAVEOF SLOWLOG SWAPDB TIME UNWATCH WAIT WAITAOF",
        Place::Nowhere,
    );
    put(
        "DEL EXISTS MGET PFCOUNT PFMERGE SDIFF SDIFFSTORE SINTER SINTERSTORE SUNION SUNIONSTORE TOUCH UNLINK WATCH",
        Place::Range(1, -1, 1),
    );
    put("MSET MSETNX", Place::Range(1, -1, 2));
    put(
        "BLMOVE BRPOPLPUSH COPY GEOSEARCHSTORE LCS LMOVE RENAME RENAMENX RPOPLPUSH SMOVE ZRANGESTORE",
        Place::Range(1, 2, 1),
    );
    put("BLPOP BRPOP BZPOPMAX BZPOPMIN", Place::Range(1, -2, 1));
    put("BITOP", Place::Range(2, -1, 1));
    put("DEBUG MEMORY OBJECT XGROUP XINFO", Place::Range(2, 2, 1));
    put("LMPOP SINTERCARD ZDIFF ZINTER ZINTERCARD ZMPOP ZUNION", Place::Counted(1));
    put("BLMPOP BZMPOP EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO", Place::Counted(2));
    put("ZDIFFSTORE ZINTERSTORE ZUNIONSTORE", Place::TargetAndCounted);
    put("XREAD XREADGROUP", Place::Streams);
    put("MIGRATE", Place::Migrate);
    table
});

/// The name of a command in capitals, for looking it up; `None` where it is longer than any.
pub(super) fn upper<'a>(name: &[u8], into: &'a mut [u8; 24]) -> Option<&'a str> {
    let into = into.get_mut(..name.len())?;
    into.copy_from_slice(name);
    into.make_ascii_uppercase();
    std::str::from_utf8(into).ok()
}

/// The keys of a command, given by its words.
pub(super) fn keys_of<'a>(words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let Some(name) = words.first() else { return Vec::new() };
    let mut capitals = [0; 24];
    let place = upper(name, &mut capitals).and_then(|name| TABLE.get(name).copied()).unwrap_or(Place::Range(1, 1, 1));
    let counted = |at: usize| {
        let count = words.get(at).and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok()).unwrap_or(0);
        words.iter().skip(at + 1).take(count).copied()
    };
    let behind = |name: &[u8]| words.iter().position(|word| word.eq_ignore_ascii_case(name)).map(|at| at + 1);
    match place {
        Place::Nowhere => Vec::new(),
        Place::Range(first, last, step) => {
            let end = if last < 0 {
                words.len().saturating_sub(last.unsigned_abs() - 1)
            } else {
                words.len().min(last.unsigned_abs() + 1)
            };
            words.get(first..end).unwrap_or_default().iter().step_by(step).copied().collect()
        }
        Place::Counted(at) => counted(at).collect(),
        Place::TargetAndCounted => words.get(1).copied().into_iter().chain(counted(2)).collect(),
        Place::Streams => behind(b"STREAMS").map_or_else(Vec::new, |at| {
            let rest = &words[at..];
            rest[..rest.len() / 2].to_vec()
        }),
        Place::Migrate => match words.get(3) {
            Some(key) if !key.is_empty() => vec![*key],
            _ => behind(b"KEYS").map_or_else(Vec::new, |at| words[at..].to_vec()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(command: &str) -> Vec<String> {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        keys_of(&words).into_iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn keys_are_found_where_redis_has_them() {
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
            ("MGET", ""),
            ("BLPOP", ""),
        ] {
            assert_eq!(keys(command).join(" "), expected, "{command}");
        }
    }
}
