//! Sorted sets: ranges and pops.

use std::ops::Range;

use super::hash::paired;
use super::list::multi_pop;
use super::{Args, Cx, Mode, clamp, int_arg, is, timeout};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::value::Value;
use crate::embedded::zset::{LexEnd, ScoreEnd, Zset};

fn score_end(arg: &[u8]) -> Result<ScoreEnd, Fault> {
    const BAD: Fault = Fault::of("ERR min or max is not a float");
    // As `strtod` reads a C string: an empty text is zero, and leading blanks are ignored.
    let read = |text: &[u8]| match c_text(text).trim_ascii_start() {
        b"" => Some(0.0),
        text => number::float(text),
    };
    match arg.strip_prefix(b"(") {
        Some(rest) => read(rest).map(ScoreEnd::Exclusive).ok_or(BAD),
        None => read(arg).map(ScoreEnd::Inclusive).ok_or(BAD),
    }
}

pub(super) fn score_range(min: &[u8], max: &[u8]) -> Result<(ScoreEnd, ScoreEnd), Fault> {
    Ok((score_end(min)?, score_end(max)?))
}

fn lex_end(arg: &[u8]) -> Result<LexEnd, Fault> {
    match arg {
        b"-" => Ok(LexEnd::Lowest),
        b"+" => Ok(LexEnd::Highest),
        [b'[', rest @ ..] => Ok(LexEnd::Inclusive(rest.to_vec())),
        [b'(', rest @ ..] => Ok(LexEnd::Exclusive(rest.to_vec())),
        _ => Err(Fault::of("ERR min or max not valid string range item")),
    }
}

pub(super) fn lex_range(min: &[u8], max: &[u8]) -> Result<(LexEnd, LexEnd), Fault> {
    Ok((lex_end(min)?, lex_end(max)?))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// The arguments of a range command.
struct Query<'a> {
    by: By,
    reverse: bool,
    start: &'a [u8],
    stop: &'a [u8],
    options: Args<'a>,
    /// Whether BYSCORE, BYLEX and REV may be among the options (ZRANGE, ZRANGESTORE).
    full: bool,
    store: bool,
}

struct Parsed {
    items: Vec<(Vec<u8>, f64)>,
    with_scores: bool,
}

fn run(cx: &mut Cx<'_>, key: &[u8], mut query: Query<'_>) -> Result<Parsed, Fault> {
    let (mut with_scores, mut offset, mut limit, mut limited) = (false, 0i64, -1i64, false);
    let mut i = 0;
    let options = query.options;
    while i < options.len() {
        let word = options[i];
        if !query.store && is(word, "withscores") {
            with_scores = true;
        } else if is(word, "limit") && i + 2 < options.len() {
            offset = int_arg(options[i + 1])?;
            limit = int_arg(options[i + 2])?;
            limited = true;
            i += 2;
        } else if query.full && is(word, "rev") {
            query.reverse = true;
        } else if query.full && is(word, "bylex") {
            query.by = By::Lex;
        } else if query.full && is(word, "byscore") {
            query.by = By::Score;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    if limited && limit != -1 && query.by == By::Rank {
        return Err(Fault::of("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"));
    }
    if with_scores && query.by == By::Lex {
        return Err(Fault::of("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    let (low, high) =
        if query.reverse && query.by != By::Rank { (query.stop, query.start) } else { (query.start, query.stop) };
    let items = match query.by {
        By::Rank => {
            let (start, stop) = (int_arg(low)?, int_arg(high)?);
            let range = |z: &Zset| {
                let range = clamp(start, stop, z.len()).unwrap_or(0..0);
                if query.reverse { z.len() - range.end..z.len() - range.start } else { range }
            };
            cx.zset(key)?.map(|z| z.slice(range(z), query.reverse))
        }
        By::Score => {
            let (min, max) = score_range(low, high)?;
            cx.zset(key)?.map(|z| z.slice(window(z.by_score(min, max), offset, limit, query.reverse), query.reverse))
        }
        By::Lex => {
            let (min, max) = lex_range(low, high)?;
            cx.zset(key)?.map(|z| z.slice(window(z.by_lex(&min, &max), offset, limit, query.reverse), query.reverse))
        }
    };
    Ok(Parsed { items: items.unwrap_or_default(), with_scores })
}

/// Applies LIMIT to a range of ranks, from its end if `reverse`.
fn window(range: Range<usize>, offset: i64, limit: i64, reverse: bool) -> Range<usize> {
    let Ok(offset) = usize::try_from(offset) else {
        return range.start..range.start;
    };
    let skip = offset.min(range.len());
    let take = usize::try_from(limit).unwrap_or(usize::MAX).min(range.len() - skip);
    if reverse {
        let end = range.end - skip;
        end - take..end
    } else {
        let start = range.start + skip;
        start..start + take
    }
}

/// Members with or without scores, in the form of the reader's protocol.
pub(super) fn members(items: Vec<(Vec<u8>, f64)>, with_scores: bool, resp3: bool) -> Reply {
    if with_scores {
        return paired(items.into_iter().map(|(m, s)| (Reply::Bulk(m), Reply::Double(s))), resp3);
    }
    Reply::Array(items.into_iter().map(|(m, _)| Reply::Bulk(m)).collect())
}

fn show(cx: &mut Cx<'_>, args: Args<'_>, by: By, reverse: bool, full: bool) -> Outcome {
    let query = Query { by, reverse, start: args[2], stop: args[3], options: &args[4..], full, store: false };
    let found = run(cx, args[1], query)?;
    Ok(members(found.items, found.with_scores, cx.resp3))
}

pub(super) fn zrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Rank, false, true)
}

pub(super) fn zrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Rank, true, false)
}

pub(super) fn zrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Score, false, false)
}

