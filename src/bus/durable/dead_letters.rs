//! Dead letters of a group: listing, redriving, deleting.

use bytes::Bytes;

use super::consumer::as_text;
use super::protocol::attempts_of;
use super::scripts::{self, bulk, entry_id, readable};
use crate::arguments::Arguments;
use crate::bus::Bus;
use crate::connection::{Manager, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::{GroupKeys, TopicKeys};
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// How many entries one script or command handles.
const AT_ONCE: usize = 100;
const MOST: u64 = 10_000;

struct DeadLetters {
    manager: Manager,
    topic: TopicKeys,
    group: Vec<u8>,
    keys: GroupKeys,
    operation: Operation,
}

impl DeadLetters {
    /// Arguments: topic, group.
    fn of(bus: &Bus, call: &Call<'_>) -> Result<Self> {
        let topic = bus.durable.namespace.topic(crate::bus::topic(call, 0, "topic")?);
        let group = crate::bus::topic(call, 1, "group")?.to_vec();
        let keys = topic.group(&group);
        Ok(Self { manager: bus.durable.manager.clone(), keys, topic, group, operation: call.operation() })
    }

    /// Redrives one page: the dead letters with these ids, or without ids the dead letters after `after` up to `upto`.
    async fn redrive(&self, most: u64, after: &[u8], upto: &[u8], ids: &[Vec<u8>]) -> Result<RedrivePage> {
        let wake = self.topic.wake();
        let mut packed = Packed::sized(512)
            .script(&scripts::REDRIVE, 4, 5 + ids.len())
            .word(&self.keys.stream)
            .word(&self.keys.dead)
            .word(&self.topic.appended())
            .word(&self.topic.sizes())
            .word(&self.group)
            .word(&wake)
            .number(most)
            .word(after)
            .word(upto);
        packed = ids.iter().fold(packed, |packed, id| packed.word(id));
        let reply = self.manager.call(packed.runs(self.operation, &scripts::REDRIVE)).await?;
        RedrivePage::of(reply).ok_or_else(Error::unexpected_reply)
    }
}

/// The result of one page.
pub(super) struct RedrivePage {
    put_back: u64,
    /// The dead letter after which the next page starts; empty after the last page.
    next: Bytes,
    upto: Bytes,
    /// Id and size of each entry that is no dead letter.
    foreign: Vec<Outcome>,
}

impl RedrivePage {
    pub(super) fn of(reply: Reply) -> Option<Self> {
        let Reply::Array(parts) = reply else { return None };
        let mut parts = parts.into_iter();
        let put_back = count_of(&parts.next()?).ok()?;
        let (next, upto) = (bulk(parts.next()?)?, bulk(parts.next()?)?);
        let mut foreign = Vec::new();
        while let (Some(id), Some(size)) = (parts.next(), parts.next()) {
            foreign.extend([Outcome::Text(entry_id(id)?), Outcome::Number(scripts::number(&bulk(size)?)? as f64)]);
        }
        Some(Self { put_back, next, upto, foreign })
    }
}

fn count_of(reply: &Reply) -> Result<u64> {
    match reply {
        Reply::Int(count) => u64::try_from(*count).map_err(|_| Error::unexpected_reply()),
        _ => Err(Error::unexpected_reply()),
    }
}

/// An id of a dead letter.
fn id(args: &Arguments<'_>, name: &str, arg: Arg<'_>) -> Result<Vec<u8>> {
    match arg {
        Arg::Text(text)
            if text
                .split_once('-')
                .is_some_and(|(ms, seq)| ms.parse::<u64>().is_ok() && seq.parse::<u64>().is_ok()) =>
        {
            Ok(text.as_bytes().to_vec())
        }
        other => Err(args.wrong(name, "the id of a dead letter", other)),
    }
}

fn ids(args: &Arguments<'_>, from: usize) -> Result<Vec<Vec<u8>>> {
    args.from(from).iter().map(|arg| id(args, "ids", *arg)).collect()
}

/// Arguments: topic, group. Returns the number of dead letters.
pub(in crate::bus) fn count(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let dead_letters = DeadLetters::of(&bus, call)?;
        Ok(async move {
            let packed = Packed::sized(dead_letters.keys.dead.len()).begin(2, b"XLEN").word(&dead_letters.keys.dead);
            let reply = dead_letters.manager.call(packed.reads(dead_letters.operation)).await?;
            Ok(Outcome::Number(count_of(&reply)? as f64))
        })
    });
}

