//! The table of commands, compared with the `COMMAND` of a server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;
use redis_backplane::redis_commands::{Keys, TABLE, flag, named};

/// The differences between the table and the server, and their reasons.
const EXCEPTIONS: &[(&str, &str)] =
    &[("sort_ro", "the server counts the keys that BY and GET make up while it sorts; no list of words has them")];

/// Rows of commands that the reference server does not have, and the versions that introduced them.
const LATER: &[(&str, &str)] = &[
    ("client|capa", "Valkey 8.0"),
    ("client|import-source", "Valkey 8.1"),
    ("client|no-touch", "Redis 7.2"),
    ("client|setinfo", "Redis 7.2"),
    ("hexpire", "Redis 7.4"),
    ("hexpireat", "Redis 7.4"),
    ("hexpiretime", "Redis 7.4"),
    ("hgetdel", "Redis 8.0"),
    ("hgetex", "Redis 8.0"),
    ("hpersist", "Redis 7.4"),
    ("hpexpire", "Redis 7.4"),
    ("hpexpireat", "Redis 7.4"),
    ("hpexpiretime", "Redis 7.4"),
    ("hpttl", "Redis 7.4"),
    ("hsetex", "Redis 8.0"),
    ("httl", "Redis 7.4"),
    ("waitaof", "Redis 7.2"),
    ("xackdel", "Redis 8.2"),
    ("xdelex", "Redis 8.2"),
];

/// The flags that are compared, by their names on the server.
const FLAGS: &[(&str, u16)] = &[
    ("write", flag::WRITE),
    ("readonly", flag::READ),
    ("denyoom", flag::DENY_OOM),
    ("noscript", flag::NO_SCRIPT),
    ("blocking", flag::BLOCKING),
    ("no_multi", flag::NO_MULTI),
    ("no_auth", flag::NO_AUTH),
    ("allow_busy", flag::WHILE_BUSY),
];

/// The compared properties of a command.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    arity: i64,
    flags: BTreeSet<String>,
    /// The first key, the last key and the step.
    keys: (i64, i64, i64),
    /// Has the command keys whose places depend on its words?
    movable: bool,
    container: bool,
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        other => panic!("{other:?} is no list"),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        other => panic!("{other:?} is no number"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Value::SimpleString(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    }
}

/// Every command and subcommand of the server, as `COMMAND` shows them.
fn read(commands: &[Value], into: &mut BTreeMap<String, Row>) {
    for command in commands {
        let fields = list(command);
        let flags: BTreeSet<String> = list(&fields[2]).iter().map(text).collect();
        let movable = flags.contains("movablekeys");
        let subcommands = list(&fields[9]);
        let row = Row {
            arity: int(&fields[1]),
            flags: flags.into_iter().filter(|flag| FLAGS.iter().any(|(name, _)| name == flag)).collect(),
            keys: (int(&fields[3]), int(&fields[4]), int(&fields[5])),
            movable,
            container: !subcommands.is_empty(),
        };
        into.insert(text(&fields[0]), row);
        read(subcommands, into);
    }
}

fn of_the_server() -> BTreeMap<String, Row> {
    let server = support::Server::start(&[]);
    let mut commands = BTreeMap::new();
    read(list(&server.ask(&["COMMAND"])), &mut commands);
    commands
}

fn of_the_table(name: &str) -> Option<Row> {
    let spec = named(name.as_bytes())?;
    let (first, last, step) = spec.keys.fixed();
    Some(Row {
        arity: spec.arity.into(),
        flags: FLAGS.iter().filter(|(_, flag)| spec.has(*flag)).map(|(name, _)| (*name).to_owned()).collect(),
        keys: (first.into(), last.into(), step.into()),
        movable: !matches!(spec.keys, Keys::Nowhere | Keys::Range(..) | Keys::Unannounced),
        container: spec.has(flag::CONTAINER),
    })
}

#[test]
fn the_table_agrees_with_the_server_on_every_command() {
    let server = of_the_server();
    assert!(server.len() > 300, "{} commands and subcommands are too few", server.len());
    let excepted = |name: &str| EXCEPTIONS.iter().any(|(other, _)| *other == name);
    let mut differences = Vec::new();
    for (name, theirs) in &server {
        let ours = of_the_table(name);
        if (ours.as_ref() == Some(theirs)) == excepted(name) {
            differences.push(format!("{name}\n  the table:  {ours:?}\n  the server: {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_commands_that_the_server_does_not_have_are_of_later_versions() {
    let server = of_the_server();
    let unknown: Vec<&str> = TABLE
        .iter()
        .map(|spec| spec.name)
        .filter(|name| !server.contains_key(*name))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let later: Vec<&str> = LATER.iter().map(|(name, _)| *name).collect();
    assert_eq!(unknown, later);
}

/// `COMMAND GETKEYS` gives the keys as the server finds them.
#[test]
fn keys_are_found_where_the_server_finds_them() {
    let server = support::Server::start(&[]);
    for line in [
        "GET a",
        "MSET a 1 b 2",
        "BLPOP a b 0",
        "BITOP AND d a b",
        "OBJECT ENCODING a",
        "XGROUP CREATE a g 0",
        "ZUNION 2 a b WEIGHTS 1 2",
        "ZUNIONSTORE d 2 a b",
        "EVAL text 2 a b c",
        "FCALL f 1 a b",
        "BLMPOP 1 2 a b LEFT",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "XREADGROUP GROUP g c STREAMS a >",
        "MIGRATE h 1 a 0 5",
        "SORT a BY store GET store LIMIT 0 1 ALPHA",
        "SORT a LIMIT 0 1 STORE b STORE c",
        "GEORADIUSBYMEMBER a store 5 m STOREDIST b",
        "GEORADIUS a 1 1 5 m STORE b",
        "PFDEBUG ENCODING a",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let theirs = server.ask(&[&["COMMAND", "GETKEYS"], &words[..]].concat());
        let theirs: Vec<String> = list(&theirs).iter().map(text).collect();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let ours: Vec<_> = redis_backplane::redis_commands::keys_of(&words);
        let ours: Vec<_> = ours.into_iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(ours, theirs, "{line}");
    }
}
