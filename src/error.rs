//! The error of this crate: its kind, its message, and whether the server may have acted.
//!
//! [`Error::to_string`] gives the message of this error only; causes are in [`std::error::Error::source`].
//! No message contains a password, the credentials of a URL or a payload.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The longest message of an error reply, in bytes. A longer message is cut.
const MAX_MESSAGE: usize = 4096;
/// Is added to a `MOVED` that reaches a caller. A manager whose target is a cluster follows every `MOVED` itself.
const OF_A_CLUSTER: &str = " (the server is a node of a cluster: a RedisConfig.url of redis+cluster:// or rediss+cluster:// follows what it says)";
/// The message of an unexpected reply until its command is known.
const UNEXPECTED_REPLY: &str = "unexpected reply";
/// The longest code of an error reply.
const MAX_CODE: usize = 64;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an [`Error`]. Each kind has one stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller's arguments or configuration.
    Config,
    /// Redis is switched off by configuration.
    Disabled,
    /// Refused, reset, lost, or the name did not resolve.
    Connection,
    /// The server refused the credentials, or they do not permit the command.
    Auth,
    /// The TLS handshake failed.
    Tls,
    /// A connect, command or wait deadline passed.
    Timeout,
    /// Used after `disconnect()` or `close()`.
    Closed,
    /// Too many commands or bytes are waiting.
    Overloaded,
    /// The server answered with an error.
    Server,
    /// A value cannot become JSON, or stored bytes are not in the expected form.
    Serialization,
    /// The lock, job or registration belongs to another owner now.
    LeaseLost,
    /// Another caller has written first: the caller's version is no longer the latest.
    Conflict,
    /// The caller's signal was aborted.
    Cancelled,
}

impl ErrorKind {
    /// The kind's name in the TypeScript API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Disabled => "disabled",
            Self::Connection => "connection",
            Self::Auth => "auth",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Overloaded => "overloaded",
            Self::Server => "server",
            Self::Serialization => "serialization",
            Self::LeaseLost => "lease-lost",
            Self::Conflict => "conflict",
            Self::Cancelled => "cancelled",
        }
    }

    /// The stable code, one per kind.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Config => "ERR_REDIS_CONFIG",
            Self::Disabled => "ERR_REDIS_DISABLED",
            Self::Connection => "ERR_REDIS_CONNECTION",
            Self::Auth => "ERR_REDIS_AUTH",
            Self::Tls => "ERR_REDIS_TLS",
            Self::Timeout => "ERR_REDIS_TIMEOUT",
            Self::Closed => "ERR_REDIS_CLOSED",
            Self::Overloaded => "ERR_REDIS_OVERLOADED",
            Self::Server => "ERR_REDIS_SERVER",
            Self::Serialization => "ERR_REDIS_SERIALIZATION",
            Self::LeaseLost => "ERR_REDIS_LEASE_LOST",
            Self::Conflict => "ERR_REDIS_CONFLICT",
            Self::Cancelled => "ERR_REDIS_CANCELLED",
        }
    }
}

/// Whether the server may have executed the failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// No byte of the call was sent.
    NotSent,
    /// The call was written, at least in part, and no answer came.
    MaybeExecuted,
    /// The server has refused the call.
    Rejected,
}

impl Delivery {
    /// The name in the TypeScript API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not-sent",
            Self::MaybeExecuted => "maybe-executed",
            Self::Rejected => "rejected",
        }
    }
}

/// A string as errors describe it: only its length, as JavaScript counts, because it may hold a secret.
#[must_use]
pub fn describe_text(text: &str) -> String {
    format!("a string of {} characters", text.encode_utf16().count())
}

/// The error line of a command within a script. Before Redis 7 it is the end of an `ERR` about the script:
/// `ERR Error running script (call to f_…): @user_script:3: CODE text`, or `…: @user_script:3: @user_script: 3: -CODE text`.
#[must_use]
pub fn said_in_script(line: &str) -> &str {
    let Some((_, mut said)) =
        line.strip_prefix("ERR Error running script (call to f_").and_then(|rest| rest.split_once("): "))
    else {
        return line;
    };
    // The places: `@user_script:3`, or `@user_script` and `3`.
    while let Some((place, rest)) = said.split_once(": ")
        && (place.trim_start_matches('@').starts_with("user_script") || place.bytes().all(|byte| byte.is_ascii_digit()))
    {
        said = rest;
    }
    let said = said.strip_prefix('-').unwrap_or(said);
    // An error of the script itself has no code, and stays unchanged.
    if is_code(said.split_once(' ').map_or(said, |(code, _)| code)) { said } else { line }
}

