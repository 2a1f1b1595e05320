//! Cron lines, and the local times that they name. Time zones are handled in `clock`.
//!
//! `croner` parses a line and decides which days it names. A line has five fields, or six with seconds first. All forms that
//! `BullMQ`'s parser accepts are accepted, except `H`, which picks a time by a hash.

use chrono::{Datelike, Days, NaiveDateTime, Timelike};
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronPattern, Weekday};

use crate::error::{Error, Result};

const FIELDS: [&str; 6] = ["seconds", "minutes", "hours", "day of month", "month", "day of week"];

const NICKNAMES: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
    ("@secondly", "* * * * * *"),
    ("@weekdays", "0 0 * * 1-5"),
    ("@weekends", "0 0 * * 0,6"),
];

/// A line that names no day within this many days never names one: within 40 years the 29th of February falls on each weekday.
const LONGEST_WAIT: usize = 41 * 366;

#[derive(Debug)]
pub(super) struct CronLine {
    days: CronPattern,
    hours: Vec<u32>,
    minutes: Vec<u32>,
    seconds: Vec<u32>,
}

impl CronLine {
    /// # Errors
    ///
    /// `config`, with the position of the error in the line.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let nickname = text.trim();
        if nickname.starts_with('@') {
            let named = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(nickname));
            let Some((_, line)) = named else {
                let known: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                return Err(Error::config(format!(
                    "TaskQueue.schedule: when.cron: expected one of {}, got another name that begins with @",
                    known.join(", ")
                )));
            };
            return Self::parse(line);
        }
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).sloppy_ranges(true).build();
        let fields = fields_of(text);
        check_forms(&fields)?;
        let normal: Vec<_> = fields.iter().map(|(_, field)| field.replace('?', "*")).collect();
        let cron = parser.parse(&normal.join(" ")).map_err(|_| describe(parser, &fields))?;
        let days = cron.pattern;
        let values = |component: &croner::CronComponent| component.values().into_iter().map(u32::from).collect();
        let (hours, minutes, seconds) = (values(&days.hours), values(&days.minutes), values(&days.seconds));
        Ok(Self { days, hours, minutes, seconds })
    }

    /// True if the line names times in every hour of the day.
    pub(super) fn names_every_hour(&self) -> bool {
        self.hours.len() == 24
    }

    /// The first time of the line that is not before `from`.
    pub(super) fn first_from(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut day = from.date();
        for _ in 0..LONGEST_WAIT {
            if self.is_on(day) {
                let earliest = if day == from.date() { from.num_seconds_from_midnight() } else { 0 };
                // A second that has started counts as past.
                let begun = u32::from(day == from.date() && from.nanosecond() > 0);
                if let Some(second) = self.first_of_day(earliest + begun) {
                    return day.and_hms_opt(second / 3600, second / 60 % 60, second % 60);
                }
            }
            day = day.checked_add_days(Days::new(1))?;
        }
        None
    }

    fn is_on(&self, day: chrono::NaiveDate) -> bool {
        let weekday = match day.weekday() {
            chrono::Weekday::Sun => Weekday::Sunday,
            chrono::Weekday::Mon => Weekday::Monday,
            chrono::Weekday::Tue => Weekday::Tuesday,
            chrono::Weekday::Wed => Weekday::Wednesday,
            chrono::Weekday::Thu => Weekday::Thursday,
            chrono::Weekday::Fri => Weekday::Friday,
            chrono::Weekday::Sat => Weekday::Saturday,
        };
        // `croner` gives an error for a day that does not exist.
        let is_month = self.days.month_match(day.month()).unwrap_or(false);
        is_month && self.days.day_match(day.year(), day.month(), day.day(), weekday).unwrap_or(false)
    }

    /// The first second of a day, from second `from` on.
    fn first_of_day(&self, from: u32) -> Option<u32> {
        let at = |values: &[u32], least: u32| values.iter().copied().find(|value| *value >= least);
        let (hour, minute, second) = (from / 3600, from / 60 % 60, from % 60);
        let (first_minute, first_second) = (*self.minutes.first()?, *self.seconds.first()?);
        if self.hours.contains(&hour) {
            if self.minutes.contains(&minute)
                && let Some(second) = at(&self.seconds, second)
            {
                return Some(hour * 3600 + minute * 60 + second);
            }
            if let Some(minute) = at(&self.minutes, minute + 1) {
                return Some(hour * 3600 + minute * 60 + first_second);
            }
        }
        at(&self.hours, hour + 1).map(|hour| hour * 3600 + first_minute * 60 + first_second)
    }
}

