//! A user's options: each is read once, by name. Errors say what was expected and what was given.
//!
//! Options cross as JSON. Values that JSON has no form for (`NaN`, an infinity, a function, …) are written as `{"$": "NaN"}`, and named
//! in the error. Bytes are written as `{"$": "a Uint8Array", "bytes": …}`, in Latin-1. An unknown name is an error too, so a misspelt
//! option is never ignored.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, Result, describe_text};

/// The longest timer: the largest 32-bit signed number of milliseconds, 24.8 days, as in `setTimeout`.
pub const MAX_MS: f64 = 2_147_483_647.0;

/// Longer names are not compared with the known ones: the cost grows with the length.
const LONGEST_TYPO: usize = 64;

/// One object of options.
#[derive(Debug)]
pub struct Options {
    /// The name of the object in errors, such as `RedisConfig`.
    owner: String,
    values: Map<String, Value>,
    asked: HashSet<&'static str>,
}

impl Options {
    /// Options out of JSON text.
    pub fn parse(owner: &str, json: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(json).map_err(|e| Error::config(format!("{owner}: expected options, got {e}")))?;
        Self::from_value(owner, value)
    }

    /// Options out of a value that must be an object; `null` is an empty one.
    pub fn from_value(owner: &str, value: Value) -> Result<Self> {
        let values = match value {
            Value::Object(values) if !values.contains_key("$") => values,
            Value::Null => Map::new(),
            other => {
                return Err(Error::config(format!("{owner}: expected an object, got {}", describe(&other))));
            }
        };
        Ok(Self { owner: owner.to_owned(), values, asked: HashSet::new() })
    }

    /// The raw value of `name`; `None` if it was not given. `null` is a value, which most options refuse.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.insert(name);
        self.values.remove(name)
    }

    /// An error about option `name`.
    #[must_use]
    pub fn wrong(&self, name: &str, expected: &str, got: &Value) -> Error {
        Error::config(format!("{}.{name}: expected {expected}, got {}", self.owner, describe(got)))
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", &other)),
        }
    }

    /// A text of 1 to `most` bytes.
    pub fn text_to(&mut self, name: &'static str, most: usize) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=most).contains(&text.len()) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, &text_of(most), &other)),
        }
    }

    /// At most `most` texts of 1 to `longest` bytes; none where the option was not given.
    pub fn texts(&mut self, name: &'static str, most: usize, longest: usize) -> Result<Vec<String>> {
        let given = match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(given)) => given,
            Some(other) => return Err(self.wrong(name, "an array of strings", &other)),
        };
        if given.len() > most {
            let (owner, count) = (&self.owner, given.len());
            return Err(Error::config(format!("{owner}.{name}: expected at most {most}, got {count}")));
        }
        let text = |(at, value)| match value {
            Value::String(text) if (1..=longest).contains(&text.len()) => Ok(text),
            other => Err(self.wrong(&format!("{name}[{at}]"), &text_of(longest), &other)),
        };
        given.into_iter().enumerate().map(text).collect()
    }

    /// A secret text, or its bytes. The error never quotes the value.
    pub fn secret(&mut self, name: &'static str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        secret_text(&value).map(Some).map_err(|got| {
            Error::config(format!("{}.{name}: expected a string or its bytes in UTF-8, got {got}", self.owner))
        })
    }

    /// A truth value.
    pub fn flag(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    /// A whole number in `range`.
    pub fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(n) if n.fract() == 0.0 && *range.start() as f64 <= n && n <= *range.end() as f64 =>
            {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
                Ok(Some(n as u64))
            }
            _ => Err(self.wrong(name, &format!("a whole number from {} to {}", range.start(), range.end()), &value)),
        }
    }

    /// A duration in whole milliseconds, at least `least`.
    pub fn millis(&mut self, name: &'static str, least: u64) -> Result<Option<Duration>> {
        self.millis_to(name, least, MAX_MS)
    }

    /// As [`Options::millis`], at most `most`.
    pub fn millis_to(&mut self, name: &'static str, least: u64, most: f64) -> Result<Option<Duration>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(ms) if ms.fract() == 0.0 && ms >= least as f64 && ms <= most => {
                Ok(Some(Duration::from_secs_f64(ms / 1e3)))
            }
            _ => Err(self.wrong(name, &format!("a whole number of milliseconds from {least} to {most}"), &value)),
        }
    }

    /// A duration in milliseconds, which need not be whole, at least `least`.
    pub fn time(&mut self, name: &'static str, least: f64) -> Result<Option<Duration>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(ms) if (least..=MAX_MS).contains(&ms) => Ok(Some(Duration::from_secs_f64(ms / 1e3))),
            _ => Err(self.wrong(name, &format!("a number of milliseconds from {least} to {MAX_MS}"), &value)),
        }
    }

    /// Declares a known option `name` that does not cross: a function, or an `AbortSignal`.
    pub fn stays(&mut self, name: &'static str) {
        self.asked.insert(name);
    }

    /// A nested object of options.
    pub fn nested(&mut self, name: &'static str) -> Result<Option<Options>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Err(self.wrong(name, "an object", &Value::Null)),
            Some(value) => Options::from_value(&format!("{}.{name}", self.owner), value).map(Some),
        }
    }

    /// Refuses every unknown name.
    pub fn finish(self) -> Result<()> {
        let Some(name) = self.values.keys().find(|name| !self.asked.contains(name.as_str())) else {
            return Ok(());
        };
        let mut known: Vec<_> = self.asked.iter().copied().collect();
        known.sort_unstable();
        Err(Error::config(unknown(&self.owner, name, known)))
    }
}