pub(super) fn zrevrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Score, true, false)
}

pub(super) fn zrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Lex, false, false)
}

pub(super) fn zrevrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, By::Lex, true, false)
}

pub(super) fn zrangestore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let query = Query {
        by: By::Rank,
        reverse: false,
        start: args[3],
        stop: args[4],
        options: &args[5..],
        full: true,
        store: true,
    };
    let found = run(cx, args[2], query)?;
    let mut zset = Zset::default();
    for (member, score) in &found.items {
        zset.insert(member, *score);
    }
    cx.put_or_remove(args[1], Value::Zset(zset));
    Ok(Reply::len(found.items.len()))
}

/// Removes elements from one end.
fn take(zset: &mut Zset, max: bool, count: usize) -> Vec<(Vec<u8>, f64)> {
    let n = count.min(zset.len());
    let range = if max { zset.len() - n..zset.len() } else { 0..n };
    let items = zset.slice(range, max);
    for (member, _) in &items {
        zset.remove(member);
    }
    items
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, max: bool) -> Outcome {
    if args.len() > 3 {
        return Err(Fault::SYNTAX);
    }
    let resp3 = cx.resp3;
    let count = match args.get(2) {
        None => None,
        Some(arg) => Some(
            number::integer(arg)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(Fault::of("ERR value is out of range, must be positive"))?,
        ),
    };
    let Some(zset) = cx.zset(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let items = take(zset, max, count.unwrap_or(1));
    if !items.is_empty() {
        cx.changed(args[1]);
    }
    // Without a count the one pair is flat in RESP3 too.
    Ok(members(items, true, resp3 && count.is_some()))
}

pub(super) fn zpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, false)
}

pub(super) fn zpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, true)
}

fn pop_or_wait(cx: &mut Cx<'_>, args: Args<'_>, max: bool) -> Outcome {
    let deadline = timeout(cx, args[args.len() - 1])?;
    let keys = &args[1..args.len() - 1];
    let retry = cx.mode == Mode::Retry;
    for key in keys {
        if !cx.core.waiting.serves(key) {
            continue;
        }
        match cx.zset(key) {
            Err(_) if retry => {}
            Err(fault) => return Err(fault),
            Ok(None) => {}
            Ok(Some(zset)) => {
                let items = take(zset, max, 1);
                cx.changed(key);
                let pair = items.into_iter().flat_map(|(m, s)| [Reply::Bulk(m), Reply::Double(s)]);
                return Ok(Reply::Array([Reply::bulk(key)].into_iter().chain(pair).collect()));
            }
        }
    }
    cx.wait(keys, deadline, Reply::NullArray, args)
}

pub(super) fn bzpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, false)
}

pub(super) fn bzpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, true)
}

fn is_max(place: &[u8]) -> Result<bool, Fault> {
    match place {
        w if is(w, "min") => Ok(false),
        w if is(w, "max") => Ok(true),
        _ => Err(Fault::SYNTAX),
    }
}

fn pop_first(cx: &mut Cx<'_>, keys: Args<'_>, max: bool, count: usize) -> Result<Option<Reply>, Fault> {
    let retry = cx.mode == Mode::Retry;
    for key in keys {
        if !cx.core.waiting.serves(key) {
            continue;
        }
        match cx.zset(key) {
            Err(_) if retry => {}
            Err(fault) => return Err(fault),
            Ok(None) => {}
            Ok(Some(zset)) => {
                let items = take(zset, max, count);
                cx.changed(key);
                return Ok(Some(Reply::Array(vec![Reply::bulk(key), members(items, true, true)])));
            }
        }
    }
    Ok(None)
}

pub(super) fn zmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (keys, max, count) = multi_pop(args, 1, is_max)?;
    Ok(pop_first(cx, keys, max, count)?.unwrap_or(Reply::NullArray))
}

pub(super) fn bzmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let deadline = timeout(cx, args[1])?;
    let (keys, max, count) = multi_pop(args, 2, is_max)?;
    match pop_first(cx, keys, max, count)? {
        Some(reply) => Ok(reply),
        None => cx.wait(keys, deadline, Reply::NullArray, args),
    }
}
