//! Consumer groups and their pending entries.

use super::stream::{entry, interval, strict_id};
use super::{Args, Cx, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::stream::{Consumer, Group, Id, Stream};

fn no_group(key: &[u8], group: &[u8]) -> Fault {
    Fault::new([b"NOGROUP No such key '", c_text(key), b"' or consumer group '", c_text(group), b"'"].concat())
}

fn group<'a>(cx: &'a mut Cx<'_>, key: &[u8], name: &[u8]) -> Result<&'a mut Group, Fault> {
    cx.stream(key)?.and_then(|s| s.groups.get_mut(name)).ok_or_else(|| no_group(key, name))
}

/// The group of an XGROUP subcommand, which has its own errors for a missing key or group.
fn xgroup_target<'a>(cx: &'a mut Cx<'_>, args: Args<'_>) -> Result<&'a mut Group, Fault> {
    let stream = cx.stream(args[2])?.ok_or(KEY_MUST_EXIST)?;
    stream.groups.get_mut(args[3]).ok_or_else(|| {
        Fault::new(
            [b"NOGROUP No such consumer group '", c_text(args[3]), b"' for key name '", c_text(args[2]), b"'"].concat(),
        )
    })
}

const KEY_MUST_EXIST: Fault = Fault::of(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

/// Reads the options after the id: whether to create the stream, and how many entries count as read.
fn create_options(args: Args<'_>, create: bool) -> Result<(bool, Option<i64>), Fault> {
    let (mut make, mut read) = (false, None);
    let mut i = 5;
    while i < args.len() {
        if create && is(args[i], "mkstream") {
            make = true;
            i += 1;
        } else if is(args[i], "entriesread") && i + 1 < args.len() {
            let n = int_arg(args[i + 1])?;
            if n < -1 {
                return Err(Fault::of("ERR value for ENTRIESREAD must be positive or -1"));
            }
            read = Some(n).filter(|&n| n >= 0);
            i += 2;
        } else {
            return Err(super::bad_subcommand(args));
        }
    }
    Ok((make, read))
}

pub(super) fn xgroup_create(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (make, read) = create_options(args, true)?;
    let known = cx.stream(args[2])?.map(|s| s.last);
    if known.is_none() && !make {
        return Err(KEY_MUST_EXIST);
    }
    let last = if args[4] == b"$" { known.unwrap_or_default() } else { group_id(args[4])? };
    let stream = cx.stream_or_new(args[2])?;
    let taken = stream.groups.contains_key(args[3]);
    if !taken {
        stream.groups.insert(args[3].into(), Group { last, read, ..Group::default() });
    }
    cx.changed(args[2]);
    if taken { Err(Fault::of("BUSYGROUP Consumer Group name already exists")) } else { Ok(Reply::OK) }
}

fn group_id(arg: &[u8]) -> Result<Id, Fault> {
    match arg {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => strict_id(arg, 0),
    }
}

pub(super) fn xgroup_setid(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (_, read) = create_options(args, false)?;
    xgroup_target(cx, args)?;
    let last =
        if args[4] == b"$" { cx.stream(args[2])?.map(|s| s.last).unwrap_or_default() } else { strict_id(args[4], 0)? };
    let group = xgroup_target(cx, args)?;
    group.last = last;
    group.read = read;
    cx.changed(args[2]);
    Ok(Reply::OK)
}

pub(super) fn xgroup_destroy(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let stream = cx.stream(args[2])?.ok_or(KEY_MUST_EXIST)?;
    let removed = stream.groups.remove(args[3]).is_some();
    if removed {
        cx.changed(args[2]);
    }
    Ok(Reply::flag(removed))
}

pub(super) fn xgroup_createconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let group = xgroup_target(cx, args)?;
    let new = !group.consumers.contains_key(args[4]);
    if new {
        group.consumers.insert(args[4].into(), Consumer { seen: now, ..Consumer::default() });
        cx.changed(args[2]);
    }
    Ok(Reply::flag(new))
}

pub(super) fn xgroup_delconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let group = xgroup_target(cx, args)?;
    let Some(consumer) = group.consumers.remove(args[4]) else {
        return Ok(Reply::Int(0));
    };
    for id in &consumer.pending {
        group.pending.remove(id);
    }
    cx.changed(args[2]);
    Ok(Reply::len(consumer.pending.len()))
}