/// Arguments: topic, group, the id to start after or nothing, the most to return. Returns for each: id, id in the stream, attempts,
/// last error, key, message, and whether the entry is no dead letter.
pub(in crate::bus) fn list(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let dead_letters = DeadLetters::of(&bus, call)?;
        let begin = match call.at(2) {
            Arg::Absent => b"-".to_vec(),
            arg => [b"(", &id(call, "after", arg)?[..]].concat(),
        };
        let limit = match call.at(3) {
            Arg::Absent => AT_ONCE as u64,
            arg => call
                .count(3, "limit")
                .ok()
                .filter(|limit| *limit <= MOST)
                .ok_or_else(|| call.wrong("limit", &format!("a whole number from 1 to {MOST}"), arg))?,
        };
        Ok(async move {
            let packed = Packed::sized(dead_letters.keys.dead.len() + begin.len())
                .begin(6, b"XRANGE")
                .word(&dead_letters.keys.dead)
                .word(&begin)
                .word(b"+")
                .word(b"COUNT")
                .number(limit);
            let Reply::Array(found) = dead_letters.manager.call(packed.reads(dead_letters.operation)).await? else {
                return Err(Error::unexpected_reply());
            };
            found
                .into_iter()
                .map(|entry| dead_letter(entry).ok_or_else(Error::unexpected_reply))
                .collect::<Result<_>>()
                .map(Outcome::List)
        })
    });
}

pub(super) fn dead_letter(entry: Reply) -> Option<Outcome> {
    let Reply::Array(entry) = entry else { return None };
    let Ok([id, Reply::Array(fields)]) = <[Reply; 2]>::try_from(entry) else { return None };
    let id = Outcome::Text(entry_id(id)?);
    let fields: Vec<_> = fields.into_iter().filter_map(bulk).collect();
    let (head, own) = fields.split_at(fields.len().min(6));
    let [id_name, stream_id, attempts_name, attempts, error_name, error] = head else { return Some(foreign_entry(id)) };
    if (&id_name[..], &attempts_name[..], &error_name[..]) != (b"id", b"attempts", b"error") {
        return Some(foreign_entry(id));
    }
    let field = |name: &[u8]| own.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    Some(Outcome::List(vec![
        id,
        Outcome::Text(readable(stream_id)),
        Outcome::Number(attempts_of(attempts) as f64),
        Outcome::Text(readable(error)),
        field(b"key").filter(|key| !key.is_empty()).map_or(Outcome::Null, |key| Outcome::Text(as_text(&key))),
        field(b"data").map_or(Outcome::Null, Outcome::Text),
        Outcome::Bool(false),
    ]))
}

/// An entry that is no dead letter.
fn foreign_entry(id: Outcome) -> Outcome {
    let none = || Outcome::Text(Bytes::new());
    Outcome::List(vec![id, none(), Outcome::Number(0.0), none(), Outcome::Null, Outcome::Null, Outcome::Bool(true)])
}

/// Arguments: topic, group, without ids the most to redrive or nothing, ids. Returns how many were redriven, then id and size of
/// each entry that is no dead letter.
pub(in crate::bus) fn redrive(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let dead_letters = DeadLetters::of(&bus, call)?;
        let limit = if call.at(2) == Arg::Absent { None } else { Some(call.count(2, "limit")?) };
        let ids = ids(call, 3)?;
        Ok(async move {
            let (mut done, mut foreign) = (0, Vec::new());
            for some in ids.chunks(AT_ONCE) {
                let page = dead_letters.redrive(0, b"-", b"+", some).await?;
                done += page.put_back;
                foreign.extend(page.foreign);
            }
            if ids.is_empty() {
                // The last dead letter of now ends the redrive, so that messages that fail again meanwhile are not redriven a
                // second time.
                let (mut after, mut upto) = (Bytes::from_static(b"-"), Bytes::from_static(b"+"));
                let mut left = limit.unwrap_or(u64::MAX);
                while left > 0 && !after.is_empty() {
                    let page = dead_letters.redrive(left.min(AT_ONCE as u64), &after, &upto, &[]).await?;
                    done += page.put_back;
                    left -= page.put_back.min(left);
                    foreign.extend(page.foreign);
                    (after, upto) = (page.next, page.upto);
                }
            }
            let counts = std::iter::once(Outcome::Number(done as f64));
            Ok(Outcome::List(counts.chain(foreign).collect()))
        })
    });
}

/// Arguments: topic, group, ids; none: all. Returns how many were deleted.
pub(in crate::bus) fn purge(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let dead_letters = DeadLetters::of(&bus, call)?;
        let ids = ids(call, 2)?;
        if ids.len() > usize::try_from(MOST).unwrap_or(usize::MAX) {
            return Err(Error::config(format!("DeadLetters.purge: ids: expected at most {MOST}, got {}", ids.len())));
        }
        Ok(async move {
            let dead = &dead_letters.keys.dead;
            let packed = Packed::sized(dead.len() + 128 + 32 * ids.len());
            let command = if ids.is_empty() {
                packed.script(&scripts::PURGE, 1, 0).word(dead).runs(dead_letters.operation, &scripts::PURGE)
            } else {
                let packed = packed.begin(2 + ids.len(), b"XDEL").word(dead);
                ids.iter().fold(packed, |packed, id| packed.word(id)).writes(dead_letters.operation)
            };
            Ok(Outcome::Number(count_of(&dead_letters.manager.call(command).await?)? as f64))
        })
    });
}
