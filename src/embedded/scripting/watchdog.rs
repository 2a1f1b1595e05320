//! The instruction hook: what happens while a script runs for too long.
//!
//! Past `lua-time-limit` the other clients of the engine hear BUSY, and SCRIPT KILL is obeyed unless the script has
//! already written. Past the hard limit the script is stopped whatever it has done: unlike a server, this engine is
//! part of a process that has other work.

use std::rc::Rc;

use mlua::{HookTriggers, Lua, VmState};

use super::{HARD_LIMIT, Running, Slot, raise};
use crate::embedded::session;
use crate::embedded::state::Busy;

const KILLED: &str = "ERR Script killed by user with SCRIPT KILL.";

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
        // This thread of it may be another one than was stopped.
        stop_everywhere(lua, slot)?;
        return Err(raise::table(KILLED));
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
        return Err(raise::table(KILLED));
    }
    Ok(VmState::Continue)
}

/// Makes every further line raise, so that a `pcall` in a loop cannot swallow the end.
fn stop_everywhere(lua: &Lua, slot: &Slot) -> mlua::Result<()> {
    let slot = Rc::clone(slot);
    lua.set_hook(HookTriggers::EVERY_LINE, move |_, _| {
        let killed = slot.try_borrow().is_ok_and(|r| r.as_ref().is_some_and(|r| r.killed));
        if killed { Err(raise::table(KILLED)) } else { Ok(VmState::Continue) }
    })
}

/// Answers what other clients have sent meanwhile; `true` if one of them ends the script.
fn hear_others(running: &mut Running) -> bool {
    let Running { core, slot, wrote, .. } = running;
    // Time stands still for the script.
    let now = (core.now, core.now_micros);
    core.busy = Some(Busy { wrote: *wrote, killed: false });
    for other in (0..core.clients.len()).filter(|other| other != slot) {
        session::hear(core, other);
    }
    (core.now, core.now_micros) = now;
    core.busy.take().is_some_and(|busy| busy.killed)
}
