//! When a schedule ticks: every so many milliseconds, or as a cron line says in a time zone.
//!
//! Cron lines have five fields, or six with seconds first. Where clocks go forward, a job of a fixed time that does not exist
//! runs right after the gap; where they go back, it runs once, the first time. One that runs in every hour or minute runs by
//! what clocks show: `croner` follows Vixie cron in this.

use chrono::DateTime;
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::options::Options;
use crate::queue::options::MAX_DELAY_MS;

const FIELDS: [&str; 6] = ["seconds", "minutes", "hours", "day of month", "month", "day of week"];

/// A time to try a new line from: the begin of 2026.
const ANY_TIME: u64 = 1_767_225_600_000;

/// When a schedule ticks.
#[derive(Debug)]
pub(super) enum When {
    /// Milliseconds.
    Every(u64),
    Cron {
        line: String,
        cron: Box<Cron>,
        zone: Tz,
    },
}

impl When {
    /// # Errors
    ///
    /// `config`, naming the option; for a bad cron line with the place of what is wrong in it.
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
                let cron = Box::new(parse_line(&line)?);
                let when = Self::Cron { line, cron, zone };
                // One that never ticks, such as on the 30th of February, is no schedule.
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
            Self::Cron { line, zone, .. } => json!({ "cron": line, "tz": zone.name() }),
        }
    }

    /// The first tick after `now`, both in milliseconds of server time; intervals are counted from `last`.
    pub(super) fn after(&self, now: u64, last: Option<u64>) -> Result<u64> {
        match self {
            Self::Every(every) => {
                let last = last.unwrap_or(now);
                // Ticks that were missed run once, as the one that is late.
                let passed = now.saturating_sub(last) / every;
                Ok(last + (passed + 1) * every)
            }
            Self::Cron { cron, zone, .. } => {
                let from = i64::try_from(now)
                    .ok()
                    .and_then(DateTime::from_timestamp_millis)
                    .ok_or_else(|| Error::config("TaskQueue.schedule: the server's clock is out of range"))?;
                let next = cron
                    .find_next_occurrence(&from.with_timezone(zone), false)
                    .map_err(|_| Error::config("TaskQueue.schedule: when.cron: expected a line that ticks at some time, got one that never does"))?;
                Ok(next.timestamp_millis().unsigned_abs().max(now + 1))
            }
        }
    }
}

fn parse_line(line: &str) -> Result<Cron> {
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(line).map_err(|_| Error::config(describe(parser, line)))
}

/// What is wrong with a cron line, and where.
fn describe(parser: CronParser, line: &str) -> String {
    let said = "TaskQueue.schedule: when.cron: expected five fields, or six with seconds first";
    let mut fields = Vec::new();
    let mut at = 0;
    for part in line.split(char::is_whitespace) {
        if !part.is_empty() {
            fields.push((line[..at].chars().count() + 1, part));
        }
        at += part.len() + line[at + part.len()..].chars().next().map_or(0, char::len_utf8);
    }
    if !(5..=6).contains(&fields.len()) {
        return format!("{said}, got {} of them", fields.len());
    }
    let first = 6 - fields.len();
    for (place, (position, field)) in fields.iter().enumerate() {
        // The others cannot be what is wrong when they are stars.
        let mut probe = vec!["*"; fields.len()];
        probe[place] = field;
        if let Err(error) = parser.parse(&probe.join(" ")) {
            return format!(
                "{said}, got something wrong at position {position}, in the {}: {error}",
                FIELDS[first + place]
            );
        }
    }
    format!("{said}, got fields that do not go together")
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
    fn what_is_wrong_with_a_line_is_said_with_its_position() {
        for (line, said) in [
            ("* * 25 * *", "position 5, in the day of month"),
            ("0 99 * * *", "position 3, in the hours"),
            ("* * * *", "got 4 of them"),
            ("61 * * * * *", "position 1, in the seconds"),
            ("* * * * fry", "position 9, in the day of week"),
            ("0 0 30 2 *", "never does"),
        ] {
            let text = json!({ "cron": line }).to_string();
            match When::parse(&text) {
                Err(error) => assert!(error.message().contains(said), "{line}: {error}"),
                Ok(_) => assert_eq!(line, "* * 25 * *"),
            }
        }
        for text in [
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
    fn missed_ticks_of_an_interval_are_one() {
        let every = When::Every(1_000);
        assert_eq!(every.after(10_500, Some(3_000)).unwrap(), 11_000);
        assert_eq!(every.after(11_000, Some(10_000)).unwrap(), 12_000);
        assert_eq!(every.after(500, None).unwrap(), 1_500);
    }
}
