//! Values by key. Each verb is one command, one transaction or one script, packed and submitted at once.
//!
//! A write that may leave its key absent before a load of it notices ends the load in the same step: it is a transaction
//! whose first command takes the load's mark away. A deletion on one server needs no transaction: its two commands go one after
//! the other, and a load that begins in between began after the deletion was asked for.

use bytes::Bytes;

use super::scripts::{self, operation};
use super::{Kv, decode, load};
use crate::arguments::Arguments;
use crate::connection::{Command, Decode, Packed, Script, Sink};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Delivery, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// How the reply to a write is read: sent alone, as the last command of a transaction, and as the second of two commands.
#[derive(Clone, Copy)]
struct Read {
    alone: Decode,
    last: Decode,
    second: Decode,
}

macro_rules! read {
    ($decode:ident) => {
        Read {
            alone: decode::$decode,
            last: |reply, metrics| decode::$decode(decode::last(reply)?, metrics),
            second: |reply, metrics| decode::$decode(decode::second(reply)?, metrics),
        }
    };
}

pub(super) fn get(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.get", args);
    kv.send(answer, decode::json, || get_command(kv, args, *operation::GET));
}

pub(super) fn cache_get(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.cacheGet", args);
    kv.send(answer, decode::cached, || get_command(kv, args, *operation::CACHE_GET));
}

pub(super) fn get_buffer(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getBuffer", args);
    kv.send(answer, decode::buffer, || get_command(kv, args, *operation::GET_BUFFER));
}

fn get_command(kv: &Kv, args: Arguments<'_>, operation: Operation) -> Result<Command> {
    Ok(one_key(kv, b"GET", args.key(0)?).reads(operation))
}

/// Arguments: key, JSON, ttlSec.
pub(super) fn set(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.set", args);
    put(kv, answer, read!(nothing), || {
        Ok(Put {
            key: args.key(0)?,
            value: args.text(1, "value")?,
            ttl: args.ttl(2)?,
            flag: b"",
            operation: *operation::SET,
        })
    });
}

pub(super) fn cache_set(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.cacheSet", args);
    put(kv, answer, read!(nothing), || {
        let (key, value, ttl) = (args.key(0)?, args.text(1, "value")?, args.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"", operation: *operation::CACHE_SET })
    });
}

pub(super) fn set_if_absent(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.setIfAbsent", args);
    put(kv, answer, read!(was_set), || {
        let (key, value, ttl) = (args.key(0)?, args.text(1, "value")?, args.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"NX", operation: *operation::SET_IF_ABSENT })
    });
}

pub(super) fn set_buffer(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.setBuffer", args);
    put(kv, answer, read!(nothing), || {
        let (key, value, ttl) = (args.key(0)?, args.bytes(1, "value")?, args.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"", operation: *operation::SET_BUFFER })
    });
}

pub(super) fn get_set(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getSet", args);
    put(kv, answer, read!(json), || {
        let (key, value, ttl) = (args.key(0)?, args.text(1, "value")?, args.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"GET", operation: *operation::GET_SET })
    });
}

/// `SET key value [PX ttl] [flag]`.
struct Put<'a> {
    key: &'a [u8],
    value: &'a [u8],
    ttl: Option<u64>,
    flag: &'static [u8],
    operation: Operation,
}

impl Put<'_> {
    fn pack(&self, kv: &Kv, packed: Packed) -> Packed {
        let words = 3 + if self.ttl.is_some() { 2 } else { 0 } + usize::from(!self.flag.is_empty());
        let mut packed = packed.begin(words, b"SET").key(&kv.namespace, self.key).word(self.value);
        if let Some(ttl) = self.ttl {
            packed = packed.word(b"PX").number(ttl);
        }
        if !self.flag.is_empty() {
            packed = packed.word(self.flag);
        }
        packed
    }
}

fn put<'a>(kv: &Kv, answer: Answer, read: Read, put: impl FnOnce() -> Result<Put<'a>>) {
    match put() {
        Ok(put) => {
            let mark = if load::is_brief(put.ttl) { kv.mark_of(put.key) } else { None };
            let room = sized(kv, put.key, put.value.len());
            kv.write(answer, read, mark, room, put.operation, |packed| put.pack(kv, packed));
        }
        Err(error) => answer.give(Err(error)),
    }
}

