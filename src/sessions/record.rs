//! Turns replies of scripts into outcomes.

use bytes::Bytes;

use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// A session, or null: `[version, JSON text, created, expires, user]`. `user` is the user whose list must get the session's entry, or "".
pub(super) fn session(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Nil => Ok(Outcome::Null),
        Reply::Array(parts) => fields(parts),
        _ => Err(Error::unexpected_reply()),
    }
}

/// The outcome of a write, and the session where there is one: `[word, session or null]`.
pub(super) fn written(reply: Reply, metrics: &Metrics) -> Result<Outcome> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let mut parts = parts.into_iter();
    let Some(Reply::Bulk(word)) = parts.next() else { return Err(Error::unexpected_reply()) };
    if matches!(&word[..], b"changed" | b"destroyed" | b"gone" | b"exists") {
        metrics.session_conflicts.add(1);
    }
    Ok(Outcome::List(vec![Outcome::Text(word), session(parts.next().unwrap_or(Reply::Nil), metrics)?]))
}

/// A number, and the user whose list must get the session's entry, or "".
pub(super) fn counted(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    let (count, user) = count_and_user(reply)?;
    Ok(Outcome::List(vec![Outcome::Number(count as f64), text(user)?]))
}

pub(super) fn count_and_user(reply: Reply) -> Result<(i64, Bytes)> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    match <[Reply; 2]>::try_from(parts) {
        Ok([Reply::Int(count), Reply::Bulk(user)]) => Ok((count, user)),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn messages(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    let Reply::Array(items) = reply else { return Err(Error::unexpected_reply()) };
    let each = items.into_iter().map(|item| match item {
        Reply::Bulk(json) => text(json),
        _ => Err(Error::unexpected_reply()),
    });
    each.collect::<Result<_>>().map(Outcome::List)
}

fn fields(parts: Vec<Reply>) -> Result<Outcome> {
    match <[Reply; 5]>::try_from(parts) {
        Ok([Reply::Int(version), Reply::Bulk(json), Reply::Int(created), Reply::Int(expires), Reply::Bulk(user)]) => {
            Ok(Outcome::List(vec![
                Outcome::Number(version as f64),
                text(json)?,
                Outcome::Number(created as f64),
                Outcome::Number(expires as f64),
                text(user)?,
            ]))
        }
        _ => Err(Error::unexpected_reply()),
    }
}

fn text(bytes: Bytes) -> Result<Outcome> {
    if std::str::from_utf8(&bytes).is_ok() {
        return Ok(Outcome::Text(bytes));
    }
    let message = format!("session: expected UTF-8 text, got {} other bytes", bytes.len());
    Err(Error::new(ErrorKind::Serialization, message).with_delivery(Delivery::Rejected))
}
