//! For fuzzing: the JSON that is made of any worker record.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::damaged_records::{split, texts};
use super::events;
use super::worker::{Row, StoredState};
use crate::resp::Reply;

/// The JSON of a worker: each name once, and no other name. Every number fits a double.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that they are there, and what they are, is all there is to know of most")]
struct WorkerJson {
    id: String,
    r#type: String,
    capabilities: Vec<String>,
    capacity: u64,
    hostname: String,
    pid: u32,
    /// Anything that JavaScript reads, including numbers that no double holds.
    metadata: IgnoredAny,
    status: String,
    health: String,
    degraded_because: Option<String>,
    load: f64,
    claimed: u64,
    epoch: u64,
    registered_at: f64,
    last_heartbeat_at: f64,
    event_loop_lag_ms: Option<f64>,
    last_tick_age_ms: Option<f64>,
    memory_bytes: Option<f64>,
}

/// The JSON of an event as [`events::json_of`] makes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there, and what they are, is all there is to know")]
struct EventJson {
    missed: u64,
    worker: WorkerJson,
}

/// Reads a worker as the scripts return it.
///
/// # Panics
///
/// If the JSON differs from the record.
pub fn row(reply: Reply, now: f64) {
    let (answer, _) = split(reply);
    let Ok(texts) = texts(&answer) else { return };
    let Ok(row) = Row::of(&texts) else { return };
    let state = StoredState::parse(&texts[1]).expect("a worker that is worker has a state");
    let [definition, metadata] =
        [2, 3].map(|at: usize| std::str::from_utf8(&texts[at]).expect("what is worker is a text"));
    assert!(
        metadata.starts_with('{') && serde_json::from_str::<IgnoredAny>(metadata).is_ok(),
        "metadata are an object"
    );
    let registered = format!(r#",{definition},"metadata":{metadata},"status":"#);
    for json in [row.json(now), row.json_of_event(now)] {
        let worker: WorkerJson = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(worker.id.as_bytes(), &texts[0][..], "metadata forge no id");
        assert_eq!(worker.epoch, state.epoch, "metadata forge no epoch");
        assert_eq!(worker.status, state.status, "metadata forge no status");
        assert!(json.contains(&registered), "the definition is unchanged in the JSON: {json}");
    }
}

/// Reads entries of the stream of events, one after the other.
///
/// # Panics
///
/// If the JSON of an entry is no event.
pub fn entries(replies: &[Reply]) {
    for json in events::json_of(replies) {
        serde_json::from_str::<EventJson>(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    }
}
