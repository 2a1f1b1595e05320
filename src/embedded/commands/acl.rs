//! ACL, for the default user, who has all permissions.

use super::{Args, Cx, int_arg};
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};

const CATEGORIES: &str = "keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub \
                          admin fast slow blocking dangerous connection transaction scripting";

pub(super) fn whoami(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::bulk("default"))
}

pub(super) fn users(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::bulks(["default"]))
}

/// Whether the user needs no password. Replies never contain a password or its hash.
fn free(cx: &Cx<'_>) -> bool {
    cx.core.config.password().is_none()
}

pub(super) fn list(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::bulks([if free(cx) { "user default on nopass ~* &* +@all" } else { "user default on ~* &* +@all" }]))
}

pub(super) fn getuser(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args[2] != b"default" {
        return Ok(Reply::Null);
    }
    let flags = ["on", "nopass"].into_iter().take(if free(cx) { 2 } else { 1 }).map(Reply::bulk).collect();
    let fields = [
        ("flags", Reply::Set(flags)),
        ("passwords", Reply::Array(Vec::new())),
        ("commands", Reply::bulk("+@all")),
        ("keys", Reply::bulk("~*")),
        ("channels", Reply::bulk("&*")),
        ("selectors", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(fields.into_iter().flat_map(|(name, value)| [Reply::bulk(name), value]).collect()))
}

pub(super) fn cat(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let mut categories = CATEGORIES.split_ascii_whitespace();
    match args.get(2) {
        _ if args.len() > 3 => Err(super::bad_subcommand(args)),
        None => Ok(Reply::bulks(categories)),
        Some(name) if categories.any(|known| super::is(name, known)) => {
            Err(Fault::of("ERR memory:// does not sort its commands into categories"))
        }
        Some(name) => Err(Fault::new([b"ERR Unknown category '", c_text(name), b"'"].concat())),
    }
}

pub(super) fn genpass(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    const BAD: Fault = Fault::of(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    );
    let bits = match &args[2..] {
        [] => 256,
        [bits] => {
            let bits = int_arg(bits)?;
            usize::try_from(bits).ok().filter(|n| (1..=4096).contains(n)).ok_or(BAD)?
        }
        _ => return Err(super::bad_subcommand(args)),
    };
    let digits = (0..bits.div_ceil(4)).map(|_| fastrand::digit(16));
    Ok(Reply::bulk(digits.collect::<String>()))
}

/// The log is always empty, because nothing is ever denied.
pub(super) fn log(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    match args.get(2) {
        Some(word) if super::is(word, "reset") => Ok(Reply::OK),
        Some(count) => int_arg(count).map(|_| Reply::Array(Vec::new())),
        None => Ok(Reply::Array(Vec::new())),
    }
}

pub(super) fn refused(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Err(Fault::of("ERR memory:// has no users but the default one"))
}
