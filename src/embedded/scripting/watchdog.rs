//! The count hook, which limits the time and the memory of a script.
//!
//! Lua calls the hook after a fixed number of instructions. Library functions count their steps as instructions (`lua_work` in
//! `vendor/lua-src`), and functions written in Rust count their steps with [`spend`]. So the limits also apply within a single
//! call.
//!
//! After `lua-time-limit` the other clients of the engine get BUSY, also clients that connect meanwhile. SCRIPT KILL then stops
//! the script unless it has already written. After the hard limit, or with more memory than [`MEMORY`], the script is stopped
//! even if it has written: unlike a server, this engine is part of a process that has other work.

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

/// How many instructions run between two checks of the clock and the memory.
const EVERY: u32 = 20_000;
/// The steps of one command of a script. So there is a check at least after every fourth command, no matter how long a command
/// takes.
pub(super) const COMMAND: usize = EVERY as usize / 4;
/// The memory limit of a Lua state, in bytes. Between two checks a state may exceed it by the longest string (512 MiB).
const MEMORY: usize = 640 * 1024 * 1024;
/// The longest string that a function may build, in bytes: `LUAI_MAXSTRING` of `vendor/lua-src`.
const LONGEST: usize = 512 * 1024 * 1024;
/// If a Lua state uses more than this after a script, in bytes, its garbage is collected at once.
const LEFT_BEHIND: usize = 64 * 1024 * 1024;

thread_local! {
    /// How many steps of Rust functions are left before the next check. The Lua states of one thread share it: only one runs at a
    /// time.
    static LEFT: Cell<usize> = const { Cell::new(EVERY as usize) };
}

/// The watchdog of one Lua state.
#[derive(Debug, Clone)]
pub(super) struct Watchdog {
    slot: Slot,
    /// The deadline of the running compilation.
    compile_until: Rc<Cell<Option<Instant>>>,
}

impl Watchdog {
    pub(super) fn new(slot: Slot) -> Self {
        Watchdog { slot, compile_until: Rc::default() }
    }

    /// Installs the hook in every thread of `lua`.
    pub(super) fn watch(&self, lua: &Lua) -> mlua::Result<()> {
        lua.set_app_data(self.clone());
        let watchdog = self.clone();
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(EVERY), move |lua, _| watchdog.look(lua))
    }

    /// Runs a compilation that is not part of a script, under the hard limit.
    pub(super) fn compiling<T>(&self, limit: Duration, compile: impl FnOnce() -> T) -> T {
        self.compile_until.set(hard(limit).map(|limit| Instant::now() + limit));
        let outcome = compile();
        self.compile_until.set(None);
        outcome
    }

    /// Restores the hook after a stopped script, and the settings of the garbage collector.
    pub(super) fn settle(&self, lua: &Lua, killed: bool) {
        if killed {
            lua.remove_hook();
            // If the hook cannot be installed, the state is not used again, and the next run reports the error.
            let _ = self.watch(lua);
        }
        if lua.used_memory() > LEFT_BEHIND {
            lua.gc_restart();
            // Only finalizers can fail, and there are none.
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
            // The script may have been stopped in another Lua thread than this one.
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

    /// Makes every further instruction raise an error, so that a `pcall` in a loop cannot catch the end of the script.
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

/// The time after which a script is stopped; `None` if it may run for ever.
fn hard(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then(|| limit.saturating_mul(HARD_LIMIT))
}

/// Refuses a string of a function that is longer than any value of Redis may be.
pub(super) fn check_length(lua: &Lua, bytes: usize) -> mlua::Result<()> {
    if bytes > LONGEST { Err(raise::string(lua, "string too long")) } else { Ok(()) }
}

/// Counts the steps of a Rust function. One step costs about as much as one Lua instruction.
///
/// # Errors
///
/// If the script has exceeded its time or its memory.
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

/// Answers the commands that other clients have sent meanwhile; `true` if one of them kills the script.
fn hear_others(running: &mut Running) -> bool {
    let Running { core, slot, wrote, .. } = running;
    // The time does not advance for the script.
    let now = (core.now, core.now_micros);
    core.busy = Some(Busy { wrote: *wrote, killed: false });
    core.admit_waiting();
    for other in (0..core.clients.len()).filter(|other| other != slot) {
        session::hear(core, other);
    }
    (core.now, core.now_micros) = now;
    core.busy.take().is_some_and(|busy| busy.killed)
}
