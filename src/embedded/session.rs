//! Executing the commands of one client.
//!
//! All commands that have arrived run before any reply is passed on, so a pipeline costs one wake-up in each direction. The
//! checks before a command (arity, OOM, read-only, subscriber mode, MULTI) are here, in the order of Redis.

use std::time::Instant;

use super::blocking::Blocked;
use super::bytes::Key;
use super::commands::{Cx, Mode, lookup};
use super::delivery::{deliver, receive, resume_all, unblock};
use super::protocol::Parsed;
use super::reply::{Fault, Reply, Wait};
use super::state::Core;
use super::{commands, memory};
use crate::redis_commands::flag;

/// A subscriber with this many unread bytes is disconnected: the hard limit of `client-output-buffer-limit pubsub`.
const SUBSCRIBER_LIMIT: usize = 32 * 1024 * 1024;

const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

/// Handles new bytes in the client's pipe, or its end.
pub(super) fn ready(core: &mut Core, slot: usize) {
    if core.faults.paused {
        return;
    }
    let Some(client) = core.client(slot) else {
        return;
    };
    if !receive(client) {
        core.detach(slot);
        return;
    }
    process(core, slot);
}

/// Runs the complete commands that a client has sent, until the client blocks, closes or has no more commands.
fn process(core: &mut Core, slot: usize) {
    let Some(client) = core.client(slot) else {
        return;
    };
    let mut input = std::mem::take(&mut client.input);
    let mut parser = std::mem::take(&mut client.parser);
    let mut start = 0;
    loop {
        match core.client(slot) {
            Some(client) if client.blocked.is_none() && !client.closing => {}
            _ => break,
        }
        match parser.parse(&input[start..]) {
            Parsed::Command(used) => {
                let ran = parser.with_args(&input[start..], |args| {
                    let runs = !postponed(core, slot, args);
                    if runs {
                        run(core, slot, args);
                    }
                    runs
                });
                parser.reset();
                if !ran {
                    break;
                }
                start += used;
            }
            Parsed::Nothing(used) => {
                parser.reset();
                start += used;
            }
            Parsed::Incomplete => break,
            Parsed::Broken(text) => {
                deliver(core, slot, &Reply::Error(format!("ERR {text}").into_bytes()));
                if let Some(client) = core.client(slot) {
                    client.closing = true;
                }
                break;
            }
        }
    }
    if let Some(client) = core.client(slot) {
        if start == input.len() {
            input.clear();
        } else {
            input.drain(..start);
        }
        // The memory of a huge batch is freed.
        if input.is_empty() && input.capacity() > 1024 * 1024 {
            input = Vec::new();
        }
        // The end of a pause may have received more bytes meanwhile.
        input.append(&mut client.input);
        client.input = input;
        client.parser = parser;
        if client.hung_up && client.blocked.is_some() {
            // A client that is gone must not take data from other waiting clients.
            return core.detach(slot);
        }
        client.closing |= client.lossy || client.hung_up;
        if client.closing {
            core.mark(slot);
        }
    }
}

/// Answers a client while a script runs for too long.
pub(super) fn hear(core: &mut Core, slot: usize) {
    let Some(client) = core.client(slot).filter(|client| client.blocked.is_none()) else {
        return;
    };
    client.hung_up |= !client.pipe.take(&mut client.input);
    process(core, slot);
    flush(core, slot);
}

/// Whether CLIENT PAUSE delays this command.
fn postponed(core: &mut Core, slot: usize, args: &[&[u8]]) -> bool {
    let Some(pause) = core.pause else {
        return false;
    };
    if core.clock.millis() >= pause.until {
        core.pause = None;
        resume_all(core);
        return false;
    }
    if !pause.writes_only {
        return true;
    }
    let in_multi = core.client(slot).is_some_and(|c| c.transaction.is_some());
    lookup::find(args).is_ok_and(|lookup::Command { spec, .. }| {
        spec.has(flag::WRITE | flag::MAY_REPLICATE) && (!in_multi || spec.name == "exec")
            || spec.name == "exec" && core.client(slot).is_some_and(|c| commands::transaction::writes(c))
    })
}

