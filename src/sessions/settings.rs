//! The options of a store.

use std::time::Duration;

use serde_json::Value;

use crate::connection::config::read_namespace;
use crate::error::Result;
use crate::keys::Namespace;
use crate::options::Options;

const DEFAULT_TTL_MS: u64 = 86_400_000;
const DEFAULT_TOUCH_MS: u64 = 60_000;
const DEFAULT_MAX_BYTES: u64 = 256 * 1024;
/// The largest value of a session or a message. Redis takes 512 MiB, but a script handles the value as a whole.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
const DEFAULT_AWAY: Duration = Duration::from_millis(200);
/// Ten years.
const MOST_SECONDS: f64 = 315_360_000.0;

/// The settings of a store. Spans are in milliseconds, as the scripts take them.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) namespace: Namespace,
    pub(super) ttl: u64,
    pub(super) absolute: Option<u64>,
    pub(super) touch_every: u64,
    pub(super) max_bytes: usize,
    /// For how long Redis may be away before calls are answered without Redis; `None`: calls wait as long as any command.
    pub(super) away_after: Option<Duration>,
}

impl Settings {
    pub(super) fn read(mut options: Options) -> Result<Self> {
        let settings = Self {
            namespace: read_namespace(&mut options)?,
            ttl: seconds(&mut options, "ttlSec", 0.001)?.unwrap_or(DEFAULT_TTL_MS),
            absolute: seconds(&mut options, "absoluteTtlSec", 0.001)?,
            touch_every: seconds(&mut options, "touchEverySec", 0.0)?.unwrap_or(DEFAULT_TOUCH_MS),
            max_bytes: options
                .whole("maxBytes", 1..=MOST_BYTES)?
                .unwrap_or(DEFAULT_MAX_BYTES)
                .try_into()
                .unwrap_or(usize::MAX),
            away_after: away(&mut options)?,
        };
        options.finish()?;
        Ok(settings)
    }
}

/// Seconds from `least` on, as milliseconds.
pub(super) fn seconds(options: &mut Options, name: &'static str, least: f64) -> Result<Option<u64>> {
    let Some(value) = options.take(name) else { return Ok(None) };
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked here")]
        Some(seconds) if (least..=MOST_SECONDS).contains(&seconds) => Ok(Some((seconds * 1e3).round() as u64)),
        _ => Err(options.wrong(name, &format!("a number of seconds from {least} to {MOST_SECONDS}"), &value)),
    }
}

fn away(options: &mut Options) -> Result<Option<Duration>> {
    match options.take("whenAway") {
        None => Ok(None),
        Some(Value::String(name)) if name == "fail" => Ok(None),
        Some(Value::String(name)) if name == "none" => Ok(Some(DEFAULT_AWAY)),
        Some(value @ Value::Object(_)) => {
            let mut own = Options::from_value("SessionStore.whenAway", value)?;
            let after = own.millis("afterMs", 0)?.unwrap_or(DEFAULT_AWAY);
            match own.take("onReturn") {
                Some(Value::String(name)) if name == "discard" || name == "newest" => {}
                other => return Err(own.wrong("onReturn", "'discard' or 'newest'", &other.unwrap_or(Value::Null))),
            }
            own.millis("timeoutMs", 1)?;
            own.stays("fallback");
            own.finish()?;
            Ok(Some(after))
        }
        Some(other) => Err(options.wrong("whenAway", "'fail', 'none' or an object with a fallback", &other)),
    }
}