pub(super) fn xack(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if cx.stream(args[1])?.is_none_or(|s| !s.groups.contains_key(args[2])) {
        return Ok(Reply::Int(0));
    }
    let ids = args[3..].iter().map(|a| strict_id(a, 0)).collect::<Result<Vec<Id>, Fault>>()?;
    let group = group(cx, args[1], args[2])?;
    let acknowledged = ids.into_iter().filter(|id| group.forget(*id)).count();
    if acknowledged > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(acknowledged))
}

pub(super) fn xpending(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    if args.len() == 3 {
        return Ok(summary(group(cx, args[1], args[2])?));
    }
    if !(6..=9).contains(&args.len()) {
        return Err(Fault::SYNTAX);
    }
    let mut at = 3;
    let mut min_idle = 0;
    if is(args[3], "idle") {
        if args.len() < 8 {
            return Err(Fault::SYNTAX);
        }
        min_idle = int_arg(args[4])?;
        at = 5;
    }
    let count = usize::try_from(int_arg(args[at + 2])?).unwrap_or(0);
    let (from, to) = interval(args[at], args[at + 1])?;
    let group = group(cx, args[1], args[2])?;
    let consumer = args.get(at + 3);
    if consumer.is_some_and(|c| !group.consumers.contains_key(*c)) || from > to {
        return Ok(Reply::Array(Vec::new()));
    }
    let found = group
        .pending
        .range(from..=to)
        .filter(|(_, p)| consumer.is_none_or(|c| *p.consumer == **c) && now - p.delivered >= min_idle)
        .take(count);
    let shown = found.map(|(id, p)| {
        Reply::Array(vec![
            Reply::Bulk(id.text()),
            Reply::bulk(&p.consumer),
            Reply::Int((now - p.delivered).max(0)),
            Reply::Int(p.count),
        ])
    });
    Ok(Reply::Array(shown.collect()))
}

fn summary(group: &Group) -> Reply {
    let edge = |id: Option<&Id>| Reply::bulk_or_null(id.map(|id| id.text()));
    if group.pending.is_empty() {
        return Reply::Array(vec![Reply::Int(0), Reply::Null, Reply::Null, Reply::NullArray]);
    }
    let consumers = group.consumers.iter().filter(|(_, c)| !c.pending.is_empty());
    let consumers = consumers
        .map(|(name, c)| Reply::Array(vec![Reply::bulk(name), Reply::bulk(c.pending.len().to_string())]))
        .collect();
    Reply::Array(vec![
        Reply::len(group.pending.len()),
        edge(group.pending.keys().next()),
        edge(group.pending.keys().next_back()),
        Reply::Array(consumers),
    ])
}

#[derive(Debug, Default)]
struct Claim {
    delivered: Option<i64>,
    retries: Option<i64>,
    force: bool,
    just_id: bool,
    last: Option<Id>,
}

fn claim_options(args: Args<'_>, now: i64) -> Result<Claim, Fault> {
    let mut claim = Claim::default();
    let mut i = 0;
    while i < args.len() {
        let more = args.len() - 1 - i;
        let int = |text: &'static str| number::integer(args[i + 1]).ok_or(Fault::of(text));
        if is(args[i], "force") {
            claim.force = true;
        } else if is(args[i], "justid") {
            claim.just_id = true;
        } else if is(args[i], "idle") && more > 0 {
            claim.delivered = Some(now.saturating_sub(int("ERR Invalid IDLE option argument for XCLAIM")?));
            i += 1;
        } else if is(args[i], "time") && more > 0 {
            claim.delivered = Some(int("ERR Invalid TIME option argument for XCLAIM")?);
            i += 1;
        } else if is(args[i], "retrycount") && more > 0 {
            claim.retries = Some(int("ERR Invalid RETRYCOUNT option argument for XCLAIM")?);
            i += 1;
        } else if is(args[i], "lastid") && more > 0 {
            claim.last = Some(strict_id(args[i + 1], 0)?);
            i += 1;
        } else {
            return Err(Fault::new([b"ERR Unrecognized XCLAIM option '", args[i], b"'"].concat()));
        }
        i += 1;
    }
    // A time in the future or before the epoch becomes the present time.
    claim.delivered = claim.delivered.map(|at| if at < 0 || at > now { now } else { at });
    Ok(claim)
}

