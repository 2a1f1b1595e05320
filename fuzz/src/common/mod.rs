//! Code that several targets share.
#![allow(dead_code, reason = "each target takes its part")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::BytesMut;
use redis_backplane::connection::{Address, Config, Manager, Unobserved};
use redis_backplane::crossing::{Answer, Completions, Outcome, Outlet};
use redis_backplane::error::{Error, ErrorKind, Result};
use redis_backplane::resp::{Read, Reader, Reply};

/// A secret that no text of this package contains by itself. The dictionaries have it too.
pub const SECRET: &str = "hunter2";

/// A manager that is never used, and so never connects.
pub static MANAGER: LazyLock<Manager> = LazyLock::new(|| {
    let (config, _) = Config::parse(r#"{"url":"memory://"}"#).expect("a URL");
    Manager::new(config, Arc::new(Unobserved)).expect("a thread for input and output")
});

/// Passes the answers of calls on. Events and deliveries are ignored.
struct Asker(Mutex<Sender<Result<Outcome>>>);

impl Completions for Asker {
    fn complete(&self, _: u32, outcome: Result<Outcome>) -> bool {
        // The send fails where the answer is too late.
        let _ = self.0.lock().expect("no panic").send(outcome);
        false
    }
    fn deliver(&self, _: u32, _: Vec<Outcome>) -> bool {
        false
    }
    fn emit(&self, _: u32, _: String) -> bool {
        false
    }
    fn wake(&self) {}
}

fn asker() -> (Arc<Asker>, Receiver<Result<Outcome>>) {
    let (sender, answers) = channel();
    (Arc::new(Asker(Mutex::new(sender))), answers)
}

/// The answer of a call, and the receiver of its outcome.
pub fn answer() -> (Answer, Receiver<Result<Outcome>>) {
    let (asker, answers) = asker();
    (Answer::to(asker, 0), answers)
}

/// An outlet without a receiver.
pub fn outlet() -> Outlet {
    Outlet::to(asker().0, 0)
}

/// The replies at the start of `bytes`.
pub fn replies(bytes: &[u8]) -> Vec<Reply> {
    let (mut buffer, mut reader, mut replies) = (BytesMut::from(bytes), Reader::new(1 << 20), Vec::new());
    while let Ok(Some(read)) = reader.next(&mut buffer) {
        if let Read::Reply(reply) = read {
            replies.push(reply);
        }
    }
    replies
}

/// An input in parts, separated by a byte that is in no UTF-8. Missing parts are empty.
pub fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = input.splitn(N, |byte| *byte == 0xff);
    [(); N].map(|()| parts.next().unwrap_or_default())
}

/// Are all addresses valid?
pub fn check(addresses: &[Address]) {
    for address in addresses {
        assert!(!address.host.is_empty() && address.port != 0, "an address can be connected to: {address:?}");
    }
}

/// Checks an error about a user's value: it names the expected value, and quotes no secret. `owners` are the allowed starts of the error.
pub fn check_refusal(error: &Error, owners: &[&str], input: &str) {
    let message = error.message();
    assert_eq!(error.kind(), ErrorKind::Config, "{message}");
    let named = |owner: &&str| message.strip_prefix(owner).is_some_and(|rest| rest.starts_with(['.', ':']));
    assert!(owners.iter().any(named), "an error names what is wrong: {message}");
    assert!(message.contains("expected "), "an error says what was expected: {message}");
    assert!(!names(input) || !message.contains(SECRET), "an error repeats no value: {message}");
}

/// Is the secret in `json` only as a value? Errors quote the names of options.
fn names(json: &str) -> bool {
    fn in_names(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Object(fields) => {
                // A value that JSON has no form for crosses as a description.
                fields.iter().any(|(name, value)| name.contains(SECRET) || name == "$" || in_names(value))
            }
            serde_json::Value::Array(items) => items.iter().any(in_names),
            // Options cross as JSON text.
            serde_json::Value::String(text) => serde_json::from_str(text).is_ok_and(|value| in_names(&value)),
            _ => false,
        }
    }
    serde_json::from_str(json).is_ok_and(|value| !in_names(&value))
}
