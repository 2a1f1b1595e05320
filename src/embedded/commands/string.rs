//! Strings.

use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::{Made, Value};

pub(super) const MAX_STRING: usize = 512 * 1024 * 1024;
const TOO_LONG: Fault = Fault::of("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

pub(super) fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::bulk_or_null(cx.string(args[1])?.map(|s| &s.bytes)))
}

pub(super) fn strlen(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.string(args[1])?.map_or(0, |s| s.bytes.len())))
}

pub(super) fn getdel(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let reply = get(cx, args)?;
    cx.remove(args[1]);
    Ok(reply)
}

pub(super) fn getset(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let reply = get(cx, args)?;
    cx.put(args[1], Value::string(args[2]));
    Ok(reply)
}

/// The expiry options of SET and GETEX.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expiry<'a> {
    None,
    Keep,
    Persist,
    In { value: &'a [u8], seconds: bool, absolute: bool },
}

impl Expiry<'_> {
    fn deadline(self, cx: &Cx<'_>, command: &str) -> Result<Option<i64>, Fault> {
        let Expiry::In { value, seconds, absolute } = self else {
            return Ok(None);
        };
        let invalid = || Fault::new(format!("ERR invalid expire time in '{command}' command"));
        let mut at = int_arg(value)?;
        if at <= 0 {
            return Err(invalid());
        }
        if seconds {
            at = at.checked_mul(1000).ok_or_else(invalid)?;
        }
        if !absolute {
            at = at.checked_add(cx.now()).ok_or_else(invalid)?;
        }
        Ok(Some(at))
    }
}

fn expiry_word<'a>(word: &[u8], value: Option<&&'a [u8]>) -> Option<Expiry<'a>> {
    let (seconds, absolute) = match () {
        () if is(word, "ex") => (true, false),
        () if is(word, "px") => (false, false),
        () if is(word, "exat") => (true, true),
        () if is(word, "pxat") => (false, true),
        () => return None,
    };
    Some(Expiry::In { value: value?, seconds, absolute })
}

pub(super) fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (mut nx, mut xx, mut get_old, mut expiry) = (false, false, false, Expiry::None);
    let mut i = 3;
    while i < args.len() {
        let word = args[i];
        if is(word, "nx") && !xx {
            nx = true;
        } else if is(word, "xx") && !nx {
            xx = true;
        } else if is(word, "get") {
            get_old = true;
        } else if is(word, "keepttl") && matches!(expiry, Expiry::None | Expiry::Keep) {
            expiry = Expiry::Keep;
        } else if expiry == Expiry::None
            && let Some(found) = expiry_word(word, args.get(i + 1))
        {
            expiry = found;
            i += 1;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    let deadline = expiry.deadline(cx, "set")?;
    let old = if get_old { Some(get(cx, args)?) } else { None };
    let found = cx.entry(args[1]).map(|e| e.expire);
    if (nx && found.is_some()) || (xx && found.is_none()) {
        return Ok(old.unwrap_or(Reply::Null));
    }
    let deadline = if expiry == Expiry::Keep { found.flatten() } else { deadline };
    put_with_expiry(cx, args[1], args[2], deadline);
    Ok(old.unwrap_or(Reply::OK))
}

fn put_with_expiry(cx: &mut Cx<'_>, key: &[u8], value: &[u8], deadline: Option<i64>) {
    cx.put(key, Value::string(value));
    if deadline.is_some() {
        cx.db().set_expire(key, deadline);
    }
}

pub(super) fn getex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let mut expiry = Expiry::None;
    let mut i = 2;
    while i < args.len() {
        if expiry == Expiry::None && is(args[i], "persist") {
            expiry = Expiry::Persist;
        } else if expiry == Expiry::None
            && let Some(found) = expiry_word(args[i], args.get(i + 1))
        {
            expiry = found;
            i += 1;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    let Some(found) = cx.string(args[1])? else {
        return Ok(Reply::Null);
    };
    let reply = Reply::bulk(&found.bytes);
    let deadline = expiry.deadline(cx, "getex")?;
    match expiry {
        Expiry::Persist => {
            if cx.entry(args[1]).is_some_and(|e| e.expire.is_some()) {
                cx.db().set_expire(args[1], None);
                cx.core.touch(cx.db, args[1]);
            }
        }
        Expiry::In { .. } => super::keys::set_deadline(cx, args[1], deadline.unwrap_or(0)),
        Expiry::None | Expiry::Keep => {}
    }
    Ok(reply)
}

fn set_for(cx: &mut Cx<'_>, args: Args<'_>, seconds: bool, command: &str) -> Outcome {
    let expiry = Expiry::In { value: args[2], seconds, absolute: false };
    let deadline = expiry.deadline(cx, command)?;
    put_with_expiry(cx, args[1], args[3], deadline);
    Ok(Reply::OK)
}

pub(super) fn setex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_for(cx, args, true, "setex")
}

pub(super) fn psetex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_for(cx, args, false, "psetex")
}

