//! SCAN, SSCAN, HSCAN and ZSCAN.
//!
//! A large collection is visited from its last index to its first. A removal moves the last element into the gap. The last
//! element was either visited already, or is still to be visited after the move. So every element that exists for the whole scan
//! is returned, and a scan ends although elements are added meanwhile. The cursor is the number of indexes that are still to be
//! visited.

use super::{Args, Cx, int_arg, is};
use crate::embedded::glob;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::Set;

struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

fn cursor(arg: &[u8]) -> Result<u64, Fault> {
    // As `strtoul` in Redis, which accepts only blanks and a sign besides digits.
    number::unsigned(arg.strip_prefix(b"+").unwrap_or(arg))
        .or_else(|| (arg.len() <= 20).then(|| std::str::from_utf8(arg).ok()?.parse().ok()).flatten())
        .ok_or(Fault::of("ERR invalid cursor"))
}

fn options(args: Args<'_>, keys: bool) -> Result<Options<'_>, Fault> {
    let mut options = Options { count: 10, pattern: None, kind: None };
    let mut i = 0;
    while i < args.len() {
        let Some(value) = args.get(i + 1) else {
            return Err(Fault::SYNTAX);
        };
        if is(args[i], "count") {
            let count = int_arg(value)?;
            if count < 1 {
                return Err(Fault::SYNTAX);
            }
            options.count = usize::try_from(count).unwrap_or(usize::MAX);
        } else if is(args[i], "match") {
            options.pattern = Some(value);
        } else if keys && is(args[i], "type") {
            options.kind = Some(value);
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 2;
    }
    Ok(options)
}

/// The indexes that this step visits, and the next cursor.
fn step(cursor: u64, count: usize, len: usize) -> (std::ops::Range<usize>, usize) {
    let top = match usize::try_from(cursor) {
        Ok(n @ 1..) => n.min(len),
        _ => len,
    };
    let next = top.saturating_sub(count);
    (next..top, next)
}

fn page(next: usize, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(items)])
}

pub(super) fn scan(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let from = cursor(args[1])?;
    let options = options(&args[2..], true)?;
    let now = cx.now();
    let db = cx.db();
    let (visit, next) = step(from, options.count, db.keys.len());
    let found = visit.rev().filter_map(|i| db.keys.get_index(i)).filter(|(key, entry)| {
        options.pattern.is_none_or(|p| glob::matches(p, key))
            && options.kind.is_none_or(|t| is(t, entry.value.kind()))
            && entry.expire.is_none_or(|at| now <= at)
    });
    let items = found.map(|(key, _)| Reply::bulk(key)).collect();
    Ok(page(next, items))
}

/// The indexes that one step visits, and the next cursor. A small collection is visited in one step.
fn window(cursor: u64, count: usize, len: usize, small: bool) -> (std::ops::Range<usize>, usize) {
    if small { (0..len, 0) } else { step(cursor, count, len) }
}

pub(super) fn hscan(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let from = cursor(args[2])?;
    let Some(hash) = cx.hash(args[1])? else {
        return Ok(page(0, Vec::new()));
    };
    let options = options(&args[3..], false)?;
    let (visit, next) = window(from, options.count, hash.fields.len(), hash.small);
    let found = visit.filter_map(|i| hash.fields.get_index(i));
    let found = found.filter(|(f, _)| options.pattern.is_none_or(|p| glob::matches(p, f)));
    Ok(page(next, found.flat_map(|(f, v)| [Reply::bulk(f), Reply::bulk(v)]).collect()))
}

pub(super) fn sscan(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let from = cursor(args[2])?;
    let Some(set) = cx.set(args[1])? else {
        return Ok(page(0, Vec::new()));
    };
    let options = options(&args[3..], false)?;
    let (visit, next) = window(from, options.count, set.len(), matches!(set, Set::Ints(_)));
    let found = visit.filter_map(|i| set.at(i));
    let found = found.filter(|m| options.pattern.is_none_or(|p| glob::matches(p, m)));
    Ok(page(next, found.map(Reply::Bulk).collect()))
}

pub(super) fn zscan(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let from = cursor(args[2])?;
    let Some(zset) = cx.zset(args[1])? else {
        return Ok(page(0, Vec::new()));
    };
    let options = options(&args[3..], false)?;
    let (visit, next) = window(from, options.count, zset.len(), zset.small);
    let found: Vec<(&[u8], f64)> =
        if zset.small { zset.iter().collect() } else { visit.filter_map(|i| zset.hashed(i)).collect() };
    let found = found.into_iter().filter(|(m, _)| options.pattern.is_none_or(|p| glob::matches(p, m)));
    let items = found.flat_map(|(m, s)| [Reply::bulk(m), Reply::bulk(number::double(s))]).collect();
    Ok(page(next, items))
}
