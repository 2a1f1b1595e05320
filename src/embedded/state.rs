//! The state of one engine: databases, clients, channels, scripts, settings, and the faults that a test has requested.
//!
//! Only the engine's thread accesses the state. While a script runs, the whole state is moved into the script host
//! ([`std::mem::take`]), so [`Default`] must be cheap.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::blocking::Waiting;
use super::bytes::Key;
use super::client::Client;
use super::clock::Clock;
use super::config::Config;
use super::keyspace::{DATABASES, Db};
use super::name::EngineName;
use super::pipe::Pipe;
use super::scripting::Scripts;
use super::subscribers::{Kind, Subscribers};

/// How often the sweep of expired keys runs while there are keys that expire.
const SWEEP_EVERY_MS: i64 = 100;
/// How long an engine keeps its data after a fault or CLIENT KILL has closed all connections.
const LINGER: Duration = Duration::from_mins(1);
/// The most keys that one sweep removes from a database. Then commands run again.
const SWEEP_KEYS: usize = 20_000;

/// The faults that a test has requested.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) paused: bool,
    /// How many replies are still to be dropped.
    pub(super) drop_replies: usize,
    pub(super) latency: Duration,
    pub(super) readonly: bool,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stats {
    pub(super) commands: u64,
    pub(super) connections: u64,
    pub(super) expired: u64,
}

/// The pause of CLIENT PAUSE.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    pub(super) until: i64,
    pub(super) writes_only: bool,
}

/// Takes the connections to an engine whose messages were not handled yet.
type Opens = fn(&EngineName) -> Vec<Arc<Pipe>>;

#[derive(Debug, Default)]
pub(super) struct Core {
    name: EngineName,
    opens: Option<Opens>,
    pub(super) dbs: Vec<Db>,
    pub(super) clock: Clock,
    /// The engine time of the running command, in milliseconds.
    pub(super) now: i64,
    /// The same time in microseconds, as in the reply to `TIME`.
    pub(super) now_micros: i64,
    pub(super) clients: Vec<Option<Client>>,
    free: Vec<usize>,
    open: usize,
    /// How many holds keep the data without a connection.
    pub(super) holds: usize,
    /// Until when the data is kept for clients whose connections the engine closed.
    linger: Option<Instant>,
    gone: Vec<u64>,
    /// Connections that were opened while a script runs, and their slots.
    arrived: Vec<(u64, usize)>,
    /// Clients with replies to pass on.
    pub(super) dirty: Vec<usize>,
    /// Clients that may have commands to run: clients whose wait has ended, and after a pause all clients.
    pub(super) resumed: VecDeque<usize>,
    pub(super) watchers: HashMap<(usize, Key), HashSet<usize>>,
    pub(super) waiting: Waiting,
    pub(super) subscribers: Subscribers,
    /// Clients in MONITOR mode.
    pub(super) monitors: Vec<usize>,
    pub(super) scripts: Scripts,
    /// Set while a script runs for too long and other clients are answered meanwhile.
    pub(super) busy: Option<Busy>,
    pub(super) config: Config,
    pub(super) faults: Faults,
    pub(super) stats: Stats,
    pub(super) pause: Option<Pause>,
    swept: i64,
    pub(super) started: i64,
    /// Replies that `latency` delays, oldest first.
    pub(super) delayed: VecDeque<(Instant, usize, u64, Vec<u8>)>,
}

/// A script that runs for too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Busy {
    pub(super) wrote: bool,
    pub(super) killed: bool,
}

impl Core {
    pub(super) fn start(name: EngineName, opens: Opens) -> Self {
        let mut core = Core { name, opens: Some(opens), ..Core::default() };
        core.dbs.resize_with(DATABASES, Db::default);
        core.now = core.clock.millis();
        core.started = core.now;
        core
    }

    pub(super) fn attach(&mut self, pipe: Arc<Pipe>) -> usize {
        self.stats.connections += 1;
        self.open += 1;
        self.linger = None;
        let client = Client::new(pipe, self.clock.millis(), self.config.password().is_none());
        if let Some(slot) = self.free.pop() {
            self.clients[slot] = Some(client);
            return slot;
        }
        self.clients.push(Some(client));
        self.clients.len() - 1
    }

    /// Opens the connections of clients that connected while a script runs.
    pub(super) fn admit_waiting(&mut self) {
        for pipe in self.opens.map(|opens| opens(&self.name)).unwrap_or_default() {
            let id = pipe.id;
            let slot = self.attach(pipe);
            self.arrived.push((id, slot));
        }
    }

