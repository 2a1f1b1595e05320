//! BITFIELD: integers of any width inside a string.

use super::bits::bit_offset_of;
use super::{Args, Cx, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::Made;

/// An integer type: `i1` to `i64`, `u1` to `u63`.
#[derive(Debug, Clone, Copy)]
struct Width {
    signed: bool,
    bits: u32,
}

impl Width {
    fn parse(arg: &[u8]) -> Result<Width, Fault> {
        const BAD: Fault = Fault::of(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, digits) = match arg {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(BAD),
        };
        let most = if signed { 64 } else { 63 };
        let bits = number::integer(digits).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=most).contains(n));
        Ok(Width { signed, bits: bits.ok_or(BAD)? })
    }

    fn range(self) -> (i128, i128) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// The value of the low bits of `value`, as many as the type has.
    fn wrap(self, value: i128) -> i128 {
        let low = value & ((1 << self.bits) - 1);
        if low > self.range().1 { low - (1 << self.bits) } else { low }
    }

    fn read(self, bytes: &[u8], offset: usize) -> i128 {
        let bit = |at: usize| bytes.get(at / 8).map_or(0, |b| i128::from(b >> (7 - at % 8) & 1));
        let bits = usize::try_from(self.bits).unwrap_or(0);
        self.wrap((offset..offset + bits).fold(0, |value, at| value << 1 | bit(at)))
    }

    fn write(self, bytes: &mut [u8], offset: usize, value: i128) {
        for i in 0..self.bits {
            let at = offset + usize::try_from(i).unwrap_or(0);
            let mask = 0x80 >> (at % 8);
            if value >> (self.bits - 1 - i) & 1 == 1 { bytes[at / 8] |= mask } else { bytes[at / 8] &= !mask }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Get,
    Set,
    Increase,
}

#[derive(Debug, Clone, Copy)]
struct Operation {
    act: Act,
    width: Width,
    offset: usize,
    value: i64,
    overflow: Overflow,
}

fn parse(args: Args<'_>) -> Result<Vec<Operation>, Fault> {
    let (mut operations, mut overflow) = (Vec::new(), Overflow::Wrap);
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - 1 - i;
        let act = match args[i] {
            w if is(w, "get") && more >= 2 => Act::Get,
            w if is(w, "set") && more >= 3 => Act::Set,
            w if is(w, "incrby") && more >= 3 => Act::Increase,
            w if is(w, "overflow") && more >= 1 => {
                overflow = match args[i + 1] {
                    w if is(w, "wrap") => Overflow::Wrap,
                    w if is(w, "sat") => Overflow::Saturate,
                    w if is(w, "fail") => Overflow::Fail,
                    _ => return Err(Fault::of("ERR Invalid OVERFLOW type specified")),
                };
                i += 2;
                continue;
            }
            _ => return Err(Fault::SYNTAX),
        };
        let width = Width::parse(args[i + 1])?;
        let offset = bit_offset_of(args[i + 2], i64::from(width.bits))?;
        let value = if act == Act::Get { 0 } else { int_arg(args[i + 3])? };
        operations.push(Operation { act, width, offset, value, overflow });
        i += if act == Act::Get { 3 } else { 4 };
    }
    Ok(operations)
}

impl Operation {
    /// The value to write and the value to reply; `None` if the value does not fit and OVERFLOW is FAIL.
    fn outcome(&self, old: i128) -> Option<(i128, i128)> {
        let wanted = match self.act {
            Act::Get => return Some((old, old)),
            // A negative value for an unsigned field is a large one.
            Act::Set if self.width.signed => i128::from(self.value),
            Act::Set => i128::from(self.value.cast_unsigned()),
            Act::Increase => old + i128::from(self.value),
        };
        let (min, max) = self.width.range();
        let new = match self.overflow {
            _ if (min..=max).contains(&wanted) => wanted,
            Overflow::Wrap => self.width.wrap(wanted),
            // If `max` minus the value overflows 64 bits, Redis treats the value as too high although it is too low.
            Overflow::Saturate if self.act == Act::Set && self.width.signed && max - wanted > i128::from(i64::MAX) => {
                max
            }
            Overflow::Saturate => wanted.clamp(min, max),
            Overflow::Fail => return None,
        };
        Some((new, if self.act == Act::Set { old } else { new }))
    }

    fn run(&self, bytes: &mut [u8], changed: &mut bool) -> Reply {
        let old = self.width.read(bytes, self.offset);
        let Some((new, answer)) = self.outcome(old) else {
            return Reply::Null;
        };
        if self.act != Act::Get {
            self.width.write(bytes, self.offset, new);
            *changed = true;
        }
        Reply::Int(i64::try_from(answer).unwrap_or(i64::MAX))
    }
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let operations = parse(args)?;
    let writes = operations.iter().filter(|o| o.act != Act::Get);
    let end = writes.map(|o| o.offset + usize::try_from(o.width.bits).unwrap_or(0)).max();
    if end.is_some() && read_only {
        return Err(Fault::of("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let mut changed = false;
    let Some(end) = end else {
        let mut bytes = cx.string(args[1])?.map(|s| s.bytes.clone()).unwrap_or_default();
        return Ok(Reply::Array(operations.iter().map(|o| o.run(&mut bytes, &mut changed)).collect()));
    };
    let found = cx.string_or_new(args[1])?;
    if found.bytes.len() < end.div_ceil(8) {
        found.bytes.resize(end.div_ceil(8), 0);
    }
    found.made = Made::Edited;
    let replies = operations.iter().map(|o| o.run(&mut found.bytes, &mut changed)).collect();
    if changed {
        cx.changed(args[1]);
    } else {
        // The string has grown nevertheless.
        cx.db().recount(args[1]);
    }
    Ok(Reply::Array(replies))
}

pub(super) fn bitfield(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, false)
}

pub(super) fn bitfield_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, true)
}