impl Kv {
    /// Sends the command that `pack` packs; with it `mark`, if there is one, is taken away.
    fn write(
        &self,
        answer: Answer,
        read: Read,
        mark: Option<Bytes>,
        room: Packed,
        operation: Operation,
        pack: impl FnOnce(Packed) -> Packed,
    ) {
        let (packed, decode) = match mark {
            None => (pack(room), read.alone),
            Some(mark) => {
                let packed = room.begin(1, b"MULTI").begin(2, b"DEL").word(&mark);
                (pack(packed).begin(1, b"EXEC"), read.last)
            }
        };
        self.manager.submit(packed.writes(operation), Sink::Answer(answer, decode));
    }
}

impl Kv {
    /// Sends the deletion of `key` that `pack` packs; before it the mark of a load of it, if there may be one, is taken away. In a
    /// cluster that is one transaction: while a slot moves, two commands may be executed by two nodes.
    fn remove(
        &self,
        answer: Answer,
        read: Read,
        key: &[u8],
        operation: Operation,
        pack: impl FnOnce(Packed) -> Packed,
    ) {
        let (mark, room) = (self.mark_of(key), sized(self, key, 128));
        match mark {
            Some(mark) if !self.is_on_cluster() => {
                let packed = pack(room.begin(2, b"DEL").word(&mark));
                self.manager.submit(packed.writes(operation), Sink::Answer(answer, read.second));
            }
            mark => self.write(answer, read, mark, room, operation, pack),
        }
    }
}

/// Arguments: event id, ttlSec.
pub(super) fn deduplicate_event(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("deduplicateEvent", args);
    kv.send(answer, decode::was_set, || {
        // An id is not a key by itself: it may begin with anything.
        let id = match args.at(0) {
            Arg::Text(id) if !id.is_empty() && id.len() <= crate::arguments::MAX_KEY => id.as_bytes(),
            other => return Err(args.wrong("eventId", "a string of 1 to 1048576 bytes", other)),
        };
        let ttl = args.required_ttl(1)?;
        let key = kv.namespace.seen(id);
        let packed =
            Packed::sized(key.len()).begin(6, b"SET").word(&key).word(b"1").word(b"PX").number(ttl).word(b"NX");
        Ok(packed.writes(*operation::DEDUPLICATE_EVENT))
    });
}

pub(super) fn del(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.del", args);
    let keys = match args.from(0).iter().map(|key| args.as_key("key", *key)).collect::<Result<Vec<_>>>() {
        Ok(keys) => keys,
        Err(error) => return answer.give(Err(error)),
    };
    match keys[..] {
        [] => answer.give(Ok(Outcome::Number(0.0))),
        [key] => kv.remove(answer, read!(number), key, *operation::DEL, |packed| {
            packed.begin(2, b"DEL").key(&kv.namespace, key)
        }),
        _ if kv.is_on_cluster() => {
            // The keys of a transaction are of one slot.
            let each = keys.iter().map(|key| ending_load(kv, key, sized(kv, key, 128).begin(1, b"MULTI")));
            let commands =
                each.zip(&keys).map(|(packed, key)| packed.begin(2, b"DEL").key(&kv.namespace, key).begin(1, b"EXEC"));
            send_each(kv, answer, *operation::DEL, commands, |replies| {
                let counts = replies.into_iter().map(|reply| match decode::last(reply)? {
                    Reply::Int(count) => Ok(count as f64),
                    _ => Err(decode::strange()),
                });
                counts.sum::<Result<f64>>().map(Outcome::Number)
            });
        }
        _ => {
            let room = 2 * keys.iter().map(|key| kv.namespace.prefix().len() + key.len() + 48).sum::<usize>();
            let packed = Packed::sized(room).begin(1 + keys.len(), b"DEL");
            let packed = keys.iter().fold(packed, |packed, key| packed.word(&kv.namespace.loader(key)));
            let packed = packed.begin(1 + keys.len(), b"DEL");
            let packed = keys.iter().fold(packed, |packed, key| packed.key(&kv.namespace, key));
            kv.manager.submit(packed.writes(*operation::DEL), Sink::Answer(answer, read!(number).second));
        }
    }
}

/// Adds what ends the load of `key`.
fn ending_load(kv: &Kv, key: &[u8], packed: Packed) -> Packed {
    match kv.mark_of(key) {
        Some(mark) => packed.begin(2, b"DEL").word(&mark),
        None => packed,
    }
}

