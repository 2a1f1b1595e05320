//! The arguments of a call: read by place, and named in errors.

use std::time::Duration;

use crate::crossing::Arg;
use crate::error::{Error, Result};
use crate::keys::is_ours;
use crate::options::{MAX_MS, Options};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1 << 20;
/// The largest whole number that JavaScript holds exactly.
pub const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
/// The longest expiry, in milliseconds. JavaScript numbers are not exact beyond it; Redis takes a little more.
const MAX_TTL_MS: f64 = MAX_SAFE;

/// The arguments of a call. Errors name `owner`.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    owner: &'static str,
    args: &'a [Arg<'a>],
}

impl<'a> Arguments<'a> {
    #[must_use]
    pub fn of(owner: &'static str, args: &'a [Arg<'a>]) -> Self {
        Self { owner, args }
    }

    /// The name of the call in errors.
    #[must_use]
    pub fn owner(&self) -> &'static str {
        self.owner
    }

    #[must_use]
    pub fn at(&self, place: usize) -> Arg<'a> {
        self.args.get(place).copied().unwrap_or(Arg::Absent)
    }

    #[must_use]
    pub fn from(&self, place: usize) -> &'a [Arg<'a>] {
        self.args.get(place..).unwrap_or_default()
    }

    #[must_use]
    pub fn wrong(&self, name: &str, expected: &str, got: Arg<'_>) -> Error {
        Error::config(format!("{}: {name}: expected {expected}, got {got}", self.owner))
    }

    /// The options of the call, as JSON.
    pub fn options(&self, place: usize) -> Result<Options> {
        match self.at(place) {
            Arg::Text(json) => Options::parse(self.owner, json),
            other => Err(self.wrong("options", "an object", other)),
        }
    }

    /// A key.
    pub fn key(&self, place: usize) -> Result<&'a [u8]> {
        self.as_key("key", self.at(place))
    }

    /// A key, or a part of a key.
    pub fn as_key(&self, name: &str, arg: Arg<'a>) -> Result<&'a [u8]> {
        match arg {
            Arg::Text(text) if !text.is_empty() && text.len() <= MAX_KEY => {
                if is_ours(text.as_bytes()) {
                    return Err(Error::config(format!(
                        "{}: {name}: expected a key that has no ~ at its start or after a colon, got one that has",
                        self.owner
                    )));
                }
                Ok(text.as_bytes())
            }
            other => Err(self.wrong(name, "a string of 1 to 1048576 bytes", other)),
        }
    }

    /// A text that the face has written, such as JSON.
    pub fn text(&self, place: usize, name: &str) -> Result<&'a [u8]> {
        match self.at(place) {
            Arg::Text(text) => Ok(text.as_bytes()),
            other => Err(self.wrong(name, "a string", other)),
        }
    }

    /// A text, or `None` for null.
    pub fn text_or_null(&self, place: usize, name: &str) -> Result<Option<&'a [u8]>> {
        match self.at(place) {
            Arg::Null => Ok(None),
            _ => self.text(place, name).map(Some),
        }
    }

    /// Bytes.
    pub fn bytes(&self, place: usize, name: &str) -> Result<&'a [u8]> {
        match self.at(place) {
            Arg::Bytes(bytes) => Ok(bytes),
            other => Err(self.wrong(name, "a Uint8Array", other)),
        }
    }

    /// An expiry in seconds, as milliseconds; `None` where it is absent.
    pub fn ttl(&self, place: usize) -> Result<Option<u64>> {
        match self.at(place) {
            Arg::Absent => Ok(None),
            _ => self.required_ttl(place).map(Some),
        }
    }

    /// An expiry in seconds, as milliseconds: rounded, and at least 1.
    pub fn required_ttl(&self, place: usize) -> Result<u64> {
        match self.at(place) {
            Arg::Number(seconds) if seconds > 0.0 && seconds * 1e3 <= MAX_TTL_MS => {
                Ok(whole((seconds * 1e3).round().max(1.0)))
            }
            other => Err(self.wrong("ttlSec", "a number of seconds above 0 and up to 9007199254740", other)),
        }
    }

    /// Seconds from 0 on, as milliseconds; 0 where the argument is absent.
    pub fn seconds(&self, place: usize, name: &str) -> Result<u64> {
        match self.at(place) {
            Arg::Absent => Ok(0),
            Arg::Number(seconds) if seconds >= 0.0 && seconds * 1e3 <= MAX_TTL_MS => Ok(whole((seconds * 1e3).round())),
            other => Err(self.wrong(name, "a number of seconds from 0 to 9007199254740", other)),
        }
    }

    /// Milliseconds; `None` where the argument is absent.
    pub fn millis(&self, place: usize, name: &str, least: f64) -> Result<Option<Duration>> {
        match self.at(place) {
            Arg::Absent => Ok(None),
            Arg::Number(ms) if (least..=MAX_MS).contains(&ms) => Ok(Some(Duration::from_secs_f64(ms / 1e3))),
            other => Err(self.wrong(name, &format!("a number of milliseconds from {least} to {MAX_MS}"), other)),
        }
    }

    /// A whole number from 1 on.
    pub fn count(&self, place: usize, name: &str) -> Result<u64> {
        match self.at(place) {
            Arg::Number(n) if n.fract() == 0.0 && (1.0..=MAX_SAFE).contains(&n) => Ok(whole(n)),
            other => Err(self.wrong(name, "a whole number from 1 to 9007199254740991", other)),
        }
    }

    /// A whole number of either sign; `default` where the argument is absent.
    pub fn step(&self, place: usize, name: &str, default: i64) -> Result<i64> {
        match self.at(place) {
            Arg::Absent => Ok(default),
            #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
            Arg::Number(n) if n.fract() == 0.0 && n.abs() <= MAX_SAFE => Ok(n as i64),
            other => Err(self.wrong(name, "a whole number between -9007199254740991 and 9007199254740991", other)),
        }
    }

    /// A number that the face has given to an object.
    pub fn id(&self, place: usize) -> Result<u64> {
        match self.at(place) {
            Arg::Number(n) if n.fract() == 0.0 && (0.0..=MAX_SAFE).contains(&n) => Ok(whole(n)),
            other => Err(self.wrong("id", "a whole number", other)),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0 to 2^53")]
fn whole(n: f64) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(arg: Arg<'_>) -> Result<u64> {
        Arguments::of("KVStore.set", &[arg]).required_ttl(0)
    }

    #[test]
    fn an_expiry_is_rounded_to_milliseconds_and_is_at_least_one() {
        for (seconds, ms) in [(1.0, 1_000), (0.25, 250), (1.000_4, 1_000), (1e-9, 1), (0.0006, 1)] {
            assert_eq!(ttl(Arg::Number(seconds)).unwrap(), ms);
        }
    }

    #[test]
    fn a_bad_expiry_is_refused_by_name() {
        for arg in
            [0.0, -1.0, f64::NAN, f64::INFINITY, 1e13].map(Arg::Number).into_iter().chain([Arg::Text("1"), Arg::Null])
        {
            let error = ttl(arg).unwrap_err();
            assert!(error.message().starts_with("KVStore.set: ttlSec: expected a number of seconds"), "{error}");
        }
    }

    #[test]
    fn a_key_is_a_text_that_is_neither_empty_nor_too_long_nor_internal() {
        let long = "x".repeat(MAX_KEY + 1);
        for arg in
            [Arg::Text(""), Arg::Text(&long), Arg::Text("~lock:a"), Arg::Number(1.0), Arg::Absent, Arg::Bytes(b"a")]
        {
            let args = [arg];
            assert!(
                Arguments::of("KVStore.get", &args).key(0).unwrap_err().message().starts_with("KVStore.get: key: ")
            );
        }
        for arg in [Arg::Text("\r\n\0{}*"), Arg::Text(&long[1..])] {
            assert!(Arguments::of("KVStore.get", &[arg]).key(0).is_ok());
        }
    }
}
