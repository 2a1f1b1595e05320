//! Actions on a client that its own command did not cause: a reply, the end of a wait, the end of a pause.

use super::client::{Client, ReplyMode};
use super::reply::Reply;
use super::state::Core;

/// Takes the bytes that have arrived; `false` if the client is gone.
pub(super) fn receive(client: &mut Client) -> bool {
    let open = client.pipe.take(&mut client.input);
    client.hung_up = !open;
    // A waiting client that closed the connection is never served.
    open || (!client.input.is_empty() && client.blocked.is_none())
}

/// Ends a client's wait. Its further commands run after the current command.
pub(super) fn unblock(core: &mut Core, slot: usize) {
    if let Some(client) = core.clients.get_mut(slot).and_then(Option::as_mut)
        && let Some(blocked) = client.blocked.take()
    {
        core.waiting.remove(slot, &blocked);
        core.resumed.push_back(slot);
    }
}

/// Queues a reply for a client.
pub(super) fn deliver(core: &mut Core, slot: usize, reply: &Reply) {
    if matches!(reply, Reply::Silent | Reply::Block(_)) {
        return;
    }
    let dropped = core.faults.drop_replies > 0;
    if dropped {
        core.faults.drop_replies -= 1;
    }
    let last = core.faults.drop_replies == 0;
    let Some(client) = core.client(slot) else {
        return;
    };
    if dropped {
        client.lossy = true;
        client.closing = last;
    }
    if client.lossy {
        core.mark(slot);
        return;
    }
    let mode = client.reply_mode;
    if mode == ReplyMode::Skip {
        client.reply_mode = ReplyMode::On;
    }
    // CLIENT REPLY does not apply to pushes, nor to the confirmations of SUBSCRIBE and similar commands.
    if mode != ReplyMode::On && !matches!(reply, Reply::Push(_) | Reply::Many(_)) {
        return;
    }
    reply.encode(client.resp3, &mut client.output);
    core.mark(slot);
}

/// Lets all clients continue after a pause.
pub(super) fn resume_all(core: &mut Core) {
    for slot in 0..core.clients.len() {
        let Some(client) = core.client(slot) else {
            continue;
        };
        if receive(client) {
            core.resumed.push_back(slot);
        } else {
            core.detach(slot);
        }
    }
}
