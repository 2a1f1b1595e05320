//! The count hook: what happens while a script runs for too long, or takes too much memory.
//!
//! Lua calls the hook after a fixed number of instructions. Library functions count their steps as instructions (`lua_work` in
//! `vendor/lua-src`), and functions written in Rust count theirs with [`spend`], so no single call runs unseen.
//!
//! Past `lua-time-limit` the other clients of the engine get BUSY, also those that connect meanwhile, and SCRIPT KILL is
//! obeyed unless the script has already written. Past the hard limit the script is stopped whatever it has done, and so
//! is one that takes more than [`MEMORY`]: unlike a server, this engine is part of a process that has other work.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{HookTriggers, Lua, VmState};

use super::{HARD_LIMIT, Running, Slot, raise};
use crate::embedded::session;
use crate::embedded::state::Busy;

const KILLED: &str = "ERR Script killed by user with SCRIPT KILL.";
const TOO_LONG: &str = "ERR script ran longer than the engine allows and was stopped";
const TOO_LARGE: &str = "ERR script took more memory than the engine allows and was stopped";

/// How many instructions pass between two looks at clock and memory.
const EVERY: u32 = 20_000;
/// What a command of a script counts as: four of them, however long each takes, pass between two looks.
pub(super) const COMMAND: usize = EVERY as usize / 4;
/// What the values of a Lua state may take together, in bytes. Between two looks a state may grow beyond it by the
/// longest string there is (512 MiB).
const MEMORY: usize = 640 * 1024 * 1024;
/// The longest string a function may put together, in bytes: `LUAI_MAXSTRING` of `vendor/lua-src`.
const LONGEST: usize = 512 * 1024 * 1024;
/// Beyond this, what a script leaves behind is collected as soon as it has ended, in bytes.
const LEFT_BEHIND: usize = 64 * 1024 * 1024;

thread_local! {
    /// Steps of Rust functions until the next look. Lua states of one thread share it: only one runs at a time.
    static LEFT: Cell<usize> = const { Cell::new(EVERY as usize) };
}

/// What is watched in one Lua state.
#[derive(Debug, Clone)]
pub(super) struct Watchdog {
    slot: Slot,
    /// When the compilation that runs must be through.
    compile_until: Rc<Cell<Option<Instant>>>,
}

impl Watchdog {
    pub(super) fn new(slot: Slot) -> Self {
        Watchdog { slot, compile_until: Rc::default() }
    }

    /// Watches every thread of `lua`.
    pub(super) fn watch(&self, lua: &Lua) -> mlua::Result<()> {
        lua.set_app_data(self.clone());
        let watchdog = self.clone();
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(EVERY), move |lua, _| watchdog.look(lua))
    }

    /// Runs a compilation that no script has asked for, under the hard limit.
    pub(super) fn compiling<T>(&self, limit: Duration, compile: impl FnOnce() -> T) -> T {
        self.compile_until.set(hard(limit).map(|limit| Instant::now() + limit));
        let outcome = compile();
        self.compile_until.set(None);
        outcome
    }

    /// Undoes what stopping a script did, and what the script did to the collector.
    pub(super) fn settle(&self, lua: &Lua, killed: bool) {
        if killed {
            lua.remove_hook();
            // A state that cannot be watched is not used again; the next run reports why.
            let _ = self.watch(lua);
        }
        if lua.used_memory() > LEFT_BEHIND {
            lua.gc_restart();
            // There are no finalizers that could fail.
            let _ = lua.gc_collect();
        }
    }

    fn look(&self, lua: &Lua) -> mlua::Result<VmState> {
        let Ok(mut running) = self.slot.try_borrow_mut() else {
            return Ok(VmState::Continue);
        };
        let Some(running) = running.as_mut() else {
            return self.look_at_compilation(lua);
        };
        if running.killed {
            // This thread of it may be another one than was stopped.
            return Err(self.stop(lua, running, KILLED));
        }
        if lua.used_memory() > MEMORY {
            return Err(self.stop(lua, running, TOO_LARGE));
        }
        let limit = running.core.config.script_limit();
        let elapsed = running.started.elapsed();
        if limit.is_zero() || elapsed < limit {
            return Ok(VmState::Continue);
        }
        if hard(limit).is_some_and(|hard| elapsed > hard) {
            return Err(self.stop(lua, running, TOO_LONG));
        }
        if hear_others(running) {
            return Err(self.stop(lua, running, KILLED));
        }
        Ok(VmState::Continue)
    }

    fn look_at_compilation(&self, lua: &Lua) -> mlua::Result<VmState> {
        let Some(until) = self.compile_until.get() else {
            return Ok(VmState::Continue);
        };
        if lua.used_memory() > MEMORY {
            return Err(raise::table(TOO_LARGE));
        }
        if Instant::now() > until { Err(raise::table(TOO_LONG)) } else { Ok(VmState::Continue) }
    }

    /// Makes every further instruction raise, so that a `pcall` in a loop cannot swallow the end.
    fn stop(&self, lua: &Lua, running: &mut Running, why: &'static str) -> mlua::Error {
        running.killed = true;
        let slot = Rc::clone(&self.slot);
        let hook = lua.set_hook(HookTriggers::new().every_nth_instruction(1), move |_, _| {
            let killed = slot.try_borrow().is_ok_and(|r| r.as_ref().is_some_and(|r| r.killed));
            if killed { Err(raise::table(why)) } else { Ok(VmState::Continue) }
        });
        hook.err().unwrap_or_else(|| raise::table(why))
    }
}

/// Past what time a script is stopped; `None` where it may run for ever.
fn hard(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then(|| limit.saturating_mul(HARD_LIMIT))
}

/// Refuses a string that a function puts together where it has become longer than any value of Redis.
pub(super) fn check_length(lua: &Lua, bytes: usize) -> mlua::Result<()> {
    if bytes > LONGEST { Err(raise::string(lua, "string too long")) } else { Ok(()) }
}

/// Counts what a Rust function has done for a script: about one for what costs as much as an instruction of Lua.
///
/// # Errors
///
/// The script's end, where it has had its time or its memory.
pub(super) fn spend(lua: &Lua, steps: usize) -> mlua::Result<()> {
    let left = LEFT.get();
    if left > steps {
        LEFT.set(left - steps);
        return Ok(());
    }
    LEFT.set(EVERY as usize);
    let Some(watchdog) = lua.app_data_ref::<Watchdog>().map(|watchdog| watchdog.clone()) else {
        return Ok(());
    };
    watchdog.look(lua).map(|_| ())
}

/// Answers what other clients have sent meanwhile; `true` if one of them ends the script.
fn hear_others(running: &mut Running) -> bool {
    let Running { core, slot, wrote, .. } = running;
    // Time stands still for the script.
    let now = (core.now, core.now_micros);
    core.busy = Some(Busy { wrote: *wrote, killed: false });
    core.admit_waiting();
    for other in (0..core.clients.len()).filter(|other| other != slot) {
        session::hear(core, other);
    }
    (core.now, core.now_micros) = now;
    core.busy.take().is_some_and(|busy| busy.killed)
}
