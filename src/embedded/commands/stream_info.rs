//! XINFO.

use super::stream::entry;
use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::stream::{Group, Id, Stream};

fn stream<'a>(cx: &'a mut Cx<'_>, key: &[u8]) -> Result<&'a mut Stream, Fault> {
    cx.stream(key)?.ok_or(Fault::NO_KEY)
}

fn field(name: &str, value: Reply) -> [Reply; 2] {
    [Reply::bulk(name), value]
}

fn id(id: Id) -> Reply {
    Reply::Bulk(id.text())
}

/// How many entries the group has not read yet, if that is known.
fn lag(stream: &Stream, group: &Group) -> Reply {
    let added = i64::try_from(stream.added).unwrap_or(i64::MAX);
    if stream.added == 0 {
        return Reply::Int(0);
    }
    let read = match group.read {
        Some(read) if !stream.has_tombstones(Some(group.last)) => Some(read),
        _ => stream.counter_at(group.last),
    };
    read.map_or(Reply::Null, |read| Reply::Int(added - read))
}

fn head(stream: &Stream) -> Vec<Reply> {
    let fields = [
        field("length", Reply::len(stream.len())),
        field("radix-tree-keys", Reply::len(stream.nodes())),
        field("radix-tree-nodes", Reply::len(stream.nodes() + 1)),
        field("last-generated-id", id(stream.last)),
        field("max-deleted-entry-id", id(stream.max_deleted)),
        field("entries-added", Reply::Int(i64::try_from(stream.added).unwrap_or(i64::MAX))),
        field("recorded-first-entry-id", id(stream.first().unwrap_or_default())),
    ];
    fields.into_iter().flatten().collect()
}

pub(super) fn xinfo_stream(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    stream(cx, args[2])?;
    let full = match args.get(3) {
        None => None,
        Some(word) if is(word, "full") => match &args[4..] {
            [] => Some(10),
            [word, n] if is(word, "count") => Some(usize::try_from(int_arg(n)?).unwrap_or(10)),
            _ => return Err(super::bad_subcommand(args)),
        },
        Some(_) => return Err(super::bad_subcommand(args)),
    };
    let stream = stream(cx, args[2])?;
    let mut fields = head(stream);
    if let Some(count) = full {
        let n = if count == 0 { usize::MAX } else { count };
        let entries = stream.entries.iter().take(n).map(|(id, f)| entry(*id, f)).collect();
        fields.extend(field("entries", Reply::Array(entries)));
        let groups = stream.groups.iter().map(|(name, g)| full_group(stream, name, g, n)).collect();
        fields.extend(field("groups", Reply::Array(groups)));
        return Ok(Reply::Map(fields));
    }
    let edge = |found: Option<(&Id, &Vec<_>)>| found.map_or(Reply::Null, |(id, f)| entry(*id, f));
    fields.extend(field("groups", Reply::len(stream.groups.len())));
    fields.extend(field("first-entry", edge(stream.entries.first_key_value())));
    fields.extend(field("last-entry", edge(stream.entries.last_key_value())));
    Ok(Reply::Map(fields))
}

fn full_group(stream: &Stream, name: &[u8], group: &Group, n: usize) -> Reply {
    let pending = group.pending.iter().take(n).map(|(i, p)| {
        Reply::Array(vec![id(*i), Reply::bulk(&p.consumer), Reply::Int(p.delivered), Reply::Int(p.count)])
    });
    let consumers = group.consumers.iter().map(|(name, c)| {
        let own = c.pending.iter().take(n).filter_map(|i| group.pending.get(i).map(|p| (i, p)));
        let own = own.map(|(i, p)| Reply::Array(vec![id(*i), Reply::Int(p.delivered), Reply::Int(p.count)]));
        let fields = [
            field("name", Reply::bulk(name)),
            field("seen-time", Reply::Int(c.seen)),
            field("pel-count", Reply::len(c.pending.len())),
            field("pending", Reply::Array(own.collect())),
        ];
        Reply::Map(fields.into_iter().flatten().collect())
    });
    let fields = [
        field("name", Reply::bulk(name)),
        field("last-delivered-id", id(group.last)),
        field("entries-read", group.read.map_or(Reply::Null, Reply::Int)),
        field("lag", lag(stream, group)),
        field("pel-count", Reply::len(group.pending.len())),
        field("pending", Reply::Array(pending.collect())),
        field("consumers", Reply::Array(consumers.collect())),
    ];
    Reply::Map(fields.into_iter().flatten().collect())
}

pub(super) fn xinfo_groups(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let stream: &Stream = stream(cx, args[2])?;
    let groups = stream.groups.iter().map(|(name, group)| {
        let fields = [
            field("name", Reply::bulk(name)),
            field("consumers", Reply::len(group.consumers.len())),
            field("pending", Reply::len(group.pending.len())),
            field("last-delivered-id", id(group.last)),
            field("entries-read", group.read.map_or(Reply::Null, Reply::Int)),
            field("lag", lag(stream, group)),
        ];
        Reply::Map(fields.into_iter().flatten().collect())
    });
    Ok(Reply::Array(groups.collect()))
}

pub(super) fn xinfo_consumers(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let group = stream(cx, args[2])?.groups.get(args[3]).ok_or_else(|| {
        Fault::new(
            [b"NOGROUP No such consumer group '", c_text(args[3]), b"' for key name '", c_text(args[2]), b"'"].concat(),
        )
    })?;
    let consumers = group.consumers.iter().map(|(name, c)| {
        let fields = [
            field("name", Reply::bulk(name)),
            field("pending", Reply::len(c.pending.len())),
            field("idle", Reply::Int((now - c.seen).max(0))),
        ];
        Reply::Map(fields.into_iter().flatten().collect())
    });
    Ok(Reply::Array(consumers.collect()))
}
