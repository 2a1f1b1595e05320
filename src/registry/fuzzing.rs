//! For fuzzing: what is told of a worker's record, whoever wrote it.

use serde_json::Value;

use super::damage::{split, texts};
use super::events;
use super::worker::{Row, State};
use crate::resp::Reply;

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
    for json in [row.json(now), row.json_of_event(now)] {
        let told: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(told["id"].as_str().map(str::as_bytes), Some(&texts[0][..]), "metadata forge no id");
        assert_eq!(told["epoch"].as_u64(), Some(state.epoch), "metadata forge no epoch");
        assert_eq!(told["status"], state.status, "metadata forge no status");
        assert!(told["metadata"].is_object() && told["capabilities"].is_array(), "{json}");
        for name in ["load", "claimed", "registeredAt", "lastHeartbeatAt", "capacity", "pid"] {
            assert!(told[name].as_f64().is_some_and(f64::is_finite), "{name} of {json}");
        }
    }
}

/// Reads entries of the stream of events, one after the other.
///
/// # Panics
///
/// Where what is told of one is no JSON.
pub fn entries(replies: &[Reply]) {
    for json in events::told(replies) {
        assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
    }
}
