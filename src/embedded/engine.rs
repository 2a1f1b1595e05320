//! The engine threads of the process, and which engines live on which.
//!
//! There are at most [`THREADS`], however many engines: a thousand of them cost no thousand threads, and a script that
//! runs long in one holds up few others. A thread owns its engines; nobody else ever touches one. The name of an engine
//! decides its thread, so there is nothing to agree on. Clients reach it through [`Hub`]: a list of messages and an
//! unpark. Messages are handled in the order of sending, so a connect that happens after the last drop of the same name
//! finds a new, empty engine, and a control call sees what was connected before it.
//!
//! A thread starts with the first connection to an engine of its and stays, parked, for the life of the process.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use super::duplex::{ClientStream, Pipe};
use super::session;
use super::state::Core;

type Act = Box<dyn FnOnce(Option<&mut Core>) + Send>;

/// The most threads there are. A parked one costs little more than the pages of its stack that it has used.
const THREADS: usize = 8;
/// Lua and nested replies recurse on this stack.
const STACK: usize = 16 * 1024 * 1024;

/// What the engine thread is asked to do.
pub(super) enum Message {
    Open {
        pipe: Arc<Pipe>,
        engine: EngineName,
    },
    Ready(Arc<Pipe>),
    Hold(EngineName),
    Release(EngineName),
    /// Runs on the engine of that name, or on `None` if there is no such engine.
    Control(EngineName, Act),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum EngineName {
    Shared(String),
    /// One connection's own.
    Private(u64),
}

impl Default for EngineName {
    /// No engine's: numbers of connections start with 1.
    fn default() -> Self {
        EngineName::Private(0)
    }
}

/// The way to one engine thread.
pub(super) struct Hub {
    inbox: Mutex<VecDeque<Message>>,
    thread: OnceLock<Thread>,
    parked: AtomicBool,
}

impl EngineName {
    /// Which of the threads.
    pub(super) fn place(&self) -> usize {
        let hash = match self {
            EngineName::Shared(name) => BuildHasherDefault::<DefaultHasher>::new().hash_one(name),
            EngineName::Private(id) => *id,
        };
        usize::try_from(hash % THREADS as u64).unwrap_or(0)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

static HUBS: [Hub; THREADS] = [const { Hub::new() }; THREADS];

/// Numbers for connections and private engines, never used twice.
static IDS: AtomicU64 = AtomicU64::new(1);

impl Hub {
    const fn new() -> Hub {
        Hub { inbox: Mutex::new(VecDeque::new()), thread: OnceLock::new(), parked: AtomicBool::new(false) }
    }

    /// The thread on which the engine lives, whether it runs or not.
    pub(super) fn at(engine: &EngineName) -> &'static Hub {
        &HUBS[engine.place()]
    }

    /// The same, started if need be.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub(super) fn of(engine: &EngineName) -> io::Result<&'static Hub> {
        static STARTING: Mutex<()> = Mutex::new(());
        let hub = Hub::at(engine);
        if hub.thread.get().is_some() {
            return Ok(hub);
        }
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if hub.thread.get().is_none() {
            let builder = thread::Builder::new().name("redis-backplane-memory".to_owned()).stack_size(STACK);
            let started = builder.spawn(|| run(hub))?;
            hub.thread.get_or_init(|| started.thread().clone());
        }
        Ok(hub)
    }

    pub(super) fn send(&self, message: Message) {
        self.inbox().push_back(message);
        if self.parked.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receive(&self) -> Option<Message> {
        self.inbox().pop_front()
    }

    /// Takes out the connections to one engine that nobody has opened yet.
    ///
    /// For an engine whose script runs: everything else that was sent waits until the script has ended.
    pub(super) fn take_opens(&self, name: &EngineName) -> Vec<Arc<Pipe>> {
        let mut opens = Vec::new();
        self.inbox().retain(|message| match message {
            Message::Open { pipe, engine } if engine == name => {
                opens.push(Arc::clone(pipe));
                false
            }
            _ => true,
        });
        opens
    }

    /// Parks until something is sent or `at_most` has passed.
    fn wait(&self, at_most: Option<Duration>) {
        if at_most.is_some_and(|wait| wait.is_zero()) {
            return;
        }
        self.parked.store(true, Ordering::SeqCst);
        // Whatever was sent before `parked` was seen set is found here; whatever comes later unparks.
        if self.inbox().is_empty() {
            match at_most {
                None => thread::park(),
                Some(wait) => thread::park_timeout(wait),
            }
        }
        self.parked.store(false, Ordering::SeqCst);
    }
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
    let hub = Hub::of(&engine)?;
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
    let hub = Hub::of(&engine)?;
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
            let waiting = hub.inbox().len();
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
        self.engines.entry(name.clone()).or_insert_with(|| Core::start(name.clone()))
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
            *core = Core::start(name.clone());
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
