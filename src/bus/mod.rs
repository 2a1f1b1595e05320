//! The message bus: live messages, durable ones, requests and their replies.
//!
//! # Promises
//!
//! - A subscription is confirmed by the server before its call is answered: what is published after that, by anyone, arrives.
//! - One subscription on the server per topic and manager, however many subscribers; it is restored after a lost connection,
//!   and who listens is told for how long messages may have been missed.
//! - What waits for JavaScript is bounded in number and bytes, also while its event loop is blocked; what is dropped is counted.
//! - Messages are bytes here: their JSON is made and read in V8.
//!
//! | file | what |
//! |---|---|
//! | `live` | what is subscribed by one topic or pattern, and what of it waits |
//! | `publish` | publishing |
//! | `requests` | requests, their deadlines and replies |
//! | `durable/` | topics that are streams |

mod durable;
#[cfg(fuzzing)]
pub mod fuzzing;
mod live;
mod publish;
mod requests;

use std::future::Future;
use std::sync::Arc;

use crate::arguments::Arguments;
use crate::connection::config::read_namespace;
use crate::connection::{ChannelKind, Manager};
use crate::crossing::{Answer, Arg, Outcome, Outlet};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::{Namespace, is_ours};
use crate::lifecycle;
use crate::options::Options;

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

/// What a call of a verb does.
pub type Call = fn(&Bus, &[Arg<'_>], Answer);

/// The verbs.
pub const CALLS: &[(&str, Call)] = &[
    ("bus.publish", publish::publish),
    ("bus.subscribe", live::subscribe),
    ("bus.unsubscribe", live::unsubscribe),
    ("bus.bound", live::bound),
    ("bus.took", live::took),
    ("bus.request", requests::request),
    ("bus.requestCancel", requests::cancel),
    ("bus.reply", requests::reply),
    ("bus.publishDurable", durable::publish),
    ("bus.consume", durable::consume),
    ("bus.acknowledge", durable::acknowledge),
    ("bus.fail", durable::fail),
    ("bus.refuse", durable::refuse),
    ("bus.giveBack", durable::give_back),
    ("bus.pause", durable::pause),
    ("bus.leave", durable::leave),
    ("bus.deadLetters", durable::list),
    ("bus.countDeadLetters", durable::count),
    ("bus.redrive", durable::redrive),
    ("bus.purge", durable::purge),
    ("bus.groups", durable::groups),
    ("bus.removeGroup", durable::remove),
    ("bus.close", requests::close),
    ("bus.ready", ready),
    ("bus.count", count),
    ("bus.wait", wait),
];

impl Bus {
    /// On `manager`, in the namespace that the options name inside the manager's.
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

    /// Does the steps that `prepare` gives, if it gives any, on the I/O thread.
    fn run<F>(&self, answer: Answer, prepare: impl FnOnce(Self) -> Result<F>)
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        match prepare(self.clone()) {
            Ok(steps) => {
                lifecycle::spawn(async move { answer.give(steps.await) });
            }
            Err(error) => answer.give(Err(error)),
        }
    }
}

/// A topic, or a pattern of topics.
fn topic<'a>(args: Arguments<'a>, place: usize, name: &str) -> Result<&'a [u8]> {
    match args.at(place) {
        Arg::Text(text)
            if (1..=MAX_TOPIC).contains(&text.len())
                && !text.bytes().any(|byte| byte.is_ascii_control())
                && !is_ours(text.as_bytes()) =>
        {
            Ok(text.as_bytes())
        }
        other => Err(args.wrong(
            name,
            "a string of 1 to 1024 bytes without control characters, with no ~ at its begin or after a colon",
            other,
        )),
    }
}

/// An answer that this bus' commands never get from a Redis.
fn strange() -> Error {
    Error::new(ErrorKind::Server, "the server's answer is not one to the command that was sent")
        .with_delivery(Delivery::MaybeExecuted)
}

/// Waits until it is connected and all that is subscribed is confirmed.
fn ready(bus: &Bus, _args: &[Arg<'_>], answer: Answer) {
    bus.run(answer, |bus| {
        if bus.manager.state().is_over() && bus.manager.state() != crate::connection::State::Failed {
            return Err(Error::new(
                ErrorKind::Closed,
                format!("the connection manager is {}", bus.manager.state().name()),
            ));
        }
        let connected = bus.manager.connect();
        Ok(async move {
            connected.await?;
            bus.manager.subscribed().await?;
            Ok(Outcome::Nothing)
        })
    });
}

/// What handlers did since the last call. Arguments: delivered, dropped, malformed, failed.
fn count(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("MessageBus.count", args);
    let metrics = bus.manager.metrics();
    let outcome = [&metrics.bus_delivered, &metrics.bus_dropped, &metrics.bus_malformed, &metrics.bus_handler_errors]
        .into_iter()
        .enumerate()
        .try_for_each(|(place, counter)| {
            counter.add(args.id(place)?);
            Ok(())
        });
    answer.give(outcome.map(|()| Outcome::Nothing));
}

/// Answers after so many milliseconds.
fn wait(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("MessageBus.wait", args);
    bus.run(answer, |_| {
        let time = args.millis(0, "ms", 0.0)?.unwrap_or_default();
        Ok(async move {
            tokio::time::sleep(time).await;
            Ok(Outcome::Nothing)
        })
    });
}
