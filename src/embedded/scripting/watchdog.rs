//! The instruction hook: what happens while a script runs for too long.
//!
//! Past `lua-time-limit` the other clients of the engine hear BUSY, and SCRIPT KILL is obeyed unless the script has
//! already written. Past the hard limit the script is stopped whatever it has done: unlike a server, this engine is
//! part of a process that has other work.

use std::rc::Rc;

use mlua::{HookTriggers, Lua, VmState};

use super::{HARD_LIMIT, Running, Slot, raise};
use crate::embedded::commands::is;
use crate::embedded::protocol::Parsed;
use crate::embedded::reply::Reply;

const BUSY: &[u8] = b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const UNKILLABLE: &[u8] = b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

pub(super) fn check(lua: &Lua, slot: &Slot) -> mlua::Result<VmState> {
    let Ok(mut running) = slot.try_borrow_mut() else {
        return Ok(VmState::Continue);
    };
    let Some(running) = running.as_mut() else {
        return Ok(VmState::Continue);
    };
    let limit = running.core.config.script_limit();
    let elapsed = running.started.elapsed();
    if running.killed {
        return Err(raise::table("ERR Script killed by user with SCRIPT KILL."));
    }
    if limit.is_zero() || elapsed < limit {
        return Ok(VmState::Continue);
    }
    if elapsed > limit * HARD_LIMIT {
        running.killed = true;
        stop_everywhere(lua, slot)?;
        return Err(raise::table("ERR script ran longer than the engine allows and was stopped"));
    }
    if hear_others(running) {
        running.killed = true;
        stop_everywhere(lua, slot)?;
        return Err(raise::table("ERR Script killed by user with SCRIPT KILL."));
    }
    Ok(VmState::Continue)
}

/// Makes every further line raise, so that a `pcall` in a loop cannot swallow the end.
fn stop_everywhere(lua: &Lua, slot: &Slot) -> mlua::Result<()> {
    let slot = Rc::clone(slot);
    lua.set_hook(HookTriggers::EVERY_LINE, move |_, _| {
        let killed = slot.try_borrow().is_ok_and(|r| r.as_ref().is_some_and(|r| r.killed));
        if killed { Err(raise::table("ERR Script killed by user with SCRIPT KILL.")) } else { Ok(VmState::Continue) }
    })
}

/// Answers what other clients have sent meanwhile; `true` if one of them ends the script.
fn hear_others(running: &mut Running) -> bool {
    let Running { core, slot, wrote, .. } = running;
    let mut kill = false;
    for other in 0..core.clients.len() {
        if other == *slot {
            continue;
        }
        let Some(client) = core.client(other) else {
            continue;
        };
        if client.blocked.is_some() {
            continue;
        }
        client.hung_up |= !client.pipe.take(&mut client.input);
        loop {
            let mut parser = std::mem::take(&mut client.parser);
            let parsed = parser.parse(&client.input);
            let (used, reply) = match parsed {
                Parsed::Command(used) => {
                    let asks = parser.with_args(&client.input, |args| {
                        args.len() == 2 && is(args[0], "script") && is(args[1], "kill")
                    });
                    let reply = match (asks, *wrote) {
                        (true, false) => Reply::OK,
                        (true, true) => Reply::Error(UNKILLABLE.to_vec()),
                        _ => Reply::Error(BUSY.to_vec()),
                    };
                    kill |= asks && !*wrote;
                    (used, Some(reply))
                }
                Parsed::Nothing(used) => (used, None),
                Parsed::Incomplete | Parsed::Broken(_) => {
                    client.parser = parser;
                    break;
                }
            };
            client.input.drain(..used);
            if let Some(reply) = reply {
                reply.encode(client.resp3, &mut client.output);
            }
        }
        client.pipe.give(&mut client.output);
        // A hang-up is dealt with when the script has ended.
        if client.hung_up {
            core.resumed.push_back(other);
        }
    }
    kill
}
