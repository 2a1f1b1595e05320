//! PFADD, PFCOUNT, PFMERGE.

use super::{Args, Cx};
use crate::embedded::hyperloglog::Registers;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::{Made, Str, Value};

const NOT_ONE: Fault = Fault::of("WRONGTYPE Key is not a valid HyperLogLog string value.");

fn registers(cx: &mut Cx<'_>, key: &[u8]) -> Result<Option<Registers>, Fault> {
    cx.string(key)?.map(|s| Registers::read(&s.bytes).ok_or(NOT_ONE)).transpose()
}

fn put(cx: &mut Cx<'_>, key: &[u8], registers: &Registers) {
    let expire = cx.entry(key).and_then(|entry| entry.expire);
    cx.put(key, Value::Str(Str { bytes: registers.write(), made: Made::Edited }));
    cx.db().set_expire(key, expire);
}

pub(super) fn pfadd(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let found = registers(cx, args[1])?;
    let mut changed = found.is_none();
    let mut registers = found.unwrap_or_default();
    for element in &args[2..] {
        changed |= registers.add(element);
    }
    if changed {
        put(cx, args[1], &registers);
    }
    Ok(Reply::flag(changed))
}

fn union(cx: &mut Cx<'_>, keys: Args<'_>) -> Result<Registers, Fault> {
    let mut all = Registers::default();
    for key in keys {
        if let Some(found) = registers(cx, key)? {
            all.merge(&found);
        }
    }
    Ok(all)
}

pub(super) fn pfcount(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::Int(union(cx, &args[1..])?.estimate()))
}

pub(super) fn pfmerge(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let merged = union(cx, &args[1..])?;
    put(cx, args[1], &merged);
    Ok(Reply::OK)
}
