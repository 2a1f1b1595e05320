//! The engine threads of the process, and which engines live on which.
//!
//! There are at most [`THREADS`](super::name::THREADS) threads for any number of engines, so that a long script delays few other engines.
//! A thread owns its engines; no other thread touches them. The name of an engine decides its thread. Clients reach an engine through
//! [`Hub`]: a list of messages and an unpark. Messages are handled in the order of sending, so a connect that happens after the last drop of the same name
//! finds a new, empty engine, and a control call sees what was connected before it.
//!
//! A thread starts with the first connection to an engine of its and stays, parked, for the life of the process.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::duplex::ClientStream;
use super::hub::{Hub, Message};
use super::name::EngineName;
use super::pipe::Pipe;
use super::session;
use super::state::Core;

/// Numbers for connections and private engines, never used twice.
static IDS: AtomicU64 = AtomicU64::new(1);

/// The thread on which the engine lives, started if need be.
///
/// # Errors
///
/// The operating system gives no thread.
pub(super) fn hub_of(engine: &EngineName) -> io::Result<&'static Hub> {
    Hub::of(engine, run)
}

/// Connections to an engine that are not opened yet.
fn opens(engine: &EngineName) -> Vec<Arc<Pipe>> {
    Hub::at(engine).take_opens(engine)
}

/// One client connection to the engine called `name`; `None` is a private engine, gone when this stream is dropped.
///
/// A named engine's data lives as long as at least one of its streams or a [`Hold`]. May be called from any thread, inside a tokio
/// runtime or not.
///
/// # Errors
///
/// The operating system gives no thread to the engine.
pub fn connect(name: Option<&str>) -> io::Result<ClientStream> {
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let pipe = Arc::new(Pipe::new(id));
    let engine = name.map_or(EngineName::Private(id), |name| EngineName::Shared(name.to_owned()));
    let hub = hub_of(&engine)?;
    hub.send(Message::Open { pipe: Arc::clone(&pipe), engine });
    Ok(ClientStream::new(pipe, hub))
}

/// Keeps a named engine's data while nothing is connected to it, as a client does that is between two connections.
#[derive(Debug)]
pub struct Hold {
    engine: EngineName,
    hub: &'static Hub,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.hub.send(Message::Release(self.engine.clone()));
    }
}

/// Holds the engine called `name`, from now until the value is dropped.
///
/// # Errors
///
/// The operating system gives no thread to the engine.
pub fn hold(name: &str) -> io::Result<Hold> {
    let engine = EngineName::Shared(name.to_owned());
    let hub = hub_of(&engine)?;
    hub.send(Message::Hold(engine.clone()));
    Ok(Hold { engine, hub })
}

/// Everything one engine thread owns.
#[derive(Default)]
struct Engines {
    engines: HashMap<EngineName, Core>,
    /// Which engine and which of its clients a pipe belongs to.
    pipes: HashMap<u64, (EngineName, usize)>,
}

fn run(hub: &Hub) {
    let mut engines = Engines::default();
    loop {
        let turn = || {
            // One by one, so that a script that runs long finds those that have connected behind it.
            let waiting = hub.waiting();
            for _ in 0..waiting {
                let Some(message) = hub.receive() else { break };
                engines.handle(message);
            }
            engines.tick()
        };
        // A defect outside any one engine costs all engines of the thread their data, but never leaves clients waiting for ever.
        let next = catch_unwind(AssertUnwindSafe(turn)).unwrap_or_else(|_| {
            std::mem::take(&mut engines).engines.values_mut().for_each(Core::close_all);
            None
        });
        hub.wait(next);
    }
}

impl Engines {
    fn handle(&mut self, message: Message) {
        match message {
            Message::Open { pipe, engine } => {
                let core = self.engine(&engine);
                let id = pipe.id;
                let slot = core.attach(pipe);
                self.pipes.insert(id, (engine, slot));
            }
            Message::Ready(pipe) => {
                if let Some((name, slot)) = self.pipes.get(&pipe.id).cloned() {
                    self.guarded(&name, |core| session::ready(core, slot));
                }
            }
            Message::Hold(name) => self.engine(&name).holds += 1,
            Message::Release(name) => self.guarded(&name, |core| {
                core.holds = core.holds.saturating_sub(1);
            }),
            Message::Control(name, act) => {
                if self.engines.contains_key(&name) {
                    self.guarded(&name, |core| act(Some(core)));
                } else {
                    act(None);
                }
            }
        }
    }

    fn engine(&mut self, name: &EngineName) -> &mut Core {
        self.engines.entry(name.clone()).or_insert_with(|| Core::start(name.clone(), opens))
    }

    /// Runs `act` on an engine. A defect that panics costs that engine its clients and data, not the thread.
    fn guarded(&mut self, name: &EngineName, act: impl FnOnce(&mut Core)) {
        let Some(core) = self.engines.get_mut(name) else {
            return;
        };
        let sound = catch_unwind(AssertUnwindSafe(|| {
            act(core);
            session::settle(core);
        }))
        .is_ok();
        if !sound {
            core.close_all();
        }
        for (id, slot) in core.take_arrived() {
            self.pipes.insert(id, (name.clone(), slot));
        }
        for id in core.take_gone() {
            self.pipes.remove(&id);
        }
        if !sound {
            let holds = core.holds;
            *core = Core::start(name.clone(), opens);
            core.holds = holds;
        }
        if core.is_unused() {
            self.engines.remove(name);
        }
    }

    /// Does what time has made due; how long until there is more.
    fn tick(&mut self) -> Option<Duration> {
        let due = |core: &Core| core.next_tick().is_some_and(|wait| wait.is_zero());
        let names: Vec<EngineName> =
            self.engines.iter().filter(|(_, core)| due(core)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.guarded(&name, session::tick);
        }
        self.engines.values().filter_map(Core::next_tick).min()
    }
}
