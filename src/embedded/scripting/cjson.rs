//! `cjson` with the settings of Redis: empty tables become `{}`, `null` becomes `cjson.null`, numbers have 14 digits.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{LightUserData, Lua, MultiValue, Table, Value};

use super::watchdog::{check_length, spend};
use super::{convert, raise};
use crate::embedded::number;

const SAFE_ARRAY: i64 = 10;
const SPARSE_RATIO: i64 = 2;
/// How many bytes of a string are written between two checks of the length.
const PIECE: usize = 64 * 1024;
/// The deepest nesting, also if the script allows more: the thread's stack is limited.
const DEEPEST: usize = 4000;

/// The settings that the configuration functions change.
#[derive(Debug)]
struct Settings {
    encode_depth: Cell<usize>,
    decode_depth: Cell<usize>,
    precision: Cell<usize>,
    convert_sparse: Cell<bool>,
    sparse_ratio: Cell<i64>,
    sparse_safe: Cell<i64>,
    keep_buffer: Cell<bool>,
    encode_invalid: Cell<bool>,
    decode_invalid: Cell<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            encode_depth: Cell::new(1000),
            decode_depth: Cell::new(1000),
            precision: Cell::new(14),
            convert_sparse: Cell::new(false),
            sparse_ratio: Cell::new(SPARSE_RATIO),
            sparse_safe: Cell::new(SAFE_ARRAY),
            keep_buffer: Cell::new(true),
            encode_invalid: Cell::new(false),
            decode_invalid: Cell::new(true),
        }
    }
}

fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let settings = Rc::new(Settings::default());
    let cjson = lua.create_table()?;
    let s = Rc::clone(&settings);
    cjson.raw_set("encode", lua.create_function(move |lua, args: MultiValue| encode(lua, &s, &args))?)?;
    let s = Rc::clone(&settings);
    cjson.raw_set("decode", lua.create_function(move |lua, args: MultiValue| decode(lua, &s, &args))?)?;
    cjson.raw_set("null", null())?;
    cjson.raw_set("_NAME", "cjson")?;
    cjson.raw_set("_VERSION", "2.1.0")?;
    cjson.raw_set("new", lua.create_function(|lua, ()| table(lua))?)?;
    configure(lua, &cjson, &settings)
}

type Number = fn(&Settings) -> &Cell<usize>;
type Flag = fn(&Settings) -> &Cell<bool>;

fn configure(lua: &Lua, cjson: &Table, settings: &Rc<Settings>) -> mlua::Result<Table> {
    let numbers: [(&str, Number, usize, usize); 3] = [
        ("encode_max_depth", |s| &s.encode_depth, 1, i32::MAX as usize),
        ("decode_max_depth", |s| &s.decode_depth, 1, i32::MAX as usize),
        ("encode_number_precision", |s| &s.precision, 1, 14),
    ];
    for (name, field, min, max) in numbers {
        let s = Rc::clone(settings);
        let function = lua.create_function(move |lua, value: Option<f64>| {
            if let Some(value) = value {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let value = value as usize;
                if value < min || value > max {
                    return Err(raise::argument(lua, 1, name, &format!("expected integer between {min} and {max}")));
                }
                field(&s).set(value);
            }
            Ok(field(&s).get())
        })?;
        cjson.raw_set(name, function)?;
    }
    let flags: [(&str, Flag); 3] = [
        ("encode_keep_buffer", |s| &s.keep_buffer),
        ("encode_invalid_numbers", |s| &s.encode_invalid),
        ("decode_invalid_numbers", |s| &s.decode_invalid),
    ];
    for (name, field) in flags {
        let s = Rc::clone(settings);
        let function = lua.create_function(move |_, value: Option<bool>| {
            if let Some(value) = value {
                field(&s).set(value);
            }
            Ok(field(&s).get())
        })?;
        cjson.raw_set(name, function)?;
    }
    let s = Rc::clone(settings);
    let sparse = lua.create_function(move |_, (convert, ratio, safe): (Option<bool>, Option<i64>, Option<i64>)| {
        s.convert_sparse.set(convert.unwrap_or(s.convert_sparse.get()));
        s.sparse_ratio.set(ratio.unwrap_or(s.sparse_ratio.get()));
        s.sparse_safe.set(safe.unwrap_or(s.sparse_safe.get()));
        Ok((s.convert_sparse.get(), s.sparse_ratio.get(), s.sparse_safe.get()))
    })?;
    cjson.raw_set("encode_sparse_array", sparse)?;
    Ok(cjson.clone())
}

