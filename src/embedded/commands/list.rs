//! Lists, and blocking pops.

use super::{Args, Cx, Mode, clamp, int_arg, is, positive, timeout};
use crate::embedded::bytes::Bytes;
use crate::embedded::list::List;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(word: &[u8]) -> Result<End, Fault> {
        match word {
            w if is(w, "left") => Ok(End::Left),
            w if is(w, "right") => Ok(End::Right),
            _ => Err(Fault::SYNTAX),
        }
    }

    fn pop(self, list: &mut List) -> Option<Bytes> {
        match self {
            End::Left => list.pop_front(),
            End::Right => list.pop_back(),
        }
    }

    fn push(self, list: &mut List, item: Bytes) {
        match self {
            End::Left => list.push_front(item),
            End::Right => list.push_back(item),
        }
    }
}

fn push_all(cx: &mut Cx<'_>, args: Args<'_>, end: End, only_existing: bool) -> Outcome {
    if only_existing && cx.list(args[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let list = cx.list_or_new(args[1])?;
    for item in &args[2..] {
        end.push(list, (*item).into());
    }
    let len = list.len();
    cx.changed(args[1]);
    Ok(Reply::len(len))
}

pub(super) fn lpush(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    push_all(cx, args, End::Left, false)
}

pub(super) fn rpush(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    push_all(cx, args, End::Right, false)
}

pub(super) fn lpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    push_all(cx, args, End::Left, true)
}

pub(super) fn rpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    push_all(cx, args, End::Right, true)
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End, command: &str) -> Outcome {
    if args.len() > 3 {
        return Err(Fault::arity(command));
    }
    let count = match args.get(2) {
        None => None,
        Some(arg) => Some(
            number::integer(arg)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(Fault::of("ERR value is out of range, must be positive"))?,
        ),
    };
    let Some(list) = cx.list(args[1])? else {
        return Ok(if count.is_some() { Reply::NullArray } else { Reply::Null });
    };
    let reply = match count {
        None => Reply::bulk_or_null(end.pop(list)),
        Some(0) => return Ok(Reply::Array(Vec::new())),
        Some(n) => take(list, end, n),
    };
    cx.changed(args[1]);
    Ok(reply)
}

fn take(list: &mut List, end: End, n: usize) -> Reply {
    Reply::Array((0..n.min(list.len())).filter_map(|_| end.pop(list)).map(|i| Reply::Bulk(i.into_vec())).collect())
}

pub(super) fn lpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Left, "lpop")
}

pub(super) fn rpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop(cx, args, End::Right, "rpop")
}

pub(super) fn llen(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.list(args[1])?.map_or(0, |l| l.len())))
}

/// The position of an index, which may count from either end.
fn position(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(len).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|&i| i < len)
}

pub(super) fn lindex(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let Some(list) = cx.list(args[1])? else {
        return Ok(Reply::Null);
    };
    let index = int_arg(args[2])?;
    Ok(Reply::bulk_or_null(position(index, list.len()).and_then(|i| list.get(i))))
}

pub(super) fn lset(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let list = cx.list(args[1])?.ok_or(Fault::NO_KEY)?;
    let index = int_arg(args[2])?;
    let at = position(index, list.len()).ok_or(Fault::INDEX)?;
    list.set(at, args[3].into());
    cx.changed(args[1]);
    Ok(Reply::OK)
}

pub(super) fn lrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (int_arg(args[2])?, int_arg(args[3])?);
    let Some(list) = cx.list(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let range = clamp(start, stop, list.len()).unwrap_or(0..0);
    Ok(Reply::bulks(list.range(range)))
}

pub(super) fn ltrim(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (int_arg(args[2])?, int_arg(args[3])?);
    let Some(list) = cx.list(args[1])? else {
        return Ok(Reply::OK);
    };
    list.keep_range(clamp(start, stop, list.len()).unwrap_or(0..0));
    cx.changed(args[1]);
    Ok(Reply::OK)
}

