//! Counters: in strings and in hash fields.

use super::{Args, Cx, int_arg};
use crate::embedded::long_double::LongDouble;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::{Made, Str, Value};

const OVERFLOW: Fault = Fault::of("ERR increment or decrement would overflow");
const NOT_FINITE: Fault = Fault::of("ERR increment would produce NaN or Infinity");

fn add(cx: &mut Cx<'_>, key: &[u8], by: i64) -> Outcome {
    let old = match cx.string(key)? {
        Some(found) => int_arg(&found.bytes)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    replace(cx, key, number::i64_bytes(new), Made::Whole)?;
    Ok(Reply::Int(new))
}

/// Replaces a string and keeps its expiry.
fn replace(cx: &mut Cx<'_>, key: &[u8], bytes: Vec<u8>, made: Made) -> Result<(), Fault> {
    if let Some(found) = cx.string(key)? {
        *found = Str { bytes, made };
        cx.changed(key);
    } else {
        cx.put(key, Value::Str(Str { bytes, made }));
    }
    Ok(())
}

pub(super) fn incr(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add(cx, args[1], 1)
}

pub(super) fn decr(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add(cx, args[1], -1)
}

pub(super) fn incrby(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add(cx, args[1], int_arg(args[2])?)
}

pub(super) fn decrby(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let by = int_arg(args[2])?;
    let by = by.checked_neg().ok_or(Fault::of("ERR decrement would overflow"))?;
    add(cx, args[1], by)
}

/// `a + b`, computed and written as by Redis. A text that is no number gives `bad_a` or `bad_b`.
fn float_sum(a: &[u8], b: &[u8], bad_a: Fault, bad_b: Fault) -> Result<String, Fault> {
    let x = number::float(a).ok_or(bad_a)?;
    let y = number::float(b).ok_or(bad_b)?;
    if !x.is_finite() || !y.is_finite() {
        return Err(NOT_FINITE);
    }
    match (LongDouble::parse(a), LongDouble::parse(b)) {
        (Some(a), Some(b)) => Ok(a.add(b).human()),
        _ => Ok(number::double(x + y)),
    }
}

pub(super) fn incrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let old = cx.string(args[1])?.map_or_else(|| b"0".to_vec(), |s| s.bytes.clone());
    let sum = float_sum(&old, args[2], Fault::NOT_FLOAT, Fault::NOT_FLOAT)?;
    replace(cx, args[1], sum.clone().into_bytes(), Made::Sum)?;
    Ok(Reply::bulk(sum))
}

pub(super) fn hincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let by = int_arg(args[3])?;
    let old = match cx.hash(args[1])?.and_then(|h| h.fields.get(args[2])) {
        Some(value) => number::integer(value).ok_or(Fault::of("ERR hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    cx.hash_or_new(args[1])?.set(args[2], &number::i64_bytes(new));
    cx.changed(args[1]);
    Ok(Reply::Int(new))
}

pub(super) fn hincrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if !number::float(args[3]).ok_or(Fault::NOT_FLOAT)?.is_finite() {
        return Err(Fault::of("ERR value is NaN or Infinity"));
    }
    let old = cx.hash(args[1])?.and_then(|h| h.fields.get(args[2]).map(|v| v.to_vec()));
    let old = old.unwrap_or_else(|| b"0".to_vec());
    let sum = float_sum(&old, args[3], Fault::of("ERR hash value is not a float"), Fault::NOT_FLOAT)?;
    cx.hash_or_new(args[1])?.set(args[2], sum.as_bytes());
    cx.changed(args[1]);
    Ok(Reply::bulk(sum))
}
