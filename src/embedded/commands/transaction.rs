//! MULTI, EXEC and WATCH.

use super::{Args, Cx, Mode, lookup};
use crate::embedded::bytes::Key;
use crate::embedded::client::{Client, Transaction};
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::state::Core;
use crate::redis_commands::flag;

fn any_queued(client: &Client, flags: u16) -> bool {
    client.transaction.iter().flat_map(|t| &t.commands).any(|command| {
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        lookup::find(&args).is_ok_and(|command| command.spec.has(flags))
    })
}

/// Whether EXEC would run a command that writes.
pub(in crate::embedded) fn writes(client: &Client) -> bool {
    any_queued(client, flag::WRITE)
}

/// Whether EXEC would run a command that may use more memory.
pub(in crate::embedded) fn grows(client: &Client) -> bool {
    any_queued(client, flag::DENY_OOM)
}

/// Ends a transaction without running it.
pub(in crate::embedded) fn discard(core: &mut Core, slot: usize) {
    core.unwatch(slot);
    if let Some(client) = core.client(slot) {
        client.transaction = None;
    }
}

pub(super) fn multi(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    let Some(client) = cx.core.client(cx.slot) else {
        return Ok(Reply::Silent);
    };
    if client.transaction.is_some() {
        return Err(Fault::of("ERR MULTI calls can not be nested"));
    }
    client.transaction = Some(Transaction::default());
    Ok(Reply::OK)
}

pub(super) fn discard_command(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    if cx.core.client(cx.slot).is_none_or(|c| c.transaction.is_none()) {
        return Err(Fault::of("ERR DISCARD without MULTI"));
    }
    discard(cx.core, cx.slot);
    Ok(Reply::OK)
}

pub(super) fn exec(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    let now = cx.now();
    let Some(client) = cx.core.client(cx.slot) else {
        return Ok(Reply::Silent);
    };
    let Some(transaction) = client.transaction.take() else {
        return Err(Fault::of("ERR EXEC without MULTI"));
    };
    let watched = std::mem::take(&mut client.watched);
    let broken_watch = client.watch_broken;
    let expired = |cx: &Cx<'_>, db: usize, key: &[u8]| {
        cx.core.dbs[db].keys.get(key).is_some_and(|e| e.expire.is_some_and(|at| now > at))
    };
    let lost = broken_watch || watched.iter().any(|((db, key), was_expired)| !was_expired && expired(cx, *db, key));
    if let Some(client) = cx.core.client(cx.slot) {
        client.watched = watched;
    }
    cx.core.unwatch(cx.slot);
    if transaction.broken {
        return Err(Fault::of("EXECABORT Transaction discarded because of previous errors."));
    }
    if lost {
        return Ok(Reply::NullArray);
    }
    let mut replies = Vec::with_capacity(transaction.commands.len());
    for command in transaction.commands {
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        replies.push(Reply::bounded(|| run_queued(cx.core, cx.slot, &args)));
    }
    Ok(Reply::Array(replies))
}

fn run_queued(core: &mut Core, slot: usize, args: Args<'_>) -> Reply {
    let Some((id, db, resp3)) = core.client(slot).map(|c| (c.id, c.db, c.resp3)) else {
        return Reply::Silent;
    };
    match lookup::find(args) {
        Ok(lookup::Command { spec, handler }) => {
            super::monitor::feed(core, spec, Some(id), db, args);
            let mut cx = Cx { core, slot, db, resp3, mode: Mode::Exec };
            handler(&mut cx, args).unwrap_or_else(Reply::from)
        }
        Err(fault) => fault.into(),
    }
}

pub(super) fn watch(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (db, slot, now) = (cx.db, cx.slot, cx.now());
    if cx.core.client(slot).is_some_and(|c| c.transaction.is_some()) {
        return Err(Fault::of("ERR WATCH inside MULTI is not allowed"));
    }
    for key in &args[1..] {
        let place = (db, Key::from(*key));
        let expired = cx.db().keys.get(*key).is_some_and(|e| e.expire.is_some_and(|at| now > at));
        if cx.core.watchers.entry(place.clone()).or_default().insert(slot)
            && let Some(client) = cx.core.client(slot)
        {
            client.watched.push((place, expired));
        }
    }
    Ok(Reply::OK)
}

pub(super) fn unwatch(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    cx.core.unwatch(cx.slot);
    Ok(Reply::OK)
}