/// Sends all of `commands` at once; `read` makes one outcome of their replies. What fails may leave the others done.
fn send_each(
    kv: &Kv,
    answer: Answer,
    operation: Operation,
    commands: impl Iterator<Item = Packed>,
    read: fn(Vec<Reply>) -> Result<Outcome>,
) {
    let waiting: Vec<_> = commands.map(|packed| kv.manager.call(packed.writes(operation))).collect();
    kv.run(answer, |_| {
        Ok(async move {
            let mut replies = Vec::with_capacity(waiting.len());
            let mut failed = None;
            for reply in waiting {
                match reply.await {
                    Ok(reply) => replies.push(reply),
                    Err(error) => failed = Some(error.with_delivery(Delivery::MaybeExecuted)),
                }
            }
            failed.map_or_else(|| read(replies), Err)
        })
    });
}

pub(super) fn has(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.has", args);
    kv.send(answer, decode::flag, || Ok(one_key(kv, b"EXISTS", args.key(0)?).reads(*operation::HAS)));
}

pub(super) fn mget(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.mget", args);
    if args.from(0).is_empty() {
        return answer.give(Ok(Outcome::List(Vec::new())));
    }
    kv.send(answer, decode::json_list, || Ok(many_keys(kv, b"MGET", args)?.reads(*operation::MGET)));
}

/// Arguments: ttlSec, then key and JSON by turns.
pub(super) fn mset(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.mset", args);
    let entries = args.from(1);
    if entries.is_empty() {
        // Nothing to set, but a bad expiry is still one.
        return answer.give(args.ttl(0).map(|_| Outcome::Nothing));
    }
    let pairs = || {
        entries.chunks(2).map(|pair| -> Result<_> {
            let key = args.as_key("key", pair[0])?;
            match pair.get(1) {
                Some(Arg::Text(value)) => Ok((key, value.as_bytes())),
                other => Err(args.wrong("value", "a string", other.copied().unwrap_or(Arg::Absent))),
            }
        })
    };
    let mut size = 0;
    for pair in pairs() {
        match pair {
            Ok((key, value)) => size += kv.namespace.prefix().len() + key.len() + value.len() + 64,
            Err(error) => return answer.give(Err(error)),
        }
    }
    match args.ttl(0) {
        Err(error) => answer.give(Err(error)),
        Ok(None) => kv.send(answer, decode::nothing, || {
            pairs()
                .try_fold(Packed::sized(size).begin(1 + entries.len(), b"MSET"), |packed, pair| {
                    let (key, value) = pair?;
                    Ok(packed.key(&kv.namespace, key).word(value))
                })
                .map(|packed| packed.writes(*operation::MSET))
        }),
        Ok(Some(ttl)) => {
            let brief = load::is_brief(Some(ttl));
            let set = |packed: Packed, key, value| {
                let packed = if brief { ending_load(kv, key, packed) } else { packed };
                packed.begin(5, b"SET").key(&kv.namespace, key).word(value).word(b"PX").number(ttl)
            };
            let sets = |packed: Packed| {
                pairs().try_fold(packed, |packed, pair| -> Result<_> {
                    let (key, value) = pair?;
                    Ok(set(packed, key, value))
                })
            };
            // The keys of a transaction are of one slot of a cluster, those of an `mset` are not.
            if kv.is_on_cluster() && brief {
                let each = pairs().flatten().map(|(key, value)| {
                    set(sized(kv, key, value.len() + 192).begin(1, b"MULTI"), key, value).begin(1, b"EXEC")
                });
                return send_each(kv, answer, *operation::MSET, each, |replies| {
                    replies.into_iter().try_for_each(|reply| decode::last(reply).map(drop)).map(|()| Outcome::Nothing)
                });
            }
            if kv.is_on_cluster() {
                return kv.send(answer, decode::statuses, || Ok(sets(Packed::sized(size))?.writes(*operation::MSET)));
            }
            kv.send(answer, decode::transaction, || {
                let packed = sets(Packed::sized(size).begin(1, b"MULTI"))?;
                Ok(packed.begin(1, b"EXEC").writes(*operation::MSET))
            });
        }
    }
}

/// Arguments: key, by, ttlSec.
pub(super) fn incr(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.incr", args);
    kv.send(answer, decode::counter, || {
        let (key, by) = (args.key(0)?, args.step(1, "by", 1)?);
        Ok(match args.ttl(2)? {
            None => sized(kv, key, 0).begin(3, b"INCRBY").key(&kv.namespace, key).signed(by).writes(*operation::INCR),
            Some(ttl) => brief_script(kv, &scripts::INCR, key, 64, Some(ttl), 2)
                .signed(by)
                .number(ttl)
                .runs(*operation::INCR, &scripts::INCR),
        })
    });
}

