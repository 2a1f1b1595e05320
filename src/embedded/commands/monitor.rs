//! MONITOR: sends every command of the engine to the clients that monitor it.

use super::{Args, Cx, Mode};
use crate::embedded::delivery;
use crate::embedded::reply::{Outcome, Reply};
use crate::embedded::state::Core;
use crate::redis_commands::{Spec, flag};

pub(super) fn monitor(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    if cx.mode != Mode::Direct {
        return Ok(Reply::Error(b"ERR MONITOR isn't allowed for DENY BLOCKING client".to_vec()));
    }
    if !cx.core.monitors.contains(&cx.slot) {
        cx.core.monitors.push(cx.slot);
    }
    Ok(Reply::OK)
}

/// Quotes a word as in the output of MONITOR.
fn quoted(word: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" \"");
    for &b in word {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(b),
            _ => out.extend_from_slice(format!("\\x{b:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

/// Sends a command to the monitors before it runs. `client` is `None` for a command of a script.
pub(in crate::embedded) fn feed(core: &mut Core, spec: &Spec, client: Option<u64>, db: usize, args: Args<'_>) {
    if core.monitors.is_empty() || spec.has(flag::UNSEEN) {
        return;
    }
    let who = client.map_or_else(|| "lua".to_owned(), |id| format!("memory:{id}"));
    let (seconds, micros) = (core.now_micros / 1_000_000, core.now_micros % 1_000_000);
    let mut line = format!("{seconds}.{micros:06} [{db} {who}]").into_bytes();
    args.iter().for_each(|word| quoted(word, &mut line));
    let line = Reply::Status(line.into());
    for slot in core.monitors.clone() {
        delivery::deliver(core, slot, &line);
    }
}
