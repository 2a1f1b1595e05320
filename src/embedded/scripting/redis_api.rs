//! The `redis` table: call and pcall, replies, logging.

use std::rc::Rc;

use mlua::{BorrowedBytes, Lua, MultiValue, Table, Value};

use super::watchdog::{self, spend};
use super::{Running, Slot, convert, raise, sha1_hex};
use crate::embedded::commands::{Cx, Mode, lookup, monitor};
use crate::embedded::memory;
use crate::embedded::number;
use crate::embedded::reply::Reply;
use crate::redis_commands::flag;

pub(super) fn table(lua: &Lua, running: &Slot) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    for (name, raise_errors) in [("call", true), ("pcall", false)] {
        let running = Rc::clone(running);
        let function = lua.create_function(move |lua, args: MultiValue| call(lua, &running, &args, raise_errors))?;
        redis.raw_set(name, function)?;
    }
    redis.raw_set("error_reply", lua.create_function(error_reply)?)?;
    redis.raw_set("status_reply", lua.create_function(status_reply)?)?;
    redis.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.raw_set("log", lua.create_function(log)?)?;
    let state = Rc::clone(running);
    redis.raw_set("setresp", lua.create_function(move |lua, args| setresp(lua, &state, &args))?)?;
    redis.raw_set("replicate_commands", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    redis.raw_set("set_repl", lua.create_function(set_repl)?)?;
    redis.raw_set("breakpoint", lua.create_function(|_, _: MultiValue| Ok(false))?)?;
    redis.raw_set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    redis.raw_set("acl_check_cmd", lua.create_function(acl_check_cmd)?)?;
    let constants = [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
        ("REDIS_VERSION_NUM", 0x0007_000F),
    ];
    for (name, value) in constants {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", crate::embedded::commands::client::VERSION)?;
    Ok(redis)
}

/// An argument of a command: a Lua string, or the text of a number.
enum Arg {
    Borrowed(BorrowedBytes),
    Owned(Vec<u8>),
}

impl Arg {
    fn bytes(&self) -> &[u8] {
        match self {
            Arg::Borrowed(bytes) => bytes,
            Arg::Owned(bytes) => bytes,
        }
    }
}

fn arguments(values: &MultiValue) -> Result<Vec<Arg>, &'static str> {
    if values.is_empty() {
        return Err("ERR Please specify at least one argument for this redis lib call");
    }
    let arg = |value: &Value| match value {
        Value::String(text) => Ok(Arg::Borrowed(text.as_bytes())),
        Value::Integer(n) => Ok(Arg::Owned(number::i64_bytes(*n))),
        Value::Number(n) => Ok(Arg::Owned(number::general(*n, 17).into_bytes())),
        _ => Err("ERR Lua redis lib command arguments must be strings or integers"),
    };
    values.iter().map(arg).collect()
}

/// The largest total size of the arguments of one command, in bytes.
const MOST_ARGUMENTS: usize = 640 * 1024 * 1024;
/// The most memory that a script may add to the keys, in bytes. The last command may exceed it.
const MOST_ADDED: usize = 640 * 1024 * 1024;

fn call(lua: &Lua, running: &Slot, values: &MultiValue, raise_errors: bool) -> mlua::Result<Value> {
    spend(lua, watchdog::COMMAND)?;
    let (reply, resp3) = match arguments(values) {
        Err(text) => (Reply::Error(text.as_bytes().to_vec()), false),
        Ok(args) => {
            let args: Vec<&[u8]> = args.iter().map(Arg::bytes).collect();
            let mut running = running.borrow_mut();
            let Some(running) = running.as_mut() else {
                return Err(raise::table("ERR redis.call is only available while a script runs"));
            };
            (Reply::unkept(|| Reply::bounded(|| execute(running, &args))), running.resp3)
        }
    };
    match reply {
        Reply::Error(text) if raise_errors => Err(raise::table(text)),
        reply => convert::to_lua(lua, reply, resp3),
    }
}

