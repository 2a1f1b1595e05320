//! SORT and `SORT_RO`: lists, sets and sorted sets, ordered by their elements or by the values of other keys.

use std::cmp::Ordering;

use super::{Args, Cx, int_arg, is};
use crate::embedded::list::List;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::value::Value;

/// The arguments of the command.
#[derive(Debug, Default)]
struct Query<'a> {
    descending: bool,
    alphabetical: bool,
    limit: Option<(i64, i64)>,
    store: Option<&'a [u8]>,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
}

fn parse(args: Args<'_>, read_only: bool) -> Result<Query<'_>, Fault> {
    let mut query = Query::default();
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - 1 - i;
        match args[i] {
            w if is(w, "asc") => query.descending = false,
            w if is(w, "desc") => query.descending = true,
            w if is(w, "alpha") => query.alphabetical = true,
            w if is(w, "limit") && more >= 2 => {
                query.limit = Some((int_arg(args[i + 1])?, int_arg(args[i + 2])?));
                i += 2;
            }
            w if is(w, "store") && more >= 1 && !read_only => {
                query.store = Some(args[i + 1]);
                i += 1;
            }
            w if is(w, "by") && more >= 1 => {
                query.by = Some(args[i + 1]);
                i += 1;
            }
            w if is(w, "get") && more >= 1 => {
                query.get.push(args[i + 1]);
                i += 1;
            }
            _ => return Err(Fault::SYNTAX),
        }
        i += 1;
    }
    Ok(query)
}

/// The value at the key or field of a pattern such as `weight_*` or `object_*->field` for an element, if it exists.
fn look_up(cx: &mut Cx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = c_text(pattern).iter().position(|&b| b == b'*')?;
    let rest = &pattern[star + 1..];
    let arrow = c_text(rest).windows(2).position(|w| w == b"->").filter(|at| at + 2 < rest.len());
    let (suffix, field) = match arrow {
        Some(at) => (&rest[..at], Some(&rest[at + 2..])),
        None => (rest, None),
    };
    let key = [&pattern[..star], element, suffix].concat();
    match (field, cx.entry(&key).map(|e| &e.value)?) {
        (None, Value::Str(s)) => Some(s.bytes.clone()),
        (Some(field), Value::Hash(hash)) => hash.fields.get(field).map(|v| v.to_vec()),
        _ => None,
    }
}

fn elements(cx: &mut Cx<'_>, key: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    Ok(match cx.entry(key).map(|e| &mut e.value) {
        None => Vec::new(),
        Some(Value::List(list)) => list.iter().map(|i| i.to_vec()).collect(),
        Some(Value::Set(set)) => set.members(),
        Some(Value::Zset(zset)) => {
            // Redis converts a sorted set to the large encoding for SORT, and does not convert it back.
            zset.small = false;
            zset.iter().map(|(member, _)| member.to_vec()).collect()
        }
        Some(_) => return Err(Fault::WRONG_TYPE),
    })
}

/// A number, if `strtod` would read the whole C string.
fn weight(text: &[u8]) -> Option<f64> {
    match c_text(text).trim_ascii_start() {
        b"" => Some(0.0),
        text => number::float(text),
    }
}

struct Item {
    element: Vec<u8>,
    score: f64,
    word: Option<Vec<u8>>,
}

/// Sorts the elements.
fn order(cx: &mut Cx<'_>, found: Vec<Vec<u8>>, query: &Query<'_>, by: Option<&[u8]>) -> Result<Vec<Vec<u8>>, Fault> {
    let mut items = Vec::with_capacity(found.len());
    for element in found {
        let word = match by {
            Some(pattern) => look_up(cx, pattern, &element),
            None => Some(element.clone()),
        };
        let score = match (&word, query.alphabetical) {
            (Some(word), false) => {
                weight(word).ok_or(Fault::of("ERR One or more scores can't be converted into double"))?
            }
            _ => 0.0,
        };
        items.push(Item { element, score, word });
    }
    // Without STORE Redis compares texts up to a NUL byte; with STORE it compares all bytes.
    let stored = query.store.is_some();
    let shown = |word: &Option<Vec<u8>>| word.as_deref().map(|w| if stored { w.to_vec() } else { c_text(w).to_vec() });
    let compare = |a: &Item, b: &Item| {
        if query.alphabetical {
            return shown(&a.word).cmp(&shown(&b.word));
        }
        a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal).then_with(|| a.element.cmp(&b.element))
    };
    items.sort_by(|a, b| if query.descending { compare(b, a) } else { compare(a, b) });
    Ok(items.into_iter().map(|item| item.element).collect())
}

/// The indexes that LIMIT selects.
fn window(limit: Option<(i64, i64)>, len: usize) -> std::ops::Range<usize> {
    let Some((offset, count)) = limit else {
        return 0..len;
    };
    let start = usize::try_from(offset).unwrap_or(0).min(len);
    start..usize::try_from(count).map_or(len, |count| start.saturating_add(count).min(len))
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let query = parse(args, read_only)?;
    let found = elements(cx, args[1])?;
    let is_set = matches!(cx.entry(args[1]).map(|e| &e.value), Some(Value::Set(_)));
    let unsorted = query.by.is_some_and(|pattern| !c_text(pattern).contains(&b'*'));
    let ordered = if unsorted && is_set && (query.store.is_some() || cx.mode == super::Mode::Script) {
        // A set has no order. For STORE and in scripts the result must be deterministic, so it is sorted.
        order(cx, found, &Query { alphabetical: true, store: query.store, ..Query::default() }, None)?
    } else if unsorted {
        let mut found = found;
        if query.descending && !is_set {
            found.reverse();
        }
        found
    } else {
        order(cx, found, &query, query.by)?
    };
    let range = window(query.limit, ordered.len());
    let mut output: Vec<Option<Vec<u8>>> = Vec::with_capacity(range.len());
    for element in &ordered[range] {
        if query.get.is_empty() {
            output.push(Some(element.clone()));
        }
        for pattern in &query.get {
            output.push(look_up(cx, pattern, element));
        }
    }
    let Some(key) = query.store else {
        return Ok(Reply::Array(output.into_iter().map(Reply::bulk_or_null).collect()));
    };
    let len = output.len();
    let list: List = output.into_iter().map(|item| item.unwrap_or_default().into()).collect();
    cx.put_or_remove(key, Value::List(list));
    Ok(Reply::len(len))
}

pub(super) fn sort(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, false)
}

pub(super) fn sort_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, true)
}