pub(super) fn lrem(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let count = int_arg(args[2])?;
    let Some(list) = cx.list(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let limit = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let mut removed = 0u64;
    list.retain(count < 0, |item| {
        let drop = removed < limit && **item == *args[3];
        removed += u64::from(drop);
        !drop
    });
    if removed > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::Int(i64::try_from(removed).unwrap_or(i64::MAX)))
}

pub(super) fn linsert(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let after = match args[2] {
        w if is(w, "after") => true,
        w if is(w, "before") => false,
        _ => return Err(Fault::SYNTAX),
    };
    let Some(list) = cx.list(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let Some(at) = list.iter().position(|i| **i == *args[3]) else {
        return Ok(Reply::Int(-1));
    };
    list.insert(at + usize::from(after), args[4].into());
    let len = list.len();
    cx.changed(args[1]);
    Ok(Reply::len(len))
}

pub(super) fn lpos(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (mut rank, mut count, mut max) = (1i64, None, 0usize);
    let mut i = 3;
    while i < args.len() {
        let Some(value) = args.get(i + 1) else {
            return Err(Fault::SYNTAX);
        };
        let not_negative = |text| number::integer(value).and_then(|n| usize::try_from(n).ok()).ok_or(Fault::of(text));
        if is(args[i], "rank") {
            rank = int_arg(value)?;
            if rank == 0 {
                return Err(Fault::of(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                ));
            }
            if rank == i64::MIN {
                return Err(Fault::of(
                    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                ));
            }
        } else if is(args[i], "count") {
            count = Some(not_negative("ERR COUNT can't be negative")?);
        } else if is(args[i], "maxlen") {
            max = not_negative("ERR MAXLEN can't be negative")?;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 2;
    }
    let Some(list) = cx.list(args[1])? else {
        return Ok(if count.is_some() { Reply::Array(Vec::new()) } else { Reply::Null });
    };
    let limit = if max == 0 { list.len() } else { max };
    let skip = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(n) => n,
    };
    let fits = |(_, item): &(usize, &Bytes)| ***item == *args[2];
    let items = list.iter().enumerate();
    let found: Vec<usize> = if rank > 0 {
        items.take(limit).filter(fits).skip(skip).take(wanted).map(|f| f.0).collect()
    } else {
        items.rev().take(limit).filter(fits).skip(skip).take(wanted).map(|f| f.0).collect()
    };
    if count.is_some() {
        return Ok(Reply::Array(found.into_iter().map(Reply::len).collect()));
    }
    Ok(found.first().map_or(Reply::Null, |&at| Reply::len(at)))
}

/// Moves one element; `None` when the source is empty.
fn shift(cx: &mut Cx<'_>, from: &[u8], to: &[u8], pop: End, push: End) -> Result<Option<Reply>, Fault> {
    if cx.list(from)?.is_none() {
        return Ok(None);
    }
    cx.list(to)?;
    let Some(item) = cx.list(from)?.and_then(|list| pop.pop(list)) else {
        return Ok(None);
    };
    let reply = Reply::bulk(&item);
    if from == to {
        if let Some(list) = cx.list(from)? {
            push.push(list, item);
        }
        cx.changed(from);
    } else {
        push.push(cx.list_or_new(to)?, item);
        cx.changed(from);
        cx.changed(to);
    }
    Ok(Some(reply))
}

pub(super) fn lmove(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (pop, push) = (End::parse(args[3])?, End::parse(args[4])?);
    Ok(shift(cx, args[1], args[2], pop, push)?.unwrap_or(Reply::Null))
}

pub(super) fn rpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(shift(cx, args[1], args[2], End::Right, End::Left)?.unwrap_or(Reply::Null))
}

