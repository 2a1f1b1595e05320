//! Sets.

use super::hash::random_indexes;
use super::{Args, Cx, int_arg, is, positive};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::{Set, Value};

pub(super) fn sadd(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let set = cx.set_or_new(args[1])?;
    let new = args[2..].iter().filter(|m| set.insert(m)).count();
    if new > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(new))
}

pub(super) fn srem(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(set) = cx.set(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let removed = args[2..].iter().filter(|m| set.remove(m)).count();
    if removed > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(removed))
}

pub(super) fn scard(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.set(args[1])?.map_or(0, |s| s.len())))
}

pub(super) fn sismember(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::flag(cx.set(args[1])?.is_some_and(|s| s.contains(args[2]))))
}

pub(super) fn smismember(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let set = cx.set(args[1])?;
    let held = |m: &&[u8]| Reply::flag(set.as_ref().is_some_and(|s| s.contains(m)));
    Ok(Reply::Array(args[2..].iter().map(held).collect()))
}

fn replies(members: Vec<Vec<u8>>) -> Vec<Reply> {
    members.into_iter().map(Reply::Bulk).collect()
}

pub(super) fn smembers(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::Set(replies(cx.set(args[1])?.map(|s| s.members()).unwrap_or_default())))
}

pub(super) fn smove(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(held) = cx.set(args[1])?.map(|s| s.contains(args[3])) else {
        return Ok(Reply::Int(0));
    };
    cx.set(args[2])?;
    if args[1] == args[2] || !held {
        return Ok(Reply::flag(held));
    }
    if let Some(set) = cx.set(args[1])? {
        set.remove(args[3]);
    }
    cx.changed(args[1]);
    cx.set_or_new(args[2])?.insert(args[3]);
    cx.changed(args[2]);
    Ok(Reply::Int(1))
}

pub(super) fn spop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(Fault::SYNTAX);
    }
    let count = match args.get(2) {
        None => None,
        Some(arg) => Some(
            number::integer(arg)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(Fault::of("ERR value is out of range, must be positive"))?,
        ),
    };
    let Some(set) = cx.set(args[1])? else {
        return Ok(if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Null });
    };
    if count == Some(0) {
        return Ok(Reply::Set(Vec::new()));
    }
    let wanted = i64::try_from(count.unwrap_or(1)).unwrap_or(i64::MAX);
    let picked: Vec<Vec<u8>> = random_indexes(wanted, set.len())?.into_iter().filter_map(|i| set.at(i)).collect();
    for member in &picked {
        set.remove(member);
    }
    cx.changed(args[1]);
    if count.is_some() {
        return Ok(Reply::Set(replies(picked)));
    }
    Ok(Reply::bulk_or_null(picked.first()))
}

pub(super) fn srandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(Fault::SYNTAX);
    }
    let Some(count) = args.get(2) else {
        let Some(set) = cx.set(args[1])? else {
            return Ok(Reply::Null);
        };
        return Ok(Reply::bulk_or_null(set.at(fastrand::usize(..set.len()))));
    };
    let count = int_arg(count)?;
    if count == i64::MIN {
        return Err(Fault::of(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let Some(set) = cx.set(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let picked = random_indexes(count, set.len())?.into_iter().filter_map(|i| set.at(i));
    Ok(Reply::bulks(picked))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algebra {
    Union,
    Intersection,
    Difference,
}

fn combine(cx: &mut Cx<'_>, keys: Args<'_>, algebra: Algebra) -> Result<Set, Fault> {
    let mut sets = Vec::new();
    for key in keys {
        sets.push(cx.set(key)?.map(|s| s.clone()).unwrap_or_default());
    }
    let mut result = Set::default();
    match algebra {
        Algebra::Union => sets.iter().flat_map(Set::members).for_each(|m| {
            result.insert(&m);
        }),
        Algebra::Intersection => {
            let smallest = sets.iter().min_by_key(|s| s.len()).cloned().unwrap_or_default();
            for member in smallest.members() {
                if sets.iter().all(|s| s.contains(&member)) {
                    result.insert(&member);
                }
            }
        }
        Algebra::Difference => {
            for member in sets[0].members() {
                if !sets[1..].iter().any(|s| s.contains(&member)) {
                    result.insert(&member);
                }
            }
        }
    }
    Ok(result)
}

fn show(cx: &mut Cx<'_>, args: Args<'_>, algebra: Algebra) -> Outcome {
    combine(cx, &args[1..], algebra).map(|set| Reply::Set(replies(set.members())))
}

fn store(cx: &mut Cx<'_>, args: Args<'_>, algebra: Algebra) -> Outcome {
    let set = combine(cx, &args[2..], algebra)?;
    let len = set.len();
    cx.put_or_remove(args[1], Value::Set(set));
    Ok(Reply::len(len))
}

pub(super) fn sunion(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Union)
}

pub(super) fn sinter(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Intersection)
}

pub(super) fn sdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Difference)
}

pub(super) fn sunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Union)
}

pub(super) fn sinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Intersection)
}

pub(super) fn sdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Difference)
}

/// Reads `numkeys key… [LIMIT n]` of SINTERCARD; 0 means no limit.
fn card_arguments(args: Args<'_>) -> Result<(Args<'_>, usize), Fault> {
    let n = positive(args[1], "ERR numkeys should be greater than 0")?;
    let end = 2 + n;
    if n > args.len() - 2 {
        return Err(Fault::of("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut i = end;
    while i < args.len() {
        if !is(args[i], "limit") || i + 1 >= args.len() {
            return Err(Fault::SYNTAX);
        }
        limit = number::integer(args[i + 1])
            .and_then(|n| usize::try_from(n).ok())
            .ok_or(Fault::of("ERR LIMIT can't be negative"))?;
        i += 2;
    }
    Ok((&args[2..end], limit))
}

pub(super) fn sintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (keys, limit) = card_arguments(args)?;
    let len = combine(cx, keys, Algebra::Intersection)?.len();
    Ok(Reply::len(if limit > 0 { len.min(limit) } else { len }))
}
