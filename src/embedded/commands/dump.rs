//! DUMP and RESTORE.

use super::{Args, Cx, int_arg, is};
use crate::embedded::payload;
use crate::embedded::reply::{Fault, Outcome, Reply};

pub(super) fn dump(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(entry) = cx.entry(args[1]) else {
        return Ok(Reply::Null);
    };
    payload::write(&entry.value).map(Reply::Bulk).ok_or(Fault::of("ERR DUMP of a stream is not supported by memory://"))
}

#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

fn options(args: Args<'_>) -> Result<Options, Fault> {
    let (mut options, mut idle, mut frequency) = (Options::default(), false, false);
    let mut i = 0;
    while i < args.len() {
        let next = args.get(i + 1);
        match (args[i], next) {
            (w, _) if is(w, "replace") => options.replace = true,
            (w, _) if is(w, "absttl") => options.absolute = true,
            (w, Some(seconds)) if is(w, "idletime") && !frequency => {
                if int_arg(seconds)? < 0 {
                    return Err(Fault::of("ERR Invalid IDLETIME value, must be >= 0"));
                }
                idle = true;
                i += 1;
            }
            (w, Some(value)) if is(w, "freq") && !idle => {
                if !(0..=255).contains(&int_arg(value)?) {
                    return Err(Fault::of("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                frequency = true;
                i += 1;
            }
            _ => return Err(Fault::SYNTAX),
        }
        i += 1;
    }
    Ok(options)
}

pub(super) fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let options = options(&args[4..])?;
    if !options.replace && cx.exists(args[1]) {
        return Err(Fault::of("BUSYKEY Target key name already exists."));
    }
    let ttl = int_arg(args[2])?;
    if ttl < 0 {
        return Err(Fault::of("ERR Invalid TTL value, must be >= 0"));
    }
    let body = payload::verified(args[3]).ok_or(Fault::of("ERR DUMP payload version or checksum are wrong"))?;
    let value = payload::read(body).ok_or(Fault::of("ERR Bad data format"))?;
    cx.remove(args[1]);
    let deadline = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        _ => Some(cx.now().saturating_add(ttl)),
    };
    if deadline.is_some_and(|at| at < cx.now()) {
        return Ok(Reply::OK);
    }
    cx.put(args[1], value);
    cx.db().set_expire(args[1], deadline);
    Ok(Reply::OK)
}
