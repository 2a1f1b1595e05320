//! `cmsgpack`: `MessagePack` for scripts, as in Redis.

use mlua::{Lua, MultiValue, Table, Value};

use super::watchdog::{check_length, spend};
use super::{convert, raise};

/// Deeper tables are packed as nil.
const MAX_NESTING: usize = 16;
const MISSING: &str = "Missing bytes in input.";
const TOO_MANY: &str = "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)";
const BAD: &str = "Bad data format in input.";

pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let cmsgpack = lua.create_table()?;
    cmsgpack.raw_set("pack", lua.create_function(pack)?)?;
    cmsgpack.raw_set("unpack", lua.create_function(unpack)?)?;
    cmsgpack.raw_set("unpack_one", lua.create_function(unpack_one)?)?;
    cmsgpack.raw_set("unpack_limit", lua.create_function(unpack_limit)?)?;
    cmsgpack.raw_set("_NAME", "cmsgpack")?;
    cmsgpack.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    cmsgpack.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    cmsgpack.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(cmsgpack)
}

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<mlua::LuaString> {
    if args.is_empty() {
        return Err(raise::argument(lua, 0, "pack", "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in &args {
        write(lua, value, &mut out, 0)?;
    }
    lua.create_string(&out)
}

fn write(lua: &Lua, value: &Value, out: &mut Vec<u8>, level: usize) -> mlua::Result<()> {
    spend(lua, 8)?;
    check_length(lua, out.len())?;
    match value {
        Value::String(text) => write_string(&text.as_bytes(), out),
        Value::Boolean(yes) => out.push(if *yes { 0xc3 } else { 0xc2 }),
        Value::Integer(n) => write_int(*n, out),
        Value::Number(n) => write_number(*n, out),
        Value::Table(table) if level < MAX_NESTING => write_table(lua, table, out, level)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "each branch has checked the range")]
#[expect(clippy::cast_sign_loss, reason = "each branch has checked the sign")]
fn write_int(n: i64, out: &mut Vec<u8>) {
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => tagged(0xcd, &(n as u16).to_be_bytes(), out),
        0x1_0000..=0xffff_ffff => tagged(0xce, &(n as u32).to_be_bytes(), out),
        0x1_0000_0000.. => tagged(0xcf, &n.to_be_bytes(), out),
        -32..=-1 => out.push(n as i8 as u8),
        -128..=-33 => out.extend_from_slice(&[0xd0, n as i8 as u8]),
        -0x8000..=-129 => tagged(0xd1, &(n as i16).to_be_bytes(), out),
        -0x8000_0000..=-0x8001 => tagged(0xd2, &(n as i32).to_be_bytes(), out),
        _ => tagged(0xd3, &n.to_be_bytes(), out),
    }
}

fn tagged(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers in range, and the float that is compared back")]
fn write_number(n: f64, out: &mut Vec<u8>) {
    if n.fract() == 0.0 && n.abs() < 9.223_372_036_854_775e18 {
        return write_int(n as i64, out);
    }
    let short = n as f32;
    // NaN is not equal to itself, so it never counts as equal to its short form.
    if !n.is_nan() && f64::from(short).to_bits() == n.to_bits() {
        tagged(0xca, &short.to_be_bytes(), out);
    } else {
        tagged(0xcb, &n.to_be_bytes(), out);
    }
}

/// Writes a length with the tag of its size: fixed (below `limit`), 8 bits (if there is such a tag), 16 bits, 32 bits.
fn write_length(len: usize, fixed: u8, limit: usize, tags: [Option<u8>; 3], out: &mut Vec<u8>) {
    if len < limit {
        out.push(fixed | u8::try_from(len).unwrap_or(0));
    } else if let (Some(tag), Ok(len)) = (tags[0], u8::try_from(len)) {
        out.extend_from_slice(&[tag, len]);
    } else if let (Some(tag), Ok(len)) = (tags[1], u16::try_from(len)) {
        tagged(tag, &len.to_be_bytes(), out);
    } else if let Some(tag) = tags[2] {
        tagged(tag, &u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes(), out);
    }
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    write_length(text.len(), 0xa0, 32, [Some(0xd9), Some(0xda), Some(0xdb)], out);
    out.extend_from_slice(text);
}

fn write_table(lua: &Lua, table: &Table, out: &mut Vec<u8>, level: usize) -> mlua::Result<()> {
    // The table is read twice, because Rust can hold only some thousands of Lua values at a time.
    let whole = |key: &Value| match key {
        Value::Integer(n) if *n > 0 => usize::try_from(*n).ok(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and positive")]
        Value::Number(n) if *n > 0.0 && n.fract() == 0.0 => Some(*n as usize),
        _ => None,
    };
    let (mut len, mut max) = (0, Some(0));
    table.for_each(|key: Value, _: Value| {
        len += 1;
        max = max.zip(whole(&key)).map(|(max, n): (usize, usize)| max.max(n));
        Ok(())
    })?;
    if max == Some(len) {
        write_length(len, 0x90, 16, [None, Some(0xdc), Some(0xdd)], out);
        for i in 1..=len {
            write(lua, &table.raw_get::<Value>(i)?, out, level + 1)?;
        }
        return Ok(());
    }
    write_length(len, 0x80, 16, [None, Some(0xde), Some(0xdf)], out);
    table.for_each(|key: Value, value: Value| {
        write(lua, &key, out, level + 1)?;
        write(lua, &value, out, level + 1)
    })
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn take(&mut self, n: usize) -> mlua::Result<&[u8]> {
        let end = self.at.checked_add(n).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or_else(|| raise::string(self.lua, MISSING))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// Reads a big-endian number of `n` bytes.
    fn uint(&mut self, n: usize) -> mlua::Result<u64> {
        Ok(self.take(n)?.iter().fold(0, |value, &b| value << 8 | u64::from(b)))
    }

    fn length(&mut self, n: usize) -> mlua::Result<usize> {
        Ok(usize::try_from(self.uint(n)?).unwrap_or(usize::MAX))
    }

    fn string(&mut self, len: usize) -> mlua::Result<Value> {
        let lua = self.lua;
        Ok(Value::String(lua.create_string(self.take(len)?)?))
    }

    #[expect(clippy::cast_possible_wrap, reason = "the numbers are in two's complement")]
    #[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
    fn signed(&mut self, n: usize) -> mlua::Result<Value> {
        let shift = 64 - 8 * u32::try_from(n).unwrap_or(8);
        Ok(Value::Number(((self.uint(n)? << shift) as i64 >> shift) as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
    fn value(&mut self) -> mlua::Result<Value> {
        spend(self.lua, 8)?;
        let tag = self.take(1)?[0];
        Ok(match tag {
            0x00..=0x7f => Value::Number(f64::from(tag)),
            0x80..=0x8f => self.map(usize::from(tag & 15))?,
            0x90..=0x9f => self.array(usize::from(tag & 15))?,
            0xa0..=0xbf => self.string(usize::from(tag & 31))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xc4 | 0xd9 => self.length(1).and_then(|n| self.string(n))?,
            0xc5 | 0xda => self.length(2).and_then(|n| self.string(n))?,
            0xc6 | 0xdb => self.length(4).and_then(|n| self.string(n))?,
            0xca => Value::Number(f64::from(f32::from_bits(u32::try_from(self.uint(4)?).unwrap_or(0)))),
            0xcb => Value::Number(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => Value::Number(self.uint(1 << (tag - 0xcc))? as f64),
            0xd0..=0xd3 => self.signed(1 << (tag - 0xd0))?,
            0xdc => self.length(2).and_then(|n| self.array(n))?,
            0xdd => self.length(4).and_then(|n| self.array(n))?,
            0xde => self.length(2).and_then(|n| self.map(n))?,
            0xdf => self.length(4).and_then(|n| self.map(n))?,
            0xe0..=0xff => Value::Number(f64::from(tag.cast_signed())),
            _ => return Err(raise::string(self.lua, BAD)),
        })
    }

    fn enter(&mut self) -> mlua::Result<Table> {
        self.depth += 1;
        if self.depth > 1000 {
            return Err(raise::string(self.lua, BAD));
        }
        self.lua.create_table()
    }

    fn array(&mut self, n: usize) -> mlua::Result<Value> {
        let table = self.enter()?;
        for i in 1..=n {
            table.raw_set(i, self.value()?)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn map(&mut self, n: usize) -> mlua::Result<Value> {
        let table = self.enter()?;
        for _ in 0..n {
            let (key, value) = (self.value()?, self.value()?);
            if matches!(key, Value::Nil) {
                return Err(raise::string(self.lua, BAD));
            }
            table.raw_set(key, value)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// Reads up to `limit` values (0: all) from `offset`. Also gives the offset after them, or -1 at the end.
fn read(lua: &Lua, input: &Value, function: &str, limit: usize, offset: usize) -> mlua::Result<(Vec<Value>, i64)> {
    let Some(text) = lua.coerce_string(input.clone())? else {
        return Err(raise::expected(lua, 1, function, "string", Some(input)));
    };
    let bytes = text.as_bytes();
    if offset > bytes.len() {
        let text = format!("Start offset {offset} greater than input length {}.", bytes.len());
        return Err(raise::string(lua, text));
    }
    let mut reader = Reader { lua, bytes: &bytes, at: offset, depth: 0 };
    let mut values = Vec::new();
    while reader.at < bytes.len() && (limit == 0 || values.len() < limit) {
        if values.len() == convert::MOST_RESULTS {
            return Err(raise::string(lua, TOO_MANY));
        }
        values.push(reader.value()?);
    }
    let next = if reader.at == bytes.len() { -1 } else { i64::try_from(reader.at).unwrap_or(-1) };
    Ok((values, next))
}

fn unpack(lua: &Lua, input: Value) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_iter(read(lua, &input, "unpack", 0, 0)?.0))
}

#[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
fn with_offset(read: (Vec<Value>, i64)) -> MultiValue {
    let (values, next) = read;
    [Value::Number(next as f64)].into_iter().chain(values).collect()
}

fn unpack_one(lua: &Lua, (input, offset): (Value, Option<i64>)) -> mlua::Result<MultiValue> {
    unpack_some(lua, &input, "unpack_one", 1, offset)
}

fn unpack_limit(lua: &Lua, (input, limit, offset): (Value, i64, Option<i64>)) -> mlua::Result<MultiValue> {
    unpack_some(lua, &input, "unpack_limit", limit, offset)
}

fn unpack_some(lua: &Lua, input: &Value, function: &str, limit: i64, offset: Option<i64>) -> mlua::Result<MultiValue> {
    let offset = offset.unwrap_or(0);
    if let (Ok(limit), Ok(offset)) = (usize::try_from(limit), usize::try_from(offset)) {
        let read = read(lua, input, function, limit, offset)?;
        // If all values are read, no offset is returned.
        return Ok(if limit == 0 && offset == 0 { MultiValue::from_iter(read.0) } else { with_offset(read) });
    }
    // In the error of Redis the limit is the length of the text.
    let len = lua.coerce_string(input.clone())?.map_or(0, |text| text.as_bytes().len());
    let text = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
    Err(raise::string(lua, text))
}
