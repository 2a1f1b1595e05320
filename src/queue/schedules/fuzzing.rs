//! Entry points for fuzzing: reading schedules and cron lines.

use bytes::Bytes;

use super::when::When;
use super::{job_of, listed, prepare_tick, with_scores};
use crate::crossing::Outcome;
use crate::error::Result;
use crate::queue::fuzzing::Reading;
use crate::resp::Reply;

/// Reads a rule of a schedule, and finds its tick after `now`.
///
/// # Errors
///
/// `config` for a wrong rule.
///
/// # Panics
///
/// If the tick is not after `now`, or the stored form of the rule means something else.
pub fn when(text: &str, now: u64, last: Option<u64>) -> Result<()> {
    let when = When::parse(text)?;
    let again = When::parse(&when.to_json().to_string())?;
    assert_eq!(again.to_json(), when.to_json(), "what is stored of a schedule means what it meant");
    let next = when.after(now, last)?;
    assert!(next > now, "a schedule ticks later than now: {next} after {now}");
    assert_eq!(again.after(now, last).ok(), Some(next));
    Ok(())
}

/// Reads a stored schedule, and prepares its tick at `at`.
///
/// # Panics
///
/// If the values for TypeScript are not valid, or the following tick is not after `now`.
pub fn record(reading: &Reading, id: &[u8], text: &[u8], counted: &[u8], at: u64, now: u64) {
    let next = i64::try_from(at).unwrap_or(i64::MAX);
    if let Some(Outcome::List(values)) = listed(Bytes::copy_from_slice(id), next, text, counted) {
        assert_eq!(values.len(), 8, "a schedule has as many values as the face reads");
        for value in values {
            assert!(!matches!(value, Outcome::Number(number) if !number.is_finite()), "a count is a number");
        }
    }
    let id = String::from_utf8_lossy(id);
    if let Ok(made) = prepare_tick(reading.core(), &id, at, text, now) {
        assert!(made.following > now, "{} follows {now}, as {}", made.following, job_of(&id, at));
    }
}

/// Reads members and scores of a sorted set.
pub fn scores(reply: Reply) {
    let _ = with_scores(reply);
}
