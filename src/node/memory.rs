//! A test's control of an embedded engine, by name. The calls are synchronous: after the return the effect is visible.

use std::time::Duration;

use crate::connection::{MemoryControl, Silent};
use crate::error::{Error, ErrorKind, Result};
use crate::options::MAX_MS;

/// Runs `action` on the engine `name`. `given` is the argument of the action, a number. Only `dump` returns a value.
pub(super) fn control(name: &str, action: &str, given: f64) -> Result<Option<String>> {
    let control = MemoryControl::of(name).map_err(why)?;
    let checked = |what: &str, most: f64| -> Result<f64> {
        if given >= 0.0 && given <= most {
            Ok(given)
        } else {
            Err(Error::config(format!(
                "memoryControl.{action}: {what}: expected a number from 0 to {most}, got {given}"
            )))
        }
    };
    let time = || checked("ms", MAX_MS).map(|ms| Duration::from_secs_f64(ms / 1e3));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a count")]
    let done = match action {
        "advance" => control.advance(time()?),
        "setClock" => {
            if given.abs() > MAX_MS {
                return Err(Error::config(format!(
                    "memoryControl.setClock: ms: expected a number from -{MAX_MS} to {MAX_MS}, got {given}"
                )));
            }
            control.set_clock(given as i64)
        }
        "pause" => control.pause(),
        "resume" => control.resume(),
        "dropReplies" => control.drop_replies(checked("n", 1e9)? as usize),
        "killClients" => control.kill_clients(),
        "latency" => control.latency(time()?),
        "readonly" => control.readonly(given != 0.0),
        "flush" => control.flush(),
        "maxMemory" => control.max_memory(Some(checked("bytes", 1e15)? as u64)),
        "dump" => return control.dump().map(Some).map_err(why),
        other => return Err(Error::config(format!("memoryControl: expected a known action, got {other}"))),
    };
    done.map(|()| None).map_err(why)
}

fn why(silent: Silent) -> Error {
    match silent {
        Silent::Gone => {
            Error::new(ErrorKind::Closed, "memoryControl: there is no engine of that name: nothing is connected to it")
        }
        Silent::Busy => {
            let text = "memoryControl: the engine did not answer within 30 s: it is in a script that nothing ends";
            Error::new(ErrorKind::Timeout, text)
        }
    }
}
