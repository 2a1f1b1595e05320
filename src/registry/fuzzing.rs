//! For fuzzing: what is told of a worker's record, whoever wrote it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::damage::{split, texts};
use super::events;
use super::worker::{Row, State};
use crate::resp::Reply;

/// A worker as it is told: each name once, and no other. Numbers are those that a double holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "that they are there, and what they are, is all there is to know of most")]
struct Told {
    id: String,
    r#type: String,
    capabilities: Vec<String>,
    capacity: u64,
    hostname: String,
    pid: u32,
    /// Whatever JavaScript reads: numbers beyond a double too.
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

/// An event as [`events::told`] tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there, and what they are, is all there is to know")]
struct ToldEvent {
    missed: u64,
    worker: Told,
}

/// Reads a worker as the scripts tell it.
///
/// # Panics
///
/// Where what is told of it is not what its record says.
pub fn row(reply: Reply, now: f64) {
    let (answer, _) = split(reply);
    let Ok(texts) = texts(&answer) else { return };
    let Ok(row) = Row::of(&texts) else { return };
    let state = State::parse(&texts[1]).expect("a worker that is told has a state");
    let [definition, metadata] =
        [2, 3].map(|at: usize| std::str::from_utf8(&texts[at]).expect("what is told is a text"));
    assert!(
        metadata.starts_with('{') && serde_json::from_str::<IgnoredAny>(metadata).is_ok(),
        "metadata are an object"
    );
    let registered = format!(r#",{definition},"metadata":{metadata},"status":"#);
    for json in [row.json(now), row.json_of_event(now)] {
        let told: Told = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(told.id.as_bytes(), &texts[0][..], "metadata forge no id");
        assert_eq!(told.epoch, state.epoch, "metadata forge no epoch");
        assert_eq!(told.status, state.status, "metadata forge no status");
        assert!(json.contains(&registered), "what a worker was registered with is told as it is: {json}");
    }
}

/// Reads entries of the stream of events, one after the other.
///
/// # Panics
///
/// Where what is told of one is no event.
pub fn entries(replies: &[Reply]) {
    for json in events::told(replies) {
        serde_json::from_str::<ToldEvent>(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    }
}