/// The fields of a line, each with its position in characters; the first character is 1.
fn fields_of(line: &str) -> Vec<(usize, &str)> {
    let mut fields = Vec::new();
    let mut at = 0;
    for part in line.split(char::is_whitespace) {
        if !part.is_empty() {
            fields.push((line[..at].chars().count() + 1, part));
        }
        at += part.len() + line[at + part.len()..].chars().next().map_or(0, char::len_utf8);
    }
    fields
}

fn wrong(what: &str) -> Error {
    Error::config(format!("TaskQueue.schedule: when.cron: expected five fields, or six with seconds first, {what}"))
}

/// Refuses lines that the parser would accept although they are wrong, or explain badly.
fn check_forms(fields: &[(usize, &str)]) -> Result<()> {
    if !(5..=6).contains(&fields.len()) {
        return Err(wrong(&format!("got {} of them", fields.len())));
    }
    let first = 6 - fields.len();
    for (place, (position, field)) in fields.iter().enumerate() {
        let name = FIELDS[first + place];
        let parts = || field.split([',', '-', '/']);
        if parts().any(|part| part.eq_ignore_ascii_case("h") || part.to_ascii_lowercase().starts_with("h(")) {
            return Err(wrong(&format!(
                "got H at position {position}, in the {name}: it picks a time by a hash, as Jenkins does; name the time instead"
            )));
        }
        if parts().any(str::is_empty) {
            return Err(wrong(&format!(
                "got something wrong at position {position}, in the {name}: nothing before or after one of , - /"
            )));
        }
    }
    Ok(())
}