pub(super) fn xclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    if cx.stream(args[1])?.is_none_or(|s| !s.groups.contains_key(args[2])) {
        return Err(no_group(args[1], args[2]));
    }
    let min_idle = number::integer(args[4]).ok_or(Fault::of("ERR Invalid min-idle-time argument for XCLAIM"))?.max(0);
    let mut ids = Vec::new();
    for arg in &args[5..] {
        match Id::parse(arg, 0) {
            Some(id) if arg.len() < 128 => ids.push(id),
            _ => break,
        }
    }
    let claim = claim_options(&args[5 + ids.len()..], now)?;
    let Some(stream) = cx.stream(args[1])? else {
        return Err(no_group(args[1], args[2]));
    };
    let Stream { entries, groups, .. } = stream;
    let Some(group) = groups.get_mut(args[2]) else {
        return Err(no_group(args[1], args[2]));
    };
    if let Some(last) = claim.last {
        group.last = group.last.max(last);
    }
    let mut claimed = Vec::new();
    for id in ids {
        let Some(fields) = entries.get(&id) else {
            group.forget(id);
            continue;
        };
        let pending = group.pending.get(&id);
        if pending.is_none() && !claim.force || pending.is_some_and(|p| min_idle > 0 && now - p.delivered < min_idle) {
            continue;
        }
        let before = pending.map_or(1, |p| p.count);
        let count = claim.retries.unwrap_or(if claim.just_id { before } else { before + 1 });
        group.consumers.entry(args[3].into()).or_default().seen = now;
        group.assign(id, args[3], claim.delivered.unwrap_or(now), count);
        claimed.push(if claim.just_id { Reply::Bulk(id.text()) } else { entry(id, fields) });
    }
    cx.changed(args[1]);
    Ok(Reply::Array(claimed))
}

pub(super) fn xautoclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let min_idle =
        number::integer(args[4]).ok_or(Fault::of("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?.max(0);
    let (from, _) = interval(args[5], b"+")?;
    let (mut count, mut just_id) = (100usize, false);
    let mut i = 6;
    while i < args.len() {
        if is(args[i], "count") && i + 1 < args.len() {
            let n = number::integer(args[i + 1]).filter(|n| (1..=i64::MAX / 48).contains(n));
            count = n.and_then(|n| usize::try_from(n).ok()).ok_or(Fault::of("ERR COUNT must be > 0"))?;
            i += 1;
        } else if is(args[i], "justid") {
            just_id = true;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    let stream = cx.stream(args[1])?.ok_or_else(|| no_group(args[1], args[2]))?;
    let Stream { entries, groups, .. } = stream;
    let group = groups.get_mut(args[2]).ok_or_else(|| no_group(args[1], args[2]))?;
    let mut attempts = count.saturating_mul(10);
    let (mut claimed, mut deleted, mut cursor) = (Vec::new(), Vec::new(), Id::MIN);
    let candidates: Vec<Id> = group.pending.range(from..).take(attempts.saturating_add(1)).map(|(id, _)| *id).collect();
    for id in candidates {
        if attempts == 0 || count == 0 {
            cursor = id;
            break;
        }
        attempts -= 1;
        let Some(fields) = entries.get(&id) else {
            group.forget(id);
            deleted.push(Reply::Bulk(id.text()));
            count -= 1;
            continue;
        };
        let Some(pending) = group.pending.get(&id) else {
            continue;
        };
        if min_idle > 0 && now - pending.delivered < min_idle {
            continue;
        }
        group.consumers.entry(args[3].into()).or_default().seen = now;
        let tries = if just_id { pending.count } else { pending.count + 1 };
        group.assign(id, args[3], now, tries);
        claimed.push(if just_id { Reply::Bulk(id.text()) } else { entry(id, fields) });
        count -= 1;
    }
    cx.changed(args[1]);
    Ok(Reply::Array(vec![Reply::Bulk(cursor.text()), Reply::Array(claimed), Reply::Array(deleted)]))
}