/// Runs one command of a script, after the checks of Redis.
fn execute(running: &mut Running, args: &[&[u8]]) -> Reply {
    let refuse = |text: &str| Reply::Error(text.as_bytes().to_vec());
    let lookup::Command { spec, handler } = match lookup::find(args) {
        Ok(command) => command,
        Err(fault) if fault.0.starts_with(b"ERR wrong number") => {
            return refuse("ERR Wrong number of args calling Redis command from script");
        }
        Err(_) => return refuse("ERR Unknown Redis command called from script"),
    };
    if spec.has(flag::NO_SCRIPT) {
        return refuse("ERR This Redis command is not allowed from script");
    }
    let write = spec.has(flag::WRITE);
    if spec.has(flag::WRITE | flag::MAY_REPLICATE) && running.readonly {
        return refuse("ERR Write commands are not allowed from read-only scripts.");
    }
    if write && running.core.faults.readonly {
        return memory::READONLY.into();
    }
    if args.iter().map(|arg| arg.len()).sum::<usize>() > MOST_ARGUMENTS {
        return refuse("ERR the arguments are larger than the engine allows");
    }
    if spec.has(flag::DENY_OOM) && running.core.used_memory() > running.used.saturating_add(MOST_ADDED) {
        return refuse("OOM the script has added more than the engine allows");
    }
    if running.oom && !running.allow_oom && !running.wrote && spec.has(flag::DENY_OOM) {
        return memory::OOM.into();
    }
    running.wrote |= write;
    let (slot, db, resp3) = (running.slot, running.db, running.resp3);
    monitor::feed(&mut running.core, spec, None, db, args);
    let mut cx = Cx { core: &mut running.core, slot, db, resp3, mode: Mode::Script };
    let reply = handler(&mut cx, args).unwrap_or_else(Reply::from);
    if spec.name == "select" {
        running.db = cx.db;
    }
    reply
}

fn one_string(args: &MultiValue) -> Option<Vec<u8>> {
    match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn single(lua: &Lua, field: &str, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(field, lua.create_string(text)?)?;
    Ok(table)
}

const WRONG_ARGS: &[u8] = b"ERR wrong number or type of arguments";

fn error_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Table> {
    let Some(text) = one_string(&args) else {
        return single(lua, "err", WRONG_ARGS);
    };
    // The first word is the error code. A text of one word is a message without a code.
    let text = text.strip_prefix(b"-").unwrap_or(&text);
    let coded = if text.contains(&b' ') { text.to_vec() } else { [b"ERR ", text].concat() };
    let trimmed: Vec<u8> = coded.strip_suffix(b"\r\n").unwrap_or(&coded).to_vec();
    single(lua, "err", &trimmed)
}

fn status_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Table> {
    match one_string(&args) {
        Some(text) => single(lua, "ok", &text),
        None => single(lua, "err", WRONG_ARGS),
    }
}

fn sha1hex(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    if args.len() != 1 {
        return Err(raise::table("ERR wrong number of arguments"));
    }
    let text = args.front().cloned().map(|v| lua.coerce_string(v)).transpose()?.flatten();
    Ok(text.map_or_else(|| sha1_hex(b""), |t| sha1_hex(&t.as_bytes())))
}

/// `redis.log` only checks its arguments, because there is no log file.
fn log(_: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(raise::table("ERR redis.log() requires two arguments or more."));
    }
    match args.front() {
        Some(Value::Number(_) | Value::Integer(_)) => {}
        _ => {
            return Err(raise::table("ERR First argument must be a number (log level)."));
        }
    }
    match args.front().and_then(convert::number) {
        Some(level) if (0.0..=3.0).contains(&level) => Ok(()),
        _ => Err(raise::table("ERR Invalid debug level.")),
    }
}

fn setresp(_: &Lua, running: &Slot, args: &MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(raise::table("ERR redis.setresp() requires one argument."));
    }
    let version = args.front().and_then(convert::number).unwrap_or(0.0);
    let resp3 = match version {
        v if (2.0..3.0).contains(&v) => false,
        v if (3.0..4.0).contains(&v) => true,
        _ => return Err(raise::table("ERR RESP version must be 2 or 3.")),
    };
    if let Some(running) = running.borrow_mut().as_mut() {
        running.resp3 = resp3;
    }
    Ok(())
}

fn set_repl(_: &Lua, args: MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(raise::table("ERR redis.set_repl() requires one argument."));
    }
    match args.front().and_then(convert::number) {
        Some(flags) if (0.0..4.0).contains(&flags) => Ok(()),
        _ => Err(raise::table("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")),
    }
}

fn acl_check_cmd(_: &Lua, args: MultiValue) -> mlua::Result<bool> {
    let args = arguments(&args).map_err(raise::table)?;
    let args: Vec<&[u8]> = args.iter().map(Arg::bytes).collect();
    match lookup::find(&args) {
        Err(fault) if fault.0.starts_with(b"ERR unknown") => {
            Err(raise::table("ERR Invalid command passed to redis.acl_check_cmd()"))
        }
        _ => Ok(true),
    }
}
