//! `math.random` with the generator of Redis, which gives the same sequence in every engine.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::raise;

const MAX: f64 = 2_147_483_647.0;

/// The state of the 48-bit generator.
#[derive(Debug, Clone)]
struct Shared(Rc<Cell<u64>>);

impl Shared {
    fn seed(&self, seed: u32) {
        self.0.set(u64::from(seed) << 16 | 0x330E);
    }

    fn next(&self) -> u32 {
        let state = self.0.get().wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & 0xFFFF_FFFF_FFFF;
        self.0.set(state);
        u32::try_from(state >> 17).unwrap_or(0)
    }
}

pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let shared = Shared(Rc::new(Cell::new(0x1234_ABCD_330E)));
    let math: Table = lua.globals().raw_get("math")?;
    let state = shared.clone();
    let random = lua.create_function(move |lua, (low, high): (Option<f64>, Option<f64>)| {
        let r = f64::from(state.next() % 2_147_483_647) / MAX;
        let (low, high) = match (low, high) {
            (None, _) => return Ok(r),
            (Some(high), None) => (1.0, high.trunc()),
            (Some(low), Some(high)) => (low.trunc(), high.trunc()),
        };
        if low > high {
            return Err(raise::argument(lua, 1, "random", "interval is empty"));
        }
        Ok((r * (high - low + 1.0)).floor() + low)
    })?;
    math.raw_set("random", random)?;
    let state = shared.clone();
    let randomseed = lua.create_function(move |lua, seed: Value| {
        let Some(seed) = lua.coerce_number(seed)? else {
            return Err(raise::expected(lua, 1, "randomseed", "number", None));
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a C int seed")]
        state.seed(seed as i64 as u32);
        Ok(())
    })?;
    math.raw_set("randomseed", randomseed)
}
