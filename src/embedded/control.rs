//! A test's hold on an engine: its clock, its faults, its contents.
//!
//! Every call waits until the engine thread has done it, so what it did is visible to whatever happens next. It waits
//! behind a running script, though not for ever.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::engine::hub_of;
use super::hub::Message;
use super::keyspace::Entry;
use super::name::EngineName;
use super::state::Core;
use super::value::Value;
use super::{delivery, session};
use crate::sync::{Mutex, MutexGuard};

/// A script is stopped long before.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was added to the clocks of engines, by name.
static ADDED: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());

fn added() -> MutexGuard<'static, BTreeMap<String, Duration>> {
    ADDED.lock()
}

/// How far the clock of the engine called `name` was moved by [`Control::advance`], ever.
#[must_use]
pub fn time_added(name: &str) -> Duration {
    added().get(name).copied().unwrap_or_default()
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    /// There is no engine of that name (any more).
    Gone,
    /// The engine did not answer within 30 s.
    Busy,
}

/// Control of one named engine. Holding it does not keep the engine alive: when the last stream of the name is gone,
/// calls do nothing and say so.
#[derive(Debug, Clone)]
pub struct Control {
    name: String,
}

impl Control {
    /// The engine called `name`.
    ///
    /// # Errors
    ///
    /// Where no stream to it is open; so do all the others.
    pub fn of(name: &str) -> Result<Control, Silent> {
        let control = Control { name: name.to_owned() };
        control.on_engine(|_| ()).map(|()| control)
    }

    fn on_engine<T: Send + 'static>(&self, act: impl FnOnce(&mut Core) -> T + Send + 'static) -> Result<T, Silent> {
        let (answer, wait) = mpsc::sync_channel(1);
        let act = move |core: Option<&mut Core>| {
            // Nobody listening any more is no reason to fail.
            let _ = answer.send(core.map(act));
        };
        let engine = EngineName::Shared(self.name.clone());
        // Without a thread there is no engine.
        hub_of(&engine).map_err(|_| Silent::Gone)?.send(Message::Control(engine, Box::new(act)));
        match wait.recv_timeout(PATIENCE) {
            Ok(done) => done.ok_or(Silent::Gone),
            Err(RecvTimeoutError::Timeout) => Err(Silent::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(Silent::Gone),
        }
    }

    /// Moves the engine's clock: keys expire, waits time out, before this returns. Time has passed, for clients too.
    pub fn advance(&self, by: Duration) -> Result<(), Silent> {
        // First, so that no client finds the server's clock ahead of its own.
        *added().entry(self.name.clone()).or_default() += by;
        self.on_engine(move |core| {
            core.clock.advance(by);
            session::tick(core);
            session::settle(core);
        })
    }

    /// Moves the engine's clock by `by_ms`, forward or back, as an administrator may. No time passes by that.
    pub fn set_clock(&self, by_ms: i64) -> Result<(), Silent> {
        self.on_engine(move |core| {
            core.clock.set(by_ms);
            session::tick(core);
            session::settle(core);
        })
    }

    /// Stops the engine from reading, running and expiring anything, as a frozen server would.
    pub fn pause(&self) -> Result<(), Silent> {
        self.on_engine(|core| core.faults.paused = true)
    }

    /// Lets a paused engine go on with what has been sent meanwhile.
    pub fn resume(&self) -> Result<(), Silent> {
        self.on_engine(|core| {
            core.faults.paused = false;
            session::tick(core);
            delivery::resume_all(core);
        })
    }

    /// Loses the next `n` replies: their commands are executed, and each connection that lost one is cut when the last
    /// of them is lost or when its batch ends.
    pub fn drop_replies(&self, n: usize) -> Result<(), Silent> {
        self.on_engine(move |core| core.faults.drop_replies = n)
    }

    /// Cuts every connection. The data waits a minute of real time for somebody to reconnect.
    pub fn kill_clients(&self) -> Result<(), Silent> {
        self.on_engine(Core::kill_all)
    }

    /// Delays every reply by this much real time.
    pub fn latency(&self, by: Duration) -> Result<(), Silent> {
        self.on_engine(move |core| core.faults.latency = by)
    }

    /// Refuses writes with READONLY, as a replica after a failover does.
    pub fn readonly(&self, on: bool) -> Result<(), Silent> {
        self.on_engine(move |core| core.faults.readonly = on)
    }

    /// Deletes every key of every database.
    pub fn flush(&self) -> Result<(), Silent> {
        self.on_engine(|core| {
            for db in 0..core.dbs.len() {
                core.touch_all(db, None);
                core.dbs[db].clear();
            }
        })
    }

    /// Bounds the estimated memory of keys and values in bytes; `None` (or 0) takes the bound away.
    pub fn max_memory(&self, bytes: Option<u64>) -> Result<(), Silent> {
        self.on_engine(move |core| core.config.max_memory = bytes.unwrap_or(0))
    }

    /// Every key as JSON: an array of `{db, key, type, ttl, value}` ordered by database and key, `ttl` in milliseconds
    /// or null. Bytes that are not UTF-8 show as U+FFFD.
    pub fn dump(&self) -> Result<String, Silent> {
        self.on_engine(dump)
    }
}

fn text(bytes: &[u8]) -> serde_json::Value {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn score(score: f64) -> serde_json::Value {
    serde_json::Number::from_f64(score).map_or_else(|| super::number::double(score).into(), Into::into)
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Str(s) => text(&s.bytes),
        Value::List(list) => list.iter().map(|i| text(i)).collect(),
        Value::Hash(hash) => {
            hash.fields.iter().map(|(f, v)| (String::from_utf8_lossy(f).into_owned(), text(v))).collect()
        }
        Value::Set(set) => set.members().iter().map(|m| text(m)).collect(),
        Value::Zset(zset) => zset.iter().map(|(m, s)| serde_json::json!([text(m), score(s)])).collect(),
        Value::Stream(stream) => stream
            .entries
            .iter()
            .map(|(id, fields)| {
                let fields: Vec<_> = fields.iter().map(|f| text(f)).collect();
                serde_json::json!([text(&id.text()), fields])
            })
            .collect(),
    }
}

fn dump(core: &mut Core) -> String {
    core.now = core.clock.millis();
    core.sweep();
    let now = core.now;
    let mut rows = Vec::new();
    for (i, db) in core.dbs.iter().enumerate() {
        let mut keys: Vec<(&[u8], &Entry)> = db.keys.iter().map(|(k, e)| (&**k, e)).collect();
        keys.sort_by_key(|(key, _)| *key);
        for (key, entry) in keys {
            rows.push(serde_json::json!({
                "db": i,
                "key": text(key),
                "type": entry.value.kind(),
                "ttl": entry.expire.map(|at| at - now),
                "value": value(&entry.value),
            }));
        }
    }
    serde_json::Value::Array(rows).to_string()
}
