//! Errors that Rust functions raise in Lua.
//!
//! Lua code must get the same errors as from a C function of Redis: a string that starts with the caller's position, or a table
//! with a field `err`. Rust can only raise an object. So everything that gives errors to a script (`pcall`, `xpcall`,
//! `coroutine.resume`, the end of the script) converts them with [`to_lua`].

use std::error::Error as StdError;
use std::fmt;

use mlua::{Error, Lua, Value};

#[derive(Debug, Clone)]
pub(super) struct Raised {
    pub(super) text: Vec<u8>,
    /// Whether Redis raises a table here.
    pub(super) table: bool,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl StdError for Raised {}

/// An error as a table `{err = text}`.
pub(super) fn table(text: impl Into<Vec<u8>>) -> Error {
    Error::external(Raised { text: text.into(), table: true })
}

/// An error as a string, with the position of the caller of the function that raises it.
pub(super) fn string(lua: &Lua, text: impl AsRef<[u8]>) -> Error {
    let mut full = position(lua, 1).into_bytes();
    full.extend_from_slice(text.as_ref());
    Error::external(Raised { text: full, table: false })
}

/// `bad argument #n to 'f' (why)`.
pub(super) fn argument(lua: &Lua, n: usize, function: &str, why: &str) -> Error {
    string(lua, format!("bad argument #{n} to '{function}' ({why})"))
}

pub(super) fn expected(lua: &Lua, n: usize, function: &str, kind: &str, got: Option<&Value>) -> Error {
    let got = got.map_or("no value", Value::type_name);
    let got = if got == "integer" { "number" } else { got };
    argument(lua, n, function, &format!("{kind} expected, got {got}"))
}

/// The position `chunk:line: ` of a stack level; empty if the level has no line.
fn position(lua: &Lua, level: usize) -> String {
    lua.inspect_stack(level, |frame| {
        let source = frame.source();
        match (source.short_src, frame.current_line()) {
            (Some(chunk), Some(line)) if source.what != "C" => format!("{chunk}:{line}: "),
            _ => String::new(),
        }
    })
    .unwrap_or_default()
}

fn find(error: &Error) -> Option<Raised> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => find(cause),
        Error::ExternalError(inner) => inner.downcast_ref::<Raised>().cloned(),
        _ => None,
    }
}

/// The value that was raised.
pub(super) fn raised(error: &Error) -> Raised {
    find(error).unwrap_or_else(|| Raised { text: error.to_string().into_bytes(), table: false })
}

/// The text of an error value.
pub(super) fn text(error: &Value) -> Vec<u8> {
    match error {
        Value::Error(error) => raised(error).text,
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Nil => b"nil".to_vec(),
        other => other.to_string().unwrap_or_default().into_bytes(),
    }
}

/// An error value in the form for scripts.
pub(super) fn to_lua(lua: &Lua, error: Value) -> mlua::Result<Value> {
    let Value::Error(error) = error else {
        return Ok(error);
    };
    let raised = raised(&error);
    if raised.table {
        let table = lua.create_table()?;
        table.raw_set("err", lua.create_string(&raised.text)?)?;
        return Ok(Value::Table(table));
    }
    Ok(Value::String(lua.create_string(&raised.text)?))
}
