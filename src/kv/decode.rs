//! Conversion of replies into outcomes.
#![expect(clippy::unnecessary_wraps, clippy::needless_pass_by_value, reason = "the signature of a decoder")]

use bytes::Bytes;

use crate::arguments::MAX_SAFE;
use crate::connection::Manager;
use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Metrics;

fn json_text(bytes: Bytes) -> Result<Outcome> {
    if std::str::from_utf8(&bytes).is_err() {
        return Err(Error::new(
            ErrorKind::Serialization,
            format!("stored value: expected UTF-8 text, got {} other bytes: read it with getBuffer()", bytes.len()),
        )
        .with_delivery(Delivery::Rejected));
    }
    Ok(Outcome::Json(bytes))
}

pub(super) fn json(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    json_reply(reply)
}

fn json_reply(reply: Reply) -> Result<Outcome> {
    match reply {
        Reply::Nil => Ok(Outcome::Null),
        Reply::Bulk(bytes) => json_text(bytes),
        _ => Err(Error::unexpected_reply()),
    }
}

/// The stored text, which is not parsed as JSON.
pub(super) fn raw(reply: Reply) -> Result<Outcome> {
    Ok(match json_reply(reply)? {
        Outcome::Json(text) => Outcome::Text(text),
        other => other,
    })
}

