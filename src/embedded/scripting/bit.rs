//! `bit`: operations on 32-bit integers.

#![expect(clippy::type_complexity, reason = "tables of functions that are read once, below")]

use mlua::{Lua, MultiValue, Table, Value};

use super::raise;

/// An argument as a signed 32-bit integer, with the wrapping of the library.
fn operand(lua: &Lua, args: &MultiValue, n: usize, function: &str) -> mlua::Result<i32> {
    let value = args.get(n - 1);
    let number = value.cloned().map(|v| lua.coerce_number(v)).transpose()?.flatten();
    let Some(number) = number else {
        return Err(raise::expected(lua, n, function, "number", value));
    };
    // Adding 2^52 + 2^51 leaves the rounded number's low 32 bits at the bottom of the mantissa.
    #[expect(clippy::cast_possible_truncation, reason = "only the low half is needed")]
    Ok(((number + 6_755_399_441_055_744.0).to_bits() as u32).cast_signed())
}

pub(super) fn table(lua: &Lua) -> mlua::Result<Table> {
    let bit = lua.create_table()?;
    let unary: [(&'static str, fn(i32) -> i32); 3] = [("tobit", |a| a), ("bnot", |a| !a), ("bswap", i32::swap_bytes)];
    for (name, apply) in unary {
        let function =
            lua.create_function(move |lua, args: MultiValue| operand(lua, &args, 1, name).map(apply).map(f64::from))?;
        bit.raw_set(name, function)?;
    }
    let many: [(&'static str, fn(i32, i32) -> i32); 3] =
        [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, apply) in many {
        let function = lua.create_function(move |lua, args: MultiValue| {
            let mut result = operand(lua, &args, 1, name)?;
            for n in 2..=args.len() {
                result = apply(result, operand(lua, &args, n, name)?);
            }
            Ok(f64::from(result))
        })?;
        bit.raw_set(name, function)?;
    }
    let shifts: [(&'static str, fn(i32, u32) -> i32); 5] = [
        ("lshift", |a, n| a << n),
        ("rshift", |a, n| (a.cast_unsigned() >> n).cast_signed()),
        ("arshift", |a, n| a >> n),
        ("rol", i32::rotate_left),
        ("ror", i32::rotate_right),
    ];
    for (name, apply) in shifts {
        let function = lua.create_function(move |lua, args: MultiValue| {
            let (value, by) = (operand(lua, &args, 1, name)?, operand(lua, &args, 2, name)?);
            Ok(f64::from(apply(value, by.cast_unsigned() & 31)))
        })?;
        bit.raw_set(name, function)?;
    }
    bit.raw_set("tohex", lua.create_function(tohex)?)?;
    Ok(bit)
}

fn tohex(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    let value = operand(lua, &args, 1, "tohex")?;
    let digits = match args.get(1) {
        None | Some(Value::Nil) => 8,
        Some(_) => operand(lua, &args, 2, "tohex")?,
    };
    let width = usize::try_from(digits.unsigned_abs().min(8)).unwrap_or(8);
    let full = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(full[8 - width..].to_owned())
}
