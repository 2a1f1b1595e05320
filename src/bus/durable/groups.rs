//! The groups of a topic and their state, and the removal of a group without consumers.

use bytes::Bytes;

use super::scripts::{self, bulk};
use crate::bus::{Bus, topic};
use crate::connection::{Manager, Packed};
use crate::crossing::Outcome;
use crate::crossing::codes::GROUP_VALUES;
use crate::error::{Error, Result};
use crate::keys::TopicKeys;
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// Groups in one script call.
const AT_ONCE: usize = 50;

/// A group, as `XINFO GROUPS` describes it.
struct GroupInfo {
    name: Bytes,
    /// Messages that were read and not acknowledged.
    pending: i64,
    /// Messages that were not read; `None` where the server does not count: before Redis 7, and after deletions.
    unread: Option<i64>,
    /// The last id that the group has read.
    read_to: Bytes,
}

/// Argument: topic. Returns for each group, flat: name, unacknowledged messages, how many of them were read, consumers, when a
/// consumer was last active in ms of server time, or nothing.
pub(in crate::bus) fn groups(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let (keys, operation) = (bus.durable.namespace.topic(topic(call, 0, "topic")?), call.operation());
        Ok(async move {
            let all = group_infos(operation, &bus.durable.manager, &keys).await?;
            let mut found = Vec::with_capacity(all.len() * GROUP_VALUES as usize);
            for some in all.chunks(AT_ONCE) {
                found.extend(states(operation, &bus.durable.manager, &keys, some).await?);
            }
            Ok(Outcome::List(found))
        })
    });
}

async fn group_infos(operation: Operation, manager: &Manager, keys: &TopicKeys) -> Result<Vec<GroupInfo>> {
    let stream = keys.stream();
    let packed = Packed::sized(stream.len() + 32).begin(3, b"XINFO").word(b"GROUPS").word(&stream);
    let groups = match manager.call(packed.reads(operation)).await {
        Ok(Reply::Array(groups)) => groups,
        // Nothing was ever appended to the topic.
        Err(error) if error.message().contains("no such key") => Vec::new(),
        Err(error) => return Err(error),
        Ok(_) => return Err(Error::unexpected_reply()),
    };
    groups.into_iter().map(|about| read_group_info(about).ok_or_else(Error::unexpected_reply)).collect()
}

fn read_group_info(about: Reply) -> Option<GroupInfo> {
    let fields: Vec<Reply> = match about {
        Reply::Array(fields) => fields,
        Reply::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        _ => return None,
    };
    let (mut name, mut pending, mut unread, mut read_to) = (None, None, None, None);
    let mut fields = fields.into_iter();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        match (bulk(field)?.as_ref(), value) {
            (b"name", value) => name = bulk(value),
            (b"last-delivered-id", value) => read_to = bulk(value),
            (b"pending", Reply::Int(count)) => pending = Some(count),
            (b"lag", Reply::Int(count)) => unread = Some(count),
            _ => {}
        }
    }
    Some(GroupInfo { name: name?, pending: pending?, unread, read_to: read_to? })
}

async fn states(
    operation: Operation,
    manager: &Manager,
    keys: &TopicKeys,
    groups: &[GroupInfo],
) -> Result<Vec<Outcome>> {
    let stream = keys.stream();
    let mut packed = Packed::sized(512).script(&scripts::GROUPS, 1 + groups.len(), 2 * groups.len()).word(&stream);
    packed = groups.iter().fold(packed, |packed, info| packed.word(&keys.group(&info.name).consumers));
    packed = groups.iter().fold(packed, |packed, info| {
        packed.word(&info.name).word(if info.unread.is_some() { b"" } else { &info.read_to })
    });
    let Reply::Array(values) = manager.call(packed.runs_repeatable(operation, &scripts::GROUPS)).await? else {
        return Err(Error::unexpected_reply());
    };
    let mut found = Vec::with_capacity(groups.len() * GROUP_VALUES as usize);
    let mut values = values.into_iter();
    for info in groups {
        let (Some(Reply::Int(counted)), Some(Reply::Int(alive)), Some(Reply::Int(active))) =
            (values.next(), values.next(), values.next())
        else {
            return Err(Error::unexpected_reply());
        };
        if counted < 0 {
            continue;
        }
        let group: [Outcome; GROUP_VALUES as usize] = [
            Outcome::Text(scripts::readable(&info.name)),
            Outcome::Number((info.pending + info.unread.unwrap_or(counted)) as f64),
            Outcome::Number(info.pending as f64),
            Outcome::Number(alive as f64),
            if active < 0 { Outcome::Nothing } else { Outcome::Number(active as f64) },
        ];
        found.extend(group);
    }
    Ok(found)
}

/// Arguments: topic, group. Returns whether the group existed.
pub(in crate::bus) fn remove(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let topic_keys = bus.durable.namespace.topic(topic(call, 0, "topic")?);
        let (group, operation) = (topic(call, 1, "group")?.to_vec(), call.operation());
        Ok(async move {
            let keys = topic_keys.group(&group);
            let keys =
                [&keys.stream, &keys.key_queues, &keys.due, &keys.parked, &keys.notes, &keys.consumers, &keys.dead];
            let packed = keys
                .into_iter()
                .fold(Packed::sized(512).script(&scripts::REMOVE, keys.len(), 4), |packed, key| packed.word(key));
            let packed = packed.word(&group).word(b"").number(0).word(&topic_keys.wake());
            let reply = bus.durable.manager.call(packed.runs(operation, &scripts::REMOVE)).await?;
            match &reply {
                Reply::Array(parts) => match parts[..] {
                    [Reply::Int(2), Reply::Int(alive)] => Err(Error::config(format!(
                        "MessageBus.removeGroup: group: expected a group without consumers, got consumers: {alive}"
                    ))),
                    [Reply::Int(removed)] => Ok(Outcome::Bool(removed == 1)),
                    _ => Err(Error::unexpected_reply()),
                },
                _ => Err(Error::unexpected_reply()),
            }
        })
    });
}
