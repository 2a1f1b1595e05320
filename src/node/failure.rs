//! Errors as fields, because a native error object would fail `instanceof Error` in the VM contexts of Jest and Vitest. Also the
//! errors of outcomes that JavaScript has no value for.

use std::error::Error as StdError;

use serde::Serialize;

use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind};
use crate::resp::Reply;

/// An [`Error`] and its causes, as the TypeScript face reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    code: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_code: Option<String>,
    retryable: bool,
    delivery: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Box<Failure>>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: Some(error.kind().name()),
            code: Some(error.kind().code().to_owned()),
            message: error.message().to_owned(),
            server_code: error.server_code().map(str::to_owned),
            retryable: error.retryable(),
            delivery: error.delivery().name(),
            cause: error.source().map(cause).map(Box::new),
        }
    }
}

fn cause(error: &(dyn StdError + 'static)) -> Failure {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.into();
    }
    let code = error.downcast_ref::<std::io::Error>().and_then(system_code);
    Failure {
        kind: None,
        code: code.map(str::to_owned),
        message: error.to_string(),
        server_code: None,
        retryable: false,
        delivery: "not-sent",
        cause: error.source().map(cause).map(Box::new),
    }
}

/// The code of the same error in Node.
fn system_code(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as E;
    #[cfg(unix)]
    match error.raw_os_error() {
        Some(23) => return Some("ENFILE"),
        Some(24) => return Some("EMFILE"),
        _ => {}
    }
    Some(match error.kind() {
        E::ConnectionRefused => "ECONNREFUSED",
        E::ConnectionReset => "ECONNRESET",
        E::ConnectionAborted => "ECONNABORTED",
        E::BrokenPipe => "EPIPE",
        E::TimedOut => "ETIMEDOUT",
        E::NotFound => "ENOENT",
        E::PermissionDenied => "EACCES",
        E::HostUnreachable => "EHOSTUNREACH",
        E::NetworkUnreachable => "ENETUNREACH",
        E::OutOfMemory => "ENOMEM",
        E::WouldBlock => "EAGAIN",
        E::AddrNotAvailable => "EADDRNOTAVAIL",
        _ => return None,
    })
}

/// An error as JSON text.
pub(super) fn to_json(error: &Error) -> String {
    // Strings, booleans and options of them always serialize.
    serde_json::to_string(&Failure::from(error)).unwrap_or_default()
}

/// The error of a stored value that is not UTF-8.
pub(super) fn not_text() -> Error {
    Error::new(ErrorKind::Serialization, "the stored value is not UTF-8 text: read it with getBuffer()")
}

/// The error that replaces an error whose text is too long for JavaScript.
pub(super) fn no_text() -> Error {
    Error::new(ErrorKind::Serialization, "an error whose text is longer than a string can be")
        .with_delivery(Delivery::MaybeExecuted)
}

/// The event that replaces an event whose text is too long for JavaScript, as JSON.
pub(super) fn no_event() -> String {
    format!("{{\"event\":\"error\",\"error\":{}}}", to_json(&no_text()))
}

/// The error of an outcome that JavaScript has no value for. V8 has no strings of more than about 512 MiB, but a reply may be longer.
pub(super) fn no_value(outcome: &Outcome) -> Error {
    let message = format!(
        "the answer: expected strings that JavaScript can hold, got one of {} bytes: read it in parts",
        longest(outcome)
    );
    Error::new(ErrorKind::Serialization, message).with_delivery(Delivery::MaybeExecuted)
}

/// The bytes of the longest string in an outcome.
fn longest(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Json(bytes) | Outcome::Text(bytes) | Outcome::Bytes(bytes) => bytes.len(),
        Outcome::List(items) => items.iter().map(longest).max().unwrap_or(0),
        Outcome::Reply(reply) => longest_of(reply),
        Outcome::Nothing | Outcome::Null | Outcome::Bool(_) | Outcome::Number(_) => 0,
    }
}

fn longest_of(reply: &Reply) -> usize {
    let many = |items: &[Reply]| items.iter().map(longest_of).max().unwrap_or(0);
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) | Reply::BigNumber(bytes) | Reply::Error(bytes) => bytes.len(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => many(items),
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| longest_of(key).max(longest_of(value))).max().unwrap_or(0),
        Reply::Nil | Reply::Int(_) | Reply::Double(_) | Reply::Bool(_) => 0,
    }
}