fn encode(lua: &Lua, settings: &Settings, args: &MultiValue) -> mlua::Result<mlua::LuaString> {
    let (1, Some(value)) = (args.len(), args.front()) else {
        return Err(raise::argument(lua, 1, "encode", "expected 1 argument"));
    };
    let mut out = Vec::with_capacity(64);
    write(lua, settings, value, &mut out, 0)?;
    lua.create_string(&out)
}

fn refuse(lua: &Lua, kind: &str, why: &str) -> mlua::Error {
    raise::string(lua, format!("Cannot serialise {kind}: {why}"))
}

fn write(lua: &Lua, settings: &Settings, value: &Value, out: &mut Vec<u8>, depth: usize) -> mlua::Result<()> {
    spend(lua, 8)?;
    check_length(lua, out.len())?;
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
        Value::LightUserData(data) if data.0.is_null() => out.extend_from_slice(b"null"),
        Value::String(text) => write_string(lua, &text.as_bytes(), out)?,
        Value::Integer(_) | Value::Number(_) => write_number(lua, settings, value, out)?,
        Value::Table(table) => write_table(lua, settings, table, out, depth + 1)?,
        other => return Err(refuse(lua, other.type_name(), "type not supported")),
    }
    Ok(())
}

fn write_number(lua: &Lua, settings: &Settings, value: &Value, out: &mut Vec<u8>) -> mlua::Result<()> {
    let n = convert::number(value).unwrap_or(0.0);
    if !n.is_finite() && !settings.encode_invalid.get() {
        return Err(refuse(lua, "number", "must not be NaN or Inf"));
    }
    if n.is_nan() {
        out.extend_from_slice(b"nan");
    } else {
        out.extend_from_slice(number::general(n, settings.precision.get()).as_bytes());
    }
    Ok(())
}

fn write_string(lua: &Lua, text: &[u8], out: &mut Vec<u8>) -> mlua::Result<()> {
    out.push(b'"');
    for piece in text.chunks(PIECE) {
        spend(lua, piece.len() / 8)?;
        check_length(lua, out.len())?;
        escape(piece, out);
    }
    out.push(b'"');
    Ok(())
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &b in text {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..=0x1f | 0x7f => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
    }
}

/// The length of a table that is an array; `None` if it is an object.
fn array_length(lua: &Lua, settings: &Settings, table: &Table) -> mlua::Result<Option<i64>> {
    let (mut max, mut items) = (0i64, 0i64);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        spend(lua, 4)?;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole")]
        let index = match key {
            Value::Integer(n) => n,
            Value::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => n as i64,
            _ => return Ok(None),
        };
        if index <= 0 {
            return Ok(None);
        }
        max = max.max(index);
        items += 1;
    }
    let ratio = settings.sparse_ratio.get();
    if ratio > 0 && max > items.saturating_mul(ratio) && max > settings.sparse_safe.get() {
        if !settings.convert_sparse.get() {
            return Err(refuse(lua, "table", "excessively sparse array"));
        }
        return Ok(None);
    }
    Ok(Some(max))
}