/// Arguments: key, by.
pub(super) fn decr(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.decr", args);
    kv.send(answer, decode::counter, || {
        let (key, by) = (args.key(0)?, args.step(1, "by", 1)?);
        Ok(sized(kv, key, 0).begin(3, b"INCRBY").key(&kv.namespace, key).signed(-by).writes(*operation::INCR))
    });
}

pub(super) fn get_del(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getDel", args);
    match args.key(0) {
        Ok(key) => kv.remove(answer, read!(json), key, *operation::GET_DEL, |packed| {
            packed.begin(2, b"GETDEL").key(&kv.namespace, key)
        }),
        Err(error) => answer.give(Err(error)),
    }
}

pub(super) fn ttl(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.ttl", args);
    kv.send(answer, decode::ttl, || Ok(one_key(kv, b"PTTL", args.key(0)?).reads(*operation::TTL)));
}

/// Arguments: key, ttlSec.
pub(super) fn expire(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.expire", args);
    match args.key(0).and_then(|key| Ok((key, args.required_ttl(1)?))) {
        Ok((key, ttl)) => {
            let mark = if load::is_brief(Some(ttl)) { kv.mark_of(key) } else { None };
            kv.write(answer, read!(flag), mark, sized(kv, key, 32), *operation::EXPIRE, |packed| {
                packed.begin(3, b"PEXPIRE").key(&kv.namespace, key).number(ttl)
            });
        }
        Err(error) => answer.give(Err(error)),
    }
}

pub(super) fn persist(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.persist", args);
    kv.send(answer, decode::flag, || Ok(one_key(kv, b"PERSIST", args.key(0)?).writes(*operation::PERSIST)));
}

/// Arguments: key, JSON, limit, ttlSec.
pub(super) fn lpush_recent(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.lpushRecent", args);
    kv.send(answer, decode::number, || {
        let (key, value) = (args.key(0)?, args.text(1, "value")?);
        let (limit, ttl) = (args.count(2, "limit")?, args.ttl(3)?);
        let packed = brief_script(kv, &scripts::LPUSH_RECENT, key, value.len() + 96, ttl, 3).word(value).number(limit);
        let packed = match ttl {
            Some(ttl) => packed.number(ttl),
            None => packed.word(b""),
        };
        Ok(packed.runs(*operation::LPUSH_RECENT, &scripts::LPUSH_RECENT))
    });
}

/// A call of `script`, which has the mark of a load as its second key where it may leave the first absent soon.
fn brief_script(kv: &Kv, script: &Script, key: &[u8], more: usize, ttl: Option<u64>, args: usize) -> Packed {
    let mark = if load::is_brief(ttl) { kv.mark_of(key) } else { None };
    sized(kv, key, more + mark.as_ref().map_or(0, Bytes::len))
        .script(script, 1 + usize::from(mark.is_some()), args)
        .key(&kv.namespace, key)
        .words(mark.as_deref())
}

/// Arguments: key, limit.
pub(super) fn get_recent(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getRecent", args);
    kv.send(answer, decode::json_list, || {
        let (key, limit) = (args.key(0)?, args.count(1, "limit")?);
        let packed = sized(kv, key, 0).begin(4, b"LRANGE").key(&kv.namespace, key).number(0).number(limit - 1);
        Ok(packed.reads(*operation::GET_RECENT))
    });
}

fn sized(kv: &Kv, key: &[u8], more: usize) -> Packed {
    Packed::sized(kv.namespace.prefix().len() + key.len() + more)
}

fn one_key(kv: &Kv, name: &[u8], key: &[u8]) -> Packed {
    sized(kv, key, 0).begin(2, name).key(&kv.namespace, key)
}

fn many_keys(kv: &Kv, name: &[u8], args: Arguments<'_>) -> Result<Packed> {
    let keys = args.from(0);
    let room = keys.len() * (kv.namespace.prefix().len() + 48);
    keys.iter().try_fold(Packed::sized(room).begin(1 + keys.len(), name), |packed, key| {
        Ok(packed.key(&kv.namespace, args.as_key("key", *key)?))
    })
}