pub(super) fn setnx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let new = !cx.exists(args[1]);
    if new {
        cx.put(args[1], Value::string(args[2]));
    }
    Ok(Reply::flag(new))
}

pub(super) fn mget(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let values = args[1..].iter().map(|key| Reply::bulk_or_null(cx.string(key).ok().flatten().map(|s| &s.bytes)));
    Ok(Reply::Array(values.collect()))
}

fn set_many(cx: &mut Cx<'_>, args: Args<'_>, command: &str, only_new: bool) -> Result<bool, Fault> {
    if args.len().is_multiple_of(2) {
        return Err(Fault::arity(command));
    }
    if only_new && args[1..].chunks(2).any(|pair| cx.exists(pair[0])) {
        return Ok(false);
    }
    for pair in args[1..].chunks(2) {
        cx.put(pair[0], Value::string(pair[1]));
    }
    Ok(true)
}

pub(super) fn mset(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_many(cx, args, "mset", false).map(|_| Reply::OK)
}

pub(super) fn msetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    set_many(cx, args, "msetnx", true).map(Reply::flag)
}

pub(super) fn append(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(found) = cx.string(args[1])? else {
        cx.put(args[1], Value::string(args[2]));
        return Ok(Reply::len(args[2].len()));
    };
    if found.bytes.len() + args[2].len() > MAX_STRING {
        return Err(TOO_LONG);
    }
    found.bytes.extend_from_slice(args[2]);
    found.made = Made::Edited;
    let len = found.bytes.len();
    cx.changed(args[1]);
    Ok(Reply::len(len))
}

pub(super) fn getrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (int_arg(args[2])?, int_arg(args[3])?);
    let Some(found) = cx.string(args[1])? else {
        return Ok(Reply::bulk(b""));
    };
    let len = i64::try_from(found.bytes.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end || len == 0 {
        return Ok(Reply::bulk(b""));
    }
    let from = if start < 0 { (start.saturating_add(len)).max(0) } else { start };
    let to = if end < 0 { (end.saturating_add(len)).max(0) } else { end.min(len - 1) };
    if from > to {
        return Ok(Reply::bulk(b""));
    }
    let slice = |n: i64| usize::try_from(n).unwrap_or(0);
    Ok(Reply::bulk(&found.bytes[slice(from)..=slice(to)]))
}

pub(super) fn setrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let offset = int_arg(args[2])?;
    let offset = usize::try_from(offset).map_err(|_| Fault::of("ERR offset is out of range"))?;
    let (key, value) = (args[1], args[3]);
    let known = cx.string(key)?.map(|s| s.bytes.len());
    if value.is_empty() {
        return Ok(Reply::len(known.unwrap_or(0)));
    }
    if offset.saturating_add(value.len()) > MAX_STRING {
        return Err(TOO_LONG);
    }
    let found = cx.string_or_new(key)?;
    let end = offset + value.len();
    if found.bytes.len() < end {
        found.bytes.resize(end, 0);
    }
    found.bytes[offset..end].copy_from_slice(value);
    found.made = Made::Edited;
    let len = found.bytes.len();
    cx.changed(key);
    Ok(Reply::len(len))
}
