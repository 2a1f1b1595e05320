//! The message bus: live messages, durable messages, requests and replies.
//!
//! # Promises
//!
//! - The server confirms a subscription before its call is answered: every message that is published afterwards arrives.
//! - One subscription on the server per topic and manager, for any number of subscribers. It is restored after a lost connection,
//!   and the subscribers get an event that says how long messages may have been missed.
//! - Messages that wait for JavaScript are bounded in number and bytes, also while the event loop is blocked. Dropped messages
//!   are counted.
//! - Rust handles messages as bytes; V8 writes and parses the JSON.
//!
//! | file | what |
//! |---|---|
//! | `live` | the messages of one subscribed topic or pattern that wait for JavaScript |
//! | `publish` | publishing live messages |
//! | `requests` | requests, their deadlines and replies |
//! | `durable/` | topics that are streams |

mod durable;
#[cfg(fuzzing)]
pub mod fuzzing;
mod live;
mod publish;
mod requests;

use std::sync::Arc;

use crate::arguments::Arguments;
use crate::connection::config::read_namespace;
use crate::connection::{ChannelKind, Manager};
use crate::crossing::{Arg, Outcome, Outlet};
use crate::error::Result;
use crate::keys::{Namespace, is_ours};
use crate::options::Options;
use crate::verb::{Call, Class, Verb, verbs};

use durable::{Durable, Retention};
use live::Live;
use requests::Requests;

/// The longest topic or pattern, in bytes.
const MAX_TOPIC: usize = 1024;

/// A message bus on a manager. Cheap to clone; its subscriptions end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Bus {
    manager: Manager,
    namespace: Namespace,
    /// Are topics sharded channels?
    sharded: bool,
    live: Arc<Live>,
    requests: Arc<Requests>,
    durable: Durable,
}

impl Class for Bus {
    const NAME: &'static str = "bus";
    const VERBS: &'static [Verb<Self>] = verbs! { "bus" "MessageBus" {
        "publish" => publish::publish;
        "subscribe" => live::subscribe;
        "unsubscribe" => live::unsubscribe;
        "bound" as "MessageBus.subscribe" => live::bound;
        "took" => live::took;
        "request" => requests::request;
        "requestCancel" as "MessageBus.request" => requests::cancel;
        "reply" as "MessageBus.respond" => requests::reply;
        "publishDurable" as "MessageBus.publish" => durable::publish;
        "consume" as "MessageBus.subscribe" => durable::consume;
        "acknowledge" as "MessageBus.subscribe" => durable::acknowledge;
        "fail" as "MessageBus.subscribe" => durable::fail;
        "refuse" as "MessageBus.subscribe" => durable::refuse;
        "giveBack" as "MessageBus.subscribe" => durable::give_back;
        "pause" as "MessageBus.unsubscribe" => durable::pause;
        "leave" as "MessageBus.unsubscribe" => durable::leave;
        "deadLetters" as "DeadLetters.list" => durable::list;
        "countDeadLetters" as "DeadLetters.count" in "bus.deadLetters" => durable::count;
        "redrive" as "DeadLetters.redrive" in "bus.deadLetters" => durable::redrive;
        "purge" as "DeadLetters.purge" in "bus.deadLetters" => durable::purge;
        "groups" => durable::groups;
        "removeGroup" in "bus.groups" => durable::remove;
        "close" => requests::close;
        "ready" => ready;
        "count" => count;
        "wait" => wait;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("MessageBus", options)?, outlet)
    }
}

impl Bus {
    /// A bus on `manager`, in the namespace that the options name inside the manager's namespace.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options, outlet: Outlet) -> Result<Self> {
        let inner = read_namespace(&mut options)?;
        let sharded = options.flag("sharded")?.unwrap_or(false);
        let retention = Retention::read(&mut options)?;
        options.finish()?;
        let namespace = manager.namespace().containing(&inner);
        Ok(Self {
            durable: Durable::new(manager.clone(), namespace.clone(), retention, outlet.clone()),
            live: Arc::new(Live::new(&manager, outlet)),
            requests: Arc::default(),
            manager,
            namespace,
            sharded,
        })
    }

    /// The kind of the channel of one topic.
    fn kind(&self) -> ChannelKind {
        if self.sharded { ChannelKind::Sharded } else { ChannelKind::Exact }
    }
}

/// The texts that [`is_topic`] accepts, for errors.
const A_TOPIC: &str = "a string of 1 to 1024 bytes without control characters, with no ~ at its start or after a colon";

/// May the text name a topic, a pattern of topics or a group?
fn is_topic(text: &str) -> bool {
    (1..=MAX_TOPIC).contains(&text.len())
        && !text.bytes().any(|byte| byte.is_ascii_control())
        && !is_ours(text.as_bytes())
}

/// A topic, or a pattern of topics.
fn topic<'a>(args: &Arguments<'a>, place: usize, name: &str) -> Result<&'a [u8]> {
    match args.at(place) {
        Arg::Text(text) if is_topic(text) => Ok(text.as_bytes()),
        other => Err(args.wrong(name, A_TOPIC, other)),
    }
}

/// Answers when the manager is connected and all subscriptions are confirmed.
fn ready(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|_| {
        let connected = bus.manager.connect_unless_closed();
        Ok(async move {
            connected.await?;
            bus.manager.subscribed().await?;
            Ok(Outcome::Nothing)
        })
    });
}

/// Counts what handlers did since the last call. Arguments: delivered, dropped, malformed, failed.
fn count(bus: &Bus, call: Call<'_>) {
    let metrics = bus.manager.metrics();
    let counters = [&metrics.bus_delivered, &metrics.bus_dropped, &metrics.bus_malformed, &metrics.bus_handler_errors];
    call.at_once(|call| {
        for (place, counter) in counters.into_iter().enumerate() {
            counter.add(call.id(place)?);
        }
        Ok(Outcome::Nothing)
    });
}

/// Argument: ms. Answers after that time.
fn wait(_bus: &Bus, call: Call<'_>) {
    call.run(|call| {
        let time = call.millis(0, "ms", 0.0)?.unwrap_or_default();
        Ok(async move {
            tokio::time::sleep(time).await;
            Ok(Outcome::Nothing)
        })
    });
}
