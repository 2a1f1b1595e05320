//! Dead letters of a group: listing them, giving them to the group again, deleting them.

use super::consumer::as_text;
use super::scripts::{self, bulk, operation};
use crate::arguments::Arguments;
use crate::bus::{Bus, strange};
use crate::connection::{Manager, Packed};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::{GroupKeys, TopicKeys};
use crate::resp::Reply;

/// What one script or command deals with.
const AT_ONCE: usize = 100;
const MOST: u64 = 10_000;

struct Letters {
    manager: Manager,
    topic: TopicKeys,
    group: Vec<u8>,
    keys: GroupKeys,
}

impl Letters {
    /// Arguments: topic, group.
    fn of(bus: &Bus, args: Arguments<'_>) -> Result<Self> {
        let topic = bus.durable.namespace.topic(crate::bus::topic(args, 0, "topic")?);
        let group = crate::bus::topic(args, 1, "group")?.to_vec();
        Ok(Self { manager: bus.durable.manager.clone(), keys: topic.group(&group), topic, group })
    }

    async fn count(&self) -> Result<u64> {
        let packed = Packed::sized(self.keys.dead.len()).begin(2, b"XLEN").word(&self.keys.dead);
        count_of(&self.manager.call(packed.reads(*operation::DEAD_LETTERS)).await?)
    }

    async fn redrive(&self, most: usize, ids: &[Vec<u8>]) -> Result<u64> {
        let wake = self.topic.wake();
        let mut packed = Packed::sized(512)
            .script(&scripts::REDRIVE, 2, 3 + ids.len())
            .word(&self.keys.stream)
            .word(&self.keys.dead)
            .word(&self.group)
            .word(&wake)
            .number(most as u64);
        packed = ids.iter().fold(packed, |packed, id| packed.word(id));
        count_of(&self.manager.call(packed.runs(*operation::DEAD_LETTERS, &scripts::REDRIVE)).await?)
    }
}

fn count_of(reply: &Reply) -> Result<u64> {
    match reply {
        Reply::Int(count) => u64::try_from(*count).map_err(|_| strange()),
        _ => Err(strange()),
    }
}

/// An id of a dead letter.
fn id(args: Arguments<'_>, name: &str, arg: Arg<'_>) -> Result<Vec<u8>> {
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

fn ids(args: Arguments<'_>, from: usize) -> Result<Vec<Vec<u8>>> {
    args.from(from).iter().map(|arg| id(args, "ids", *arg)).collect()
}

/// Arguments: topic, group, the id after which to begin or nothing, how many at most. Gives of each: id, the id it had in the
/// stream, attempts, last error, key, message.
pub(in crate::bus) fn list(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("DeadLetters.list", args);
    bus.run(answer, |bus| {
        let letters = Letters::of(&bus, args)?;
        let begin = match args.at(2) {
            Arg::Absent => b"-".to_vec(),
            arg => [b"(", &id(args, "after", arg)?[..]].concat(),
        };
        let limit = match args.at(3) {
            Arg::Absent => AT_ONCE as u64,
            arg => args
                .count(3, "limit")
                .ok()
                .filter(|limit| *limit <= MOST)
                .ok_or_else(|| args.wrong("limit", &format!("a whole number from 1 to {MOST}"), arg))?,
        };
        Ok(async move {
            let packed = Packed::sized(letters.keys.dead.len() + begin.len())
                .begin(6, b"XRANGE")
                .word(&letters.keys.dead)
                .word(&begin)
                .word(b"+")
                .word(b"COUNT")
                .number(limit);
            let Reply::Array(found) = letters.manager.call(packed.reads(*operation::DEAD_LETTERS)).await? else {
                return Err(strange());
            };
            found.into_iter().map(|entry| letter(entry).ok_or_else(strange)).collect::<Result<_>>().map(Outcome::List)
        })
    });
}

fn letter(entry: Reply) -> Option<Outcome> {
    let Reply::Array(entry) = entry else { return None };
    let Ok([id, Reply::Array(fields)]) = <[Reply; 2]>::try_from(entry) else { return None };
    let fields: Vec<_> = fields.into_iter().filter_map(bulk).collect();
    let own = fields.get(6..)?;
    let field = |name: &[u8]| own.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    Some(Outcome::List(vec![
        Outcome::Text(bulk(id)?),
        Outcome::Text(fields.get(1)?.clone()),
        Outcome::Number(scripts::number(fields.get(3)?)? as f64),
        Outcome::Text(fields.get(5)?.clone()),
        field(b"key").filter(|key| !key.is_empty()).map_or(Outcome::Null, |key| Outcome::Text(as_text(&key))),
        field(b"data").map_or(Outcome::Null, Outcome::Text),
    ]))
}

/// Arguments: topic, group, the most where no ids follow or nothing, ids. Gives how many were put back.
pub(in crate::bus) fn redrive(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("DeadLetters.redrive", args);
    bus.run(answer, |bus| {
        let letters = Letters::of(&bus, args)?;
        let limit = if args.at(2) == Arg::Absent { None } else { Some(args.count(2, "limit")?) };
        let ids = ids(args, 3)?;
        Ok(async move {
            let mut done = 0;
            for some in ids.chunks(AT_ONCE) {
                done += letters.redrive(0, some).await?;
            }
            if ids.is_empty() {
                // Those that fail again meanwhile are not put back a second time.
                let mut left = letters.count().await?.min(limit.unwrap_or(u64::MAX));
                while left > 0 {
                    let put_back = letters.redrive(usize::try_from(left).unwrap_or(AT_ONCE).min(AT_ONCE), &[]).await?;
                    if put_back == 0 {
                        break;
                    }
                    done += put_back;
                    left = left.saturating_sub(put_back);
                }
            }
            Ok(Outcome::Number(done as f64))
        })
    });
}

/// Arguments: topic, group, ids; none: all. Gives how many were deleted.
pub(in crate::bus) fn purge(bus: &Bus, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("DeadLetters.purge", args);
    bus.run(answer, |bus| {
        let letters = Letters::of(&bus, args)?;
        let ids = ids(args, 2)?;
        if ids.len() > usize::try_from(MOST).unwrap_or(usize::MAX) {
            return Err(Error::config(format!("DeadLetters.purge: ids: expected at most {MOST}, got {}", ids.len())));
        }
        Ok(async move {
            let dead = &letters.keys.dead;
            let packed = Packed::sized(dead.len() + 32 * ids.len());
            let packed = if ids.is_empty() {
                packed.begin(4, b"XTRIM").word(dead).word(b"MAXLEN").word(b"0")
            } else {
                let packed = packed.begin(2 + ids.len(), b"XDEL").word(dead);
                ids.iter().fold(packed, |packed, id| packed.word(id))
            };
            let purged = count_of(&letters.manager.call(packed.writes(*operation::DEAD_LETTERS)).await?)?;
            Ok(Outcome::Number(purged as f64))
        })
    });
}
