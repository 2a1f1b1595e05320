//! Lua: the scripts by their SHA-1, one Lua state for each engine, and the execution of scripts.
//!
//! While a script runs, the engine's whole state is in the host's [`Running`] slot, so that `redis.call` can access it. It is
//! moved back when the script ends. If a script runs longer than `lua-time-limit`, other clients get BUSY and may use SCRIPT KILL
//! (`watchdog`). After [`HARD_LIMIT`] times that limit the script is stopped.

#![expect(clippy::needless_pass_by_value, reason = "Lua passes arguments by value")]

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

/// After this many times `lua-time-limit` a script is stopped.
const HARD_LIMIT: u32 = 2;

/// A running script, with the state of its engine.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent rules for the script")]
struct Running {
    core: Core,
    slot: usize,
    db: usize,
    resp3: bool,
    readonly: bool,
    /// Whether the memory was over `maxmemory` when the script started.
    oom: bool,
    allow_oom: bool,
    wrote: bool,
    /// The memory of the keys when the script started, in bytes.
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
    /// The script has a shebang, for which Redis makes more checks before the start.
    declared: bool,
}

/// The scripts of an engine and their Lua state, which is created with the first script.
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

/// Reads `#!lua flags=a,b`. Also gives the source with an empty line in its place.
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
    // The end of the line is kept, so that line numbers do not change.
    Ok((flags, source[end..].to_vec()))
}

/// Runs a script that was loaded.
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

/// The error reply for the error of a script.
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
