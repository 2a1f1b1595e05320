//! A queue of outcomes and events for one copy of the TypeScript face, and the wake-up that announces them.
//!
//! A port belongs to the thread of its environment. The I/O thread pushes items and wakes the face. At most one wake-up is pending,
//! because items in the queue of a thread-safe function leak when a worker thread dies. The wake-up is weak: it keeps the process
//! alive only while the face asks for that, which is while a call is pending. The reference to the face's function is weak too: when
//! the face is collected (at the end of a Jest test file), the port closes with all its targets.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::Env;
use napi::bindgen_prelude::{Function, Unknown};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;

use super::item::Item;
use super::raw::{Wake, WeakFunction};
use crate::crossing::{Completions, Outcome};
use crate::error::Result;
use crate::sync::Mutex;
use crate::verb::Target;

/// The part of a port that other threads use.
pub(super) struct Outbox {
    items: Mutex<Option<VecDeque<Item>>>,
    waking: AtomicBool,
    wake: Wake,
}

impl Outbox {
    fn push(&self, item: Item) -> bool {
        // A closed port accepts no items.
        let Some(items) = &mut *self.items.lock() else {
            return false;
        };
        items.push_back(item);
        !self.waking.swap(true, Ordering::AcqRel)
    }

    /// Takes up to `most` items.
    pub(super) fn take(&self, most: usize) -> Vec<Item> {
        self.waking.store(false, Ordering::Release);
        match &mut *self.items.lock() {
            Some(items) => {
                let count = items.len().min(most);
                items.drain(..count).collect()
            }
            None => Vec::new(),
        }
    }
}

impl Completions for Outbox {
    fn complete(&self, number: u32, outcome: Result<Outcome>) -> bool {
        self.push(Item::Outcome(number, outcome))
    }

    fn deliver(&self, handle: u32, values: Vec<Outcome>) -> bool {
        self.push(Item::Delivery(handle, values))
    }

    fn emit(&self, handle: u32, event: String) -> bool {
        self.push(Item::Event(handle, event))
    }

    fn wake(&self) {
        // The call fails only while the environment ends. No caller waits then.
        let _ = self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }
}

/// An open target, and the number of its class' first verb.
pub(super) struct Opened {
    pub(super) target: Box<dyn Target>,
    pub(super) first: usize,
}

/// A port, on its own thread.
pub(super) struct Port {
    pub(super) outbox: Arc<Outbox>,
    targets: HashMap<u32, Opened>,
    next_handle: u32,
}

impl Port {
    pub(super) fn add(&mut self, opened: Opened) -> u32 {
        self.next_handle += 1;
        self.targets.insert(self.next_handle, opened);
        self.next_handle
    }

    /// The target with this handle.
    pub(super) fn opened(&self, handle: u32) -> Option<&Opened> {
        self.targets.get(&handle)
    }

    /// The target with this handle, if it is a `T`.
    pub(super) fn target<T: 'static>(&self, handle: u32) -> Option<&T> {
        let target: &dyn Any = &*self.opened(handle)?.target;
        target.downcast_ref()
    }

    pub(super) fn remove(&mut self, handle: u32) -> Option<Opened> {
        self.targets.remove(&handle)
    }

    /// The handle that the next [`Port::add`] will give.
    pub(super) fn coming(&self) -> u32 {
        self.next_handle + 1
    }

    pub(super) fn wake(&self) -> &Wake {
        &self.outbox.wake
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let left = self.outbox.items.lock().take();
        drop(left);
    }
}

#[derive(Default)]
struct Ports {
    open: HashMap<u32, Port>,
    last: u32,
    watching_end: bool,
}

thread_local! {
    static PORTS: RefCell<Ports> = RefCell::default();
}

/// Opens a port whose wake-up calls `drain`.
pub(super) fn open(env: Env, drain: &Function<'_, (), Unknown<'static>>) -> napi::Result<u32> {
    let watching = PORTS.with(|ports| std::mem::replace(&mut ports.borrow_mut().watching_end, true));
    if !watching {
        // All ports are dropped before the environment, because a freed thread-safe function must not be called.
        env.add_env_cleanup_hook((), |()| drop(PORTS.try_with(RefCell::take)))?;
    }
    let id = PORTS.with(|ports| {
        let ports = &mut *ports.borrow_mut();
        ports.last += 1;
        ports.last
    });
    let drain = WeakFunction::new(env, drain, id, close)?;
    // The thread-safe function has no reference to the face, so that it does not keep the face alive.
    let nothing: Function<'_, (), ()> = env.create_function_from_closure("wake", |_| Ok(()))?;
    let wake =
        nothing.build_threadsafe_function::<()>().weak::<true>().max_queue_size::<2>().build_callback(move |ctx| {
            drain.call(ctx.env);
            Ok(())
        })?;
    let outbox = Arc::new(Outbox { items: Mutex::new(Some(VecDeque::new())), waking: AtomicBool::new(false), wake });
    PORTS.with(|ports| ports.borrow_mut().open.insert(id, Port { outbox, targets: HashMap::new(), next_handle: 0 }));
    Ok(id)
}

/// Closes a port and all its targets.
pub(super) fn close(id: u32) {
    let port = PORTS.try_with(|ports| ports.borrow_mut().open.remove(&id));
    drop(port);
}

/// Calls `act` with the port, if it is open.
pub(super) fn with<T>(id: u32, act: impl FnOnce(&mut Port) -> T) -> Option<T> {
    PORTS.with(|ports| ports.borrow_mut().open.get_mut(&id).map(act))
}
