//! The groups of a topic: who there is and how far each has come, and the end of one that nobody consumes.

use bytes::Bytes;

use super::scripts::{self, bulk, operation};
use crate::arguments::Arguments;
use crate::bus::{Bus, strange, topic};
use crate::connection::{Manager, Packed};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::TopicKeys;
use crate::resp::Reply;

/// Groups of which one script tells.
const AT_ONCE: usize = 50;

/// Argument: topic. Gives of each group, flat: name, messages that it has not acknowledged, those of them that it has read, consumers,
/// ms of server time when one was last active or nothing.
pub(in crate::bus) fn groups(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("MessageBus.groups", args);
    bus.run(answer, |bus| {
        let keys = bus.durable.namespace.topic(topic(args, 0, "topic")?);
        Ok(async move {
            let names = names(&bus.durable.manager, &keys).await?;
            let mut found = Vec::with_capacity(names.len() * 5);
            for some in names.chunks(AT_ONCE) {
                found.extend(states(&bus.durable.manager, &keys, some).await?);
            }
            Ok(Outcome::List(found))
        })
    });
}

async fn names(manager: &Manager, keys: &TopicKeys) -> Result<Vec<Bytes>> {
    let stream = keys.stream();
    let packed = Packed::sized(stream.len() + 32).begin(3, b"XINFO").word(b"GROUPS").word(&stream);
    let groups = match manager.call(packed.reads(*operation::GROUPS)).await {
        Ok(Reply::Array(groups)) => groups,
        // A topic to which nothing was ever appended.
        Err(error) if error.message().contains("no such key") => Vec::new(),
        Err(error) => return Err(error),
        Ok(_) => return Err(strange()),
    };
    groups.into_iter().map(|about| name_of(about).ok_or_else(strange)).collect()
}

fn name_of(about: Reply) -> Option<Bytes> {
    let fields: Vec<Reply> = match about {
        Reply::Array(fields) => fields,
        Reply::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        _ => return None,
    };
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if bulk(name).as_deref() == Some(b"name") {
            return bulk(value);
        }
    }
    None
}

async fn states(manager: &Manager, keys: &TopicKeys, names: &[Bytes]) -> Result<Vec<Outcome>> {
    let stream = keys.stream();
    let mut packed = Packed::sized(512).script(&scripts::GROUPS, 1 + names.len(), names.len()).word(&stream);
    packed = names.iter().fold(packed, |packed, name| packed.word(&keys.group(name).consumers));
    packed = names.iter().fold(packed, |packed, name| packed.word(name));
    let Reply::Array(values) = manager.call(packed.runs_reading(*operation::GROUPS, &scripts::GROUPS)).await? else {
        return Err(strange());
    };
    values
        .into_iter()
        .map(|value| match value {
            Reply::Int(-1) => Ok(Outcome::Nothing),
            Reply::Int(number) => Ok(Outcome::Number(number as f64)),
            name => bulk(name).map(|name| Outcome::Text(scripts::readable(&name))).ok_or_else(strange),
        })
        .collect()
}

/// Arguments: topic, group. Gives whether there was one.
pub(in crate::bus) fn remove(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("MessageBus.removeGroup", args);
    bus.run(answer, |bus| {
        let topic_keys = bus.durable.namespace.topic(topic(args, 0, "topic")?);
        let group = topic(args, 1, "group")?.to_vec();
        Ok(async move {
            let keys = topic_keys.group(&group);
            let keys = [&keys.stream, &keys.lanes, &keys.due, &keys.parked, &keys.notes, &keys.consumers, &keys.dead];
            let packed = keys.into_iter().fold(
                Packed::sized(512).script(&scripts::REMOVE, keys.len(), 4),
                |packed, key| packed.word(key),
            );
            let packed = packed.word(&group).word(b"").number(0).word(&topic_keys.wake());
            let reply = bus.durable.manager.call(packed.runs(*operation::GROUPS, &scripts::REMOVE)).await?;
            match &reply {
                Reply::Array(parts) => match parts[..] {
                    [Reply::Int(2), Reply::Int(alive)] => Err(Error::config(format!(
                        "MessageBus.removeGroup: group: expected one that nobody consumes, got one with consumers: {alive}"
                    ))),
                    [Reply::Int(removed)] => Ok(Outcome::Bool(removed == 1)),
                    _ => Err(strange()),
                },
                _ => Err(strange()),
            }
        })
    });
}
