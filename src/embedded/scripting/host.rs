//! One Lua state, with its globals and libraries.
//!
//! Scripts access the globals and the library tables through proxies, because plain Lua 5.1 has no read-only tables. A proxy is
//! an empty table that reads from the real table and refuses writes. The only visible difference is that `pairs` over a proxy
//! finds nothing.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value};

use super::raise;
use super::watchdog::Watchdog;
use super::{Slot, bit, cjson, cmsgpack, packed, random, redis_api};
use crate::embedded::reply::Fault;

/// The functions of Lua's base library that Redis removes.
const REMOVED: &[&str] =
    &["print", "dofile", "loadfile", "require", "module", "newproxy", "package", "getfenv", "setfenv"];
const READONLY: &str = "Attempt to modify a readonly table";

const BOOTSTRAP: &str = r"
local raw_pcall, raw_xpcall, raw_resume, to_lua = pcall, xpcall, coroutine.resume, ...
local type = type
local function caught(ok, err, ...)
    if ok then return ok, err, ... end
    err = to_lua(err)
    if type(err) == 'table' then
        local text = err.err
        if type(text) == 'string' or type(text) == 'number' then return false, text end
    end
    return false, err
end
function pcall(...)
    return caught(raw_pcall(...))
end
function xpcall(f, handler)
    return raw_xpcall(f, function(err) return handler(to_lua(err)) end)
end
local function resumed(ok, err, ...)
    if ok then return ok, err, ... end
    return false, to_lua(err)
end
function coroutine.resume(...)
    return resumed(raw_resume(...))
end
return raw_xpcall
";

pub(super) struct Host {
    lua: Lua,
    pub(super) running: Slot,
    watchdog: Watchdog,
    /// Lua's own `xpcall`. It runs no Lua instruction after the script; in a stopped state every instruction raises an error.
    xpcall: Function,
    on_error: Function,
    /// The real globals, behind the proxy.
    globals: Table,
}

impl Host {
    pub(super) fn new() -> mlua::Result<Host> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(false))?;
        let running = Slot::default();
        let globals = lua.globals();
        for name in REMOVED {
            globals.raw_set(*name, Value::Nil)?;
        }
        globals.raw_set("loadstring", lua.create_function(load_string)?)?;
        globals.raw_set("load", lua.create_function(load)?)?;
        random::install(&lua)?;
        let xpcall: Function = lua.load(BOOTSTRAP).set_name("=redis").call(lua.create_function(raise::to_lua)?)?;
        let on_error = lua.create_function(on_error)?;
        globals.raw_set("redis", redis_api::table(&lua, &running)?)?;
        globals.raw_set("cjson", cjson::table(&lua)?)?;
        globals.raw_set("cmsgpack", cmsgpack::table(&lua)?)?;
        globals.raw_set("bit", bit::table(&lua)?)?;
        globals.raw_set("struct", packed::table(&lua)?)?;
        protect(&lua, &globals)?;
        let watchdog = Watchdog::new(Rc::clone(&running));
        watchdog.watch(&lua)?;
        Ok(Host { lua, running, watchdog, xpcall, on_error, globals })
    }

    /// Prepares the state for the next script.
    pub(super) fn settle(&self, killed: bool) {
        self.watchdog.settle(&self.lua, killed);
    }

    /// Compiles a script; `limit` is `lua-time-limit`.
    pub(super) fn compile(&self, body: &[u8], limit: Duration) -> Result<Function, Fault> {
        self.watchdog
            .compiling(limit, || compile(&self.lua, body, "@user_script"))
            .map_err(|text| Fault::new(format!("ERR Error compiling script (new function): {text}")))
    }

    /// Sets KEYS and ARGV.
    pub(super) fn arguments(&self, keys: &[&[u8]], values: &[&[u8]]) -> mlua::Result<()> {
        for (name, items) in [("KEYS", keys), ("ARGV", values)] {
            let table = self.lua.create_table_with_capacity(items.len(), 0)?;
            for (i, item) in items.iter().enumerate() {
                table.raw_set(i + 1, self.lua.create_string(item)?)?;
            }
            self.globals.raw_set(name, table)?;
        }
        Ok(())
    }

    /// Runs the script. Gives its value, or its error.
    pub(super) fn call(&self, script: &Function) -> Result<Value, Value> {
        match self.xpcall.call::<MultiValue>((script, &self.on_error)) {
            Ok(mut values) => {
                let ok = values.pop_front();
                let value = values.pop_front().unwrap_or(Value::Nil);
                if ok == Some(Value::Boolean(true)) { Ok(value) } else { Err(value) }
            }
            Err(error) => Err(Value::Error(Box::new(error))),
        }
    }
}

