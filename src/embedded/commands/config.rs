//! CONFIG, for the parameters that clients commonly use.

use super::{Args, Cx};
use crate::embedded::config::{DEFAULTS, memory};
use crate::embedded::glob;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};

pub(super) fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let asked =
        |name: &str| args[2..].iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
    let found = DEFAULTS.iter().filter(|(name, _)| asked(name));
    let pairs = found.flat_map(|(name, default)| [Reply::bulk(name), Reply::bulk(cx.core.config.value(name, default))]);
    Ok(Reply::Map(pairs.collect()))
}

pub(super) fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(Fault::SYNTAX);
    }
    let mut changes: Vec<(&'static str, String)> = Vec::new();
    for pair in args[2..].chunks(2) {
        let name = String::from_utf8_lossy(pair[0]).to_ascii_lowercase();
        let value = String::from_utf8_lossy(pair[1]).into_owned();
        let Some((known, _)) = DEFAULTS.iter().find(|(known, _)| *known == name) else {
            return Err(Fault::new(
                [b"ERR Unknown option or number of arguments for CONFIG SET - '", c_text(pair[0]), b"'"].concat(),
            ));
        };
        let failed =
            |why: &str| Fault::new(format!("ERR CONFIG SET failed (possibly related to argument '{known}') - {why}"));
        if changes.iter().any(|(n, _)| n == known) {
            return Err(failed("duplicate parameter"));
        }
        if *known == "maxmemory" && memory(&value).is_none() {
            return Err(failed("argument must be a memory value"));
        }
        if matches!(*known, "databases" | "port" | "cluster-enabled") {
            return Err(failed("can't set immutable config"));
        }
        changes.push((known, value));
    }
    for (name, value) in changes {
        cx.core.config.set(name, value);
    }
    Ok(Reply::OK)
}

pub(super) fn resetstat(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    cx.core.stats = crate::embedded::state::Stats::default();
    Ok(Reply::OK)
}

pub(super) fn rewrite(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Err(Fault::of("ERR The server is running without a config file"))
}
