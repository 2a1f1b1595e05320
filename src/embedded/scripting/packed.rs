//! `struct`: values in binary formats.

use mlua::{Lua, MultiValue, Table, Value};

use super::watchdog::{check_length, spend};
use super::{convert, raise};

/// The widest integer and the largest alignment.
const MAX_INTEGER: usize = 32;
const NATIVE_ALIGN: usize = 8;

pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let packed = lua.create_table()?;
    packed.raw_set("pack", lua.create_function(pack)?)?;
    packed.raw_set("unpack", lua.create_function(unpack)?)?;
    packed.raw_set("size", lua.create_function(size)?)?;
    Ok(packed)
}

/// Reads a format string.
struct Format<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    little: bool,
    align: usize,
    function: &'static str,
}

/// One element of a format.
enum Item {
    Integer {
        size: usize,
        signed: bool,
    },
    Float(usize),
    /// `s`: zero-terminated.
    Terminated,
    /// `c`: this many bytes. For 0 the size is the previous number, or the length of the whole argument.
    Bytes(usize),
    Pad,
    Nothing,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8], function: &'static str) -> Self {
        Format { lua, text, at: 0, little: true, align: 1, function }
    }

    fn number(&mut self, default: usize) -> usize {
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.text[self.at..self.at + digits]).unwrap_or_default();
        self.at += digits;
        if digits == 0 { default } else { text.parse().unwrap_or(usize::MAX) }
    }

    fn next(&mut self) -> mlua::Result<Option<Item>> {
        let Some(&code) = self.text.get(self.at) else {
            return Ok(None);
        };
        self.at += 1;
        let integer = |size, signed| Item::Integer { size, signed };
        Ok(Some(match code {
            b'b' => integer(1, true),
            b'B' => integer(1, false),
            b'h' => integer(2, true),
            b'H' => integer(2, false),
            b'l' => integer(8, true),
            b'L' | b'T' => integer(8, false),
            b'i' | b'I' => {
                let size = self.number(4);
                if size > MAX_INTEGER {
                    let text = format!("integral size {size} is larger than limit of {MAX_INTEGER}");
                    return Err(raise::string(self.lua, text));
                }
                integer(size, code == b'i')
            }
            b'f' => Item::Float(4),
            b'd' => Item::Float(8),
            b's' => Item::Terminated,
            b'c' => Item::Bytes(self.number(1)),
            b'x' => Item::Pad,
            b' ' => Item::Nothing,
            b'>' => {
                self.little = false;
                Item::Nothing
            }
            b'<' => {
                self.little = true;
                Item::Nothing
            }
            b'!' => {
                let align = self.number(NATIVE_ALIGN);
                if align == 0 || !align.is_power_of_two() {
                    return Err(raise::string(self.lua, format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
                Item::Nothing
            }
            other => {
                let why = format!("invalid format option '{}'", char::from(other));
                return Err(raise::argument(self.lua, 1, self.function, &why));
            }
        }))
    }

    /// How many bytes of padding an element needs at the offset `at`.
    fn padding(&self, item: &Item, at: usize) -> usize {
        let size = match item {
            Item::Integer { size, .. } | Item::Float(size) => *size,
            _ => return 0,
        };
        let align = size.min(self.align);
        if align <= 1 || !align.is_power_of_two() { 0 } else { (align - at % align) % align }
    }
}

fn format_argument(lua: &Lua, args: &MultiValue, function: &'static str) -> mlua::Result<Vec<u8>> {
    let value = args.front();
    match value.cloned().map(|v| lua.coerce_string(v)).transpose()?.flatten() {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(raise::expected(lua, 1, function, "string", value)),
    }
}

fn number_argument(lua: &Lua, args: &MultiValue, n: usize) -> mlua::Result<f64> {
    let value = args.get(n - 1);
    let number = value.cloned().map(|v| lua.coerce_number(v)).transpose()?.flatten();
    number.ok_or_else(|| raise::expected(lua, n, "pack", "number", value))
}

fn text_argument(lua: &Lua, args: &MultiValue, n: usize) -> mlua::Result<Vec<u8>> {
    let value = args.get(n - 1);
    match value.cloned().map(|v| lua.coerce_string(v)).transpose()?.flatten() {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(raise::expected(lua, n, "pack", "string", value)),
    }
}

/// The bytes of an integer in the given order. Sizes above eight bytes are filled up with zeros.
fn integer_bytes(value: u64, size: usize, little: bool) -> Vec<u8> {
    let mut bytes: Vec<u8> = value.to_le_bytes().into_iter().chain(std::iter::repeat(0)).take(size).collect();
    if !little {
        bytes.reverse();
    }
    bytes
}

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<mlua::LuaString> {
    let text = format_argument(lua, &args, "pack")?;
    let mut format = Format::new(lua, &text, "pack");
    let mut out: Vec<u8> = Vec::new();
    let mut n = 2;
    while let Some(item) = format.next()? {
        spend(lua, 4)?;
        check_length(lua, out.len())?;
        out.resize(out.len() + format.padding(&item, out.len()), 0);
        match item {
            Item::Integer { size, .. } => {
                let value = number_argument(lua, &args, n)?;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the library converts")]
                let value = if value < 0.0 { (value as i64).cast_unsigned() } else { value as u64 };
                out.extend(integer_bytes(value, size, format.little));
                n += 1;
            }
            Item::Float(size) => {
                let value = number_argument(lua, &args, n)?;
                #[expect(clippy::cast_possible_truncation, reason = "the format asks for a float")]
                let bits = if size == 4 { u64::from((value as f32).to_bits()) } else { value.to_bits() };
                out.extend(integer_bytes(bits, size, format.little));
                n += 1;
            }
            Item::Terminated => {
                out.extend(text_argument(lua, &args, n)?);
                out.push(0);
                n += 1;
            }
            Item::Bytes(size) => {
                let bytes = text_argument(lua, &args, n)?;
                let size = if size == 0 { bytes.len() } else { size };
                if bytes.len() < size {
                    // The library names the next argument in this error.
                    return Err(raise::argument(lua, n + 1, "pack", "string too short"));
                }
                out.extend_from_slice(&bytes[..size]);
                n += 1;
            }
            Item::Pad => out.push(0),
            Item::Nothing => {}
        }
    }
    lua.create_string(&out)
}

/// Reads one item from the start of `data` into `values`. `data` is `None` if the offset is beyond the end. Gives how many bytes
/// were read.
fn read(lua: &Lua, item: &Item, little: bool, data: Option<&[u8]>, values: &mut Vec<Value>) -> mlua::Result<usize> {
    let take = |size: usize| {
        data.and_then(|data| data.get(..size)).ok_or_else(|| raise::argument(lua, 2, "unpack", "data string too short"))
    };
    let in_order = |size: usize| {
        take(size).map(|bytes| {
            let mut bytes = bytes.to_vec();
            if little {
                bytes.reverse();
            }
            bytes
        })
    };
    match *item {
        Item::Integer { size, signed } => {
            values.push(Value::Number(integer_value(&in_order(size)?, signed)));
            Ok(size)
        }
        Item::Float(size) => {
            let bits = in_order(size)?.iter().fold(0u64, |value, &b| value << 8 | u64::from(b));
            let value = match u32::try_from(bits) {
                Ok(bits) if size == 4 => f64::from(f32::from_bits(bits)),
                _ => f64::from_bits(bits),
            };
            values.push(Value::Number(value));
            Ok(size)
        }
        Item::Terminated => {
            let data = data.unwrap_or_default();
            let Some(len) = data.iter().position(|&b| b == 0) else {
                return Err(raise::string(lua, "unfinished string in data"));
            };
            values.push(Value::String(lua.create_string(&data[..len])?));
            Ok(len + 1)
        }
        Item::Bytes(size) => {
            let size = if size > 0 {
                size
            } else {
                // The size is the number that was read before.
                let Some(n) = values.pop().as_ref().and_then(convert::number) else {
                    return Err(raise::string(lua, "format 'c0' needs a previous size"));
                };
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let size = n as usize;
                size
            };
            values.push(Value::String(lua.create_string(take(size)?)?));
            Ok(size)
        }
        Item::Pad => take(1).map(<[u8]>::len),
        Item::Nothing => Ok(0),
    }
}

fn unpack(lua: &Lua, args: MultiValue) -> mlua::Result<MultiValue> {
    let text = format_argument(lua, &args, "unpack")?;
    let data = args.get(1).cloned().map(|v| lua.coerce_string(v)).transpose()?.flatten();
    let Some(data) = data else {
        return Err(raise::expected(lua, 2, "unpack", "string", args.get(1)));
    };
    let data = data.as_bytes();
    let start = args.get(2).and_then(convert::number).unwrap_or(1.0);
    if start < 1.0 {
        return Err(raise::argument(lua, 3, "unpack", "offset must be 1 or greater"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive")]
    let mut at = start as usize - 1;
    let mut format = Format::new(lua, &text, "unpack");
    let mut values: Vec<Value> = Vec::new();
    while let Some(item) = format.next()? {
        spend(lua, 4)?;
        if values.len() >= convert::MOST_RESULTS {
            return Err(raise::string(lua, "stack overflow (too many results)"));
        }
        at = at.saturating_add(format.padding(&item, at));
        at += read(lua, &item, format.little, data.get(at..), &mut values)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
    values.push(Value::Number(at as f64 + 1.0));
    Ok(MultiValue::from_iter(values))
}

/// The number in big-endian bytes. Only the last eight bytes count.
#[expect(clippy::cast_precision_loss, reason = "Lua has only doubles")]
fn integer_value(bytes: &[u8], signed: bool) -> f64 {
    let value = bytes.iter().fold(0u64, |value, &b| value << 8 | u64::from(b));
    if !signed {
        return value as f64;
    }
    let bits = u32::try_from(bytes.len().min(8) * 8).unwrap_or(64);
    if bits == 0 {
        return 0.0;
    }
    (((value << (64 - bits)).cast_signed()) >> (64 - bits)) as f64
}

fn size(lua: &Lua, args: MultiValue) -> mlua::Result<usize> {
    let text = format_argument(lua, &args, "size")?;
    let mut format = Format::new(lua, &text, "size");
    let mut total = 0usize;
    while let Some(item) = format.next()? {
        spend(lua, 4)?;
        total = total.saturating_add(format.padding(&item, total));
        total = total.saturating_add(match item {
            Item::Integer { size, .. } | Item::Float(size) | Item::Bytes(size @ 1..) => size,
            Item::Terminated => {
                return Err(raise::argument(lua, 1, "size", "variable-size format in struct size"));
            }
            Item::Bytes(0) => {
                return Err(raise::argument(lua, 1, "size", "variable-length format"));
            }
            Item::Pad => 1,
            Item::Nothing => 0,
        });
    }
    Ok(total)
}
