//! The embedded engine with arbitrary bytes from two clients: no bytes make it panic or hang, or affect another engine.
//!
//! A double line feed in the input (`\n\n`) switches to the other client. A panic on the engine's thread ends the process here, although
//! the engine itself survives it.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering};

use libfuzzer_sys::{Corpus, fuzz_target};
use redis_backplane::embedded::{self, Control};

static RUNS: AtomicU64 = AtomicU64::new(0);

/// The commands that are left out. After CLIENT KILL an engine keeps its data for a minute, so that many runs would need too much memory.
/// Numbers of any size stay in, because their effect is bounded.
fn is_modest(input: &[u8]) -> bool {
    !input.windows(4).any(|word| word.eq_ignore_ascii_case(b"kill"))
}

fuzz_target!(|input: &[u8]| -> Corpus {
    if !is_modest(input) {
        return Corpus::Reject;
    }
    let name = format!("fuzz-{}", RUNS.fetch_add(1, Ordering::Relaxed));
    let connect = || embedded::connect(Some(&name)).expect("a thread for the engine");
    let clients = [connect(), connect()];
    let control = Control::of(&name).expect("an engine with two clients");
    let limit = b"config set lua-time-limit 10 maxmemory 100000000\r\n";
    clients[0].try_write(limit).expect("room for a command");
    let mut rest = input;
    for client in clients.iter().cycle() {
        let turn = rest.windows(2).position(|pair| pair == b"\n\n").map_or(rest.len(), |at| at + 1);
        // A client that the engine has closed accepts no more bytes.
        let _ = client.try_write(&rest[..turn]);
        rest = rest.get(turn + 1..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
    // The answer comes after all commands before it. The clients, and so the engine, may be gone by then.
    let _ = control.flush();
    Corpus::Keep
});
