//! EVAL and SCRIPT.

use super::{Args, Cx, int_arg, is};
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::scripting::{self, Scripts};

const NO_SCRIPT: Fault = Fault::of("NOSCRIPT No matching script. Please use EVAL.");

/// Splits the words after `numkeys` into keys and arguments.
fn split(args: Args<'_>) -> Result<(Args<'_>, Args<'_>), Fault> {
    let n = int_arg(args[2])?;
    let rest = &args[3..];
    match usize::try_from(n) {
        Err(_) => Err(Fault::of("ERR Number of keys can't be negative")),
        Ok(n) if n > rest.len() => Err(Fault::of("ERR Number of keys can't be greater than number of args")),
        Ok(n) => Ok(rest.split_at(n)),
    }
}

fn run_source(cx: &mut Cx<'_>, args: Args<'_>, readonly: bool) -> Outcome {
    let (keys, values) = split(args)?;
    let sha = scripting::sha1_hex(args[1]);
    cx.core.scripts.load(&sha, args[1], cx.core.config.script_limit())?;
    Ok(scripting::run(cx, &sha, keys, values, readonly))
}

fn run_cached(cx: &mut Cx<'_>, args: Args<'_>, readonly: bool) -> Outcome {
    if args[1].len() != 40 {
        return Err(NO_SCRIPT);
    }
    let (keys, values) = split(args)?;
    let sha = String::from_utf8_lossy(args[1]).to_ascii_lowercase();
    if !cx.core.scripts.knows(&sha) {
        return Err(NO_SCRIPT);
    }
    Ok(scripting::run(cx, &sha, keys, values, readonly))
}

pub(super) fn eval(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run_source(cx, args, false)
}

pub(super) fn eval_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run_source(cx, args, true)
}

pub(super) fn evalsha(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run_cached(cx, args, false)
}

pub(super) fn evalsha_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run_cached(cx, args, true)
}

pub(super) fn script_load(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let sha = scripting::sha1_hex(args[2]);
    cx.core.scripts.load(&sha, args[2], cx.core.config.script_limit())?;
    Ok(Reply::bulk(sha))
}

pub(super) fn script_exists(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let known = |sha: &&[u8]| Reply::flag(cx.core.scripts.knows(&String::from_utf8_lossy(sha).to_ascii_lowercase()));
    Ok(Reply::Array(args[2..].iter().map(known).collect()))
}

pub(super) fn script_flush(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    match &args[2..] {
        [] => {}
        [word] if is(word, "sync") || is(word, "async") => {}
        _ => return Err(Fault::of("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    cx.core.scripts = Scripts::default();
    Ok(Reply::OK)
}

const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

pub(super) fn script_kill(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    match &mut cx.core.busy {
        Some(busy) if busy.wrote => Err(Fault::of(UNKILLABLE)),
        Some(busy) => {
            busy.killed = true;
            Ok(Reply::OK)
        }
        None => Err(Fault::of("NOTBUSY No scripts in execution right now.")),
    }
}

pub(super) fn script_debug(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if is(args[2], "no") {
        return Ok(Reply::OK);
    }
    Err(Fault::of("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}
