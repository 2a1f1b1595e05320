//! A worker as callers see it: its state, its health at an instant, and both as JSON.
//!
//! # Health
//!
//! ```text
//!            heartbeats in time, loop answers   a heartbeat is late, the loop is stalled, or it says so
//! unknown ──────────────► healthy ◄───────────────────────────────► degraded
//!    ▲  register()           │                                          │  crashedAfterMs and one more interval
//!    │                       └── ended abnormally ──► crashed ◄─────────┘  without a heartbeat
//!    └── forgetAfterMs later ◄────────────────────────┘  terminal: a new registration has a new epoch
//! ```
//!
//! A worker is also `unknown` when its deadline is over and no process has the authority to declare it: see `workers_to_crash` in
//! `lua/part/deadlines.lua`.

use std::fmt::Write;

use bytes::Bytes;
use serde::Deserialize;

use crate::crossing::is_json;
use crate::error::{Error, Result};
use crate::resp::Reply;

pub(super) const MAX_ID: usize = 1_024;
pub(super) const MAX_LABEL: usize = 512;
pub(super) const MAX_CAPABILITIES: usize = 256;
pub(super) const MAX_CAPACITY: u64 = 1_000_000;

/// The statuses of a worker.
pub(super) const STATUSES: [&str; 4] = ["idle", "busy", "paused", "draining"];

/// The largest number up to which every whole number is an `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;
/// Longer than any name of a host.
const MAX_HOSTNAME: usize = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Healthy,
    Degraded(Reason),
    Crashed,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Late,
    Stalled,
    Reported,
}

impl Health {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Crashed => "crashed",
            Self::Unknown => "unknown",
        }
    }
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Stalled => "event-loop-stalled",
            Self::Reported => "reported",
        }
    }
}

/// The parsed state of a worker; see `parse` in `lua/part/worker.lua`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredState {
    pub(super) epoch: u64,
    flags: String,
    load: f64,
    pub(super) status: String,
    claims: u64,
    late_ms: f64,
    crash_ms: f64,
    registered_at: f64,
    last: f64,
}

impl StoredState {
    /// Returns nothing for a text that the registry does not write.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let words: Vec<&str> = std::str::from_utf8(text).ok()?.split(' ').collect();
        let [epoch, flags, load, status, claims, _, _, late_ms, crash_ms, _, _, registered_at, _, last] = words[..]
        else {
            return None;
        };
        let number = |word: &str| word.parse::<f64>().ok().filter(|number| (0.0..=MAX_EXACT).contains(number));
        Some(Self {
            epoch: epoch.parse().ok().filter(|epoch| *epoch as f64 <= MAX_EXACT)?,
            flags: flags.to_owned(),
            load: number(load)?,
            status: STATUSES.contains(&status).then(|| status.to_owned())?,
            claims: claims.parse().ok()?,
            late_ms: number(late_ms)?,
            crash_ms: number(crash_ms)?,
            registered_at: number(registered_at)?,
            last: number(last)?,
        })
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// The health by the flags alone, without the time.
    fn declared(&self) -> Health {
        if self.has('c') {
            Health::Crashed
        } else if self.has('l') {
            Health::Degraded(Reason::Late)
        } else if self.has('s') {
            Health::Degraded(Reason::Stalled)
        } else if self.has('r') {
            Health::Degraded(Reason::Reported)
        } else {
            Health::Healthy
        }
    }
}

/// The record of a worker at an instant.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Bytes,
    pub(super) state: StoredState,
    definition: Bytes,
    metadata: Bytes,
    /// When it becomes late; ms of server time.
    alive: Option<f64>,
    /// When it may be declared crashed.
    late: Option<f64>,
    process: Bytes,
}

