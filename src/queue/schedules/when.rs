//! When a schedule ticks: at an interval of milliseconds, or at the times of a cron line in a time zone.

use chrono::DateTime;
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::clock;
use super::cron::CronLine;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::queue::options::MAX_DELAY_MS;

/// A time from which a new line must have a tick: the start of 2026.
const ANY_TIME: u64 = 1_767_225_600_000;

/// The end of the year 9999. A later server time is refused.
const LAST_TIME: u64 = 253_402_300_799_999;

/// When a schedule ticks.
#[derive(Debug)]
pub(super) enum When {
    /// Milliseconds.
    Every(u64),
    Cron {
        text: String,
        line: Box<CronLine>,
        zone: Tz,
    },
}

impl When {
    /// # Errors
    ///
    /// `config`, naming the option; for a wrong cron line also the position of the error.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut options = Options::parse("TaskQueue.schedule: when", text)?;
        let every = options.whole("everyMs", 1..=MAX_DELAY_MS)?;
        let (line, zone) = (options.text("cron")?, options.text("tz")?);
        options.finish()?;
        match (every, line) {
            (Some(every), None) if zone.is_none() => Ok(Self::Every(every)),
            (None, Some(line)) => {
                let zone = zone.as_deref().unwrap_or("UTC");
                let zone = zone.parse().map_err(|_| {
                    Error::config(format!(
                        "TaskQueue.schedule: when.tz: expected the name of a time zone such as Europe/Berlin, got an unknown one of {} characters",
                        zone.chars().count()
                    ))
                })?;
                let when = Self::Cron { line: Box::new(CronLine::parse(&line)?), text: line, zone };
                // A line that never ticks, such as on the 30th of February, is refused.
                when.after(ANY_TIME, None)?;
                Ok(when)
            }
            _ => Err(Error::config(
                "TaskQueue.schedule: when: expected either everyMs or cron with tz, got both, neither or everyMs with tz",
            )),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Every(ms) => json!({ "everyMs": ms }),
            Self::Cron { text, zone, .. } => json!({ "cron": text, "tz": zone.name() }),
        }
    }

    /// The first tick after `now`, both in milliseconds of server time. An interval counts from the tick `last`.
    pub(super) fn after(&self, now: u64, last: Option<u64>) -> Result<u64> {
        match self {
            Self::Every(every) => {
                let last = last.unwrap_or(now);
                // All missed ticks together are the one tick that runs now.
                let passed = now.saturating_sub(last) / every;
                Ok(last + (passed + 1) * every)
            }
            Self::Cron { line, zone, .. } => {
                let from = i64::try_from(now)
                    .ok()
                    .filter(|_| now <= LAST_TIME)
                    .and_then(DateTime::from_timestamp_millis)
                    .ok_or_else(|| Error::config("TaskQueue.schedule: the server's clock is out of range"))?;
                let next = clock::next(line, *zone, from).ok_or_else(|| {
                    Error::config("TaskQueue.schedule: when.cron: expected a line that ticks, got one that never ticks")
                })?;
                Ok(next.timestamp_millis().unsigned_abs().max(now + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> u64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis().unsigned_abs()
    }

    fn cron(line: &str, zone: &str) -> When {
        When::parse(&json!({ "cron": line, "tz": zone }).to_string()).unwrap()
    }

    #[test]
    fn lines_that_never_tick_unknown_zones_and_wrong_intervals_are_refused() {
        for text in [
            r#"{"cron":"0 0 30 2 *"}"#,
            r#"{"cron":"0 0 * * L"}"#,
            r#"{"cron":"* * * * *","tz":"Mars/Phobos"}"#,
            r#"{"everyMs":0}"#,
            "{}",
            r#"{"everyMs":1,"cron":"* * * * *"}"#,
        ] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_that_clocks_skip_or_repeat_ticks_once() {
        let daily = cron("30 2 * * *", "Europe/Berlin");
        // 29 March 2026: 02:00 becomes 03:00.
        let spring = daily.after(ms("2026-03-28T12:00:00Z"), None).unwrap();
        assert_eq!(spring, ms("2026-03-29T01:00:00Z"));
        assert_eq!(daily.after(spring, None).unwrap(), ms("2026-03-30T00:30:00Z"));
        // 25 October 2026: 03:00 becomes 02:00.
        let autumn = daily.after(ms("2026-10-24T12:00:00Z"), None).unwrap();
        assert_eq!(autumn, ms("2026-10-25T00:30:00Z"));
        assert_eq!(daily.after(autumn, None).unwrap(), ms("2026-10-26T01:30:00Z"));
    }

    #[test]
    fn a_server_time_after_the_year_9999_is_refused() {
        let minutely = cron("* * * * *", "Europe/Berlin");
        assert_eq!(minutely.after(LAST_TIME, None).unwrap(), LAST_TIME + 1);
        for now in [LAST_TIME + 1, 8_210_266_876_799_999, i64::MAX.unsigned_abs(), u64::MAX] {
            assert!(minutely.after(now, None).unwrap_err().message().contains("clock is out of range"), "{now}");
        }
    }

    #[test]
    fn missed_ticks_of_an_interval_count_as_one() {
        let every = When::Every(1_000);
        assert_eq!(every.after(10_500, Some(3_000)).unwrap(), 11_000);
        assert_eq!(every.after(11_000, Some(10_000)).unwrap(), 12_000);
        assert_eq!(every.after(500, None).unwrap(), 1_500);
    }
}
