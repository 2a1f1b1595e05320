//! Sorted sets: adding, removing and reading members.

use super::hash::{paired, random_count, random_indexes};
use super::zset_range::{lex_range, score_range};
use super::{Args, Cx, clamp, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::zset::Zset;

const NAN: Fault = Fault::of("ERR resulting score is not a number (NaN)");

#[derive(Debug, Default, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent options of ZADD")]
struct Add {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    increment: bool,
}

/// The effect of one pair of ZADD.
enum Added {
    New(f64),
    Updated(f64),
    Same(f64),
    Refused,
}

impl Add {
    fn apply(self, zset: &mut Zset, member: &[u8], score: f64) -> Result<Added, Fault> {
        let Some(current) = zset.score(member) else {
            if self.xx {
                return Ok(Added::Refused);
            }
            zset.insert(member, score);
            return Ok(Added::New(score));
        };
        if self.nx {
            return Ok(Added::Refused);
        }
        let wanted = if self.increment { current + score } else { score };
        if wanted.is_nan() {
            return Err(NAN);
        }
        if self.lt && wanted >= current || self.gt && wanted <= current {
            return Ok(Added::Refused);
        }
        if wanted.partial_cmp(&current) == Some(std::cmp::Ordering::Equal) {
            return Ok(Added::Same(current));
        }
        zset.insert(member, wanted);
        Ok(Added::Updated(wanted))
    }
}

pub(super) fn zadd(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let mut add = Add::default();
    let mut i = 2;
    while i < args.len() {
        match args[i] {
            w if is(w, "nx") => add.nx = true,
            w if is(w, "xx") => add.xx = true,
            w if is(w, "gt") => add.gt = true,
            w if is(w, "lt") => add.lt = true,
            w if is(w, "ch") => add.changed = true,
            w if is(w, "incr") => add.increment = true,
            _ => break,
        }
        i += 1;
    }
    add_pairs(cx, args[1], &args[i..], add)
}

pub(super) fn zincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add_pairs(cx, args[1], &args[2..], Add { increment: true, ..Add::default() })
}

fn add_pairs(cx: &mut Cx<'_>, key: &[u8], pairs: Args<'_>, add: Add) -> Outcome {
    if pairs.len() % 2 == 1 || pairs.is_empty() {
        return Err(Fault::SYNTAX);
    }
    if add.nx && add.xx {
        return Err(Fault::of("ERR XX and NX options at the same time are not compatible"));
    }
    if add.gt && (add.lt || add.nx) || add.lt && add.nx {
        return Err(Fault::of("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if add.increment && pairs.len() > 2 {
        return Err(Fault::of("ERR INCR option supports a single increment-element pair"));
    }
    let mut scores = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks(2) {
        scores.push(number::float(pair[0]).ok_or(Fault::NOT_FLOAT)?);
    }
    if cx.zset(key)?.is_none() && add.xx {
        return Ok(if add.increment { Reply::Null } else { Reply::Int(0) });
    }
    let zset = cx.zset_or_new(key)?;
    let (mut new, mut updated, mut last, mut outcome) = (0, 0, None, Ok(()));
    for (pair, score) in pairs.chunks(2).zip(scores) {
        match add.apply(zset, pair[1], score) {
            Ok(Added::New(score)) => {
                new += 1;
                last = Some(score);
            }
            Ok(Added::Updated(score)) => {
                updated += 1;
                last = Some(score);
            }
            Ok(Added::Same(score)) => last = Some(score),
            Ok(Added::Refused) => last = None,
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        }
    }
    cx.changed(key);
    outcome?;
    if add.increment {
        return Ok(last.map_or(Reply::Null, Reply::Double));
    }
    Ok(Reply::len(if add.changed { new + updated } else { new }))
}

pub(super) fn zrem(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(zset) = cx.zset(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let removed = args[2..].iter().filter(|m| zset.remove(m)).count();
    if removed > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(removed))
}

fn remove_range(cx: &mut Cx<'_>, key: &[u8], range: impl FnOnce(&Zset) -> std::ops::Range<usize>) -> Outcome {
    let Some(zset) = cx.zset(key)? else {
        return Ok(Reply::Int(0));
    };
    let range = range(zset);
    let removed = range.len();
    for (member, _) in zset.slice(range, false) {
        zset.remove(&member);
    }
    if removed > 0 {
        cx.changed(key);
    }
    Ok(Reply::len(removed))
}

pub(super) fn zremrangebyrank(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (int_arg(args[2])?, int_arg(args[3])?);
    remove_range(cx, args[1], |z| clamp(start, stop, z.len()).unwrap_or(0..0))
}

pub(super) fn zremrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (min, max) = score_range(args[2], args[3])?;
    remove_range(cx, args[1], |z| z.by_score(min, max))
}

pub(super) fn zremrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (min, max) = lex_range(args[2], args[3])?;
    remove_range(cx, args[1], |z| z.by_lex(&min, &max))
}

pub(super) fn zcard(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.zset(args[1])?.map_or(0, |z| z.len())))
}

pub(super) fn zcount(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (min, max) = score_range(args[2], args[3])?;
    Ok(Reply::len(cx.zset(args[1])?.map_or(0, |z| z.by_score(min, max).len())))
}

pub(super) fn zlexcount(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (min, max) = lex_range(args[2], args[3])?;
    Ok(Reply::len(cx.zset(args[1])?.map_or(0, |z| z.by_lex(&min, &max).len())))
}

pub(super) fn zscore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.zset(args[1])?.and_then(|z| z.score(args[2])).map_or(Reply::Null, Reply::Double))
}

pub(super) fn zmscore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let zset = cx.zset(args[1])?;
    let score = |m: &&[u8]| zset.as_ref().and_then(|z| z.score(m)).map_or(Reply::Null, Reply::Double);
    Ok(Reply::Array(args[2..].iter().map(score).collect()))
}

pub(super) fn zrank(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.zset(args[1])?.and_then(|z| z.rank(args[2])).map_or(Reply::Null, Reply::len))
}

pub(super) fn zrevrank(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let rank = cx.zset(args[1])?.and_then(|z| z.rank(args[2]).map(|r| z.len() - 1 - r));
    Ok(rank.map_or(Reply::Null, Reply::len))
}

pub(super) fn zrandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let resp3 = cx.resp3;
    let Some(count) = args.get(2) else {
        let Some(zset) = cx.zset(args[1])? else {
            return Ok(Reply::Null);
        };
        let len = zset.len();
        return Ok(Reply::bulk_or_null(zset.hashed(fastrand::usize(..len)).map(|m| m.0)));
    };
    int_arg(count)?;
    let with_scores = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && is(word, "withscores") => true,
        Some(_) => return Err(Fault::SYNTAX),
    };
    let count = random_count(count, with_scores)?;
    let Some(zset) = cx.zset(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let zset: &Zset = zset;
    let picked = random_indexes(count, zset.len())?.into_iter().filter_map(|i| zset.hashed(i));
    if with_scores {
        return Ok(paired(picked.map(|(m, s)| (Reply::bulk(m), Reply::Double(s))), resp3));
    }
    Ok(Reply::bulks(picked.map(|(m, _)| m)))
}
