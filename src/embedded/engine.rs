//! The engine threads of the process, and the engines on each thread.
//!
//! At most [`THREADS`](super::name::THREADS) threads run any number of engines. So a long script delays few other engines. A
//! thread owns its engines; no other thread accesses them. The name of an engine decides its thread. Clients send messages to a
//! thread through a [`Hub`]. Messages are handled in the order in which they were sent. So a connection that is opened after the
//! last one of the same name was dropped gets a new, empty engine. A control call sees all connections that were opened before
//! it.
//!
//! A thread starts with the first connection to one of its engines. It is never stopped; without work it is parked.

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

/// The next number of a connection, which is also the number of a private engine.
static IDS: AtomicU64 = AtomicU64::new(1);

/// The hub of the engine's thread, which is started if it does not run.
///
/// # Errors
///
/// If the operating system cannot start a thread.
pub(super) fn hub_of(engine: &EngineName) -> io::Result<&'static Hub> {
    Hub::of(engine, run)
}

/// Takes the connections to an engine whose messages were not handled yet.
fn opens(engine: &EngineName) -> Vec<Arc<Pipe>> {
    Hub::at(engine).take_opens(engine)
}

/// Opens a client connection to the engine called `name`. `None` opens a private engine, which is removed when this stream is
/// dropped.
///
/// A named engine keeps its data as long as one of its streams or a [`Hold`] exists. May be called from any thread, inside a tokio
/// runtime or not.
///
/// # Errors
///
/// If the operating system cannot start the engine's thread.
pub fn connect(name: Option<&str>) -> io::Result<ClientStream> {
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    let pipe = Arc::new(Pipe::new(id));
    let engine = name.map_or(EngineName::Private(id), |name| EngineName::Shared(name.to_owned()));
    let hub = hub_of(&engine)?;
    hub.send(Message::Open { pipe: Arc::clone(&pipe), engine });
    Ok(ClientStream::new(pipe, hub))
}

/// Keeps a named engine's data while nothing is connected to it, for example while a client reconnects.
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

/// Keeps the data of the engine called `name` until the value is dropped.
///
/// # Errors
///
/// If the operating system cannot start the engine's thread.
pub fn hold(name: &str) -> io::Result<Hold> {
    let engine = EngineName::Shared(name.to_owned());
    let hub = hub_of(&engine)?;
    hub.send(Message::Hold(engine.clone()));
    Ok(Hold { engine, hub })
}

/// The state of one engine thread.
#[derive(Default)]
struct Engines {
    engines: HashMap<EngineName, Core>,
    /// The engine and the client's slot of each pipe.
    pipes: HashMap<u64, (EngineName, usize)>,
}

fn run(hub: &Hub) {
    let mut engines = Engines::default();
    loop {
        let turn = || {
            // Messages are taken one by one, so that a long script can find the connections that wait behind it.
            let waiting = hub.waiting();
            for _ in 0..waiting {
                let Some(message) = hub.receive() else { break };
                engines.handle(message);
            }
            engines.tick()
        };
        // A panic outside of `guarded` resets all engines of the thread. Their clients are disconnected, so none waits for ever.
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

    /// Runs `act` on an engine. After a panic this engine starts again without clients and data, and the thread continues.
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

    /// Handles everything that is due. Gives the time until more is due.
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