/// `loadstring`, for source only. Lua does not check bytecode, so malformed bytecode could crash the process.
fn load_string(lua: &Lua, args: MultiValue) -> mlua::Result<MultiValue> {
    let given = args.front();
    let Some(source) = given.cloned().map(|given| lua.coerce_string(given)).transpose()?.flatten() else {
        return Err(raise::expected(lua, 1, "loadstring", "string", given));
    };
    let name = chunk_name(lua, &args)?.unwrap_or_else(|| source.as_bytes().to_vec());
    compiled(lua, &source.as_bytes(), &name)
}

/// `load`, for source only. A function returns the source piece by piece.
fn load(lua: &Lua, args: MultiValue) -> mlua::Result<MultiValue> {
    let Some(Value::Function(pieces)) = args.front() else {
        return Err(raise::expected(lua, 1, "load", "function", args.front()));
    };
    let mut source = Vec::new();
    loop {
        match lua.coerce_string(pieces.call(())?)? {
            Some(piece) if !piece.as_bytes().is_empty() => source.extend_from_slice(&piece.as_bytes()),
            _ => break,
        }
    }
    let name = chunk_name(lua, &args)?.unwrap_or_else(|| b"=(load)".to_vec());
    compiled(lua, &source, &name)
}

fn chunk_name(lua: &Lua, args: &MultiValue) -> mlua::Result<Option<Vec<u8>>> {
    let name = args.get(1).cloned().map(|name| lua.coerce_string(name)).transpose()?.flatten();
    Ok(name.map(|name| name.as_bytes().to_vec()))
}

fn compiled(lua: &Lua, source: &[u8], name: &[u8]) -> mlua::Result<MultiValue> {
    // In C a name ends at its first NUL.
    let name = String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default());
    Ok(match compile(lua, source, &name) {
        Ok(function) => MultiValue::from_iter([Value::Function(function)]),
        Err(text) => MultiValue::from_iter([Value::Nil, Value::String(lua.create_string(text)?)]),
    })
}

/// Compiles source, never bytecode.
fn compile(lua: &Lua, source: &[u8], name: &str) -> Result<Function, String> {
    lua.load(source).set_name(name).set_mode(mlua::chunk::ChunkMode::Text).into_function().map_err(
        |error| match error {
            mlua::Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        },
    )
}

/// The message handler of a script. It makes every error a table that has the position of the error.
fn on_error(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let table = match raise::to_lua(lua, error)? {
        Value::Table(table) => table,
        other => {
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string([b"ERR ", &raise::text(&other)[..]].concat())?)?;
            table
        }
    };
    let mut level = 1;
    // The levels of the handler itself, and of the function that raised the error if it is not a Lua function.
    let mut natives = 2;
    while let Some((source, native, line)) = lua.inspect_stack(level, |frame| {
        let source = frame.source();
        (source.source.map(std::borrow::Cow::into_owned).unwrap_or_default(), source.what == "C", frame.current_line())
    }) {
        let own = source == "=redis";
        if own || native && natives > 0 {
            natives -= u8::from(native);
            level += 1;
            continue;
        }
        if let Some(line) = line {
            table.raw_set("source", source)?;
            table.raw_set("line", line)?;
        } else {
            table.raw_set("source", source)?;
            table.raw_set("line", -1)?;
        }
        break;
    }
    Ok(Value::Table(table))
}

