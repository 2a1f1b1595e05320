//! The options of a durable subscription.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::in_flight::Retries;
use crate::backoff::Backoff;
use crate::bus::{A_TOPIC, is_topic};
use crate::error::Result;
use crate::keys::{GroupKeys, TopicKeys};
use crate::options::Options;

const MAX_CONCURRENCY: u64 = 10_000;
const MAX_ATTEMPTS: u64 = 1_000_000;
const LEAST_LEASE_MS: f64 = 100.0;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) topic: Bytes,
    pub(super) group: Bytes,
    pub(super) topic_keys: TopicKeys,
    pub(super) keys: GroupKeys,
    /// The id after which a new group starts, or `$`.
    pub(super) from: Bytes,
    /// Handlers that may run at once.
    pub(super) concurrency: usize,
    pub(super) retry: Retry,
    /// The lease: how long other consumers wait before they take over.
    pub(super) lease: Duration,
    /// How long a handler may run.
    pub(super) timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub(super) attempts: u64,
    backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, backoff: Backoff { min: Duration::from_secs(1), max: Duration::from_mins(1) } }
    }
}

impl Retry {
    fn read(mut options: Options) -> Result<Self> {
        let standard = Self::default();
        let attempts = options.whole("maxAttempts", 1..=MAX_ATTEMPTS)?.unwrap_or(standard.attempts);
        let min = options.time("minDelayMs", 0.0)?.unwrap_or(standard.backoff.min);
        let max = options.time("maxDelayMs", 0.0)?.unwrap_or(standard.backoff.max.max(min));
        if max < min {
            let expected = format!("at least minDelayMs, {}", min.as_millis());
            return Err(options.wrong("maxDelayMs", &expected, &Value::from(max.as_secs_f64() * 1e3)));
        }
        options.finish()?;
        Ok(Self { attempts, backoff: Backoff { min, max } })
    }

    /// The longest delay before a retry.
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
    /// Reads the options of a subscription to `topic`.
    pub(super) fn read(mut options: Options, topic_keys: TopicKeys, topic: &[u8]) -> Result<Self> {
        let group = match options.take("group") {
            Some(Value::String(group)) if is_topic(&group) => group,
            other => return Err(options.wrong("group", A_TOPIC, &other.unwrap_or(Value::Null))),
        };
        for name in ["maxPending", "maxPendingBytes"] {
            if let Some(given) = options.take(name) {
                return Err(options.wrong(name, "nothing beside group", &given));
            }
        }
        options.stays("signal");
        let settings = Self {
            topic: Bytes::copy_from_slice(topic),
            keys: topic_keys.group(group.as_bytes()),
            topic_keys,
            group: group.into(),
            from: start(&mut options)?,
            concurrency: usize::try_from(options.whole("concurrency", 1..=MAX_CONCURRENCY)?.unwrap_or(1)).unwrap_or(1),
            retry: options.nested("retry")?.map_or(Ok(Retry::default()), Retry::read)?,
            lease: options.time("claimAfterMs", LEAST_LEASE_MS)?.unwrap_or(Duration::from_secs(30)),
            timeout: options.time("timeoutMs", 1.0)?.unwrap_or(Duration::from_mins(10)),
        };
        options.finish()?;
        Ok(settings)
    }
}

/// The id after which a group must start so that its first message has the given id or a later one.
fn start(options: &mut Options) -> Result<Bytes> {
    let Some(given) = options.take("from") else { return Ok(Bytes::from_static(b"$")) };
    let id = match given.as_str() {
        Some("new") => return Ok(Bytes::from_static(b"$")),
        Some("start") => return Ok(Bytes::from_static(b"0-0")),
        text => text.and_then(numbers_of_id),
    };
    let Some((ms, seq)) = id else {
        return Err(options.wrong("from", "\"new\", \"start\", the id of a stream entry or an ISO time", &given));
    };
    let (ms, seq) = match (ms, seq) {
        (0, 0) => (0, 0),
        (ms, 0) => (ms - 1, u64::MAX),
        (ms, seq) => (ms, seq - 1),
    };
    Ok(Bytes::from(format!("{ms}-{seq}")))
}

/// The two numbers of an id; the second is 0 where it is left out.
fn numbers_of_id(text: &str) -> Option<(u64, u64)> {
    let whole = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    Some((whole(ms)?, whole(seq)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::Namespace;

    fn read(json: &Value) -> Result<Settings> {
        let options = Options::from_value("MessageBus.subscribe", json.clone())?;
        Settings::read(options, Namespace::NONE.topic(b"t"), b"t")
    }

    fn starts(from: &str) -> Result<Bytes> {
        read(&json!({ "group": "g", "from": from })).map(|settings| settings.from)
    }

    #[test]
    fn a_group_starts_with_the_named_message() {
        for (from, after) in [
            ("new", "$"),
            ("start", "0-0"),
            ("0", "0-0"),
            ("5-3", "5-2"),
            ("5", "4-18446744073709551615"),
            ("1763721000000-0", "1763720999999-18446744073709551615"),
        ] {
            assert_eq!(starts(from).unwrap(), after, "{from}");
        }
    }

    #[test]
    fn an_invalid_start_is_refused_by_name() {
        for from in ["", "-", "1-", "-1", "1-2-3", "yesterday", "99999999999999999999"] {
            assert!(starts(from).unwrap_err().message().starts_with("MessageBus.subscribe.from: "), "{from}");
        }
    }

    #[test]
    fn a_bad_option_is_refused_with_its_name_and_the_value() {
        for (options, refusal) in [
            (json!({}), "group: expected a string of 1 to 1024 bytes"),
            (
                json!({ "group": "g", "retry": { "attempts": 3 } }),
                "retry.attempts: expected one of the options maxAttempts, maxDelayMs, minDelayMs, got an unknown option",
            ),
            (
                json!({ "group": "g", "retry": { "minDelayMs": 90_000, "maxDelayMs": 0.5 } }),
                "retry.maxDelayMs: expected at least minDelayMs, 90000, got 0.5",
            ),
            (json!({ "group": "g", "maxPending": 1 }), "maxPending: expected nothing beside group, got 1"),
            (
                json!({ "group": "g", "claimAfterMs": { "$": "NaN" } }),
                "claimAfterMs: expected a number of milliseconds from 100 to 2147483647, got NaN",
            ),
        ] {
            let error = read(&options).unwrap_err();
            assert!(error.message().starts_with(&format!("MessageBus.subscribe.{refusal}")), "{error}");
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