/// The line without the arguments that some errors quote, because they may be payloads or passwords.
fn without_arguments(line: &str) -> Cow<'_, str> {
    if line.starts_with("ERR unknown command") {
        return line.split(", with args beginning with").next().unwrap_or_default().into();
    }
    match line.strip_prefix("ERR Error in ACL SETUSER modifier ").and_then(|rest| rest.rsplit_once("': ")) {
        Some((_, why)) => format!("ERR Error in an ACL SETUSER modifier: {why}").into(),
        None => line.split(" in acl selector starting at").next().unwrap_or_default().into(),
    }
}

/// `text`, cut where it is longer than [`MAX_MESSAGE`].
fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_MESSAGE {
        return text.into();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX_MESSAGE)]).into()
}

fn is_code(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= MAX_CODE
        && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// A failure: kind, message, delivery and cause.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    delivery: Delivery,
    server_code: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of a call that was not sent.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), delivery: Delivery::NotSent, server_code: None, source: None }
    }

    /// A bad argument or option.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A reply that no Redis gives to the command. A decoder does not know the command, so the caller of the decoder adds it with
    /// [`Error::to_command`].
    #[must_use]
    pub fn unexpected_reply() -> Self {
        Self::new(ErrorKind::Server, UNEXPECTED_REPLY).with_delivery(Delivery::MaybeExecuted)
    }

    /// The same failure. An unexpected reply without a command gets this one.
    #[must_use]
    pub fn to_command(mut self, name: impl FnOnce() -> String) -> Self {
        if self.message == UNEXPECTED_REPLY {
            self.message = format!("{UNEXPECTED_REPLY} to {}", name());
        }
        self
    }

    /// An error reply, with the server's text: `CODE text`. A long text is cut.
    #[must_use]
    pub fn from_reply(line: &str) -> Self {
        let line = said_in_script(line);
        let line = &*without_arguments(line);
        let (code, rest) = line.split_once(' ').unwrap_or((line, ""));
        let kind = match code {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => ErrorKind::Auth,
            // Before Redis 6 a wrong password was a plain ERR.
            "ERR" if rest.starts_with("invalid password") || rest.starts_with("AUTH ") => ErrorKind::Auth,
            _ => ErrorKind::Server,
        };
        let mut message = cut(line).into_owned();
        if code == "MOVED" {
            message.push_str(OF_A_CLUSTER);
        }
        Self {
            kind,
            message,
            delivery: Delivery::Rejected,
            server_code: is_code(code).then(|| code.to_owned()),
            source: None,
        }
    }

    /// The same failure, with another delivery.
    #[must_use]
    pub fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The same failure, with another message.
    #[must_use]
    pub fn with_message(mut self, say: impl FnOnce(&str) -> String) -> Self {
        self.message = say(&self.message);
        self
    }

    /// The same failure, caused by `source`.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message, without the cause.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Is this an error reply of a server?
    #[must_use]
    pub fn is_reply(&self) -> bool {
        self.delivery == Delivery::Rejected
    }

    /// Whether the server may have acted.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// The first word of an error reply (`WRONGTYPE`, `NOAUTH`, …).
    #[must_use]
    pub fn server_code(&self) -> Option<&str> {
        self.server_code.as_deref()
    }

    /// May the same call succeed if it is made again? Whether a repetition is safe is another question: see [`Error::delivery`].
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Overloaded => true,
            ErrorKind::Server => matches!(
                self.server_code(),
                Some(
                    "LOADING"
                        | "TRYAGAIN"
                        | "CLUSTERDOWN"
                        | "MASTERDOWN"
                        | "READONLY"
                        | "BUSY"
                        | "OOM"
                        | "MOVED"
                        | "ASK"
                        | "NOREPLICAS"
                        | "UNKILLABLE"
                )
            ),
            ErrorKind::Config
            | ErrorKind::Disabled
            | ErrorKind::Auth
            | ErrorKind::Tls
            | ErrorKind::Closed
            | ErrorKind::Serialization
            | ErrorKind::LeaseLost
            | ErrorKind::Conflict
            | ErrorKind::Cancelled => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The cause itself, so that callers can downcast it. `thiserror` would give the `Arc` around it.
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_can_be_downcast() {
        let error =
            Error::new(ErrorKind::Connection, "no").caused_by(std::io::Error::from(std::io::ErrorKind::NotFound));
        let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
        assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
    }

    #[test]
    fn only_an_unexpected_reply_gets_the_name_of_a_command_and_only_once() {
        let error = Error::unexpected_reply().to_command(|| "`GET`".into()).to_command(|| "`SET`".into());
        assert_eq!(error.message(), "unexpected reply to `GET`");
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Server, Delivery::MaybeExecuted));
        assert_eq!(Error::config("key: bad").to_command(|| "`GET`".into()).message(), "key: bad");
    }

    #[test]
    fn the_first_word_of_an_error_reply_is_its_code() {
        let error = Error::from_reply("MOVED 12182 10.0.0.1:7000");
        assert_eq!(error.server_code(), Some("MOVED"));
        assert!(
            error.message().starts_with("MOVED 12182 10.0.0.1:7000 (") && error.message().contains("redis+cluster://")
        );
        let error = Error::from_reply("WRONGTYPE Operation against a key");
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.server_code(), Some("WRONGTYPE"));
        assert_eq!(error.delivery(), Delivery::Rejected);
    }

    #[test]
    fn the_error_of_a_command_within_a_script_is_the_same_for_every_version_of_redis() {
        const SCRIPT: &str = "ERR Error running script (call to f_df94f6e2145c0f1402ca5a21d71ebb02f5ae2169): ";
        for (told, code, message) in [
            (
                "@user_script:12: WRONGTYPE Operation against a key",
                Some("WRONGTYPE"),
                "WRONGTYPE Operation against a key",
            ),
            (
                "@user_script:1: @user_script: 1: -READONLY You can't write",
                Some("READONLY"),
                "READONLY You can't write",
            ),
            ("@user_script:1: ERR value is not an integer", Some("ERR"), "ERR value is not an integer"),
        ] {
            let error = Error::from_reply(&format!("{SCRIPT}{told}"));
            assert_eq!((error.server_code(), error.message()), (code, message));
        }
        let own = format!("{SCRIPT}@user_script:1: user_script:1: attempt to call a nil value");
        assert_eq!((said_in_script(&own), Error::from_reply(&own).server_code()), (own.as_str(), Some("ERR")));
        let other = "WRONGTYPE Operation against a key script: df94, on @user_script:1.";
        assert_eq!(said_in_script(other), other);
    }

    #[test]
    fn no_argument_is_quoted() {
        for (line, message) in [
            ("ERR unknown command 'SETT', with args beginning with: 'user:1' 'payload' ", "ERR unknown command 'SETT'"),
            ("ERR unknown command `SETT`, with args beginning with: `payload`, ", "ERR unknown command `SETT`"),
            (
                "ERR Error in ACL SETUSER modifier '>sec': ret': Syntax error",
                "ERR Error in an ACL SETUSER modifier: Syntax error",
            ),
            ("ERR Unmatched parenthesis in acl selector starting at '(>secret'.", "ERR Unmatched parenthesis"),
        ] {
            let error = Error::from_reply(line);
            assert_eq!((error.message(), error.server_code()), (message, Some("ERR")));
        }
    }

    #[test]
    fn a_long_text_becomes_a_short_message() {
        let error = Error::from_reply(&format!("OOM {}", "ü".repeat(1 << 20)));
        assert_eq!(error.server_code(), Some("OOM"));
        assert!(error.message().len() < MAX_MESSAGE + 8 && error.message().ends_with("ü…"));
        assert_eq!(Error::from_reply(&"X".repeat(1 << 20)).server_code(), None);
    }

    #[test]
    fn refused_credentials_are_of_kind_auth() {
        for line in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM this user has no permissions",
            "ERR invalid password",
        ] {
            assert_eq!(Error::from_reply(line).kind(), ErrorKind::Auth, "{line}");
        }
    }

    #[test]
    fn a_reply_without_a_code_has_none() {
        assert_eq!(Error::from_reply("went wrong").server_code(), None);
    }
}
