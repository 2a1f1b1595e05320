//! The way to an engine thread: a list of messages, and an unpark.

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

/// The way to one engine thread.
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

    /// The thread on which the engine lives, whether it runs or not.
    pub(super) fn at(engine: &EngineName) -> &'static Hub {
        &HUBS[engine.place()]
    }

    /// The same, where `run` is started on it if need be.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
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

    /// How much waits.
    pub(super) fn waiting(&self) -> usize {
        self.inbox().len()
    }

    pub(super) fn receive(&self) -> Option<Message> {
        self.inbox().pop_front()
    }

    /// Takes out the connections to one engine that are not opened yet.
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
    pub(super) fn wait(&self, at_most: Option<Duration>) {
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
