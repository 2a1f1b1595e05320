//! Sorted sets: unions, intersections and differences. Sets may be sources too.

use std::collections::HashMap;

use super::zset_range::members;
use super::{Args, Cx, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::Value;
use crate::embedded::zset::Zset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algebra {
    Union,
    Intersection,
    Difference,
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs give 0, not NaN.
            Aggregate::Sum => {
                let sum = a + b;
                if sum.is_nan() { 0.0 } else { sum }
            }
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// The use of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Show,
    Store,
    Count,
}

struct Combined {
    zset: Zset,
    with_scores: bool,
    /// 0: none.
    limit: usize,
}

type Scores = HashMap<Vec<u8>, f64>;

fn source(cx: &mut Cx<'_>, key: &[u8]) -> Result<Scores, Fault> {
    match cx.entry(key).map(|e| &e.value) {
        None => Ok(Scores::new()),
        Some(Value::Zset(zset)) => Ok(zset.iter().map(|(m, s)| (m.to_vec(), s)).collect()),
        Some(Value::Set(set)) => Ok(set.members().into_iter().map(|m| (m, 1.0)).collect()),
        Some(_) => Err(Fault::WRONG_TYPE),
    }
}

/// `numkeys key… [WEIGHTS …] [AGGREGATE …] [WITHSCORES]`, starting at `at`.
fn combine(cx: &mut Cx<'_>, args: Args<'_>, at: usize, algebra: Algebra, usage: Usage) -> Result<Combined, Fault> {
    let n = int_arg(args[at])?;
    let Some(n) = usize::try_from(n).ok().filter(|&n| n > 0) else {
        let command = String::from_utf8_lossy(args[0]).to_lowercase();
        return Err(Fault::new(format!("ERR at least 1 input key is needed for '{command}' command")));
    };
    if n > args.len() - at - 1 {
        return Err(Fault::SYNTAX);
    }
    let keys = &args[at + 1..=at + n];
    let mut sources = Vec::with_capacity(n);
    for key in keys {
        sources.push(source(cx, key)?);
    }
    let (mut weights, mut aggregate, mut with_scores, mut limit) = (vec![1.0; n], Aggregate::Sum, false, 0);
    let weighted = algebra != Algebra::Difference && usage != Usage::Count;
    let mut i = at + n + 1;
    while i < args.len() {
        let word = args[i];
        if weighted && is(word, "weights") && args.len() - i > n {
            for (weight, arg) in weights.iter_mut().zip(&args[i + 1..]) {
                *weight = number::float(arg).ok_or(Fault::of("ERR weight value is not a float"))?;
            }
            i += n;
        } else if weighted && is(word, "aggregate") && i + 1 < args.len() {
            aggregate = match args[i + 1] {
                w if is(w, "sum") => Aggregate::Sum,
                w if is(w, "min") => Aggregate::Min,
                w if is(w, "max") => Aggregate::Max,
                _ => return Err(Fault::SYNTAX),
            };
            i += 1;
        } else if usage == Usage::Show && is(word, "withscores") {
            with_scores = true;
        } else if usage == Usage::Count && is(word, "limit") && i + 1 < args.len() {
            let n = number::integer(args[i + 1]).and_then(|n| usize::try_from(n).ok());
            limit = n.ok_or(Fault::of("ERR LIMIT can't be negative"))?;
            i += 1;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    Ok(Combined { zset: merge(&sources, &weights, aggregate, algebra), with_scores, limit })
}

fn merge(sources: &[Scores], weights: &[f64], aggregate: Aggregate, algebra: Algebra) -> Zset {
    let weighted = |i: usize, score: f64| {
        let value = weights[i] * score;
        if value.is_nan() { 0.0 } else { value }
    };
    let mut result = Zset::default();
    if algebra == Algebra::Union {
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by_key(|&i| sources[i].len());
        let mut scores: Scores = HashMap::new();
        for i in order {
            for (member, score) in &sources[i] {
                let value = weighted(i, *score);
                scores.entry(member.clone()).and_modify(|s| *s = aggregate.apply(*s, value)).or_insert(value);
            }
        }
        for (member, score) in scores {
            result.insert(&member, score);
        }
        return result;
    }
    if algebra == Algebra::Difference {
        for (member, score) in &sources[0] {
            if !sources[1..].iter().any(|s| s.contains_key(member)) {
                result.insert(member, *score);
            }
        }
        return result;
    }
    // Redis adds scores from the smallest source to the largest. The order can change the last digit.
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|&i| sources[i].len());
    for (member, score) in &sources[order[0]] {
        let mut value = weighted(order[0], *score);
        let everywhere = order[1..].iter().all(|&i| {
            sources[i].get(member).is_some_and(|s| {
                value = aggregate.apply(value, weighted(i, *s));
                true
            })
        });
        if everywhere {
            result.insert(member, value);
        }
    }
    result
}

fn show(cx: &mut Cx<'_>, args: Args<'_>, algebra: Algebra) -> Outcome {
    let Combined { zset, with_scores, .. } = combine(cx, args, 1, algebra, Usage::Show)?;
    Ok(members(zset.slice(0..zset.len(), false), with_scores, cx.resp3))
}

fn store(cx: &mut Cx<'_>, args: Args<'_>, algebra: Algebra) -> Outcome {
    let zset = combine(cx, args, 2, algebra, Usage::Store)?.zset;
    let len = zset.len();
    cx.put_or_remove(args[1], Value::Zset(zset));
    Ok(Reply::len(len))
}

pub(super) fn zunion(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Union)
}

pub(super) fn zinter(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Intersection)
}

pub(super) fn zdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    show(cx, args, Algebra::Difference)
}

pub(super) fn zunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Union)
}

pub(super) fn zinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Intersection)
}

pub(super) fn zdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    store(cx, args, Algebra::Difference)
}

pub(super) fn zintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Combined { zset, limit, .. } = combine(cx, args, 1, Algebra::Intersection, Usage::Count)?;
    let len = zset.len();
    Ok(Reply::len(if limit > 0 { len.min(limit) } else { len }))
}
