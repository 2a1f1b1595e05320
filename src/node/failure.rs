//! Errors as fields: a native error object would fail `instanceof Error` in the VM contexts of Jest and Vitest.

use std::error::Error as StdError;

use serde::Serialize;

use crate::error::Error;

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

/// The name Node's own errors have for it.
fn system_code(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind as E;
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
        E::AddrNotAvailable => "EADDRNOTAVAIL",
        _ => return None,
    })
}

/// An error as JSON text.
pub(super) fn to_json(error: &Error) -> String {
    // Strings, booleans and options of them always serialize.
    serde_json::to_string(&Failure::from(error)).unwrap_or_default()
}
