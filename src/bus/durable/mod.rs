//! Topics that are streams: nothing published to one is lost to a consumer group.
//!
//! # Promises
//!
//! - A message is in the topic's stream and on its way to the live subscribers in one step, or in neither.
//! - A group gives each message to one of its consumers, and again until one has acknowledged it, or it has failed as often as
//!   it may and is among the dead letters. What is known of it (attempts, last error, when it is due) is kept in Redis.
//! - Messages of one key are handed out strictly in order, one after the other is settled, in the whole group, retries included.
//! - A consumer holds what it has by a lease, renewed by a task of the I/O thread, whatever JavaScript does. When it is over
//!   the others take the messages over. A consumer that comes back later changes nothing that is not its own any more.
//! - An idle consumer waits for a message on the subscriber connection; it looks by itself only every few seconds.
//! - What is in a consumer's hands is bounded, in number and roughly in bytes.
//! - Records of a group that are lost, or that anyone has written over, strand no message: consumers look at them regularly, and
//!   `audit` makes them anew from what Redis knows to be pending.
//!
//! The stream, its groups and their pending messages are those of Redis: `XINFO GROUPS` and `XPENDING` show them. What is
//! pending and in nobody's hands belongs to a consumer called `~waiting`.
//!
//! | file | what |
//! |---|---|
//! | `publish` | appending, many messages of one moment in one script; trimming |
//! | `consumer/` | the task of one subscription; `asking`: what it asks the server |
//! | `hands` | what a consumer has, and what follows by key |
//! | `pace` | how much it takes ahead |
//! | `turn` | one question to the server and its answer |
//! | `settings` | what a subscription is told |
//! | `letters` | dead letters |
//! | `groups` | the groups of a topic, and the end of one |
//! | `scripts` | the scripts; `lua/group.lua` says how a group is kept |

mod consumer;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod groups;
mod hands;
mod letters;
mod pace;
mod publish;
mod scripts;
mod settings;
mod turn;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Bus;
use crate::connection::Manager;
use crate::crossing::{Outcome, Outlet};
use crate::error::Result;
use crate::keys::Namespace;
use crate::lifecycle;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

use consumer::{Ask, Consumer};
use hands::Verdict;
use settings::Settings;

pub(super) use groups::{groups, remove};
pub(super) use letters::{count, list, purge, redrive};
pub(super) use publish::{Retention, publish};

/// The durable topics of one bus. Cheap to clone; its consumers end when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Durable {
    manager: Manager,
    namespace: Namespace,
    retention: Retention,
    outlet: Outlet,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    publisher: publish::Publisher,
    consumers: Mutex<HashMap<u64, mpsc::UnboundedSender<Ask>>>,
}

impl Durable {
    pub(super) fn new(manager: Manager, namespace: Namespace, retention: Retention, outlet: Outlet) -> Self {
        Self { manager, namespace, retention, outlet, shared: Arc::default() }
    }

    fn consumers(&self) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Ask>>> {
        self.shared.consumers.lock()
    }

    /// Asks consumer `id`. What is said to one that has ended is of no use any more.
    fn ask(&self, id: u64, ask: Ask) {
        if let Some(consumer) = self.consumers().get(&id) {
            let _ = consumer.send(ask);
        }
    }
}

/// Begins a subscription. Arguments: id, topic, options as JSON. Answers when it is one of the group.
pub(super) fn consume(bus: &Bus, call: Call<'_>) {
    let durable = &bus.durable;
    let read = || -> Result<(u64, Settings)> {
        let topic = super::topic(&call, 1, "topic")?;
        Ok((call.id(0)?, Settings::read(call.options(2)?, durable.namespace.topic(topic), topic)?))
    };
    let (id, settings) = match read() {
        Ok(read) => read,
        Err(error) => return call.give(Err(error)),
    };
    let (sender, asks) = mpsc::unbounded_channel();
    durable.consumers().insert(id, sender);
    let consumer = Consumer::new(id, durable.manager.clone(), settings, durable.retention, durable.outlet.clone());
    // The task must not keep the bus alive: when the bus goes, it is asked for nothing any more.
    let shared = Arc::downgrade(&durable.shared);
    lifecycle::spawn(async move {
        consumer.run(asks, call.answer).await;
        if let Some(shared) = shared.upgrade() {
            shared.consumers.lock().remove(&id);
        }
    });
}

/// Arguments: id, then the number of each message whose handler is done.
pub(super) fn acknowledge(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |_| Ok(Verdict::Done));
}

/// Arguments: id, number of the message, its error.
pub(super) fn fail(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |call| call.text(2, "error").map(|text| Verdict::Failed(scripts::shortened(text))));
}

/// Arguments: id, number of the message, why no handler can be given it.
pub(super) fn refuse(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |call| call.text(2, "error").map(|text| Verdict::Refused(scripts::shortened(text))));
}

/// Arguments: id, then the number of each message that no handler was given.
pub(super) fn give_back(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |_| Ok(Verdict::Untried));
}

fn settle(bus: &Bus, call: Call<'_>, verdict: impl FnOnce(&Call<'_>) -> Result<Verdict>) {
    call.at_once(|call| {
        let verdict = verdict(call)?;
        let last = if matches!(verdict, Verdict::Done | Verdict::Untried) { call.from(1).len() } else { 1 };
        let numbers = (1..=last).map(|place| call.id(place)).collect::<Result<Vec<u64>>>()?;
        bus.durable.ask(call.id(0)?, Ask::Settle(numbers, verdict));
        Ok(Outcome::Nothing)
    });
}

/// Argument: id. Has it take nothing more.
pub(super) fn pause(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        bus.durable.ask(call.id(0)?, Ask::Pause);
        Ok(Outcome::Nothing)
    });
}

/// Arguments: id, then the number of each message that a handler has begun and not ended. Gives back everything that it still has,
/// and ends. Answers when the group knows.
pub(super) fn leave(bus: &Bus, call: Call<'_>) {
    let numbers = (1..=call.from(1).len()).map(|place| call.id(place)).collect::<Result<HashSet<u64>>>();
    match call.id(0).and_then(|id| Ok((id, numbers?))) {
        Ok((id, begun)) => {
            let consumer = bus.durable.consumers().get(&id).cloned();
            let Some(consumer) = consumer else { return call.give(Ok(Outcome::Nothing)) };
            if let Err(mpsc::error::SendError(Ask::Leave(_, answer))) = consumer.send(Ask::Leave(begun, call.answer)) {
                answer.give(Ok(Outcome::Nothing));
            }
        }
        Err(error) => call.give(Err(error)),
    }
}
