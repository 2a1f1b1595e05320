//! The options of a registry, with every default and range in one place.

use std::time::Duration;

use serde_json::Value;

use crate::connection::config::read_namespace;
use crate::error::{Error, Result};
use crate::keys::Namespace;
use crate::options::{MAX_MS, Options};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_FORGET: Duration = Duration::from_hours(1);
/// A loaded machine cannot keep a shorter interval.
const LEAST_INTERVAL_MS: u64 = 10;

/// The options of a `WorkerRegistry`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) namespace: Namespace,
    /// Between two heartbeats of a worker. Default 5 s, least 10 ms.
    pub(super) interval: Duration,
    /// Without a heartbeat for this long a worker is late. Default 2.5 intervals; above one interval.
    pub(super) degraded_after: Duration,
    /// Without a heartbeat for this long, and one interval more, a worker has crashed. Default 6 intervals; above `degraded_after`.
    pub(super) crashed_after: Duration,
    /// For how long a crashed worker stays listed. Default 1 h.
    pub(super) forget_after: Duration,
    /// An event loop that has not answered for this long is stalled. Default one interval, least 10 ms.
    pub(super) stalled_after: Duration,
    /// Are heartbeats sent automatically? Default true.
    pub(super) automatic: bool,
    /// A storm is when more than this part of the fleet falls due together. Default 0.3; 1 is never.
    pub(super) storm_share: f64,
    /// … and at least this many. Default 5.
    pub(super) storm_minimum: u64,
}

impl Settings {
    /// Reads the options.
    pub(super) fn read(mut options: Options) -> Result<Self> {
        let namespace = read_namespace(&mut options)?;
        let interval = options.millis("heartbeatIntervalMs", LEAST_INTERVAL_MS)?.unwrap_or(DEFAULT_INTERVAL);
        let degraded_after = options.millis("degradedAfterMs", 1)?.unwrap_or(bounded(interval.mul_f64(2.5)));
        let crashed_after = options.millis("crashedAfterMs", 1)?.unwrap_or(bounded(interval * 6));
        let settings = Self {
            namespace,
            interval,
            degraded_after,
            crashed_after,
            forget_after: options.millis("forgetAfterMs", 0)?.unwrap_or(DEFAULT_FORGET),
            stalled_after: options.millis("stalledAfterMs", LEAST_INTERVAL_MS)?.unwrap_or(interval),
            automatic: options.flag("autoHeartbeat")?.unwrap_or(true),
            storm_share: share(&mut options)?.unwrap_or(0.3),
            storm_minimum: options.whole("stormMinimum", 1..=1_000_000_000)?.unwrap_or(5),
        };
        options.finish()?;
        above("degradedAfterMs", degraded_after, "heartbeatIntervalMs", interval)?;
        above("crashedAfterMs", crashed_after, "degradedAfterMs", degraded_after)?;
        Ok(settings)
    }

    /// From a heartbeat until its worker is declared crashed: the deadline and one more interval.
    pub(super) fn lease(&self) -> Duration {
        self.crashed_after + self.interval
    }
}

fn bounded(time: Duration) -> Duration {
    time.min(Duration::from_secs_f64(MAX_MS / 1e3))
}

fn share(options: &mut Options) -> Result<Option<f64>> {
    let Some(value) = options.take("stormShare") else { return Ok(None) };
    match value.as_f64() {
        Some(share) if share > 0.0 && share <= 1.0 => Ok(Some(share)),
        _ => Err(options.wrong("stormShare", "a number above 0 and up to 1", &value)),
    }
}

/// Refuses two options that contradict each other, naming both.
fn above(name: &str, value: Duration, least: &str, bound: Duration) -> Result<()> {
    if value > bound {
        return Ok(());
    }
    Err(Error::config(format!(
        "WorkerRegistry.{name}: expected more than {least}, {} ms, got {}",
        bound.as_millis(),
        Value::from(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings> {
        Settings::read(Options::parse("WorkerRegistry", json).unwrap())
    }

    #[test]
    fn intervals_follow_from_the_heartbeat() {
        let settings = read(r#"{"heartbeatIntervalMs":100}"#).unwrap();
        assert_eq!(settings.degraded_after, Duration::from_millis(250));
        assert_eq!(settings.crashed_after, Duration::from_millis(600));
        assert_eq!(settings.stalled_after, Duration::from_millis(100));
        assert_eq!(settings.lease(), Duration::from_millis(700));
    }

    #[test]
    fn intervals_that_contradict_each_other_are_refused_naming_both() {
        for (json, one, other) in [
            (r#"{"heartbeatIntervalMs":100,"degradedAfterMs":100}"#, "degradedAfterMs", "heartbeatIntervalMs"),
            (r#"{"degradedAfterMs":5000}"#, "degradedAfterMs", "heartbeatIntervalMs"),
            (r#"{"crashedAfterMs":12500}"#, "crashedAfterMs", "degradedAfterMs"),
            (r#"{"degradedAfterMs":40000,"crashedAfterMs":30000}"#, "crashedAfterMs", "degradedAfterMs"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.message().starts_with(&format!("WorkerRegistry.{one}: ")), "{error}");
            assert!(error.message().contains(other), "{error}");
        }
    }

    #[test]
    fn a_part_of_the_fleet_is_above_0_and_up_to_1() {
        for json in [r#"{"stormShare":0}"#, r#"{"stormShare":1.1}"#, r#"{"stormShare":"0.3"}"#] {
            assert!(
                read(json).unwrap_err().message().starts_with("WorkerRegistry.stormShare: expected a number above 0")
            );
        }
    }
}