fn shift_or_wait(cx: &mut Cx<'_>, args: Args<'_>, pop: End, push: End, deadline: Option<i64>) -> Outcome {
    if !(cx.mode == Mode::Retry && cx.list(args[1]).is_err())
        && let Some(reply) = shift(cx, args[1], args[2], pop, push)?
    {
        return Ok(reply);
    }
    // The null after a timeout differs from the null when the command may not wait.
    if !cx.may_wait() {
        return Ok(Reply::Null);
    }
    cx.wait(&[args[1]], deadline, Reply::NullArray, args)
}

pub(super) fn blmove(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (pop, push) = (End::parse(args[3])?, End::parse(args[4])?);
    let deadline = timeout(cx, args[5])?;
    shift_or_wait(cx, args, pop, push, deadline)
}

pub(super) fn brpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let deadline = timeout(cx, args[3])?;
    shift_or_wait(cx, args, End::Right, End::Left, deadline)
}

fn pop_or_wait(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Outcome {
    let deadline = timeout(cx, args[args.len() - 1])?;
    let keys = &args[1..args.len() - 1];
    let retry = cx.mode == Mode::Retry;
    for key in keys {
        if !cx.core.waiting.serves(key) {
            continue;
        }
        match cx.list(key) {
            Err(_) if retry => {}
            Err(fault) => return Err(fault),
            Ok(None) => {}
            Ok(Some(list)) => {
                let item = Reply::bulk_or_null(end.pop(list));
                cx.changed(key);
                return Ok(Reply::Array(vec![Reply::bulk(key), item]));
            }
        }
    }
    cx.wait(keys, deadline, Reply::NullArray, args)
}

pub(super) fn blpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Left)
}

pub(super) fn brpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(cx, args, End::Right)
}

/// Reads the common arguments of LMPOP, BLMPOP, ZMPOP and BZMPOP: `numkeys key… WHERE [COUNT n]`.
///
/// `end` reads `WHERE`, before the count is checked.
pub(super) fn multi_pop<T>(
    args: Args<'_>,
    at: usize,
    end: fn(&[u8]) -> Result<T, Fault>,
) -> Result<(Args<'_>, T, usize), Fault> {
    let n = positive(args[at], "ERR numkeys should be greater than 0")?;
    let place = at.checked_add(n).and_then(|i| i.checked_add(1)).filter(|&i| i < args.len()).ok_or(Fault::SYNTAX)?;
    let end = end(args[place])?;
    let mut count = None;
    let mut i = place + 1;
    while i < args.len() {
        if count.is_some() || !is(args[i], "count") || i + 1 >= args.len() {
            return Err(Fault::SYNTAX);
        }
        count = Some(positive(args[i + 1], "ERR count should be greater than 0")?);
        i += 2;
    }
    Ok((&args[at + 1..place], end, count.unwrap_or(1)))
}

fn pop_first(cx: &mut Cx<'_>, keys: Args<'_>, end: End, count: usize) -> Result<Option<Reply>, Fault> {
    let retry = cx.mode == Mode::Retry;
    for key in keys {
        if !cx.core.waiting.serves(key) {
            continue;
        }
        match cx.list(key) {
            Err(_) if retry => {}
            Err(fault) => return Err(fault),
            Ok(None) => {}
            Ok(Some(list)) => {
                let items = take(list, end, count);
                cx.changed(key);
                return Ok(Some(Reply::Array(vec![Reply::bulk(key), items])));
            }
        }
    }
    Ok(None)
}

pub(super) fn lmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (keys, end, count) = multi_pop(args, 1, End::parse)?;
    Ok(pop_first(cx, keys, end, count)?.unwrap_or(Reply::NullArray))
}

pub(super) fn blmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let deadline = timeout(cx, args[1])?;
    let (keys, end, count) = multi_pop(args, 2, End::parse)?;
    match pop_first(cx, keys, end, count)? {
        Some(reply) => Ok(reply),
        None => cx.wait(keys, deadline, Reply::NullArray, args),
    }
}