/// The message of the error for an unknown option: the known names, and the name that was probably meant.
pub fn unknown<'a>(owner: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let hint = match meant(name, &known) {
        Some(meant) => format!(": did you mean {meant}?"),
        None => String::new(),
    };
    format!("{owner}.{name}: expected one of the options {}, got an unknown option{hint}", known.join(", "))
}

/// The known name that differs least, if at most a third of the letters differ.
fn meant<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let letters = name.chars().count();
    if letters > LONGEST_TYPO {
        return None;
    }
    let name = name.to_lowercase();
    let nearest = known.iter().map(|known| (strsim::osa_distance(&known.to_lowercase(), &name), *known)).min();
    nearest.filter(|(difference, _)| *difference <= letters.div_ceil(3)).map(|(_, known)| known)
}

fn text_of(most: usize) -> String {
    format!("a string of 1 to {most} bytes")
}

/// The text of a secret that was given as a string, or as its bytes in UTF-8; else the type of the value.
pub fn secret_text(value: &Value) -> std::result::Result<String, String> {
    match (value, latin1(value)) {
        (Value::String(text), _) => Ok(text.clone()),
        (_, Some(bytes)) => String::from_utf8(bytes.chars().filter_map(|c| u8::try_from(c).ok()).collect())
            .map_err(|_| "other bytes".into()),
        (other, None) => Err(type_name(other).to_owned()),
    }
}

/// The bytes in a value, in Latin-1; `None` where the value holds no bytes.
#[must_use]
pub fn latin1(value: &Value) -> Option<&str> {
    value.get("$")?;
    value.get("bytes")?.as_str()
}

/// A value as errors describe it. A text is never quoted.
#[must_use]
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        // As JavaScript writes numbers: without `.0`.
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        Value::String(text) => describe_text(text),
        Value::Object(_) | Value::Array(_) => type_name(value).into(),
    }
}

