//! Lua: scripts by their SHA-1, one Lua state per engine, and the run of a script.
//!
//! While a script runs, the engine's whole state is in the host's [`Running`] slot, where `redis.call` reaches it, and
//! comes back when the script ends. A script that runs past `lua-time-limit` answers other clients with BUSY and accepts
//! SCRIPT KILL (`watchdog`). After [`HARD_LIMIT`] times that limit the script is stopped.

#![expect(clippy::needless_pass_by_value, reason = "Lua hands arguments over by value")]

mod bit;
mod cjson;
mod cmsgpack;
mod convert;
mod host;
mod packed;
mod raise;
mod random;
mod redis_api;
mod watchdog;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Function, Table, Value};

use super::commands::Cx;
use super::reply::{Fault, Reply};
use super::state::Core;
use host::Host;

/// Times `lua-time-limit`.
const HARD_LIMIT: u32 = 2;

/// A script on its way, with the engine it works on.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own for the script")]
struct Running {
    core: Core,
    slot: usize,
    db: usize,
    resp3: bool,
    readonly: bool,
    /// Over `maxmemory` when it began.
    oom: bool,
    allow_oom: bool,
    wrote: bool,
    /// What the keys took when it began, in bytes.
    used: usize,
    started: Instant,
    killed: bool,
}

type Slot = Rc<RefCell<Option<Running>>>;

#[derive(Clone)]
struct Script {
    function: Function,
    no_writes: bool,
    allow_oom: bool,
    /// Declared with a shebang, which makes Redis check more before it starts.
    declared: bool,
}

/// The scripts of an engine and the Lua state they live in, made with the first one.
#[derive(Default)]
pub(super) struct Scripts {
    host: Option<Rc<Host>>,
    known: HashMap<String, Script>,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

pub(super) fn sha1_hex(bytes: &[u8]) -> String {
    sha1_smol::Sha1::from(bytes).digest().to_string()
}

impl Scripts {
    pub(super) fn knows(&self, sha: &str) -> bool {
        self.known.contains_key(sha)
    }

    fn host(&mut self) -> Result<Rc<Host>, Fault> {
        if let Some(host) = &self.host {
            return Ok(Rc::clone(host));
        }
        let host = Rc::new(Host::new().map_err(|e| Fault::new(format!("ERR the script host cannot start: {e}")))?);
        self.host = Some(Rc::clone(&host));
        Ok(host)
    }

    /// Compiles a script unless it is known; `limit` is `lua-time-limit`.
    pub(super) fn load(&mut self, sha: &str, source: &[u8], limit: Duration) -> Result<(), Fault> {
        if self.knows(sha) {
            return Ok(());
        }
        let (flags, body) = shebang(source)?;
        let function = self.host()?.compile(&body, limit)?;
        let script = Script {
            function,
            no_writes: flags.no_writes,
            allow_oom: flags.allow_oom || flags.no_writes,
            declared: flags.declared,
        };
        self.known.insert(sha.to_owned(), script);
        Ok(())
    }
}

#[derive(Default)]
struct Flags {
    declared: bool,
    no_writes: bool,
    allow_oom: bool,
}

/// Reads `#!lua flags=a,b`, and gives the source with that line emptied.
fn shebang(source: &[u8]) -> Result<(Flags, Vec<u8>), Fault> {
    let mut flags = Flags::default();
    if !source.starts_with(b"#!") {
        return Ok((flags, source.to_vec()));
    }
    flags.declared = true;
    let end = source.iter().position(|&b| b == b'\n').ok_or(Fault::of("ERR Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&source[..end]).into_owned();
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(Fault::new(format!("ERR Unexpected engine in script shebang: {engine}")));
    }
    for word in words {
        let Some(list) = word.strip_prefix("flags=") else {
            return Err(Fault::new(format!("ERR Unknown lua shebang option: {word}")));
        };
        for flag in list.split(',').filter(|f| !f.is_empty()) {
            match flag {
                "no-writes" => flags.no_writes = true,
                "allow-oom" => flags.allow_oom = true,
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => {
                    return Err(Fault::new(format!("ERR Unexpected flag in script shebang: {flag}")));
                }
            }
        }
    }
    // Only the line's end stays, so that line numbers do.
    Ok((flags, source[end..].to_vec()))
}

/// Runs a script that is known.
pub(super) fn run(cx: &mut Cx<'_>, sha: &str, keys: &[&[u8]], values: &[&[u8]], readonly: bool) -> Reply {
    let Some(script) = cx.core.scripts.known.get(sha).cloned() else {
        return Reply::Error(b"NOSCRIPT No matching script. Please use EVAL.".to_vec());
    };
    let host = match cx.core.scripts.host() {
        Ok(host) => host,
        Err(fault) => return fault.into(),
    };
    let oom = super::memory::exceeded(cx.core);
    if script.declared {
        if oom && !script.allow_oom {
            return Reply::Error(
                b"OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'".to_vec(),
            );
        }
        if cx.core.faults.readonly && !script.no_writes && !readonly {
            return Reply::Error(b"READONLY Can not run script with write flag on readonly replica.".to_vec());
        }
        if readonly && !script.no_writes {
            return Reply::Error(b"ERR Can not execute a script with write flag using *_ro command.".to_vec());
        }
    }
    if let Err(error) = host.arguments(keys, values) {
        return Reply::Error(format!("ERR {error}").into_bytes());
    }
    let running = Running {
        used: cx.core.used_memory(),
        core: std::mem::take(cx.core),
        slot: cx.slot,
        db: cx.db,
        resp3: false,
        readonly: readonly || script.no_writes,
        oom,
        allow_oom: script.allow_oom,
        wrote: false,
        started: Instant::now(),
        killed: false,
    };
    *host.running.borrow_mut() = Some(running);
    let outcome = host.call(&script.function);
    let Some(running) = host.running.borrow_mut().take() else {
        return Reply::Null;
    };
    *cx.core = running.core;
    host.settle(running.killed);
    match outcome {
        Ok(value) => convert::to_reply(&value, running.resp3),
        Err(error) => failure(&error, sha),
    }
}

/// The error reply of a script that raised.
fn failure(error: &Value, sha: &str) -> Reply {
    let Value::Table(table) = error else {
        let text = raise::text(error);
        return Reply::Error([format!("ERR Error running script {sha}, ").as_bytes(), &text, b"\n"].concat());
    };
    let mut text = convert::string_field(table, "err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    let source = convert::string_field(table, "source");
    let line = line_of(table);
    if let (Some(source), Some(line)) = (source, line) {
        text.extend_from_slice(format!(" script: {sha}, on ").as_bytes());
        text.extend_from_slice(&source);
        text.extend_from_slice(format!(":{line}.").as_bytes());
    }
    Reply::Error(text)
}

fn line_of(table: &Table) -> Option<i64> {
    table.raw_get::<Option<i64>>("line").ok().flatten()
}