fn write_table(lua: &Lua, settings: &Settings, table: &Table, out: &mut Vec<u8>, depth: usize) -> mlua::Result<()> {
    if depth > settings.encode_depth.get().min(DEEPEST) {
        return Err(raise::string(lua, format!("Cannot serialise, excessive nesting ({depth})")));
    }
    if let Some(len) = array_length(lua, settings, table)?.filter(|&n| n > 0) {
        out.push(b'[');
        for i in 1..=len {
            if i > 1 {
                out.push(b',');
            }
            write(lua, settings, &table.raw_get::<Value>(i)?, out, depth)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    for (i, pair) in table.pairs::<Value, Value>().enumerate() {
        let (key, value) = pair?;
        if i > 0 {
            out.push(b',');
        }
        match &key {
            Value::String(text) => write_string(lua, &text.as_bytes(), out)?,
            Value::Integer(_) | Value::Number(_) => {
                out.push(b'"');
                write_number(lua, settings, &key, out)?;
                out.push(b'"');
            }
            other => {
                return Err(refuse(lua, other.type_name(), "table key must be a number or string"));
            }
        }
        out.push(b':');
        write(lua, settings, &value, out, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn decode(lua: &Lua, settings: &Settings, args: &MultiValue) -> mlua::Result<Value> {
    let (1, Some(value)) = (args.len(), args.front()) else {
        return Err(raise::argument(lua, 1, "decode", "expected 1 argument"));
    };
    let Some(text) = lua.coerce_string(value.clone())? else {
        return Err(raise::expected(lua, 1, "decode", "string", Some(value)));
    };
    let bytes = text.as_bytes();
    if bytes.len() >= 2 && (bytes[0] == 0 || bytes[1] == 0) {
        return Err(raise::string(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut reader =
        Reader { lua, bytes: &bytes, at: 0, max_depth: settings.decode_depth.get().min(DEEPEST), depth: 0 };
    let token = reader.token();
    let value = reader.value(token)?;
    match reader.token() {
        Token { kind: Kind::End, .. } => Ok(value),
        token => Err(reader.unexpected("the end", &token)),
    }
}

enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Bool(bool),
    Null,
    Colon,
    Comma,
    End,
    Bad(&'static str),
}

struct Token {
    kind: Kind,
    at: usize,
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
    max_depth: usize,
    depth: usize,
}

impl Reader<'_> {
    fn token(&mut self) -> Token {
        while self.bytes.get(self.at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let at = self.at;
        let Some(&b) = self.bytes.get(at) else {
            return Token { kind: Kind::End, at };
        };
        let single = match b {
            b'{' => Some(Kind::ObjectBegin),
            b'}' => Some(Kind::ObjectEnd),
            b'[' => Some(Kind::ArrayBegin),
            b']' => Some(Kind::ArrayEnd),
            b',' => Some(Kind::Comma),
            b':' => Some(Kind::Colon),
            _ => None,
        };
        if let Some(kind) = single {
            self.at += 1;
            return Token { kind, at };
        }
        if b == b'"' {
            return self.text(at);
        }
        for (word, kind) in [(&b"true"[..], Kind::Bool(true)), (b"false", Kind::Bool(false)), (b"null", Kind::Null)] {
            if self.bytes[at..].starts_with(word) {
                self.at += word.len();
                return Token { kind, at };
            }
        }
        if b == b'-' || b == b'+' || b.is_ascii_digit() || matches!(b, b'i' | b'I' | b'n' | b'N') {
            return Token { kind: self.number(), at };
        }
        Token { kind: Kind::Bad("invalid token"), at }
    }

    /// Reads the longest prefix that `strtod` would read.
    fn number(&mut self) -> Kind {
        let rest = &self.bytes[self.at..];
        let sign = usize::from(matches!(rest.first(), Some(b'-' | b'+')));
        let body = &rest[sign..];
        let lower: Vec<u8> = body.iter().take(8).map(u8::to_ascii_lowercase).collect();
        let negative = rest.first() == Some(&b'-');
        let (len, value) = if lower.starts_with(b"infinity") {
            (8, f64::INFINITY)
        } else if lower.starts_with(b"inf") {
            (3, f64::INFINITY)
        } else if lower.starts_with(b"nan") {
            (3, f64::NAN)
        } else if lower.starts_with(b"0x") && body.get(2).is_some_and(u8::is_ascii_hexdigit) {
            let digits = body[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
            (2 + digits, number::float(&body[..2 + digits]).unwrap_or(0.0))
        } else {
            let len = decimal_length(body);
            (len, std::str::from_utf8(&body[..len]).ok().and_then(|t| t.parse().ok()).unwrap_or(0.0))
        };
        if len == 0 {
            let first = self.bytes[self.at];
            return Kind::Bad(if first.is_ascii_alphabetic() { "invalid token" } else { "invalid number" });
        }
        self.at += sign + len;
        Kind::Number(if negative { -value } else { value })
    }

    fn text(&mut self, start: usize) -> Token {
        let bad = |text, at| Token { kind: Kind::Bad(text), at };
        let mut out = Vec::new();
        let mut i = start + 1;
        loop {
            match self.bytes.get(i) {
                None => return bad("unexpected end of string", self.bytes.len()),
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = match self.bytes.get(i + 1) {
                        Some(b'u') => {
                            let Some((len, c)) = unicode(&self.bytes[i..]) else {
                                return bad("invalid unicode escape code", i);
                            };
                            let mut buffer = [0; 4];
                            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                            i += len;
                            continue;
                        }
                        Some(b @ (b'"' | b'\\' | b'/')) => *b,
                        Some(b'b') => 0x08,
                        Some(b'f') => 0x0c,
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        _ => return bad("invalid escape code", i),
                    };
                    out.push(escaped);
                    i += 2;
                }
                Some(&b) => {
                    out.push(b);
                    i += 1;
                }
            }
        }
        self.at = i + 1;
        Token { kind: Kind::Text(out), at: start }
    }

    fn unexpected(&self, wanted: &str, token: &Token) -> mlua::Error {
        let found = match token.kind {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::Text(_) => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Bool(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Bad(why) => why,
        };
        raise::string(self.lua, format!("Expected {wanted} but found {found} at character {}", token.at + 1))
    }

    fn value(&mut self, token: Token) -> mlua::Result<Value> {
        spend(self.lua, 8)?;
        Ok(match token.kind {
            Kind::Text(text) => Value::String(self.lua.create_string(&text)?),
            Kind::Number(n) => Value::Number(n),
            Kind::Bool(yes) => Value::Boolean(yes),
            Kind::Null => null(),
            Kind::ObjectBegin => self.nested(Self::object)?,
            Kind::ArrayBegin => self.nested(Self::array)?,
            _ => return Err(self.unexpected("value", &token)),
        })
    }

    fn nested(&mut self, read: fn(&mut Self) -> mlua::Result<Table>) -> mlua::Result<Value> {
        self.depth += 1;
        if self.depth > self.max_depth {
            let text = format!("Found too many nested data structures ({}) at character {}", self.depth, self.at);
            return Err(raise::string(self.lua, text));
        }
        let table = read(self)?;
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn object(&mut self) -> mlua::Result<Table> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token.kind, Kind::ObjectEnd) {
            return Ok(table);
        }
        loop {
            let Kind::Text(key) = &token.kind else {
                return Err(self.unexpected("object key string", &token));
            };
            let key = self.lua.create_string(key)?;
            let colon = self.token();
            if !matches!(colon.kind, Kind::Colon) {
                return Err(self.unexpected("colon", &colon));
            }
            let first = self.token();
            table.raw_set(key, self.value(first)?)?;
            let next = self.token();
            match next.kind {
                Kind::ObjectEnd => return Ok(table),
                Kind::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or object end", &next)),
            }
        }
    }

    fn array(&mut self) -> mlua::Result<Table> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token.kind, Kind::ArrayEnd) {
            return Ok(table);
        }
        for i in 1.. {
            table.raw_set(i, self.value(token)?)?;
            let next = self.token();
            match next.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or array end", &next)),
            }
        }
        Ok(table)
    }
}

/// The length of the unsigned decimal number at the start of `text`.
fn decimal_length(text: &[u8]) -> usize {
    let digits = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if text.get(len) == Some(&b'.') {
        fraction = digits(len + 1);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return 0;
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits((len + 1 + sign).min(text.len()));
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

/// Reads `\uXXXX`, or two of them for a character beyond the basic plane. Gives the number of bytes and the character.
fn unicode(text: &[u8]) -> Option<(usize, char)> {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let high = unit(2)?;
    if !(0xD800..0xE000).contains(&high) {
        return char::from_u32(high).map(|c| (6, c));
    }
    if high >= 0xDC00 || text.get(6..8) != Some(b"\\u") {
        return None;
    }
    let low = unit(8).filter(|low| (0xDC00..0xE000).contains(low))?;
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).map(|c| (12, c))
}
