//! Channels, patterns and sharded channels.

use super::{Args, Cx, Mode};
use crate::embedded::glob;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::state::Core;
use crate::embedded::subscribers::Kind;

fn verb(kind: Kind, subscribe: bool) -> &'static str {
    match (kind, subscribe) {
        (Kind::Channel, true) => "subscribe",
        (Kind::Channel, false) => "unsubscribe",
        (Kind::Pattern, true) => "psubscribe",
        (Kind::Pattern, false) => "punsubscribe",
        (Kind::Shard, true) => "ssubscribe",
        (Kind::Shard, false) => "sunsubscribe",
    }
}

impl Core {
    /// How many subscriptions the client has, counted as in the confirmation of this kind.
    fn count(&mut self, kind: Kind, slot: usize) -> Reply {
        let count =
            self.client(slot).map_or(0, |c| if kind == Kind::Shard { c.shards.len() } else { c.subscriptions() });
        Reply::len(count)
    }
}

fn add(cx: &mut Cx<'_>, names: Args<'_>, kind: Kind) -> Outcome {
    let mut replies = Vec::with_capacity(names.len());
    for name in names {
        if cx.core.client(cx.slot).is_some_and(|client| client.names(kind).insert(name.to_vec())) {
            cx.core.subscribers.add(kind, name, cx.slot);
        }
        let count = cx.core.count(kind, cx.slot);
        replies.push(Reply::Push(vec![Reply::bulk(verb(kind, true)), Reply::bulk(name), count]));
    }
    Ok(Reply::Many(replies))
}

fn drop_names(core: &mut Core, slot: usize, names: &[Vec<u8>], kind: Kind) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(names.len());
    for name in names {
        if core.client(slot).is_some_and(|client| client.names(kind).swap_remove(name)) {
            core.subscribers.remove(kind, name, slot);
        }
        let count = core.count(kind, slot);
        replies.push(Reply::Push(vec![Reply::bulk(verb(kind, false)), Reply::bulk(name), count]));
    }
    replies
}

fn remove(cx: &mut Cx<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let names: Vec<Vec<u8>> = if args.len() > 1 {
        args[1..].iter().map(|n| n.to_vec()).collect()
    } else {
        cx.core.client(cx.slot).map(|client| client.names(kind).iter().cloned().collect()).unwrap_or_default()
    };
    if names.is_empty() {
        let count = cx.core.count(kind, cx.slot);
        return Ok(Reply::Push(vec![Reply::bulk(verb(kind, false)), Reply::Null, count]));
    }
    Ok(Reply::Many(drop_names(cx.core, cx.slot, &names, kind)))
}

pub(super) fn subscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add(cx, &args[1..], Kind::Channel)
}

pub(super) fn psubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    add(cx, &args[1..], Kind::Pattern)
}

pub(super) fn ssubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    // Only this command is refused. Redis allows the other two for clients that are older than the rule.
    if cx.mode == Mode::Exec {
        return Err(Fault::of("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    add(cx, &args[1..], Kind::Shard)
}

pub(super) fn unsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    remove(cx, args, Kind::Channel)
}

pub(super) fn punsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    remove(cx, args, Kind::Pattern)
}

pub(super) fn sunsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    remove(cx, args, Kind::Shard)
}

/// A message to publish. It is encoded once for each protocol, for any number of receivers.
struct Message {
    reply: Reply,
    encoded: [Option<Vec<u8>>; 2],
}

impl Message {
    fn new(parts: &[&[u8]]) -> Self {
        Message { reply: Reply::Push(parts.iter().map(Reply::bulk).collect()), encoded: [None, None] }
    }

    fn send(&mut self, core: &mut Core, slot: usize) {
        let Some(client) = core.client(slot) else {
            return;
        };
        if client.lossy {
            return;
        }
        let resp3 = client.resp3;
        let bytes = self.encoded[usize::from(resp3)].get_or_insert_with(|| {
            let mut bytes = Vec::new();
            self.reply.encode(resp3, &mut bytes);
            bytes
        });
        client.output.extend_from_slice(bytes);
        core.mark(slot);
    }
}

pub(super) fn publish(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (channel, payload) = (args[1], args[2]);
    let mut receivers = 0;
    if let Some(slots) = cx.core.subscribers.channels.get(channel).cloned() {
        let mut message = Message::new(&[b"message", channel, payload]);
        receivers += slots.len();
        for slot in slots {
            message.send(cx.core, slot);
        }
    }
    let matches = cx.core.subscribers.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
    let matching: Vec<_> = matches.map(|(pattern, slots)| (pattern.clone(), slots.clone())).collect();
    for (pattern, slots) in matching {
        let mut message = Message::new(&[b"pmessage", &pattern, channel, payload]);
        receivers += slots.len();
        for slot in slots {
            message.send(cx.core, slot);
        }
    }
    Ok(Reply::len(receivers))
}

pub(super) fn spublish(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let slots = cx.core.subscribers.shards.get(args[1]).cloned().unwrap_or_default();
    let receivers = slots.len();
    let mut message = Message::new(&[b"smessage", args[1], args[2]]);
    for slot in slots {
        message.send(cx.core, slot);
    }
    Ok(Reply::len(receivers))
}

fn names_like<'a>(names: impl Iterator<Item = &'a Vec<u8>>, pattern: Option<&&[u8]>) -> Reply {
    Reply::bulks(names.filter(|n| pattern.is_none_or(|p| glob::matches(p, n))))
}

pub(super) fn pubsub_channels(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(names_like(cx.core.subscribers.channels.keys(), args.get(2)))
}

pub(super) fn pubsub_shardchannels(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(names_like(cx.core.subscribers.shards.keys(), args.get(2)))
}

pub(super) fn pubsub_numpat(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.core.subscribers.patterns.len()))
}

pub(super) fn pubsub_numsub(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let count = |name: &&[u8]| Reply::len(cx.core.subscribers.channels.get(*name).map_or(0, Vec::len));
    Ok(Reply::Array(args[2..].iter().flat_map(|name| [Reply::bulk(name), count(name)]).collect()))
}

pub(super) fn pubsub_shardnumsub(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let count = |name: &&[u8]| Reply::len(cx.core.subscribers.shards.get(*name).map_or(0, Vec::len));
    Ok(Reply::Array(args[2..].iter().flat_map(|name| [Reply::bulk(name), count(name)]).collect()))
}
