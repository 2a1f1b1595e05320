//! The allowed differences between the two sides, and their reasons.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::picks;
use crate::sides::Args;
use crate::value::Value;

/// How a reply is made comparable.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Normal {
    /// Elements in any order.
    Sorted,
    /// Pairs in any order.
    SortedPairs,
    /// `[cursor, elements]`, elements in any order, cursor not compared.
    Page,
    /// `[cursor, pairs]`.
    PagePairs,
    /// Integers within this distance.
    Near(i64),
    /// Numbers of seconds, each a time since the test began.
    Since,
    /// Only the kind of reply and the number of its elements are compared.
    Size,
    /// Only the kind of reply is compared.
    Kind,
    /// Numbers anywhere inside are not compared.
    Shape,
    /// Times of deliveries, and how a stream is built, are not compared.
    Untimed,
    /// Each side's answer must be a possible one.
    Pick,
}

/// Every allowed difference, and its reason.
pub(crate) const ALLOWED: &[(&str, Normal, &str)] = &[
    ("smembers", Normal::Sorted, "a set has no order"),
    ("sunion", Normal::Sorted, "a set has no order"),
    ("sinter", Normal::Sorted, "a set has no order"),
    ("sdiff", Normal::Sorted, "a set has no order"),
    ("spop", Normal::Pick, "random"),
    ("srandmember", Normal::Pick, "random"),
    ("hrandfield", Normal::Pick, "random"),
    ("zrandmember", Normal::Pick, "random"),
    ("randomkey", Normal::Pick, "random"),
    ("keys", Normal::Sorted, "the keyspace has no order"),
    ("hgetall", Normal::SortedPairs, "a large hash has no order"),
    ("hkeys", Normal::Sorted, "a large hash has no order"),
    ("hvals", Normal::Sorted, "a large hash has no order"),
    ("scan", Normal::Page, "the order and the cursor are the server's own"),
    ("sscan", Normal::Page, "the order and the cursor are the server's own"),
    ("hscan", Normal::PagePairs, "the order and the cursor are the server's own"),
    ("zscan", Normal::PagePairs, "the order and the cursor are the server's own"),
    ("ttl", Normal::Near(1), "two clocks"),
    ("pttl", Normal::Near(2000), "two clocks"),
    ("expiretime", Normal::Near(2), "two clocks"),
    ("pexpiretime", Normal::Near(2000), "two clocks"),
    ("time", Normal::Kind, "two clocks"),
    ("object idletime", Normal::Kind, "two clocks"),
    ("object refcount", Normal::Kind, "an internal"),
    ("object freq", Normal::Kind, "an internal"),
    ("dump", Normal::Kind, "the plainest encodings; that each side reads the other's is a test of its own"),
    ("lastsave", Normal::Since, "the start"),
    ("hello", Normal::Shape, "client ids differ"),
    ("client id", Normal::Kind, "ids differ"),
    ("memory usage", Normal::Kind, "an estimate"),
    ("memory doctor", Normal::Kind, "advice"),
    ("xinfo", Normal::Untimed, "idle times, seen times and radix tree nodes are internals"),
    ("xpending", Normal::Untimed, "idle times"),
    ("config", Normal::SortedPairs, "an order of its own"),
    ("command count", Normal::Kind, "another list of commands"),
    ("command list", Normal::Kind, "another list of commands"),
    ("command info", Normal::Kind, "another list of commands"),
    ("command docs", Normal::Kind, "another list of commands"),
];

/// Are the replies equal, apart from the differences that `command` allows? `before` are the replies to the command before.
pub(crate) fn same(command: &Args, before: Option<(&Value, &Value)>, real: &Value, engine: &Value) -> bool {
    let words: Vec<String> = command.iter().take(2).map(|w| String::from_utf8_lossy(w).to_lowercase()).collect();
    let whole = words.join(" ");
    // The reply of a script has the order of its source, which for a large hash is any order.
    let hands_on = words[0].starts_with("eval")
        && words.get(1).is_some_and(|script| script.contains("redis.call('hgetall', keys[1])"));
    if hands_on {
        return normalized_same(&mut real.clone(), &mut engine.clone(), Some(Normal::SortedPairs));
    }
    let mut rule = ALLOWED.iter().find(|rule| rule.0 == words[0] || rule.0 == whole).map(|rule| rule.1);
    // What SORT is not told to sort comes as it is kept, and a set has no order, nor has a sorted set for a pattern; templates ask for the
    // type before.
    let by = command.iter().position(|word| word.eq_ignore_ascii_case(b"by")).and_then(|at| command.get(at + 1));
    if let Some((pattern, (kind, _))) = by.zip(before).filter(|_| words[0].starts_with("sort"))
        && (kind.text == b"set" || kind.text == b"zset" && pattern.contains(&b'*'))
    {
        // A part of an unordered collection may be any part of this size.
        let is_part = command.iter().any(|word| word.eq_ignore_ascii_case(b"limit"));
        rule = Some(if is_part { Normal::Size } else { Normal::Sorted });
    }
    if whole.starts_with("dump") && engine.text == b"ERR DUMP of a stream is not supported by memory://" {
        return !real.is_error();
    }
    if rule == Some(Normal::Pick) && !real.is_error() && !engine.is_error() {
        let possible = |all: Option<&Value>, got| picks::possible(command, all, got);
        return picks::alike(real, engine)
            && possible(before.map(|b| b.0), real)
            && possible(before.map(|b| b.1), engine);
    }
    let (mut real, mut engine) = (real.clone(), engine.clone());
    normalized_same(&mut real, &mut engine, rule)
}

fn normalized_same(a: &mut Value, b: &mut Value, rule: Option<Normal>) -> bool {
    let errors = a.is_error() || b.is_error();
    match rule {
        None | Some(Normal::Pick) => {}
        _ if errors => {}
        Some(Normal::Sorted) => [a as &mut Value, b].into_iter().for_each(Value::sort),
        Some(Normal::SortedPairs) => [a as &mut Value, b].into_iter().for_each(Value::sort_pairs),
        Some(rule @ (Normal::Page | Normal::PagePairs)) => {
            for value in [&mut *a, &mut *b] {
                let Some(items) = value.items.get_mut(1) else {
                    continue;
                };
                if rule == Normal::Page {
                    items.sort();
                } else {
                    items.sort_pairs();
                }
                value.items[0].text.clear();
            }
        }
        Some(Normal::Near(distance)) => {
            if let (Some(x), Some(y)) = (a.number(), b.number())
                && x >= 0
                && y >= 0
            {
                return (x - y).abs() <= distance;
            }
        }
        Some(Normal::Since) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let possible = (now - crate::began().elapsed().as_secs()).saturating_sub(1)..=now + 1;
            let fits = |value: &Value| {
                value.number().and_then(|n| u64::try_from(n).ok()).is_some_and(|n| possible.contains(&n))
            };
            // Within MULTI neither is a number.
            return if a.kind == b':' { fits(a) && fits(b) } else { a == b };
        }
        Some(Normal::Kind) => return a.kind == b.kind,
        Some(Normal::Size) => return a.kind == b.kind && a.items.len() == b.items.len(),
        Some(Normal::Shape) => [a as &mut Value, b].into_iter().for_each(Value::erase_numbers),
        Some(Normal::Untimed) => [a as &mut Value, b].into_iter().for_each(Value::erase_times),
    }
    a == b
}

#[test]
fn every_rule_of_difference_has_a_reason() {
    assert!(ALLOWED.iter().all(|rule| !rule.2.is_empty()));
}