    pub(super) fn take_arrived(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.arrived)
    }

    /// Removes a client and everything that refers to it.
    pub(super) fn detach(&mut self, slot: usize) {
        if self.clients.get(slot).is_none_or(Option::is_none) {
            return;
        }
        self.unwatch(slot);
        self.unsubscribe_all(slot);
        self.monitors.retain(|monitor| *monitor != slot);
        let Some(client) = self.clients[slot].take() else {
            return;
        };
        if let Some(blocked) = &client.blocked {
            self.waiting.remove(slot, blocked);
        }
        client.pipe.close();
        self.delayed.retain(|d| d.2 != client.id);
        self.gone.push(client.id);
        self.open -= 1;
        self.free.push(slot);
    }

    /// Ends all subscriptions of a client that disconnects or resets.
    pub(super) fn unsubscribe_all(&mut self, slot: usize) {
        for kind in Kind::ALL {
            let names = self.client(slot).map(|client| std::mem::take(client.names(kind))).unwrap_or_default();
            for name in names {
                self.subscribers.remove(kind, &name, slot);
            }
        }
    }

    /// The engine is about to close a client's connection. The data is kept for a while, so that the client can reconnect.
    pub(super) fn expect_back(&mut self) {
        self.linger = Some(Instant::now() + LINGER);
    }

    /// Closes every connection.
    pub(super) fn kill_all(&mut self) {
        for slot in 0..self.clients.len() {
            if let Some(client) = self.client(slot) {
                client.closing = true;
                client.lossy = true;
                self.mark(slot);
            }
        }
    }

    pub(super) fn close_all(&mut self) {
        for slot in 0..self.clients.len() {
            self.detach(slot);
        }
        self.linger = None;
    }

    pub(super) fn take_gone(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.open == 0 && self.holds == 0 && self.linger.is_none_or(|until| Instant::now() >= until)
    }

    pub(super) fn client(&mut self, slot: usize) -> Option<&mut Client> {
        self.clients.get_mut(slot).and_then(Option::as_mut)
    }

    pub(super) fn each_client(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.clients.iter().enumerate().filter_map(|(slot, c)| c.as_ref().map(|c| (slot, c)))
    }

    /// Puts a client on the list of clients with output.
    pub(super) fn mark(&mut self, slot: usize) {
        if let Some(client) = self.client(slot)
            && !client.marked
        {
            client.marked = true;
            self.dirty.push(slot);
        }
    }

    pub(super) fn used_memory(&self) -> usize {
        self.dbs.iter().map(Db::used).sum()
    }

    /// Tells the clients that watch the key, or wait for it, about a change.
    pub(super) fn touch(&mut self, db: usize, key: &[u8]) {
        if !self.watchers.is_empty() {
            let place = (db, Key::from(key));
            for slot in self.watchers.get(&place).into_iter().flatten() {
                if let Some(Some(client)) = self.clients.get_mut(*slot) {
                    client.watch_broken = true;
                }
            }
        }
        self.waiting.changed(db, key);
    }

    /// A key has expired. For a client that watched the key before its expiry this is a change. For a client that watched it only
    /// after its expiry it is none.
    pub(super) fn expired(&mut self, db: usize, key: &[u8]) {
        self.stats.expired += 1;
        if self.watchers.is_empty() {
            return;
        }
        let place = (db, Key::from(key));
        for slot in self.watchers.get(&place).into_iter().flatten() {
            let Some(Some(client)) = self.clients.get_mut(*slot) else {
                continue;
            };
            match client.watched.iter_mut().find(|watched| watched.0 == place) {
                Some((_, was_expired @ true)) => *was_expired = false,
                _ => client.watch_broken = true,
            }
        }
    }

    /// A whole database changed. This is a change for each watched key that exists in the old or in the new content.
    pub(super) fn touch_all(&mut self, db: usize, other: Option<usize>) {
        for ((watched, key), slots) in &self.watchers {
            let held = |db: usize| self.dbs[db].keys.contains_key(&**key);
            if *watched == db && (held(db) || other.is_some_and(held)) {
                for slot in slots {
                    if let Some(Some(client)) = self.clients.get_mut(*slot) {
                        client.watch_broken = true;
                    }
                }
            }
        }
        self.waiting.changed_all(db);
    }

    pub(super) fn unwatch(&mut self, slot: usize) {
        let Some(client) = self.client(slot) else {
            return;
        };
        client.watch_broken = false;
        for place in std::mem::take(&mut client.watched) {
            if let Some(slots) = self.watchers.get_mut(&place.0) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.watchers.remove(&place.0);
                }
            }
        }
    }

    /// Removes expired keys.
    pub(super) fn sweep(&mut self) {
        self.swept = self.now;
        for db in 0..self.dbs.len() {
            for key in self.dbs[db].expired_keys(self.now, SWEEP_KEYS) {
                self.dbs[db].remove(&key);
                self.expired(db, &key);
            }
        }
    }

    /// The engine time at which something is due.
    fn next_due(&self) -> Option<i64> {
        let sweep = self
            .dbs
            .iter()
            .filter_map(|db| db.expires.first().map(|e| e.0.saturating_add(1)))
            .min()
            .map(|at| at.max(self.swept + SWEEP_EVERY_MS));
        let pause = self.pause.map(|p| p.until);
        [sweep, pause, self.waiting.first_deadline()].into_iter().flatten().min()
    }

    /// The real time until [`super::session::tick`] has something to do.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        if self.open == 0 {
            return if self.holds > 0 { None } else { self.linger.map(until) };
        }
        let delayed = self.delayed.front().map(|d| until(d.0));
        if self.faults.paused {
            return delayed;
        }
        let due = self.next_due().map(|at| {
            let wait = u64::try_from(at.saturating_sub(self.clock.millis())).unwrap_or(0);
            // A wait lasts at most a day, and then the deadline is checked again.
            Duration::from_millis(wait.min(86_400_000))
        });
        delayed.into_iter().chain(due).min()
    }
}