impl Row {
    /// From `{id, state, definition, metadata, alive, late, process}`.
    ///
    /// # Errors
    ///
    /// The damaged part.
    pub(super) fn of(texts: &[Bytes; 7]) -> std::result::Result<Self, &'static str> {
        let [id, state, definition, metadata, alive, late, process] = texts;
        Ok(Self {
            alive: score(alive),
            late: score(late),
            process: process.clone(),
            ..Self::of_event(id.clone(), state, definition.clone(), metadata.clone())?
        })
    }

    /// The record at the time of an event.
    ///
    /// # Errors
    ///
    /// As [`Row::of`].
    pub(super) fn of_event(
        id: Bytes,
        state: &[u8],
        definition: Bytes,
        metadata: Bytes,
    ) -> std::result::Result<Self, &'static str> {
        if !(1..=MAX_ID).contains(&id.len()) || std::str::from_utf8(&id).is_err() {
            return Err("id");
        }
        let state = StoredState::parse(state).ok_or("state")?;
        if !is_definition(&definition) {
            return Err("definition");
        }
        if !is_object(&metadata) {
            return Err("metadata");
        }
        Ok(Self { id, state, definition, metadata, alive: None, late: None, process: Bytes::new() })
    }

    pub(super) fn health(&self, now: f64) -> Health {
        let declared = self.state.declared();
        match (declared, self.alive, self.late) {
            (Health::Crashed, _, _) => Health::Crashed,
            // The deadline is over, and no process had the authority to declare the worker.
            (_, _, Some(crash_at)) if crash_at <= now => Health::Unknown,
            (_, Some(late_at), _) if late_at - self.state.late_ms + self.state.crash_ms <= now => Health::Unknown,
            (_, Some(late_at), _) if late_at <= now => Health::Degraded(Reason::Late),
            _ => declared,
        }
    }

    pub(super) fn take_metadata(&mut self, other: Self) {
        self.metadata = other.metadata;
    }

    fn last_heartbeat(&self) -> f64 {
        match (self.alive, self.late) {
            (Some(late_at), _) => late_at - self.state.late_ms,
            (_, Some(crash_at)) => crash_at - self.state.crash_ms,
            _ => self.state.last,
        }
    }

    /// The JSON of a `WorkerInfo`.
    pub(super) fn json(&self, now: f64) -> String {
        self.json_with(self.health(now), self.last_heartbeat())
    }

    /// The JSON of a `WorkerInfo` in an event.
    pub(super) fn json_of_event(&self, last_heartbeat: f64) -> String {
        self.json_with(self.state.declared(), last_heartbeat)
    }

    fn json_with(&self, health: Health, last_heartbeat: f64) -> String {
        let mut out = String::with_capacity(256 + self.definition.len() + self.metadata.len());
        let state = &self.state;
        let id = serde_json::Value::from(String::from_utf8_lossy(&self.id)).to_string();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let metadata = text(&self.metadata);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{{"id":{id},{},"metadata":{metadata},"status":"{}","health":"{}""#,
            text(&self.definition),
            state.status,
            health.name(),
        );
        if let Health::Degraded(reason) = health {
            let _ = write!(out, r#","degradedBecause":"{}""#, reason.name());
        }
        let _ = write!(
            out,
            r#","load":{},"claimed":{},"epoch":{},"registeredAt":{},"lastHeartbeatAt":{last_heartbeat}"#,
            state.load, state.claims, state.epoch, state.registered_at,
        );
        if let Some([lag, tick, memory]) = numbers(&self.process) {
            let _ = write!(out, r#","eventLoopLagMs":{lag},"lastTickAgeMs":{tick},"memoryBytes":{memory}"#);
        }
        out.push('}');
        out
    }
}

fn score(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|score: &f64| score.is_finite())
}

/// What a worker was registered with: the inside of a JSON object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    r#type: String,
    capabilities: Vec<String>,
    capacity: u64,
    hostname: String,
    pid: u64,
}

