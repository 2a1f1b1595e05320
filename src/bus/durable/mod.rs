//! Durable topics: a stream per topic, so that a consumer group loses no message.
//!
//! # Promises
//!
//! - A message is appended to the topic's stream and sent to the live subscribers in one script, or neither happens.
//! - A group delivers each message to one of its consumers, and again until a consumer acknowledges it, or until it has failed as
//!   often as it may and becomes a dead letter. Attempts, last error and due time are kept in Redis.
//! - Messages of one key are handled strictly in order, one at a time, in the whole group, retries included.
//! - A consumer holds its messages by a lease. A task of the I/O thread renews the lease, also while JavaScript is blocked. When the
//!   lease ends, other consumers take the messages over. A consumer that comes back later changes only the messages that it still has.
//! - An idle consumer waits for a wake-up on the subscriber connection, and otherwise polls only every few seconds.
//! - The messages in flight of a consumer are bounded in number, and roughly in bytes.
//! - Lost or overwritten records of a group strand no message: consumers check the records regularly, and `audit` restores them
//!   from what Redis knows to be pending.
//!
//! The stream, its groups and their pending messages are Redis' own: `XINFO GROUPS` and `XPENDING` show them. A pending message
//! that no consumer has belongs to the consumer `~waiting`.
//!
//! | file | what |
//! |---|---|
//! | `publish` | appending, many messages in one script; trimming |
//! | `consumer/` | the task of one subscription; `request`: the requests to the server; `state`: the state of the task |
//! | `in_flight` | the messages of a consumer: running handlers, and messages queued behind them by key |
//! | `pace` | how many messages a consumer fetches ahead |
//! | `protocol` | the commands of a consumer, and their replies |
//! | `settings` | the options of a subscription |
//! | `dead_letters` | dead letters |
//! | `groups` | the groups of a topic; removing one |
//! | `scripts` | the scripts; `lua/group.lua` describes the records of a group |

mod consumer;
mod dead_letters;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod groups;
mod in_flight;
mod pace;
mod protocol;
mod publish;
mod scripts;
mod settings;

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

use consumer::{Consumer, ConsumerCommand};
use in_flight::HandlerOutcome;
use settings::Settings;

pub(super) use dead_letters::{count, list, purge, redrive};
pub(super) use groups::{groups, remove};
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
    consumers: Mutex<HashMap<u64, mpsc::UnboundedSender<ConsumerCommand>>>,
}

impl Durable {
    pub(super) fn new(manager: Manager, namespace: Namespace, retention: Retention, outlet: Outlet) -> Self {
        Self { manager, namespace, retention, outlet, shared: Arc::default() }
    }

    fn consumers(&self) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<ConsumerCommand>>> {
        self.shared.consumers.lock()
    }

    /// Sends a command to consumer `id`. A consumer that has ended ignores it.
    fn ask(&self, id: u64, ask: ConsumerCommand) {
        if let Some(consumer) = self.consumers().get(&id) {
            let _ = consumer.send(ask);
        }
    }
}

/// Starts a subscription. Arguments: id, topic, options as JSON. Answers when the consumer is a member of the group.
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
    // The task must not keep the bus alive.
    let shared = Arc::downgrade(&durable.shared);
    lifecycle::spawn(async move {
        consumer.run(asks, call.answer).await;
        if let Some(shared) = shared.upgrade() {
            shared.consumers.lock().remove(&id);
        }
    });
}

/// Arguments: id, then the number of each message whose handler has succeeded.
pub(super) fn acknowledge(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |_| Ok(HandlerOutcome::Done));
}

/// Arguments: id, number of the message, the error of its handler.
pub(super) fn fail(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |call| call.text(2, "error").map(|text| HandlerOutcome::Failed(scripts::shortened(text))));
}

/// Arguments: id, number of the message, the reason why no handler can get the message.
pub(super) fn refuse(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |call| call.text(2, "error").map(|text| HandlerOutcome::Refused(scripts::shortened(text))));
}

/// Arguments: id, then the number of each message that no handler was given.
pub(super) fn give_back(bus: &Bus, call: Call<'_>) {
    settle(bus, call, |_| Ok(HandlerOutcome::Untried));
}

fn settle(bus: &Bus, call: Call<'_>, outcome: impl FnOnce(&Call<'_>) -> Result<HandlerOutcome>) {
    call.at_once(|call| {
        let outcome = outcome(call)?;
        let last =
            if matches!(outcome, HandlerOutcome::Done | HandlerOutcome::Untried) { call.from(1).len() } else { 1 };
        let numbers = (1..=last).map(|place| call.id(place)).collect::<Result<Vec<u64>>>()?;
        bus.durable.ask(call.id(0)?, ConsumerCommand::Settle(numbers, outcome));
        Ok(Outcome::Nothing)
    });
}

/// Argument: id. The consumer fetches no more messages.
pub(super) fn pause(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        bus.durable.ask(call.id(0)?, ConsumerCommand::Pause);
        Ok(Outcome::Nothing)
    });
}

/// Arguments: id, then the number of each message whose handler is running. Gives all other messages back, and ends the
/// subscription. Answers when the group knows.
pub(super) fn leave(bus: &Bus, call: Call<'_>) {
    let numbers = (1..=call.from(1).len()).map(|place| call.id(place)).collect::<Result<HashSet<u64>>>();
    match call.id(0).and_then(|id| Ok((id, numbers?))) {
        Ok((id, begun)) => {
            let consumer = bus.durable.consumers().get(&id).cloned();
            let Some(consumer) = consumer else { return call.give(Ok(Outcome::Nothing)) };
            if let Err(mpsc::error::SendError(ConsumerCommand::Leave(_, answer))) =
                consumer.send(ConsumerCommand::Leave(begun, call.answer))
            {
                answer.give(Ok(Outcome::Nothing));
            }
        }
        Err(error) => call.give(Err(error)),
    }
}