/// Runs one command of a client and queues its reply.
fn run(core: &mut Core, slot: usize, args: &[&[u8]]) {
    core.now_micros = core.clock.micros();
    core.now = core.now_micros / 1000;
    core.stats.commands += 1;
    let reply = Reply::unkept(|| Reply::bounded(|| admit(core, slot, args)));
    match reply {
        Reply::Block(wait) => block(core, slot, *wait),
        reply => deliver(core, slot, &reply),
    }
    if core.busy.is_none() {
        serve(core);
    }
}

/// Checks a command, and runs it.
fn admit(core: &mut Core, slot: usize, args: &[&[u8]]) -> Reply {
    let now = core.now;
    let lookup::Command { spec, handler } = match lookup::find(args) {
        Ok(command) => command,
        Err(fault) => return reject(core, slot, args, fault),
    };
    if spec.name == "debug"
        && let Err(fault) = commands::server::check_debug(args)
    {
        return reject(core, slot, args, fault);
    }
    if commands::auth::is_owed(core, slot) && !spec.has(flag::NO_AUTH) {
        return reject(core, slot, args, Fault::of("NOAUTH Authentication required."));
    }
    let used = memory::exceeded(core);
    let (readonly, busy) = (core.faults.readonly, core.busy.is_some());
    let Some(client) = core.client(slot) else {
        return Reply::Silent;
    };
    client.active = now;
    if client.last_command != spec.name {
        spec.name.clone_into(&mut client.last_command);
    }
    if client.transaction.is_some() && spec.has(flag::NO_MULTI) {
        return reject(core, slot, args, Fault::NESTED);
    }
    let exec_grows = spec.name == "exec" && commands::transaction::grows(client);
    if used && (spec.has(flag::DENY_OOM) || exec_grows) {
        return reject(core, slot, args, memory::OOM);
    }
    let exec_writes = spec.name == "exec" && commands::transaction::writes(client);
    if readonly && (spec.has(flag::WRITE) || exec_writes) {
        return reject(core, slot, args, memory::READONLY);
    }
    let Some(client) = core.client(slot) else {
        return Reply::Silent;
    };
    if client.is_subscriber() && !client.resp3 && !spec.has(flag::WHILE_SUBSCRIBED) {
        let text = format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            spec.name
        );
        return reject(core, slot, args, Fault::new(text));
    }
    if busy && !spec.has(flag::WHILE_BUSY) {
        return reject(core, slot, args, Fault::of(BUSY));
    }
    if let Some(transaction) = &mut client.transaction
        && !spec.has(flag::NOT_QUEUED)
    {
        transaction.commands.push(args.iter().map(|a| a.to_vec()).collect());
        return Reply::QUEUED;
    }
    let (id, db, resp3) = (client.id, client.db, client.resp3);
    commands::monitor::feed(core, spec, Some(id), db, args);
    let mut cx = Cx { core, slot, db, resp3, mode: Mode::Direct };
    handler(&mut cx, args).unwrap_or_else(Reply::from)
}

/// Refuses a command before it runs. An open transaction of the client can then only be discarded.
fn reject(core: &mut Core, slot: usize, args: &[&[u8]], fault: Fault) -> Reply {
    if commands::is(args[0], "exec") {
        commands::transaction::discard(core, slot);
        let reason = fault.0.strip_prefix(b"ERR ").unwrap_or(&fault.0);
        return Reply::Error([b"EXECABORT Transaction discarded because of: ", reason].concat());
    }
    if let Some(transaction) = core.client(slot).and_then(|c| c.transaction.as_mut()) {
        transaction.broken = true;
    }
    fault.into()
}

