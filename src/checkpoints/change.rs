//! Checkpoints are pinned, pruned, or removed with their thread.

use std::sync::Arc;

use super::call::{self, ScriptCall};
use super::settings::Keep;
use super::{Checkpoints, scripts};
use crate::arguments::Arguments;
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::verb::Call;

/// Arguments: thread, id, whether it is pinned, options as JSON. Gives false if there is no such checkpoint.
pub(super) fn pin(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (thread, id) = (call::name(call, 0, "thread")?, call::name(call, 1, "id")?);
        let on = match call.at(2) {
            Arg::Absent => true,
            Arg::Bool(on) => on,
            other => return Err(call.wrong("on", "true or false", other)),
        };
        let mut options = call::options(call, 3)?;
        let scope = call::scope_option(&mut options)?;
        options.finish()?;
        let script = ScriptCall::of(&scripts::PIN, &inner, thread).arg(scope).arg(id).flag(on);
        let reply = inner.manager.call(script.writes(call.operation()));
        Ok(async move { call::yes(&reply.await?).map(Outcome::Bool) })
    });
}

/// Arguments: thread, `keep` as JSON. Gives the number of removed checkpoints.
pub(super) fn prune(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let thread = call::name(call, 0, "thread")?;
        let keep = what_is_kept(call)?;
        let script = ScriptCall::of(&scripts::PRUNE, &inner, thread).number(keep.last).number(keep.age);
        let operation = call.operation();
        Ok(async move {
            let mut all = 0;
            loop {
                let reply = inner.manager.call(script.writes(operation)).await?;
                let [gone, more] =
                    <[Reply; 2]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
                all += call::integer(&gone)?;
                if !call::yes(&more)? {
                    return Ok(Outcome::Number(all as f64));
                }
            }
        })
    });
}

fn what_is_kept(call: &Arguments<'_>) -> Result<Keep> {
    Keep::read(call.options(1)?)
}

/// Argument: thread. Gives false if there was no such thread.
pub(super) fn remove(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let script = ScriptCall::of(&scripts::REMOVE, &inner, call::name(call, 0, "thread")?);
        let reply = inner.manager.call(script.writes(call.operation()));
        Ok(async move { call::yes(&reply.await?).map(Outcome::Bool) })
    });
}
