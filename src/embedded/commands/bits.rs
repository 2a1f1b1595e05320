//! The bits of strings.

use super::string::MAX_STRING;
use super::{Args, Cx, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::{Made, Str, Value};

const BIT_OFFSET: Fault = Fault::of("ERR bit offset is not an integer or out of range");

fn bit_offset(arg: &[u8]) -> Result<usize, Fault> {
    let offset = number::integer(arg).and_then(|n| usize::try_from(n).ok()).ok_or(BIT_OFFSET)?;
    if offset >> 3 >= MAX_STRING { Err(BIT_OFFSET) } else { Ok(offset) }
}

/// A bit offset, or `#n`: the `n`th field of `bits` bits.
pub(super) fn bit_offset_of(arg: &[u8], bits: i64) -> Result<usize, Fault> {
    let Some(index) = arg.strip_prefix(b"#") else {
        return bit_offset(arg);
    };
    let offset = number::integer(index).and_then(|n| n.checked_mul(bits)).ok_or(BIT_OFFSET)?;
    bit_offset(&number::i64_bytes(offset))
}

pub(super) fn setbit(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(args[2])?;
    let bit = match number::integer(args[3]) {
        Some(n @ (0 | 1)) => n == 1,
        _ => return Err(Fault::of("ERR bit is not an integer or out of range")),
    };
    let found = cx.string_or_new(args[1])?;
    let byte = offset / 8;
    if found.bytes.len() <= byte {
        found.bytes.resize(byte + 1, 0);
    }
    let mask = 0x80 >> (offset % 8);
    let old = found.bytes[byte] & mask != 0;
    found.bytes[byte] = if bit { found.bytes[byte] | mask } else { found.bytes[byte] & !mask };
    found.made = Made::Edited;
    cx.changed(args[1]);
    Ok(Reply::flag(old))
}

pub(super) fn getbit(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let offset = bit_offset(args[2])?;
    Ok(Reply::flag(cx.string(args[1])?.is_some_and(|s| bit_at(&s.bytes, offset))))
}

fn bit_at(bytes: &[u8], offset: usize) -> bool {
    bytes.get(offset / 8).is_some_and(|b| b & (0x80 >> (offset % 8)) != 0)
}

/// A range of BITCOUNT or BITPOS, in bits.
fn bit_range(
    start: &[u8],
    end: Option<&&[u8]>,
    unit: Option<&&[u8]>,
    len: usize,
) -> Result<Option<(usize, usize)>, Fault> {
    let start = int_arg(start)?;
    let in_bits = match unit {
        None => false,
        Some(word) if is(word, "bit") => true,
        Some(word) if is(word, "byte") => false,
        Some(_) => return Err(Fault::SYNTAX),
    };
    let end = end.map_or(Ok(-1), |e| int_arg(e))?;
    let units = if in_bits { len * 8 } else { len };
    let units_i = i64::try_from(units).unwrap_or(i64::MAX);
    let from = if start < 0 { start.saturating_add(units_i).max(0) } else { start };
    let to = if end < 0 { end.saturating_add(units_i).max(0) } else { end.min(units_i - 1) };
    if from > to || units == 0 {
        return Ok(None);
    }
    let (from, to) = (usize::try_from(from).unwrap_or(0), usize::try_from(to).unwrap_or(0));
    Ok(Some(if in_bits { (from, to + 1) } else { (from * 8, (to + 1) * 8) }))
}

pub(super) fn bitcount(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(found) = cx.string(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let bytes = &found.bytes;
    let range = match args.len() {
        2 => Some((0, bytes.len() * 8)),
        4 | 5 => {
            let (start, end) = (int_arg(args[2])?, int_arg(args[3])?);
            // Redis checks this before the unit.
            if start < 0 && end < 0 && start > end {
                return Ok(Reply::Int(0));
            }
            bit_range(args[2], args.get(3), args.get(4), bytes.len())?
        }
        _ => return Err(Fault::SYNTAX),
    };
    Ok(Reply::len(range.map_or(0, |(from, to)| count_bits(bytes, from, to))))
}

fn count_bits(bytes: &[u8], from: usize, to: usize) -> usize {
    let (first, last) = (from.div_ceil(8), to / 8);
    if first > last {
        return (from..to).filter(|&i| bit_at(bytes, i)).count();
    }
    let edge = |range: std::ops::Range<usize>| range.filter(|&i| bit_at(bytes, i)).count();
    let whole: usize = bytes[first..last].iter().map(|b| b.count_ones() as usize).sum();
    edge(from..first * 8) + whole + edge(last * 8..to)
}

pub(super) fn bitpos(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let wanted = match int_arg(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Fault::of("ERR The bit argument must be 1 or 0.")),
    };
    let Some(found) = cx.string(args[1])? else {
        return Ok(Reply::Int(if wanted { -1 } else { 0 }));
    };
    if args.len() > 6 {
        return Err(Fault::SYNTAX);
    }
    let bytes = found.bytes.clone();
    let range = match args.get(3) {
        Some(start) => bit_range(start, args.get(4), args.get(5), bytes.len())?,
        None => (!bytes.is_empty()).then_some((0, bytes.len() * 8)),
    };
    let Some((from, to)) = range else {
        return Ok(Reply::Int(-1));
    };
    if let Some(at) = (from..to).find(|&i| bit_at(&bytes, i) == wanted) {
        return Ok(Reply::len(at));
    }
    // Without an end argument the string counts as followed by zeros.
    if !wanted && args.len() < 5 { Ok(Reply::len(to)) } else { Ok(Reply::Int(-1)) }
}

pub(super) fn bitop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let op: fn(u8, u8) -> u8 = match args[1] {
        w if is(w, "and") => |a, b| a & b,
        w if is(w, "or") => |a, b| a | b,
        w if is(w, "xor") => |a, b| a ^ b,
        w if is(w, "not") => |a, _| !a,
        _ => return Err(Fault::SYNTAX),
    };
    if is(args[1], "not") && args.len() != 4 {
        return Err(Fault::of("ERR BITOP NOT must be called with a single source key."));
    }
    let mut sources = Vec::new();
    for key in &args[3..] {
        sources.push(cx.string(key)?.map(|s: &mut Str| s.bytes.clone()).unwrap_or_default());
    }
    let len = sources.iter().map(Vec::len).max().unwrap_or(0);
    let at = |source: &Vec<u8>, i: usize| source.get(i).copied().unwrap_or(0);
    let result: Vec<u8> = (0..len)
        .map(|i| {
            if sources.len() == 1 && is(args[1], "not") {
                return op(at(&sources[0], i), 0);
            }
            sources[1..].iter().fold(at(&sources[0], i), |acc, s| op(acc, at(s, i)))
        })
        .collect();
    if len == 0 {
        cx.remove(args[2]);
    } else {
        cx.put(args[2], Value::Str(Str { bytes: result, made: Made::Edited }));
    }
    Ok(Reply::len(len))
}