#[must_use]
pub fn type_name(value: &Value) -> &str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(map) => match map.get("$") {
            Some(Value::String(special)) => special,
            _ => "an object",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: Value) -> Options {
        Options::from_value("Thing", value).unwrap()
    }

    #[test]
    fn a_bad_number_is_refused_with_the_expected_range_and_the_value() {
        for (value, came) in [
            (json!(-5), "got -5"),
            (json!(1.5), "got 1.5"),
            (json!(5e9), "got 5000000000"),
            (json!({"$": "NaN"}), "got NaN"),
            (json!("5"), "got a string of 1 characters"),
        ] {
            let error = options(json!({ "size": value })).whole("size", 0..=10).unwrap_err();
            assert!(error.message().starts_with("Thing.size: expected a whole number from 0 to 10"), "{error}");
            assert!(error.message().ends_with(came), "{error}");
        }
    }

    #[test]
    fn a_bad_text_among_others_is_named_by_its_place() {
        let read = |value| options(json!({ "tags": value })).texts("tags", 2, 3);
        assert_eq!(read(json!(["a", "bcd"])).unwrap(), ["a", "bcd"]);
        for (value, refusal) in [
            (json!("a"), "tags: expected an array of strings, got a string of 1 characters"),
            (json!(["a", "b", "c"]), "tags: expected at most 2, got 3"),
            (json!(["a", ""]), "tags[1]: expected a string of 1 to 3 bytes, got a string of 0 characters"),
            (json!([7]), "tags[0]: expected a string of 1 to 3 bytes, got 7"),
        ] {
            assert_eq!(read(value).unwrap_err().message(), format!("Thing.{refusal}"));
        }
    }

    #[test]
    fn the_error_of_a_misspelt_option_names_the_one_that_was_probably_meant() {
        let hint = |name: &str| {
            let text = unknown("Thing", name, ["ttlSec", "timeoutMs", "db"]);
            text.strip_prefix(&format!(
                "Thing.{name}: expected one of the options ttlSec, timeoutMs, db, got an unknown option"
            ))
            .unwrap()
            .to_owned()
        };
        for (name, meant) in [
            ("ttlsec", "ttlSec"),
            ("ttl", ""),
            ("tltSec", "ttlSec"),
            ("timeout", "timeoutMs"),
            ("bd", "db"),
            ("url", ""),
        ] {
            let expected = if meant.is_empty() { String::new() } else { format!(": did you mean {meant}?") };
            assert_eq!(hint(name), expected, "{name}");
        }
        assert_eq!(hint(&"t".repeat(1_000_000)), "");
    }

    #[test]
    fn an_option_that_does_not_cross_is_known() {
        let mut some = options(json!({ "siez": 1 }));
        some.stays("signal");
        assert_eq!(some.time("size", 0.5).unwrap(), None);
        let error = some.finish().unwrap_err();
        assert!(error.message().contains("one of the options signal, size, got"), "{error}");
    }

    #[test]
    fn a_time_need_not_be_whole() {
        let time = |value| options(json!({ "afterMs": value })).time("afterMs", 0.5);
        assert_eq!(time(json!(0.5)).unwrap(), Some(Duration::from_micros(500)));
        assert_eq!(time(json!(2_147_483_647)).unwrap(), Some(Duration::from_millis(2_147_483_647)));
        for (value, came) in [
            (json!(0.4), "0.4"),
            (json!(2_147_483_648u32), "2147483648"),
            (json!(null), "null"),
            (json!({ "$": "Infinity" }), "Infinity"),
            (json!({ "$": "a BigInt" }), "a BigInt"),
        ] {
            let refusal =
                format!("Thing.afterMs: expected a number of milliseconds from 0.5 to 2147483647, got {came}");
            assert_eq!(time(value).unwrap_err().message(), refusal);
        }
    }

    #[test]
    fn a_misspelt_option_is_refused() {
        let mut some = options(json!({ "siez": 1 }));
        assert_eq!(some.whole("size", 0..=10).unwrap(), None);
        let error = some.finish().unwrap_err();
        assert!(error.message().starts_with("Thing.siez:"), "{error}");
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_quoted() {
        let error = options(json!({ "password": 12345 })).secret("password").unwrap_err();
        assert!(!error.message().contains("12345"), "{error}");
    }
}
