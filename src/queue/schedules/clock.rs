//! When the clocks of a time zone show the times of a cron line.
//!
//! Clocks are put forward and back, so a local time may be skipped or happen twice.
//!
//! - A line that names hours (`0 2 * * *`, lists, ranges, steps) ticks when clocks first reach or skip a named time. All times that
//!   are skipped together are one tick, right after the gap. A time that happens twice ticks once.
//! - A line of every hour (`0 * * * *`, `*/5 * * * *`) is an interval. It ticks whenever clocks show a named time, also the second
//!   time.
//!
//! Vixie cron does the same, except that it treats a step of hours (`*/2`) as an interval.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::cron::CronLine;

/// More than the offset of any zone from UTC.
const MAX_OFFSET: TimeDelta = TimeDelta::hours(15);
/// No zone changes its clocks twice in this time.
const SEARCH_STEP: TimeDelta = TimeDelta::days(1);

/// The first tick of `line` after `now`; `None` if the line never ticks.
pub(super) fn next(line: &CronLine, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if line.names_every_hour() { next_shown(line, zone, now) } else { next_reached(line, zone, now) }
}

/// The next time at which clocks show a time of `line`.
fn next_shown(line: &CronLine, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut from = now + TimeDelta::milliseconds(1);
    loop {
        let shown = shown(zone, from);
        let time = line.first_from(shown)?;
        let at = from + (time - shown);
        match first_change(zone, from, at) {
            None => return Some(at),
            Some(change) => from = change,
        }
    }
}

/// The next time at which clocks first reach or skip a time of `line`.
fn next_reached(line: &CronLine, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let shown_now = shown(zone, now);
    let from = match zone.from_local_datetime(&shown_now) {
        LocalResult::Ambiguous(first, second) if now >= second => {
            // Clocks were put back, and show these times again. The first new time is the one at which they were put back.
            let (first, second) = (first.to_utc(), second.to_utc());
            let change = first_change(zone, first, second)?;
            shown_now + (change - first)
        }
        _ => shown_now + TimeDelta::milliseconds(1),
    };
    let time = line.first_from(from)?;
    match zone.from_local_datetime(&time) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.to_utc()),
        LocalResult::None => end_of_gap(zone, time),
    }
}

/// The moment at which clocks were put forward past `time`.
fn end_of_gap(zone: Tz, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    let mut from = time.and_utc() - MAX_OFFSET;
    loop {
        from = first_change(zone, from, time.and_utc() + MAX_OFFSET)?;
        if shown(zone, from) > time {
            return Some(from);
        }
    }
}

fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The first change of clocks after `from` and not after `to`.
fn first_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let mut before = from;
    while before < to {
        let mut after = to.min(before + SEARCH_STEP);
        if offset(before) == offset(after) {
            before = after;
            continue;
        }
        // Clocks are changed at whole seconds.
        let (mut low, mut high) = (before.timestamp(), after.timestamp());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let at = DateTime::from_timestamp(middle, 0)?;
            if offset(at) == offset(before) {
                low = middle;
            } else {
                high = middle;
            }
        }
        after = DateTime::from_timestamp(high, 0)?;
        return Some(after);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Datelike, Timelike};
    use std::collections::BTreeSet;

    /// A line, and its times of day, which are the same on every day.
    struct Sample {
        text: String,
        hours: BTreeSet<u32>,
        minutes: BTreeSet<u32>,
    }

    /// A random field: a star, a number, a list, a range or steps.
    fn field(random: &mut fastrand::Rng, last: u32) -> (String, BTreeSet<u32>) {
        let (a, b) = (random.u32(0..=last), random.u32(0..=last));
        let (low, high, step) = (a.min(b), a.max(b), random.u32(1..=last));
        match random.u8(0..7) {
            0 => ("*".into(), (0..=last).collect()),
            1 => (format!("{a}"), [a].into()),
            2 => (format!("{a},{b}"), [a, b].into()),
            3 => (format!("{low}-{high}"), (low..=high).collect()),
            4 => (format!("*/{step}"), (0..=last).step_by(step as usize).collect()),
            5 => (format!("{low}-{high}/{step}"), (low..=high).step_by(step as usize).collect()),
            _ => (format!("{low}/{step}"), (low..=last).step_by(step as usize).collect()),
        }
    }

    /// The ticks from `from` to `to`, found by reading the clock each minute.
    fn oracle(sample: &Sample, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let is_named = |time: NaiveDateTime| {
            sample.hours.contains(&time.hour()) && sample.minutes.contains(&time.minute()) && time.second() == 0
        };
        let is_interval = sample.hours.len() == 24;
        let minute = TimeDelta::minutes(1);
        let mut furthest = shown(zone, from);
        let mut ticks = Vec::new();
        let mut at = from + minute;
        while at <= to {
            let time = shown(zone, at);
            let mut is_due = is_interval && is_named(time);
            while furthest < time {
                furthest += minute;
                is_due |= !is_interval && is_named(furthest);
            }
            if is_due {
                ticks.push(at);
            }
            at += minute;
        }
        ticks
    }

    #[test]
    fn ticks_around_changes_of_clocks_are_those_found_minute_by_minute() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let start = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).unwrap();
        let end = Utc.with_ymd_and_hms(2036, 1, 1, 0, 0, 0).unwrap();
        let mut changed_zones = 0;
        for zone in chrono_tz::TZ_VARIANTS {
            let mut changes = Vec::new();
            let mut from = start;
            while let Some(change) = first_change(zone, from, end) {
                changes.push(change);
                from = change;
            }
            changed_zones += usize::from(!changes.is_empty());
            for _ in 0..2.min(changes.len()) {
                let change = changes[random.usize(..changes.len())];
                let (minutes_text, minutes) = field(&mut random, 59);
                let (hours_text, hours) = field(&mut random, 23);
                let sample = Sample { text: format!("{minutes_text} {hours_text} * * *"), hours, minutes };
                let (from, to) = (change - TimeDelta::hours(5), change + TimeDelta::hours(5));
                let line = CronLine::parse(&sample.text).unwrap();
                let mut ticks = Vec::new();
                let mut at = from;
                while let Some(tick) = next(&line, zone, at).filter(|tick| *tick <= to) {
                    assert!(tick > at, "{zone} {}: {tick} is not after {at}", sample.text);
                    ticks.push(tick);
                    at = tick;
                }
                assert_eq!(ticks, oracle(&sample, zone, from, to), "{zone} {} at {change}, seed {seed}", sample.text);
                // The search also works from a time that is no tick.
                let any = from + TimeDelta::seconds(random.i64(0..36_000));
                let following = ticks.iter().copied().find(|tick| *tick > any);
                let found = next(&line, zone, any).filter(|tick| *tick <= to);
                assert_eq!(found, following, "{zone} {} after {any}, seed {seed}", sample.text);
            }
        }
        assert!(changed_zones > 150, "{changed_zones} zones change their clocks");
    }

    fn ticks(line: &str, from: &str, count: usize) -> Vec<String> {
        let line = CronLine::parse(line).unwrap();
        let mut at: DateTime<Utc> = from.parse().unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            at = next(&line, Tz::Europe__Berlin, at).unwrap();
            found.push(format!("{:02}T{:02}:{:02}", at.day(), at.hour(), at.minute()));
        }
        found
    }

    #[test]
    fn lists_ranges_and_steps_lose_no_tick_when_clocks_are_put_forward() {
        // 29 March 2026: 02:00 becomes 03:00, at 01:00 UTC.
        let from = "2026-03-28T23:50:00Z";
        for (line, expected) in [
            ("30 2 * * *", ["29T01:00", "30T00:30", "31T00:30"]),
            ("0 2,14 * * *", ["29T01:00", "29T12:00", "30T00:00"]),
            ("0,30 2 * * *", ["29T01:00", "30T00:00", "30T00:30"]),
            ("0 2-3 * * *", ["29T01:00", "30T00:00", "30T01:00"]),
            ("30 1-3 * * *", ["29T00:30", "29T01:00", "29T01:30"]),
            ("0 */2 * * *", ["29T01:00", "29T02:00", "29T04:00"]),
            ("*/20 2,3 * * *", ["29T01:00", "29T01:20", "29T01:40"]),
            ("30 * * * *", ["29T00:30", "29T01:30", "29T02:30"]),
            ("*/30 * * * *", ["29T00:00", "29T00:30", "29T01:00"]),
        ] {
            assert_eq!(ticks(line, from, 3), expected, "{line}");
        }
    }

    #[test]
    fn lists_ranges_and_steps_tick_once_when_clocks_are_put_back() {
        // 25 October 2026: 03:00 becomes 02:00, at 01:00 UTC.
        for (line, from, expected) in [
            ("30 2 * * *", "2026-10-24T23:20:00Z", ["25T00:30", "26T01:30", "27T01:30"]),
            ("0 2,14 * * *", "2026-10-24T23:20:00Z", ["25T00:00", "25T13:00", "26T01:00"]),
            ("0 2,14 * * *", "2026-10-25T00:31:00Z", ["25T13:00", "26T01:00", "26T13:00"]),
            ("0,30 2 * * *", "2026-10-24T23:20:00Z", ["25T00:00", "25T00:30", "26T01:00"]),
            ("0,30 2 * * *", "2026-10-25T01:10:00Z", ["26T01:00", "26T01:30", "27T01:00"]),
            ("0 2-3 * * *", "2026-10-24T23:20:00Z", ["25T00:00", "25T02:00", "26T01:00"]),
            ("0 */2 * * *", "2026-10-24T23:20:00Z", ["25T00:00", "25T03:00", "25T05:00"]),
            ("0 * * * *", "2026-10-24T23:20:00Z", ["25T00:00", "25T01:00", "25T02:00"]),
            ("*/30 * * * *", "2026-10-25T00:40:00Z", ["25T01:00", "25T01:30", "25T02:00"]),
        ] {
            assert_eq!(ticks(line, from, 3), expected, "{line}");
        }
    }
}
