//! Hashes.

use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::Hash;

fn set_fields(cx: &mut Cx<'_>, args: Args<'_>, command: &str) -> Result<usize, Fault> {
    if args.len() % 2 == 1 {
        return Err(Fault::arity(command));
    }
    let hash = cx.hash_or_new(args[1])?;
    let new = args[2..].chunks(2).filter(|pair| hash.set(pair[0], pair[1])).count();
    cx.changed(args[1]);
    Ok(new)
}

pub(super) fn hset(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_fields(cx, args, "hset").map(Reply::len)
}

pub(super) fn hmset(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_fields(cx, args, "hmset").map(|_| Reply::OK)
}

pub(super) fn hsetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if cx.hash(args[1])?.is_some_and(|h| h.fields.contains_key(args[2])) {
        return Ok(Reply::Int(0));
    }
    cx.hash_or_new(args[1])?.set(args[2], args[3]);
    cx.changed(args[1]);
    Ok(Reply::Int(1))
}

pub(super) fn hget(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::bulk_or_null(cx.hash(args[1])?.and_then(|h| h.fields.get(args[2]))))
}

pub(super) fn hmget(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let hash = cx.hash(args[1])?;
    let field = |name: &&[u8]| Reply::bulk_or_null(hash.as_ref().and_then(|h| h.fields.get(*name)));
    Ok(Reply::Array(args[2..].iter().map(field).collect()))
}

pub(super) fn hdel(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(hash) = cx.hash(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let removed = args[2..].iter().filter(|field| hash.remove(field)).count();
    if removed > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(removed))
}

pub(super) fn hlen(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.hash(args[1])?.map_or(0, |h| h.fields.len())))
}

pub(super) fn hstrlen(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.hash(args[1])?.and_then(|h| h.fields.get(args[2])).map_or(0, |v| v.len())))
}

pub(super) fn hexists(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::flag(cx.hash(args[1])?.is_some_and(|h| h.fields.contains_key(args[2]))))
}

pub(super) fn hgetall(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(hash) = cx.hash(args[1])? else {
        return Ok(Reply::Map(Vec::new()));
    };
    Ok(Reply::Map(hash.fields.iter().flat_map(|(f, v)| [Reply::bulk(f), Reply::bulk(v)]).collect()))
}

pub(super) fn hkeys(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.hash(args[1])?.map_or(Reply::Array(Vec::new()), |h| Reply::bulks(h.fields.keys())))
}

pub(super) fn hvals(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.hash(args[1])?.map_or(Reply::Array(Vec::new()), |h| Reply::bulks(h.fields.values())))
}

/// The largest number of elements with repeats (a negative count). A larger reply would only exhaust memory.
const MOST_REPEATS: u64 = 10_000_000;
const TOO_MANY: Fault =
    Fault::of("ERR value is out of range, the engine answers at most 10000000 elements with repeats");

/// Random indexes: distinct ones for a positive count, with repeats for a negative count.
pub(super) fn random_indexes(count: i64, len: usize) -> Result<Vec<usize>, Fault> {
    if len == 0 {
        return Ok(Vec::new());
    }
    let Ok(count) = usize::try_from(count) else {
        let repeats = count.unsigned_abs();
        if repeats > MOST_REPEATS {
            return Err(TOO_MANY);
        }
        return Ok((0..repeats).map(|_| fastrand::usize(..len)).collect());
    };
    if count >= len {
        return Ok((0..len).collect());
    }
    if count * 3 > len {
        let mut all: Vec<usize> = (0..len).collect();
        fastrand::shuffle(&mut all);
        all.truncate(count);
        return Ok(all);
    }
    let mut picked = indexmap::IndexSet::new();
    while picked.len() < count {
        picked.insert(fastrand::usize(..len));
    }
    Ok(picked.into_iter().collect())
}

/// The pairs of HRANDFIELD and ZRANDMEMBER: nested in RESP3, flat in RESP2.
pub(super) fn paired(pairs: impl Iterator<Item = (Reply, Reply)>, resp3: bool) -> Reply {
    if resp3 {
        return Reply::Array(Reply::while_bounded(pairs.map(|(a, b)| Reply::Array(vec![a, b]))));
    }
    Reply::Array(Reply::while_bounded(pairs.flat_map(|(a, b)| [a, b])))
}

/// Reads the count of a random pick. A count whose reply would be too large is refused.
pub(super) fn random_count(arg: &[u8], doubled: bool) -> Result<i64, Fault> {
    let count = int_arg(arg)?;
    if count == i64::MIN {
        return Err(Fault::of(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    if doubled && count.abs() > i64::MAX / 2 {
        return Err(Fault::of("ERR value is out of range"));
    }
    Ok(count)
}

pub(super) fn hrandfield(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let resp3 = cx.resp3;
    let Some(count) = args.get(2) else {
        let Some(hash) = cx.hash(args[1])? else {
            return Ok(Reply::Null);
        };
        return Ok(Reply::bulk_or_null(hash.fields.get_index(fastrand::usize(..hash.fields.len())).map(|f| f.0)));
    };
    int_arg(count)?;
    let with_values = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && is(word, "withvalues") => true,
        Some(_) => return Err(Fault::SYNTAX),
    };
    let count = random_count(count, with_values)?;
    let Some(hash) = cx.hash(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let hash: &Hash = hash;
    let picked = random_indexes(count, hash.fields.len())?.into_iter().filter_map(|i| hash.fields.get_index(i));
    if with_values {
        return Ok(paired(picked.map(|(f, v)| (Reply::bulk(f), Reply::bulk(v))), resp3));
    }
    Ok(Reply::bulks(picked.map(|(f, _)| f)))
}