/// The error of a line that the parser refused, with the position of the wrong field.
fn describe(parser: CronParser, fields: &[(usize, &str)]) -> Error {
    let first = 6 - fields.len();
    for (place, (position, field)) in fields.iter().enumerate() {
        // The other fields are replaced by stars, so that an error is an error of this field.
        let mut probe = vec!["*"; fields.len()];
        probe[place] = field;
        if let Err(error) = parser.parse(&probe.join(" ")) {
            let name = FIELDS[first + place];
            return wrong(&format!("got something wrong at position {position}, in the {name}: {error}"));
        }
    }
    wrong("got fields that do not go together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn times(line: &str, count: usize) -> Vec<String> {
        let line = CronLine::parse(line).unwrap();
        let mut from = NaiveDate::from_ymd_opt(2026, 1, 5).unwrap().and_hms_opt(10, 0, 1).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let at = line.first_from(from).unwrap();
            found.push(at.format("%y-%m-%dT%H:%M:%S").to_string());
            from = at + chrono::TimeDelta::seconds(1);
        }
        found
    }

    #[test]
    fn the_forms_that_bullmqs_parser_accepts_have_the_same_meaning_here() {
        // The expected times are those of cron-parser 5.10, from the same start.
        for (line, expected) in [
            ("5/15 * * * *", ["26-01-05T10:05:00", "26-01-05T10:20:00", "26-01-05T10:35:00"]),
            ("*/100 * * * *", ["26-01-05T11:00:00", "26-01-05T12:00:00", "26-01-05T13:00:00"]),
            ("1-5/2 * * * *", ["26-01-05T10:01:00", "26-01-05T10:03:00", "26-01-05T10:05:00"]),
            ("? ? ? ? ?", ["26-01-05T10:01:00", "26-01-05T10:02:00", "26-01-05T10:03:00"]),
            ("0 0 L * *", ["26-01-31T00:00:00", "26-02-28T00:00:00", "26-03-31T00:00:00"]),
            ("0 0 L,15 * ?", ["26-01-15T00:00:00", "26-01-31T00:00:00", "26-02-15T00:00:00"]),
            ("0 0 * * 5L", ["26-01-30T00:00:00", "26-02-27T00:00:00", "26-03-27T00:00:00"]),
            ("0 0 * * MONL", ["26-01-26T00:00:00", "26-02-23T00:00:00", "26-03-30T00:00:00"]),
            ("0 0 * * mon#2", ["26-01-12T00:00:00", "26-02-09T00:00:00", "26-03-09T00:00:00"]),
            ("0 0 * JAN-MAR MON-FRI", ["26-01-06T00:00:00", "26-01-07T00:00:00", "26-01-08T00:00:00"]),
            ("0 0 * * 5-7", ["26-01-09T00:00:00", "26-01-10T00:00:00", "26-01-11T00:00:00"]),
            ("0 0 * * SUN-TUE", ["26-01-06T00:00:00", "26-01-11T00:00:00", "26-01-12T00:00:00"]),
            ("0 0 1 * 1", ["26-01-12T00:00:00", "26-01-19T00:00:00", "26-01-26T00:00:00"]),
            ("0 0 */2 * 1", ["26-01-07T00:00:00", "26-01-09T00:00:00", "26-01-11T00:00:00"]),
            ("0 0 29 2 *", ["28-02-29T00:00:00", "32-02-29T00:00:00", "36-02-29T00:00:00"]),
            ("* * * * * 1", ["26-01-05T10:00:01", "26-01-05T10:00:02", "26-01-05T10:00:03"]),
            ("@daily", ["26-01-06T00:00:00", "26-01-07T00:00:00", "26-01-08T00:00:00"]),
            ("@Weekdays", ["26-01-06T00:00:00", "26-01-07T00:00:00", "26-01-08T00:00:00"]),
            ("@weekends", ["26-01-10T00:00:00", "26-01-11T00:00:00", "26-01-17T00:00:00"]),
            ("@yearly", ["27-01-01T00:00:00", "28-01-01T00:00:00", "29-01-01T00:00:00"]),
            ("@secondly", ["26-01-05T10:00:01", "26-01-05T10:00:02", "26-01-05T10:00:03"]),
            // Forms that cron-parser refuses: the working day nearest to a day, the last working day.
            ("0 0 15W * *", ["26-01-15T00:00:00", "26-02-16T00:00:00", "26-03-16T00:00:00"]),
            ("0 0 LW * *", ["26-01-30T00:00:00", "26-02-27T00:00:00", "26-03-31T00:00:00"]),
        ] {
            assert_eq!(times(line, 3), expected, "{line}");
        }
    }

    #[test]
    fn the_error_of_a_wrong_line_names_the_position() {
        for (line, said) in [
            ("* * 32 * *", "position 5, in the day of month"),
            ("0 99 * * *", "position 3, in the hours"),
            ("* * * *", "got 4 of them"),
            ("", "got 0 of them"),
            ("61 * * * * *", "position 1, in the seconds"),
            ("* * * * fry", "position 9, in the day of week"),
            ("1,,2 * * * *", "position 1, in the minutes"),
            ("0 /5 * * *", "position 3, in the hours"),
            ("0 0 1- * *", "position 5, in the day of month"),
            ("0 22-2 * * *", "position 3, in the hours"),
            ("*/0 * * * *", "position 1, in the minutes"),
            ("0 0 * * 1#6", "position 9, in the day of week"),
            ("H * * * *", "got H at position 1, in the minutes: it picks a time by a hash, as Jenkins does"),
            ("0 h(2-4) * * *", "got H at position 3"),
            ("0 H/2 * * *", "got H at position 3"),
            ("@reboot", "expected one of @yearly, "),
        ] {
            let error = CronLine::parse(line).unwrap_err();
            assert!(error.message().contains(said), "{line}: {error}");
        }
        // The names of months and days may contain an H.
        assert!(CronLine::parse("0 0 * MAR THU").is_ok());
    }
}
