//! What a durable subscription is told.

use std::time::Duration;

use bytes::Bytes;

use super::hands::Retries;
use crate::arguments::Arguments;
use crate::backoff::Backoff;
use crate::crossing::Arg;
use crate::error::{Error, Result};
use crate::keys::{GroupKeys, TopicKeys};

const MAX_CONCURRENCY: u64 = 10_000;
const MAX_ATTEMPTS: u64 = 1_000_000;
const LEAST_LEASE_MS: f64 = 100.0;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) topic: Bytes,
    pub(super) group: Bytes,
    pub(super) topic_keys: TopicKeys,
    pub(super) keys: GroupKeys,
    /// The id after which a new group begins, or `$`.
    pub(super) from: Bytes,
    /// Handlers that may run at once.
    pub(super) concurrency: usize,
    pub(super) retry: Retry,
    /// How long the others wait for a sign of life before they take over.
    pub(super) lease: Duration,
    /// How long a handler may run.
    pub(super) timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) attempts: u64,
    backoff: Backoff,
}

impl Retry {
    /// The longest wait before an attempt.
    pub(super) fn longest_ms(&self) -> u64 {
        u64::try_from(self.backoff.max.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Retries for Retry {
    fn after(&self, attempts: u64) -> Option<u64> {
        let delay = self.backoff.delay(u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        (attempts < self.attempts).then(|| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Settings {
    /// Arguments from `at` on: group, from, concurrency, maxAttempts, minDelayMs, maxDelayMs, claimAfterMs, timeoutMs.
    pub(super) fn read(args: &Arguments<'_>, at: usize, topic_keys: TopicKeys, topic: &[u8]) -> Result<Self> {
        let group = crate::bus::topic(args, at, "group")?;
        let whole = |place, name, default, most| match args.at(place) {
            Arg::Absent => Ok(default),
            arg => args
                .count(place, name)
                .ok()
                .filter(|count| *count <= most)
                .ok_or_else(|| args.wrong(name, &format!("a whole number from 1 to {most}"), arg)),
        };
        let min = args.millis(at + 4, "retry.minDelayMs", 0.0)?.unwrap_or(Duration::from_secs(1));
        let max = args.millis(at + 5, "retry.maxDelayMs", 0.0)?.unwrap_or(Duration::from_mins(1).max(min));
        if max < min {
            return Err(Error::config(format!(
                "MessageBus.subscribe: retry.maxDelayMs: expected at least minDelayMs, {}, got {}",
                min.as_millis(),
                max.as_millis()
            )));
        }
        Ok(Self {
            topic: Bytes::copy_from_slice(topic),
            group: Bytes::copy_from_slice(group),
            keys: topic_keys.group(group),
            topic_keys,
            from: begin(args, at + 1)?,
            concurrency: usize::try_from(whole(at + 2, "concurrency", 1, MAX_CONCURRENCY)?).unwrap_or(1),
            retry: Retry {
                attempts: whole(at + 3, "retry.maxAttempts", 5, MAX_ATTEMPTS)?,
                backoff: Backoff { min, max },
            },
            lease: args.millis(at + 6, "claimAfterMs", LEAST_LEASE_MS)?.unwrap_or(Duration::from_secs(30)),
            timeout: args.millis(at + 7, "timeoutMs", 1.0)?.unwrap_or(Duration::from_mins(10)),
        })
    }
}

/// The id after which a group begins whose first message has the id that is given, or a later one.
fn begin(args: &Arguments<'_>, place: usize) -> Result<Bytes> {
    let wrong = |got| args.wrong("from", "\"new\", \"start\", the id of a stream entry or an ISO time", got);
    let text = match args.at(place) {
        Arg::Absent | Arg::Text("new") => return Ok(Bytes::from_static(b"$")),
        Arg::Text("start") => return Ok(Bytes::from_static(b"0-0")),
        Arg::Text(text) => text,
        other => return Err(wrong(other)),
    };
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    let whole = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten();
    let (Some(ms), Some(seq)) = (whole(ms), whole(seq)) else { return Err(wrong(args.at(place))) };
    let (ms, seq) = match (ms, seq) {
        (0, 0) => (0, 0),
        (ms, 0) => (ms - 1, u64::MAX),
        (ms, seq) => (ms, seq - 1),
    };
    Ok(Bytes::from(format!("{ms}-{seq}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(arg: Arg<'_>) -> Result<Bytes> {
        begin(&Arguments::of("MessageBus.subscribe", &[arg]), 0)
    }

    #[test]
    fn a_group_begins_with_the_message_that_is_named() {
        for (from, after) in [
            ("new", "$"),
            ("start", "0-0"),
            ("0", "0-0"),
            ("5-3", "5-2"),
            ("5", "4-18446744073709551615"),
            ("1763721000000-0", "1763720999999-18446744073709551615"),
        ] {
            assert_eq!(begins(Arg::Text(from)).unwrap(), after, "{from}");
        }
    }

    #[test]
    fn a_begin_that_is_none_is_refused_by_name() {
        for from in ["", "-", "1-", "-1", "1-2-3", "yesterday", "99999999999999999999"] {
            assert!(
                begins(Arg::Text(from)).unwrap_err().message().starts_with("MessageBus.subscribe: from: "),
                "{from}"
            );
        }
    }

    #[test]
    fn retries_wait_longer_and_end() {
        let retry = Retry {
            attempts: 3,
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_millis(150) },
        };
        assert!(retry.after(1).is_some_and(|ms| (100..=150).contains(&ms)) && retry.after(2).is_some());
        assert_eq!(retry.after(3), None);
    }
}
