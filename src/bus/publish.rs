//! Publishing a live message: one command, packed and submitted at once.

use bytes::Bytes;

use super::{Bus, topic};
use crate::connection::{Command, Packed};
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::{Metrics, Operation};
use crate::verb::Call;

/// Arguments: topic, message. Returns how many live subscriptions received it.
pub(super) fn publish(bus: &Bus, call: Call<'_>) {
    call.send(&bus.manager, receivers, |call| {
        let topic = topic(call, 0, "topic")?;
        let message = call.text(1, "message")?;
        bus.durable.send_waiting(bus.sharded, topic);
        Ok(Packed::sized(bus.namespace.prefix().len() + topic.len() + message.len())
            .begin(3, verb(bus))
            .key(&bus.namespace, topic)
            .word(message)
            .writes(call.operation()))
    });
}

/// Publishes `message` on an internal channel of this package.
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

/// The number of receivers in a reply.
pub(super) fn count(reply: &Reply) -> Result<Outcome> {
    match reply {
        #[expect(clippy::cast_precision_loss, reason = "no server has 2^53 clients")]
        Reply::Int(count) => Ok(Outcome::Number(*count as f64)),
        _ => Err(Error::unexpected_reply()),
    }
}