fn is_definition(inside: &[u8]) -> bool {
    let text = [b"{", inside, b"}"].concat();
    serde_json::from_slice::<Definition>(&text).is_ok_and(|definition| {
        let Definition { r#type, capabilities, capacity, hostname, pid } = definition;
        let is_label = |text: &String| (1..=MAX_LABEL).contains(&text.len());
        is_label(&r#type)
            && capabilities.iter().all(is_label)
            && capabilities.len() <= MAX_CAPABILITIES
            && capacity <= MAX_CAPACITY
            && hostname.len() <= MAX_HOSTNAME
            && u32::try_from(pid).is_ok()
    })
}

/// Is the text one JSON object, and nothing else?
pub(super) fn is_object(text: &[u8]) -> bool {
    text.first() == Some(&b'{') && std::str::from_utf8(text).is_ok_and(is_json)
}

/// Lag, age of the last tick, and memory, as `process` holds them.
fn numbers(text: &[u8]) -> Option<[f64; 3]> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split(' ').map(|word| word.parse::<f64>().ok().filter(|n| n.is_finite()));
    let numbers = [words.next()??, words.next()??, words.next()??];
    Some(numbers)
}

pub(super) fn bool_reply(reply: &Reply) -> Result<bool> {
    match reply {
        Reply::Int(number) => Ok(*number == 1),
        _ => Err(Error::unexpected_reply()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(flags: &str, alive: Option<f64>, late: Option<f64>) -> Row {
        let state = format!("7 {flags} 0.5 idle 0 4 0 250 700 3600000 p 1000 n 4321");
        Row {
            id: Bytes::from_static(b"w"),
            state: StoredState::parse(state.as_bytes()).unwrap(),
            definition: Bytes::from_static(br#""type":"t""#),
            metadata: Bytes::from_static(b"{}"),
            alive,
            late,
            process: Bytes::from_static(b"1.5 2 3"),
        }
    }

    #[test]
    fn health_follows_the_flags_and_the_time() {
        let late = Health::Degraded(Reason::Late);
        for (flags, alive, late_until, now, expected) in [
            ("-", Some(1_250.0), None, 1_249.0, Health::Healthy),
            ("-", Some(1_250.0), None, 1_250.0, late),
            ("-", Some(1_250.0), None, 1_700.0, Health::Unknown),
            ("s", Some(1_250.0), None, 1_000.0, Health::Degraded(Reason::Stalled)),
            ("rm", Some(1_250.0), None, 1_000.0, Health::Degraded(Reason::Reported)),
            ("sr", Some(1_250.0), None, 1_000.0, Health::Degraded(Reason::Stalled)),
            ("sl", None, Some(1_700.0), 1_699.0, late),
            ("l", None, Some(1_700.0), 1_700.0, Health::Unknown),
            ("lc", None, None, 1_700.0, Health::Crashed),
        ] {
            assert_eq!(row(flags, alive, late_until).health(now), expected, "{flags} {alive:?} {late_until:?} {now}");
        }
    }

    #[test]
    fn a_worker_is_json() {
        let json: serde_json::Value = serde_json::from_str(&row("s", Some(1_250.0), None).json(1_000.0)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "id": "w", "type": "t", "metadata": {}, "status": "idle", "health": "degraded",
                "degradedBecause": "event-loop-stalled", "load": 0.5, "claimed": 0, "epoch": 7, "registeredAt": 1000,
                "lastHeartbeatAt": 1000, "eventLoopLagMs": 1.5, "lastTickAgeMs": 2, "memoryBytes": 3,
            })
        );
        assert!(row("lc", None, None).json(9e9).contains(r#""lastHeartbeatAt":4321"#));
    }

    #[test]
    fn a_state_in_another_form_is_refused() {
        for text in [
            &b"7 - 0"[..],
            b"\xff",
            b"x - 0.5 idle 0 4 0 250 700 3600000 p 1000 n 0",
            b"7 - nan idle 0 4 0 250 700 3600000 p 1000 n 0",
            b"7 - 0.5 another 0 4 0 250 700 3600000 p 1000 n 0",
            b"9007199254740993 - 0.5 idle 0 4 0 250 700 3600000 p 1000 n 0",
        ] {
            assert_eq!(StoredState::parse(text), None);
        }
    }

    #[test]
    fn a_record_is_returned_only_if_a_registry_can_have_written_every_part_of_it() {
        let good = row("-", Some(1_250.0), None);
        let state = b"7 - 0.5 idle 0 4 0 250 700 3600000 p 1000 n 0";
        let of = |id: &'static [u8], state: &[u8], definition: &'static str, metadata: &'static str| {
            let (definition, metadata) = (Bytes::from(definition), Bytes::from(metadata));
            Row::of_event(Bytes::from_static(id), state, definition, metadata).map(|row| row.state.epoch)
        };
        let definition = r#""type":"t","capabilities":["c"],"capacity":1,"hostname":"h","pid":1"#;
        assert_eq!(of(b"w", state, definition, r#"{"a":[1,null]}"#), Ok(good.state.epoch));
        for id in [&b""[..], b"\xff"] {
            assert_eq!(of(id, state, definition, "{}"), Err("id"));
        }
        assert_eq!(of(b"w", b"garbage", definition, "{}"), Err("state"));
        for other in
            ["", r#""type":"#, r#""type":"t","type":"u","capabilities":[],"capacity":1,"hostname":"h","pid":1"#]
        {
            assert_eq!(of(b"w", state, other, "{}"), Err("definition"));
        }
        let more = r#""type":"t","capabilities":[],"capacity":1,"hostname":"h","pid":1,"id":"another""#;
        assert_eq!(of(b"w", state, more, "{}"), Err("definition"));
        for other in ["", "null", "[]", r#"{"x":"#, r#"{},"id":"another","y":{}"#] {
            assert_eq!(of(b"w", state, definition, other), Err("metadata"));
        }
    }

    #[test]
    fn metadata_are_any_object_that_javascript_reads() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        for text in [&deep, r#"{"a":-1e3081}"#, r#"{"a\ud800":"\udc00"}"#] {
            assert!(is_object(text.as_bytes()), "{}", &text[..20.min(text.len())]);
        }
    }
}
