//! Expiry of keys.

use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};

/// Sets the expiry of an existing key. A time in the past deletes the key.
pub(super) fn set_deadline(cx: &mut Cx<'_>, key: &[u8], at: i64) {
    if at <= cx.now() {
        cx.remove(key);
    } else {
        cx.db().set_expire(key, Some(at));
        cx.core.touch(cx.db, key);
    }
}

fn expire_generic(cx: &mut Cx<'_>, args: Args<'_>, command: &str, seconds: bool, absolute: bool) -> Outcome {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for word in &args[3..] {
        match () {
            () if is(word, "nx") => nx = true,
            () if is(word, "xx") => xx = true,
            () if is(word, "gt") => gt = true,
            () if is(word, "lt") => lt = true,
            () => {
                return Err(Fault::new([b"ERR Unsupported option ", c_text(word)].concat()));
            }
        }
    }
    if nx && (xx || gt || lt) {
        return Err(Fault::of("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if gt && lt {
        return Err(Fault::of("ERR GT and LT options at the same time are not compatible"));
    }
    let invalid = || Fault::new(format!("ERR invalid expire time in '{command}' command"));
    let mut at = int_arg(args[2])?;
    if seconds {
        at = at.checked_mul(1000).ok_or_else(invalid)?;
    }
    if !absolute {
        at = at.checked_add(cx.now()).ok_or_else(invalid)?;
    }
    let Some(current) = cx.entry(args[1]).map(|e| e.expire) else {
        return Ok(Reply::Int(0));
    };
    let refused = nx && current.is_some()
        || xx && current.is_none()
        || gt && current.is_none_or(|c| at <= c)
        || lt && current.is_some_and(|c| at >= c);
    if refused {
        return Ok(Reply::Int(0));
    }
    set_deadline(cx, args[1], at);
    Ok(Reply::Int(1))
}

pub(super) fn expire(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    expire_generic(cx, args, "expire", true, false)
}

pub(super) fn pexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    expire_generic(cx, args, "pexpire", false, false)
}

pub(super) fn expireat(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    expire_generic(cx, args, "expireat", true, true)
}

pub(super) fn pexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    expire_generic(cx, args, "pexpireat", false, true)
}

fn time_of(cx: &mut Cx<'_>, key: &[u8], write: fn(i64, i64) -> i64) -> Outcome {
    let now = cx.now();
    Ok(Reply::Int(match cx.entry(key).map(|e| e.expire) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => write(at, now),
    }))
}

pub(super) fn ttl(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    time_of(cx, args[1], |at, now| ((at - now).max(0) + 500) / 1000)
}

pub(super) fn pttl(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    time_of(cx, args[1], |at, now| (at - now).max(0))
}

pub(super) fn expiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    time_of(cx, args[1], |at, _| at.saturating_add(500) / 1000)
}

pub(super) fn pexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    time_of(cx, args[1], |at, _| at)
}

pub(super) fn persist(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let had = cx.entry(args[1]).is_some_and(|e| e.expire.is_some());
    if had {
        cx.db().set_expire(args[1], None);
        cx.core.touch(cx.db, args[1]);
    }
    Ok(Reply::flag(had))
}