/// Replaces the globals and every library by proxies.
fn protect(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let refuse = lua.create_function(|lua, _: MultiValue| -> mlua::Result<()> { Err(raise::string(lua, READONLY)) })?;
    let sealed = lua.create_table()?;
    // The tables that rawset and setmetatable must not change.
    let proxies = lua.create_table()?;
    let proxy = |real: &Table| -> mlua::Result<Table> {
        let proxy = lua.create_table()?;
        let meta = lua.create_table()?;
        meta.raw_set("__index", real)?;
        meta.raw_set("__newindex", &refuse)?;
        meta.raw_set("__metatable", &sealed)?;
        proxy.set_metatable(Some(meta))?;
        proxies.raw_set(&proxy, true)?;
        Ok(proxy)
    };
    install_guards(lua, globals, &proxies)?;
    for name in ["redis", "cjson", "cmsgpack", "bit", "struct", "string", "math", "table", "coroutine"] {
        let real: Table = globals.raw_get(name)?;
        globals.raw_set(name, proxy(&real)?)?;
    }
    if let Some(meta) = lua.type_metatable::<LuaString>() {
        // `('').upper` is the same function as `string.upper`.
        meta.raw_set("__index", globals.raw_get::<Table>("string")?)?;
        let shown = proxy(&meta)?;
        meta.raw_set("__metatable", shown)?;
    }
    let outer = proxy(globals)?;
    globals.raw_set("_G", &outer)?;
    let missing = lua.create_function(|lua, (_, name): (Value, Value)| -> mlua::Result<()> {
        let name = raise::text(&name);
        let text = [b"Script attempted to access nonexistent global variable '", &name[..], b"'"].concat();
        Err(raise::string(lua, text))
    })?;
    let meta = lua.create_table()?;
    meta.raw_set("__index", missing)?;
    globals.set_metatable(Some(meta))?;
    lua.set_globals(outer)
}

/// Replaces `rawset` and `setmetatable` by functions that refuse proxies.
fn install_guards(lua: &Lua, globals: &Table, proxies: &Table) -> mlua::Result<()> {
    let known = proxies.clone();
    let is_sealed = move |table: &Table| known.raw_get::<bool>(table).unwrap_or(false);
    let sealed = is_sealed.clone();
    let rawset = lua.create_function(move |lua, (table, key, value): (Value, Value, Value)| {
        let Value::Table(table) = table else {
            return Err(raise::expected(lua, 1, "rawset", "table", Some(&table)));
        };
        if sealed(&table) {
            return Err(raise::table(format!("ERR {READONLY}")));
        }
        table.raw_set(key, value)?;
        Ok(table)
    })?;
    globals.raw_set("rawset", rawset)?;
    let setmetatable = lua.create_function(move |lua, (table, meta): (Value, Value)| {
        let Value::Table(table) = table else {
            return Err(raise::expected(lua, 1, "setmetatable", "table", Some(&table)));
        };
        let meta = match meta {
            Value::Nil => None,
            Value::Table(meta) => Some(meta),
            _ => {
                return Err(raise::argument(lua, 2, "setmetatable", "nil or table expected"));
            }
        };
        if is_sealed(&table) {
            return Err(raise::table(format!("ERR {READONLY}")));
        }
        if table.metatable().is_some_and(|m| !matches!(m.raw_get::<Value>("__metatable"), Ok(Value::Nil))) {
            return Err(raise::string(lua, "cannot change a protected metatable"));
        }
        table.set_metatable(meta)?;
        Ok(table)
    })?;
    globals.raw_set("setmetatable", setmetatable)
}
