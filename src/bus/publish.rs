//! Publishing: one command, packed and submitted at once.

use std::sync::LazyLock;

use bytes::Bytes;

use super::{Bus, strange, topic};
use crate::arguments::Arguments;
use crate::connection::{Command, Packed, Sink};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::Result;
use crate::resp::Reply;
use crate::telemetry::{Metrics, Operation};

static PUBLISH: LazyLock<Operation> = LazyLock::new(|| Operation::named("bus.publish"));

/// Arguments: topic, message. Answers how many live subscriptions the server gave it to.
pub(super) fn publish(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("MessageBus.publish", args);
    let pack = || -> Result<Command> {
        let topic = topic(args, 0, "topic")?;
        let message = args.text(1, "message")?;
        bus.durable.send_waiting(bus.sharded, topic);
        Ok(Packed::sized(bus.namespace.prefix().len() + topic.len() + message.len())
            .begin(3, verb(bus))
            .key(&bus.namespace, topic)
            .word(message)
            .writes(*PUBLISH))
    };
    match pack() {
        Ok(command) => bus.manager.submit(command, Sink::Answer(answer, receivers)),
        Err(error) => answer.give(Err(error)),
    }
}

/// `message` on one of our own channels.
pub(super) fn on_channel(bus: &Bus, channel: &Bytes, message: &[u8], operation: Operation) -> Command {
    Packed::sized(channel.len() + message.len()).begin(3, verb(bus)).word(channel).word(message).writes(operation)
}

fn verb(bus: &Bus) -> &'static [u8] {
    if bus.sharded { b"SPUBLISH" } else { b"PUBLISH" }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a decoder")]
fn receivers(reply: Reply, metrics: &Metrics) -> Result<Outcome> {
    let outcome = count(&reply)?;
    metrics.bus_published.add(1);
    Ok(outcome)
}

/// The number of receivers that the server says.
pub(super) fn count(reply: &Reply) -> Result<Outcome> {
    match reply {
        #[expect(clippy::cast_precision_loss, reason = "no server has 2^53 clients")]
        Reply::Int(count) => Ok(Outcome::Number(*count as f64)),
        _ => Err(strange()),
    }
}