pub(super) fn buffer(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Nil => Ok(Outcome::Null),
        Reply::Bulk(bytes) => Ok(Outcome::Bytes(bytes)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// JSON, counted as a hit or a miss.
pub(super) fn cached(reply: Reply, metrics: &Metrics) -> Result<Outcome> {
    count(reply != Reply::Nil, metrics);
    json_reply(reply)
}

/// Whether the value is fresh, and its JSON; counted as a hit or a miss.
pub(super) fn peeked(reply: Reply, metrics: &Metrics) -> Result<Outcome> {
    let hit = matches!(&reply, Reply::Array(parts) if parts.len() == 2);
    count(hit, metrics);
    if reply == Reply::Nil {
        return Ok(Outcome::Null);
    }
    let (word, value) = tagged(reply)?;
    if &word[..] == b"loading" {
        return Ok(Outcome::Bool(true));
    }
    Ok(Outcome::List(vec![Outcome::Bool(&word[..] == b"fresh"), json_reply(value)?]))
}

/// Reads `{word, value?}`, the reply of the scripts of the cache.
pub(super) fn tagged(reply: Reply) -> Result<(Bytes, Reply)> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let mut parts = parts.into_iter();
    match parts.next() {
        Some(Reply::Bulk(word)) => Ok((word, parts.next().unwrap_or(Reply::Nil))),
        _ => Err(Error::unexpected_reply()),
    }
}

fn count(hit: bool, metrics: &Metrics) {
    if hit { &metrics.cache_hits } else { &metrics.cache_misses }.add(1);
}

pub(super) fn json_list(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Array(items) => items.into_iter().map(json_reply).collect::<Result<_>>().map(Outcome::List),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn nothing(_reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Ok(Outcome::Nothing)
}

/// True if the value was set. `SET … NX` replies nil if it was not.
pub(super) fn was_set(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Ok(Outcome::Bool(reply != Reply::Nil))
}

pub(super) fn flag(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    yes(&reply).map(Outcome::Bool)
}

pub(super) fn yes(reply: &Reply) -> Result<bool> {
    match reply {
        Reply::Int(n) => Ok(*n != 0),
        Reply::Bool(flag) => Ok(*flag),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn number(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Int(n) => Ok(Outcome::Number(n as f64)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// A counter. A number that JavaScript cannot represent exactly is an error.
pub(super) fn counter(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Int(n) if n.unsigned_abs() as f64 <= MAX_SAFE => Ok(Outcome::Number(n as f64)),
        Reply::Int(_) => Err(Error::new(
            ErrorKind::Serialization,
            "counter: expected a number up to 2^53 - 1, which JavaScript represents exactly, got a larger one; it is stored",
        )
        .with_delivery(Delivery::MaybeExecuted)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// `PTTL` as seconds.
pub(super) fn ttl(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    match reply {
        Reply::Int(-1) => Ok(Outcome::Number(f64::INFINITY)),
        Reply::Int(n) if n < 0 => Ok(Outcome::Null),
        Reply::Int(ms) => Ok(Outcome::Number(ms as f64 / 1e3)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// One or more statuses.
pub(super) fn statuses(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    let replies = match reply {
        Reply::Array(replies) => replies,
        one => vec![one],
    };
    let failed = replies.iter().find_map(|reply| match reply {
        Reply::Error(line) => Some(Error::from_reply(&String::from_utf8_lossy(line))),
        _ => None,
    });
    match failed {
        None => Ok(Outcome::Nothing),
        // The other commands may have been executed.
        Some(error) if replies.len() > 1 => Err(error.with_delivery(Delivery::MaybeExecuted)),
        Some(error) => Err(error),
    }
}

/// The reply to the last command of a transaction, as if that command had been sent alone.
pub(super) fn last(reply: Reply) -> Result<Reply> {
    let results = match reply {
        Reply::Array(mut replies) if matches!(replies.last(), Some(Reply::Array(_))) => match replies.pop() {
            Some(Reply::Array(results)) => results,
            _ => return Err(Error::unexpected_reply()),
        },
        refused => Manager::transaction_outcome(refused)?,
    };
    match results.into_iter().next_back() {
        Some(Reply::Error(line)) => Err(Error::from_reply(&String::from_utf8_lossy(&line))),
        Some(reply) => Ok(reply),
        None => Err(Error::unexpected_reply()),
    }
}

/// The reply to the second of two commands; an error if the server refused one of them.
pub(super) fn second(reply: Reply) -> Result<Reply> {
    let Reply::Array(replies) = reply else { return Err(Error::unexpected_reply()) };
    let delivery = if replies.iter().all(|reply| matches!(reply, Reply::Error(_))) {
        Delivery::Rejected
    } else {
        Delivery::MaybeExecuted
    };
    let refused = replies.iter().find_map(|reply| match reply {
        Reply::Error(line) => Some(Error::from_reply(&String::from_utf8_lossy(line)).with_delivery(delivery)),
        _ => None,
    });
    refused.map_or_else(|| replies.into_iter().next_back().ok_or_else(Error::unexpected_reply), Err)
}

/// A transaction: only its success matters.
pub(super) fn transaction(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Manager::transaction_outcome(reply).map(|_| Outcome::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_reply_is_an_error() {
        let metrics = Metrics::default();
        let decoders: [fn(Reply, &Metrics) -> Result<Outcome>; 9] =
            [json, buffer, cached, peeked, json_list, flag, number, counter, ttl];
        for decode in decoders {
            let error = decode(Reply::Simple("surprise".into()), &metrics).unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Server, Delivery::MaybeExecuted));
        }
        assert_eq!(tagged(Reply::Array(vec![Reply::Int(1)])).unwrap_err().kind(), ErrorKind::Server);
        assert_eq!(last(Reply::Array(Vec::new())).unwrap_err().kind(), ErrorKind::Server);
    }

    #[test]
    fn after_one_failed_status_among_several_the_others_may_have_been_executed() {
        let metrics = Metrics::default();
        let (ok, refused) = (Reply::Simple("OK".into()), Reply::Error("OOM no room".into()));
        assert_eq!(statuses(Reply::Array(vec![ok.clone(), ok.clone()]), &metrics).unwrap(), Outcome::Nothing);
        let alone = statuses(refused.clone(), &metrics).unwrap_err();
        assert_eq!((alone.kind(), alone.delivery()), (ErrorKind::Server, Delivery::Rejected));
        let among = statuses(Reply::Array(vec![ok, refused]), &metrics).unwrap_err();
        assert_eq!((among.kind(), among.delivery()), (ErrorKind::Server, Delivery::MaybeExecuted));
    }
}
