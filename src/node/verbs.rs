//! The table of what can be called, by name; a name's place is its number.

use super::manager::{self, ManagerTarget};
use super::port::Target;
use crate::crossing::{Answer, Arg};
use crate::error::Error;
use crate::{bullmq, bus, kv, queue, registry};

/// What a call of a verb does.
#[derive(Clone, Copy)]
enum Verb {
    Manager(fn(&ManagerTarget, &[Arg<'_>], Answer)),
    Kv(kv::Call),
    Bus(bus::Call),
    Registry(registry::Call),
    Queue(queue::Call),
    Bullmq(bullmq::Call),
    Worker(queue::WorkerCall),
}

fn all() -> impl Iterator<Item = (&'static str, Verb)> {
    let manager = manager::CALLS.iter().map(|(name, call)| (*name, Verb::Manager(*call)));
    let kv = kv::CALLS.iter().map(|(name, call)| (*name, Verb::Kv(*call)));
    let bus = bus::CALLS.iter().map(|(name, call)| (*name, Verb::Bus(*call)));
    let registry = registry::CALLS.iter().map(|(name, call)| (*name, Verb::Registry(*call)));
    let queue = queue::CALLS.iter().map(|(name, call)| (*name, Verb::Queue(*call)));
    let bullmq = bullmq::CALLS.iter().map(|(name, call)| (*name, Verb::Bullmq(*call)));
    let worker = queue::WORKER_CALLS.iter().map(|(name, call)| (*name, Verb::Worker(*call)));
    manager.chain(kv).chain(bus).chain(registry).chain(queue).chain(worker).chain(bullmq)
}

/// The names of all verbs, in the order of their numbers.
pub(super) fn names() -> Vec<&'static str> {
    all().map(|(name, _)| name).collect()
}

/// The verbs by number.
pub(super) struct Verbs(Vec<Verb>);

impl Verbs {
    pub(super) fn new() -> Self {
        Self(all().map(|(_, verb)| verb).collect())
    }

    /// Calls verb number `verb` on `target`.
    pub(super) fn call(&self, verb: u32, target: Option<&Target>, args: &[Arg<'_>], answer: Answer) {
        match (self.0.get(verb as usize), target) {
            (Some(Verb::Manager(call)), Some(Target::Manager(manager))) => call(manager, args, answer),
            (Some(Verb::Kv(call)), Some(Target::Kv(kv))) => call(kv, args, answer),
            (Some(Verb::Bus(call)), Some(Target::Bus(bus))) => call(bus, args, answer),
            (Some(Verb::Registry(call)), Some(Target::Registry(registry))) => call(registry, args, answer),
            (Some(Verb::Queue(call)), Some(Target::Queue(queue))) => call(queue, args, answer),
            (Some(Verb::Bullmq(call)), Some(Target::Bullmq(bridge))) => call(bridge, args, answer),
            (Some(Verb::Worker(call)), Some(Target::Worker(worker))) => call(worker, args, answer),
            (None, _) => answer.give(Err(Error::config(format!("verb: expected a known one, got number {verb}")))),
            (Some(_), Some(_)) => {
                answer.give(Err(Error::config("target: expected one that has the verb, got another")));
            }
            (Some(_), None) => {
                answer.give(Err(Error::new(crate::error::ErrorKind::Closed, "what was called has been released")));
            }
        }
    }
}