fn block(core: &mut Core, slot: usize, wait: Wait) {
    let Some(client) = core.clients.get_mut(slot).and_then(Option::as_mut) else {
        return;
    };
    core.waiting.add(slot, client.db, &wait);
    client.blocked = Some(Blocked { wait, db: client.db });
}

/// Serves the waiting clients for whose keys data has arrived, in the order in which they came.
pub(super) fn serve(core: &mut Core) {
    loop {
        let ready = core.waiting.take_ready();
        if ready.is_empty() {
            return;
        }
        for place in ready {
            core.waiting.serve(Some(Key::clone(&place.1)));
            for slot in core.waiting.queue(&place) {
                retry(core, slot);
            }
            core.waiting.serve(None);
        }
    }
}

fn retry(core: &mut Core, slot: usize) {
    let Some(client) = core.client(slot) else {
        return;
    };
    let Some(blocked) = &client.blocked else {
        return;
    };
    let args = blocked.wait.args.clone();
    let (db, resp3) = (blocked.db, client.resp3);
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let Ok(command) = lookup::find(&args) else { return };
    let ready = core.waiting.ready_keys();
    let mut cx = Cx { core, slot, db, resp3, mode: Mode::Retry };
    let reply = Reply::unkept(|| Reply::bounded(|| (command.handler)(&mut cx, &args).unwrap_or_else(Reply::from)));
    match reply {
        // A command that continues to wait must not wake other clients: they could wake each other for ever.
        Reply::Block(_) => core.waiting.forget_ready(ready),
        reply => {
            unblock(core, slot);
            deliver(core, slot, &reply);
        }
    }
}

/// Runs all commands that can run now, and passes on the replies.
pub(super) fn settle(core: &mut Core) {
    loop {
        while let Some(slot) = core.resumed.pop_front() {
            if !core.faults.paused {
                process(core, slot);
            }
        }
        for slot in std::mem::take(&mut core.dirty) {
            flush(core, slot);
        }
        if core.resumed.is_empty() && core.dirty.is_empty() {
            break;
        }
    }
}

fn flush(core: &mut Core, slot: usize) {
    let latency = core.faults.latency;
    let Some(client) = core.clients.get_mut(slot).and_then(Option::as_mut) else {
        return;
    };
    client.marked = false;
    if client.lossy {
        client.output.clear();
    }
    if !client.output.is_empty() {
        if latency.is_zero() && core.delayed.is_empty() {
            let unread = client.pipe.give(&mut client.output);
            if unread > SUBSCRIBER_LIMIT && client.is_subscriber() {
                client.closing = true;
            }
        } else {
            let bytes = std::mem::take(&mut client.output);
            core.delayed.push_back((Instant::now() + latency, slot, client.id, bytes));
        }
    }
    if client.lossy && client.closing {
        core.expect_back();
    }
    let Some(client) = core.client(slot) else {
        return;
    };
    if client.closing && (client.lossy || !core.delayed.iter().any(|d| d.1 == slot)) {
        core.detach(slot);
    }
}

/// Handles everything that is due: delayed replies, timeouts, the end of a pause, expired keys.
pub(super) fn tick(core: &mut Core) {
    core.now = core.clock.millis();
    while core.delayed.front().is_some_and(|d| d.0 <= Instant::now()) {
        let Some((_, slot, id, mut bytes)) = core.delayed.pop_front() else {
            break;
        };
        if let Some(client) = core.client(slot).filter(|c| c.id == id) {
            client.pipe.give(&mut bytes);
            core.mark(slot);
        }
    }
    if core.faults.paused {
        return;
    }
    if core.pause.is_some_and(|p| core.now >= p.until) {
        core.pause = None;
        resume_all(core);
    }
    core.sweep();
    for slot in core.waiting.overdue(core.now) {
        let Some(empty) = core.client(slot).and_then(|c| c.blocked.as_ref()).map(|b| b.wait.empty.clone()) else {
            continue;
        };
        unblock(core, slot);
        deliver(core, slot, &empty);
    }
    serve(core);
}
