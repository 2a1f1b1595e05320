//! The functions that the TypeScript face calls. Every function is synchronous and short; a panic becomes an exception.
#![expect(unreachable_pub, reason = "napi exports what is `pub`, wherever it is")]
#![expect(clippy::needless_pass_by_value, reason = "napi gives what it converted")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi::Env;
use napi::bindgen_prelude::{Function, Uint32ArraySlice, Unknown};
use napi_derive::napi;
use serde_json::{Value, json};

use super::failure;
use super::frame::Calls;
use super::manager::{self, ManagerTarget};
use super::memory;
use super::port::{self, Port};
use super::raw::{self, Values};
use super::verbs;
use crate::bullmq;
use crate::crossing::codes::NOBODY;
use crate::crossing::{Answer, Outlet, batch};
use crate::error::{Error, ErrorKind, Result};
use crate::options;

/// The names of all verbs; the number of a verb is its place in the list.
#[napi(catch_unwind)]
pub fn verbs() -> Vec<String> {
    verbs::names().into_iter().map(str::to_owned).collect()
}

/// The names of all Redis commands that a manager takes, in capitals.
#[napi(catch_unwind)]
pub fn commands() -> Vec<String> {
    crate::connection::command::names().map(str::to_owned).collect()
}

/// The message of the error for an unknown option.
#[napi(catch_unwind)]
pub fn unknown_option(owner: String, name: String, known: Vec<String>) -> String {
    options::unknown(&owner, &name, known.iter().map(String::as_str))
}

/// Opens a port. `drain` is called without arguments when there are outcomes to take. It must not throw.
#[napi(catch_unwind)]
pub fn open_port(env: Env, drain: Function<'_, (), Unknown<'static>>) -> napi::Result<u32> {
    port::open(env, &drain)
}

/// Closes a port and all its targets.
#[napi(catch_unwind)]
pub fn close_port(port: u32) {
    port::close(port);
}

/// Makes the port keep the process alive, or not.
#[napi(catch_unwind)]
pub fn hold_port(env: Env, port: u32, hold: bool) -> napi::Result<()> {
    port::with(port, |port| raw::hold(env, port.wake(), hold)).unwrap_or(Ok(()))
}

/// Opens a target. Returns `{"handle": …}`, for a manager also `"server"`, or `{"error": …}`, as JSON.
#[napi(catch_unwind)]
pub fn open(port: u32, kind: String, parent: u32, options: String) -> String {
    let opened = port::with(port, |port| open_target(port, &kind, parent, &options));
    match opened.unwrap_or_else(|| Err(Error::new(ErrorKind::Closed, "the port is closed"))) {
        Ok((handle, Some(server))) => json!({ "handle": handle, "server": server }).to_string(),
        Ok((handle, None)) => json!({ "handle": handle }).to_string(),
        Err(error) => format!("{{\"error\":{}}}", failure::to_json(&error)),
    }
}

fn open_target(port: &mut Port, kind: &str, parent: u32, options: &str) -> Result<(u32, Option<Value>)> {
    let outlet = Outlet::to(port.outbox.clone(), port.coming());
    let opened = verbs::open(port, kind, parent, options, outlet)?;
    let handle = port.add(opened);
    Ok((handle, port.target::<ManagerTarget>(handle).map(|opened| manager::server(&opened.manager))))
}

/// Releases a target. Its pending calls are settled with kind `closed`.
#[napi(catch_unwind)]
pub fn release(port: u32, handle: u32) {
    let target = port::with(port, |port| port.remove(handle));
    drop(target);
}

/// Accepts calls; see `frame`.
#[napi(catch_unwind)]
pub fn submit(port: u32, words: &[u32], word_count: u32, bytes: &[u8], byte_count: u32) {
    let (Some(words), Some(bytes)) = (words.get(..word_count as usize), bytes.get(..byte_count as usize)) else {
        return;
    };
    port::with(port, |port| {
        batch(|| {
            for call in Calls::new(words, bytes) {
                let answer = match call.number {
                    NOBODY => Answer::to_nobody(),
                    number => Answer::to(port.outbox.clone(), number),
                };
                // A call that panics affects no other call: its answer is dropped, which reports the panic.
                let _ =
                    catch_unwind(AssertUnwindSafe(|| verbs::call(port, call.target, call.verb, &call.args, answer)));
            }
        });
    });
}

/// Takes as many outcomes as `heads` has room for. Writes their numbers and tags to `heads`, in turn, and returns their values in an
/// array; see `raw`. The face calls again until the array is empty.
#[napi(catch_unwind, ts_return_type = "unknown[]")]
pub fn drain(env: Env, port: u32, mut heads: Uint32ArraySlice<'_>) -> napi::Result<Values> {
    let items = port::with(port, |port| port.outbox.take(heads.len() / 2)).unwrap_or_default();
    raw::values(env, items, &mut heads)
}

/// The state of a manager.
#[napi(catch_unwind)]
pub fn state(port: u32, manager: u32) -> &'static str {
    manager::with(port, manager, |manager| manager.manager.state().name()).unwrap_or("closed")
}

/// The options for ioredis to connect to a manager's server, with the password. This is for clients of other packages, and the only
/// way by which a secret leaves Rust. Returns `{"value": …}` or `{"error": …}` as JSON.
#[napi(catch_unwind)]
pub fn ioredis_options(port: u32, manager: u32) -> String {
    let options = manager::with(port, manager, |manager| bullmq::ioredis_options(manager.manager.config()));
    match options.unwrap_or_else(|| Err(Error::new(ErrorKind::Closed, "the connection manager has been released"))) {
        Ok(value) => json!({ "value": value }).to_string(),
        Err(error) => format!("{{\"error\":{}}}", failure::to_json(&error)),
    }
}

/// The metrics of a manager, as JSON.
#[napi(catch_unwind)]
pub fn metrics(port: u32, manager: u32) -> String {
    manager::with(port, manager, |manager| {
        serde_json::to_string(&manager.manager.metrics().snapshot()).unwrap_or_default()
    })
    .unwrap_or_default()
}

/// The metrics of a manager, in Prometheus' text format.
#[napi(catch_unwind)]
pub fn prometheus(port: u32, manager: u32) -> String {
    manager::with(port, manager, |manager| manager.manager.metrics().snapshot().prometheus()).unwrap_or_default()
}

/// Controls the embedded engine with the name `name`. Returns `{"value": …}` or `{"error": …}` as JSON.
#[napi(catch_unwind)]
pub fn memory(name: String, action: String, given: f64) -> String {
    match memory::control(&name, &action, given) {
        Ok(value) => json!({ "value": value }).to_string(),
        Err(error) => format!("{{\"error\":{}}}", failure::to_json(&error)),
    }
}
