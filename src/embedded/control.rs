//! Control of an engine by tests: its clock, its faults, its contents.
//!
//! Every call returns after the engine thread has handled it, so later calls and commands see its effect. A running script delays
//! a call, but not for ever.

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

/// How long a call waits. The engine stops a script much earlier.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The time that was added to the clock of each engine, by name.
static ADDED: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());

fn added() -> MutexGuard<'static, BTreeMap<String, Duration>> {
    ADDED.lock()
}

/// The total time by which [`Control::advance`] has moved the clock of the engine called `name`.
#[must_use]
pub fn time_added(name: &str) -> Duration {
    added().get(name).copied().unwrap_or_default()
}

/// Why a call had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silent {
    /// There is no engine with this name (any more).
    Gone,
    /// The engine did not answer within 30 s.
    Busy,
}

/// Control of one named engine. It does not keep the engine alive: after the last stream of the name is dropped, calls fail.
#[derive(Debug, Clone)]
pub struct Control {
    name: String,
}

impl Control {
    /// The engine called `name`.
    ///
    /// # Errors
    ///
    /// If no stream to the engine is open. All other calls have the same errors.
    pub fn of(name: &str) -> Result<Control, Silent> {
        let control = Control { name: name.to_owned() };
        control.on_engine(|_| ()).map(|()| control)
    }

    fn on_engine<T: Send + 'static>(&self, act: impl FnOnce(&mut Core) -> T + Send + 'static) -> Result<T, Silent> {
        let (answer, wait) = mpsc::sync_channel(1);
        let act = move |core: Option<&mut Core>| {
            // The caller may have stopped waiting.
            let _ = answer.send(core.map(act));
        };
        let engine = EngineName::Shared(self.name.clone());
        // Without a thread there is no engine.
        hub_of(&engine).map_err(|_| Silent::Gone)?.send(Message::Control(engine, Box::new(act)));
        match wait.recv_timeout(TIMEOUT) {
            Ok(done) => done.ok_or(Silent::Gone),
            Err(RecvTimeoutError::Timeout) => Err(Silent::Busy),
            Err(RecvTimeoutError::Disconnected) => Err(Silent::Gone),
        }
    }

    /// Moves the engine's clock forward. Keys expire and waits time out before this returns. Clients in this process count it as
    /// time that passed.
    pub fn advance(&self, by: Duration) -> Result<(), Silent> {
        // Added first, so that no client finds the server's clock ahead of its own.
        *added().entry(self.name.clone()).or_default() += by;
        self.on_engine(move |core| {
            core.clock.advance(by);
            session::tick(core);
            session::settle(core);
        })
    }

    /// Sets the engine's clock forward or back by `by_ms`, as an administrator may. Clients do not count it as time that passed.
    pub fn set_clock(&self, by_ms: i64) -> Result<(), Silent> {
        self.on_engine(move |core| {
            core.clock.set(by_ms);
            session::tick(core);
            session::settle(core);
        })
    }

    /// Suspends the engine: it reads nothing, executes nothing and expires nothing.
    pub fn pause(&self) -> Result<(), Silent> {
        self.on_engine(|core| core.faults.paused = true)
    }

    /// Lets a paused engine continue, with the commands that were sent meanwhile.
    pub fn resume(&self) -> Result<(), Silent> {
        self.on_engine(|core| {
            core.faults.paused = false;
            session::tick(core);
            delivery::resume_all(core);
        })
    }

    /// Drops the next `n` replies, although their commands are executed. Each connection that lost a reply is closed, when the
    /// last of the `n` replies is dropped or when the connection's batch ends.
    pub fn drop_replies(&self, n: usize) -> Result<(), Silent> {
        self.on_engine(move |core| core.faults.drop_replies = n)
    }

    /// Closes every connection. The data is kept for a minute of real time, so that clients can reconnect.
    pub fn kill_clients(&self) -> Result<(), Silent> {
        self.on_engine(Core::kill_all)
    }

    /// Delays every reply by this much real time.
    pub fn latency(&self, by: Duration) -> Result<(), Silent> {
        self.on_engine(move |core| core.faults.latency = by)
    }

    /// Refuses writes with READONLY, as a demoted master does after a failover.
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

    /// Limits the estimated memory of keys and values, in bytes. `None` or 0 removes the limit.
    pub fn max_memory(&self, bytes: Option<u64>) -> Result<(), Silent> {
        self.on_engine(move |core| core.config.max_memory = bytes.unwrap_or(0))
    }

    /// All keys as JSON: an array of `{db, key, type, ttl, value}` ordered by database and key. `ttl` is in milliseconds or null.
    /// Bytes that are not UTF-8 become U+FFFD.
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
