//! The queue of messages to an engine thread.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use super::name::{EngineName, THREADS};
use super::pipe::Pipe;
use super::state::Core;
use crate::sync::{Mutex, MutexGuard};

type Act = Box<dyn FnOnce(Option<&mut Core>) + Send>;

/// The size of the thread's stack, in bytes. Lua and nested replies recurse on it.
const STACK: usize = 16 * 1024 * 1024;

/// A message to an engine thread.
pub(super) enum Message {
    Open {
        pipe: Arc<Pipe>,
        engine: EngineName,
    },
    Ready(Arc<Pipe>),
    Hold(EngineName),
    Release(EngineName),
    /// Calls the function with the engine of this name, or with `None` if there is no such engine.
    Control(EngineName, Act),
}

/// The queue of messages to one engine thread.
pub(super) struct Hub {
    inbox: Mutex<VecDeque<Message>>,
    thread: OnceLock<Thread>,
    parked: AtomicBool,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

static HUBS: [Hub; THREADS] = [const { Hub::new() }; THREADS];

impl Hub {
    const fn new() -> Hub {
        Hub { inbox: Mutex::new(VecDeque::new()), thread: OnceLock::new(), parked: AtomicBool::new(false) }
    }

    /// The hub of the engine's thread, which need not run yet.
    pub(super) fn at(engine: &EngineName) -> &'static Hub {
        &HUBS[engine.place()]
    }

    /// The hub of the engine's thread. If the thread does not run, it is started with `run`.
    ///
    /// # Errors
    ///
    /// If the operating system cannot start a thread.
    pub(super) fn of(engine: &EngineName, run: fn(&Hub)) -> io::Result<&'static Hub> {
        static STARTING: Mutex<()> = Mutex::new(());
        let hub = Hub::at(engine);
        if hub.thread.get().is_some() {
            return Ok(hub);
        }
        let _starting = STARTING.lock();
        if hub.thread.get().is_none() {
            let builder = thread::Builder::new().name("redis-backplane-memory".to_owned()).stack_size(STACK);
            let started = builder.spawn(move || run(hub))?;
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
        self.inbox.lock()
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.inbox().len()
    }

    pub(super) fn receive(&self) -> Option<Message> {
        self.inbox().pop_front()
    }

    /// Takes the connections to one engine whose messages were not handled yet.
    ///
    /// An engine calls it while its script runs. All other messages wait until the script has ended.
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
    pub(super) fn wait(&self, at_most: Option<Duration>) {
        if at_most.is_some_and(|wait| wait.is_zero()) {
            return;
        }
        self.parked.store(true, Ordering::SeqCst);
        // A message that was sent before the sender saw `parked` is found here. A later sender unparks the thread.
        if self.inbox().is_empty() {
            match at_most {
                None => thread::park(),
                Some(wait) => thread::park_timeout(wait),
            }
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}
