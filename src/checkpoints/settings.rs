//! The options of a store.

use crate::connection::config::read_namespace;
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;

/// The settings, as the scripts take them.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) namespace: Namespace,
    /// The namespace of the registry whose crashes count, inside the manager's.
    pub(super) registry: Namespace,
    /// Milliseconds; 0: threads do not expire.
    pub(super) ttl: u64,
    /// The largest number of bytes of one save.
    pub(super) max_bytes: u64,
    pub(super) max_thread_bytes: u64,
    pub(super) keep: Keep,
}

/// The checkpoints that are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) last: u64,
    /// Milliseconds; 0: of any age.
    pub(super) age: u64,
}

const MIB: u64 = 1 << 20;
/// The largest string of Redis, in bytes.
const MOST_BYTES: u64 = 512 * MIB;
const MOST_THREAD_BYTES: u64 = 1 << 50;
const MOST_SECONDS: f64 = 9_007_199_254_740.0;
/// A number that no thread reaches.
const ALL: u64 = 1 << 50;

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Self> {
        let namespace = read_namespace(&mut options)?;
        let registry = Namespace::NONE.join(&options.text("registry")?.unwrap_or_default());
        let ttl = seconds(&mut options, "ttlSec")?.unwrap_or(0);
        let max_bytes = options.whole("maxBytes", 1..=MOST_BYTES)?.unwrap_or(8 * MIB);
        let max_thread_bytes = options.whole("maxThreadBytes", 1..=MOST_THREAD_BYTES)?.unwrap_or(256 * MIB);
        let keep = match options.nested("keep")? {
            Some(keep) => Keep::read(keep)?,
            None => Keep { last: 1_000, age: 0 },
        };
        options.finish()?;
        Ok(Self { namespace, registry, ttl, max_bytes, max_thread_bytes, keep })
    }
}

impl Keep {
    pub(super) fn read(mut options: Options) -> Result<Self> {
        let last = options.whole("last", 1..=ALL)?.unwrap_or(ALL);
        let age = seconds(&mut options, "ageSec")?.unwrap_or(0);
        options.finish()?;
        Ok(Self { last, age })
    }
}

/// A time in seconds, fractions allowed, as milliseconds: at least one.
fn seconds(options: &mut Options, name: &'static str) -> Result<Option<u64>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    match value.as_f64() {
        Some(seconds) if seconds > 0.0 && seconds <= MOST_SECONDS =>
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0 and in range")]
            Ok(Some((seconds * 1e3).round().max(1.0) as u64))
        }
        _ => Err(options.wrong(name, "a number of seconds above 0 and up to 9007199254740", &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(options: serde_json::Value) -> Result<Settings> {
        Settings::read(Options::from_value("CheckpointStore", options)?)
    }

    #[test]
    fn a_thousand_are_kept_unless_something_else_is_said() {
        let kept = |options| read(options).map(|settings| (settings.keep.last, settings.keep.age)).unwrap();
        assert_eq!(kept(json!({})), (1_000, 0));
        assert_eq!(kept(json!({ "keep": { "ageSec": 0.5 } })), (ALL, 500));
        assert_eq!(kept(json!({ "keep": { "last": 3 } })), (3, 0));
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        for (options, name) in [
            (json!({ "ttlSec": 0 }), "ttlSec: expected a number of seconds above 0"),
            (json!({ "maxBytes": 0 }), "maxBytes: expected a whole number from 1"),
            (json!({ "maxThreadBytes": 1.5 }), "maxThreadBytes: "),
            (json!({ "keep": { "last": 0 } }), "keep.last: "),
            (json!({ "keep": { "ageSec": -1 } }), "keep.ageSec: "),
            (json!({ "keep": { "least": 1 } }), "keep.least: expected one of the options ageSec, last"),
            (json!({ "ttl": 1 }), "ttl: expected one of the options"),
        ] {
            let error = read(options).unwrap_err();
            assert!(error.message().starts_with(&format!("CheckpointStore.{name}")), "{error}");
        }
    }
}
