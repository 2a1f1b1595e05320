//! Commands on keys of any type.

use super::{Args, Cx, is};
use crate::embedded::glob;
use crate::embedded::keyspace::DATABASES;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};

const DB_INDEX: Fault = Fault::of("ERR DB index is out of range");
const SAME_OBJECT: Fault = Fault::of("ERR source and destination objects are the same");

pub(super) fn del(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(args[1..].iter().filter(|key| cx.remove(key)).count()))
}

pub(super) fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(args[1..].iter().filter(|key| cx.exists(key)).count()))
}

pub(super) fn r#type(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::status(cx.entry(args[1]).map_or("none", |e| e.value.kind())))
}

pub(super) fn keys(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let all = cx.db().keys.iter().filter(|(_, e)| e.expire.is_none_or(|at| now <= at));
    Ok(Reply::bulks(all.filter(|(k, _)| glob::matches(args[1], k)).map(|(k, _)| k)))
}

pub(super) fn randomkey(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    loop {
        let n = cx.db().keys.len();
        if n == 0 {
            return Ok(Reply::Null);
        }
        let Some((key, _)) = cx.db().keys.get_index(fastrand::usize(..n)) else {
            return Ok(Reply::Null);
        };
        let key = key.clone();
        if cx.exists(&key) {
            return Ok(Reply::bulk(key));
        }
    }
}

fn rename_generic(cx: &mut Cx<'_>, args: Args<'_>, only_new: bool) -> Result<bool, Fault> {
    if !cx.exists(args[1]) {
        return Err(Fault::NO_KEY);
    }
    if args[1] == args[2] {
        return Ok(!only_new);
    }
    if only_new && cx.exists(args[2]) {
        return Ok(false);
    }
    let Some(entry) = cx.db().remove(args[1]) else {
        return Err(Fault::NO_KEY);
    };
    cx.core.touch(cx.db, args[1]);
    cx.put(args[2], entry.value);
    cx.db().set_expire(args[2], entry.expire);
    Ok(true)
}

pub(super) fn rename(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    rename_generic(cx, args, false).map(|_| Reply::OK)
}

pub(super) fn renamenx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    rename_generic(cx, args, true).map(Reply::flag)
}

pub(super) fn db_index(arg: &[u8], not_integer: &Fault) -> Result<usize, Fault> {
    let n = number::integer(arg).ok_or_else(|| not_integer.clone())?;
    if i32::try_from(n).is_err() && *not_integer == Fault::NOT_INTEGER {
        return Err(Fault::of("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    usize::try_from(n).ok().filter(|&n| n < DATABASES).ok_or(DB_INDEX)
}

pub(super) fn r#move(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let to = db_index(args[2], &Fault::NOT_INTEGER)?;
    let from = cx.db;
    if to == from {
        return Err(SAME_OBJECT);
    }
    if !cx.exists(args[1]) {
        return Ok(Reply::Int(0));
    }
    cx.db = to;
    if cx.exists(args[1]) {
        return Ok(Reply::Int(0));
    }
    let Some(entry) = cx.core.dbs[from].remove(args[1]) else {
        return Ok(Reply::Int(0));
    };
    cx.core.touch(from, args[1]);
    cx.put(args[1], entry.value);
    cx.db().set_expire(args[1], entry.expire);
    Ok(Reply::Int(1))
}

pub(super) fn copy(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (mut to, mut replace) = (cx.db, false);
    let mut i = 3;
    while i < args.len() {
        if is(args[i], "replace") {
            replace = true;
        } else if is(args[i], "db") && i + 1 < args.len() {
            to = db_index(args[i + 1], &Fault::NOT_INTEGER)?;
            i += 1;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    if to == cx.db && args[1] == args[2] {
        return Err(SAME_OBJECT);
    }
    let Some((value, expire)) = cx.entry(args[1]).map(|e| (e.value.clone(), e.expire)) else {
        return Ok(Reply::Int(0));
    };
    cx.db = to;
    if cx.exists(args[2]) && !replace {
        return Ok(Reply::Int(0));
    }
    cx.put(args[2], value);
    cx.db().set_expire(args[2], expire);
    Ok(Reply::Int(1))
}

pub(super) fn object_encoding(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.entry(args[2]).map_or(Reply::Null, |e| Reply::bulk(e.value.encoding())))
}

pub(super) fn object_refcount(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(cx.entry(args[2]).map_or(Reply::Null, |_| Reply::Int(1)))
}

pub(super) fn object_idletime(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let accessed = cx.db().keys.get(args[2]).filter(|e| e.expire.is_none_or(|at| now <= at)).map(|e| e.accessed);
    Ok(accessed.map_or(Reply::Null, |at| Reply::Int((now - at).max(0) / 1000)))
}

pub(super) fn object_freq(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if !cx.exists(args[2]) {
        return Ok(Reply::Null);
    }
    Err(Fault::of(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}
