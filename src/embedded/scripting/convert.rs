//! Conversion of replies to Lua values, and of Lua values to replies.

use mlua::{Lua, Table, Value};

use super::watchdog::spend;

use crate::embedded::number::{double, float, general, i64_bytes};
use crate::embedded::reply::Reply;

/// The deepest nesting of tables that is converted to a reply.
const MAX_DEPTH: usize = 1000;
/// The most tables that are converted to one reply.
const MAX_TABLES: usize = 1_000_000;
/// The most values that are converted to one reply. They may be more than the script created: a table may occur many times.
const MAX_VALUES: usize = 16_000_000;

/// The most values that a library function returns. Lua's stack has no room for more.
pub(super) const MOST_RESULTS: usize = 7900;

/// The value that `redis.call` returns for a reply.
pub(super) fn to_lua(lua: &Lua, reply: Reply, resp3: bool) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Status(text) => single(lua, "ok", Value::String(lua.create_string(&text)?))?,
        Reply::Error(text) => error_table(lua, &text)?,
        #[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
        Reply::Int(n) => Value::Number(n as f64),
        Reply::Bulk(bytes) => Value::String(lua.create_string(&bytes)?),
        Reply::Null | Reply::NullArray if resp3 => Value::Nil,
        Reply::Null | Reply::NullArray => Value::Boolean(false),
        Reply::Double(n) if resp3 => single(lua, "double", Value::Number(n))?,
        Reply::Double(n) => Value::String(lua.create_string(double(n))?),
        Reply::Decimal(text) if resp3 => single(lua, "double", Value::Number(float(&text).unwrap_or(f64::NAN)))?,
        Reply::Decimal(text) => Value::String(lua.create_string(&text)?),
        Reply::Bool(yes) if resp3 => Value::Boolean(yes),
        Reply::Bool(yes) => Value::Number(f64::from(u8::from(yes))),
        Reply::Map(items) if resp3 => {
            spend(lua, items.len())?;
            let map = lua.create_table()?;
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                map.raw_set(to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            single(lua, "map", Value::Table(map))?
        }
        Reply::Set(items) if resp3 => {
            spend(lua, items.len())?;
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, resp3)?, true)?;
            }
            single(lua, "set", Value::Table(set))?
        }
        Reply::Verbatim(text) if resp3 => {
            let inner = lua.create_table()?;
            inner.raw_set("format", "txt")?;
            inner.raw_set("string", lua.create_string(&text)?)?;
            single(lua, "verbatim_string", Value::Table(inner))?
        }
        Reply::BigNumber(digits) if resp3 => single(lua, "big_number", Value::String(lua.create_string(&digits)?))?,
        Reply::Verbatim(bytes) | Reply::BigNumber(bytes) => Value::String(lua.create_string(&bytes)?),
        Reply::Array(items) | Reply::Map(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
            spend(lua, items.len())?;
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (i, item) in items.into_iter().enumerate() {
                table.raw_set(i + 1, to_lua(lua, item, resp3)?)?;
            }
            Value::Table(table)
        }
        Reply::Silent | Reply::Block(_) => Value::Nil,
    })
}

fn single(lua: &Lua, field: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(field, value)?;
    Ok(Value::Table(table))
}

/// The table that `redis.pcall` returns for an error.
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("ignore_error_stats_update", true)?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(Value::Table(table))
}

/// A Lua integer or float as a float.
#[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) => Some(*n),
        _ => None,
    }
}

/// A field that is a string or a number.
pub(super) fn string_field(table: &Table, name: &str) -> Option<Vec<u8>> {
    match table.raw_get::<Value>(name).ok()? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(n) => Some(i64_bytes(n)),
        Value::Number(n) => Some(general(n, 14).into_bytes()),
        _ => None,
    }
}

fn only_string(table: &Table, name: &str) -> Option<Vec<u8>> {
    match table.raw_get::<Value>(name).ok()? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn flat(text: Vec<u8>) -> Vec<u8> {
    text.into_iter().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }).collect()
}

/// The reply for the value that a script returned.
pub(super) fn to_reply(value: &Value, resp3: bool) -> Reply {
    Returned { resp3, left: MAX_TABLES, values: MAX_VALUES }.reply(value, 0)
}

/// The conversion of a script's value to a reply.
struct Returned {
    resp3: bool,
    /// How many tables may still be converted. A table may contain itself many times.
    left: usize,
    /// How many values may still be converted.
    values: usize,
}

impl Returned {
    fn reply(&mut self, value: &Value, depth: usize) -> Reply {
        self.values = self.values.saturating_sub(1);
        match value {
            Value::String(text) => Reply::bulk(text.as_bytes()),
            Value::Boolean(yes) if self.resp3 => Reply::Bool(*yes),
            Value::Boolean(true) => Reply::Int(1),
            Value::Integer(n) => Reply::Int(*n),
            #[expect(clippy::cast_possible_truncation, reason = "Redis truncates numbers to integers")]
            Value::Number(n) => {
                Reply::Int(if n.is_nan() || n.abs() >= 9.223_372_036_854_776e18 { i64::MIN } else { *n as i64 })
            }
            Value::Table(table) => self.table(table, depth),
            _ => Reply::Null,
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> Reply {
        if depth > MAX_DEPTH || self.left == 0 || self.values == 0 {
            return Reply::Error(b"ERR reached lua stack limit".to_vec());
        }
        self.left -= 1;
        if let Some(text) = only_string(table, "err") {
            return Reply::Error(text);
        }
        if let Some(text) = only_string(table, "ok") {
            return Reply::Status(flat(text).into());
        }
        let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Some(n) = number(&field("double")) {
            return Reply::Double(n);
        }
        if let Value::Table(map) = field("map") {
            let mut items = Vec::new();
            for (key, value) in map.pairs::<Value, Value>().flatten() {
                if self.values == 0 {
                    break;
                }
                items.push(self.reply(&key, depth + 1));
                items.push(self.reply(&value, depth + 1));
            }
            return Reply::Map(items);
        }
        if let Value::Table(set) = field("set") {
            let keys = set.pairs::<Value, Value>().flatten().map(|(key, _)| self.reply(&key, depth + 1));
            return Reply::Set(keys.collect());
        }
        if let Some(digits) = only_string(table, "big_number") {
            return Reply::BigNumber(flat(digits));
        }
        if let Value::Table(inner) = field("verbatim_string")
            && let Some(text) = only_string(&inner, "string")
        {
            return Reply::Verbatim(text);
        }
        let mut items = Vec::new();
        for i in 1.. {
            match table.raw_get::<Value>(i) {
                Ok(Value::Nil) | Err(_) => break,
                Ok(_) if self.values == 0 => return Reply::Error(b"ERR reached lua stack limit".to_vec()),
                Ok(value) => items.push(self.reply(&value, depth + 1)),
            }
        }
        Reply::Array(items)
    }
}
