//! Values by key. Each verb is one command, one transaction or one script, which is packed and submitted at once.
//!
//! A load of a key notices most writes by itself. A write that may leave the key absent too soon for that is a transaction, whose
//! first command deletes the load's mark and so ends the load. A deletion on one server needs no transaction: its two commands
//! follow each other directly, and a load that starts between them started after the deletion was requested.

use bytes::Bytes;

use super::{Kv, decode, load, scripts};
use crate::connection::{Command, Decode, Packed, Script, Sink};
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, Result};
use crate::resp::Reply;
use crate::verb::Call;

/// How the reply to a write is read if the write was sent alone, as the last command of a transaction, or as the second of two
/// commands.
#[derive(Clone, Copy)]
struct Decoders {
    alone: Decode,
    last: Decode,
    second: Decode,
}

macro_rules! decoders {
    ($decode:ident) => {
        Decoders {
            alone: decode::$decode,
            last: |reply, metrics| decode::$decode(decode::last(reply)?, metrics),
            second: |reply, metrics| decode::$decode(decode::second(reply)?, metrics),
        }
    };
}

pub(super) fn get(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::json, |call| get_command(kv, call));
}

pub(super) fn cache_get(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::cached, |call| get_command(kv, call));
}

pub(super) fn get_buffer(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::buffer, |call| get_command(kv, call));
}

fn get_command(kv: &Kv, call: &Call<'_>) -> Result<Command> {
    Ok(one_key(kv, b"GET", call.key(0)?).reads(call.operation()))
}

/// Arguments: key, JSON, ttlSec.
pub(super) fn set(kv: &Kv, call: Call<'_>) {
    put(kv, call, decoders!(nothing), |call| {
        let (key, value, ttl) = (call.key(0)?, call.text(1, "value")?, call.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"" })
    });
}

pub(super) fn cache_set(kv: &Kv, call: Call<'_>) {
    put(kv, call, decoders!(nothing), |call| {
        let (key, value, ttl) = (call.key(0)?, call.text(1, "value")?, call.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"" })
    });
}

pub(super) fn set_if_absent(kv: &Kv, call: Call<'_>) {
    put(kv, call, decoders!(was_set), |call| {
        let (key, value, ttl) = (call.key(0)?, call.text(1, "value")?, call.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"NX" })
    });
}

pub(super) fn set_buffer(kv: &Kv, call: Call<'_>) {
    put(kv, call, decoders!(nothing), |call| {
        let (key, value, ttl) = (call.key(0)?, call.bytes(1, "value")?, call.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"" })
    });
}

pub(super) fn get_set(kv: &Kv, call: Call<'_>) {
    put(kv, call, decoders!(json), |call| {
        let (key, value, ttl) = (call.key(0)?, call.text(1, "value")?, call.ttl(2)?);
        Ok(Put { key, value, ttl, flag: b"GET" })
    });
}

/// `SET key value [PX ttl] [flag]`.
struct Put<'a> {
    key: &'a [u8],
    value: &'a [u8],
    ttl: Option<u64>,
    flag: &'static [u8],
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

fn put<'a>(kv: &Kv, call: Call<'a>, decoders: Decoders, put: impl FnOnce(&Call<'a>) -> Result<Put<'a>>) {
    match put(&call) {
        Ok(put) => {
            let mark = if load::is_brief(put.ttl) { kv.mark_of(put.key) } else { None };
            let room = sized(kv, put.key, put.value.len());
            kv.write(call, decoders, mark, room, |packed| put.pack(kv, packed));
        }
        Err(error) => call.give(Err(error)),
    }
}

impl Kv {
    /// Sends the command that `pack` packs. If there is a `mark`, the same transaction deletes it.
    fn write(
        &self,
        call: Call<'_>,
        decoders: Decoders,
        mark: Option<Bytes>,
        room: Packed,
        pack: impl FnOnce(Packed) -> Packed,
    ) {
        let (packed, decode) = match mark {
            None => (pack(room), decoders.alone),
            Some(mark) => {
                let packed = room.begin(1, b"MULTI").begin(2, b"DEL").word(&mark);
                (pack(packed).begin(1, b"EXEC"), decoders.last)
            }
        };
        self.manager.submit(packed.writes(call.operation()), Sink::Answer(call.answer, decode));
    }
}

impl Kv {
    /// Sends the deletion of `key` that `pack` packs. The mark of a load of the key is deleted first. In a cluster this is one
    /// transaction: while a slot moves, two commands may run on two nodes.
    fn remove(&self, call: Call<'_>, decoders: Decoders, key: &[u8], pack: impl FnOnce(Packed) -> Packed) {
        let (mark, room) = (self.mark_of(key), sized(self, key, 128));
        match mark {
            Some(mark) if !self.is_on_cluster() => {
                let packed = pack(room.begin(2, b"DEL").word(&mark));
                self.manager.submit(packed.writes(call.operation()), Sink::Answer(call.answer, decoders.second));
            }
            mark => self.write(call, decoders, mark, room, pack),
        }
    }
}

/// Arguments: event id, ttlSec.
pub(super) fn deduplicate_event(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::was_set, |call| {
        // An id is only part of a key, so unlike a key it may start with any character.
        let id = match call.at(0) {
            Arg::Text(id) if !id.is_empty() && id.len() <= crate::arguments::MAX_KEY => id.as_bytes(),
            other => return Err(call.wrong("eventId", "a string of 1 to 1048576 bytes", other)),
        };
        let ttl = call.required_ttl(1)?;
        let key = kv.namespace.seen(id);
        let packed =
            Packed::sized(key.len()).begin(6, b"SET").word(&key).word(b"1").word(b"PX").number(ttl).word(b"NX");
        Ok(packed.writes(call.operation()))
    });
}

pub(super) fn del(kv: &Kv, call: Call<'_>) {
    let keys = match call.from(0).iter().map(|key| call.as_key("key", *key)).collect::<Result<Vec<_>>>() {
        Ok(keys) => keys,
        Err(error) => return call.give(Err(error)),
    };
    match keys[..] {
        [] => call.give(Ok(Outcome::Number(0.0))),
        [key] => kv.remove(call, decoders!(number), key, |packed| packed.begin(2, b"DEL").key(&kv.namespace, key)),
        _ if kv.is_on_cluster() => {
            // All keys of a transaction must be in one slot.
            let each = keys.iter().map(|key| ending_load(kv, key, sized(kv, key, 128).begin(1, b"MULTI")));
            let commands =
                each.zip(&keys).map(|(packed, key)| packed.begin(2, b"DEL").key(&kv.namespace, key).begin(1, b"EXEC"));
            send_each(kv, call, commands, |replies| {
                let counts = replies.into_iter().map(|reply| match decode::last(reply)? {
                    Reply::Int(count) => Ok(count as f64),
                    _ => Err(Error::unexpected_reply()),
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
            kv.manager.submit(packed.writes(call.operation()), Sink::Answer(call.answer, decoders!(number).second));
        }
    }
}

/// Adds the command that ends a load of `key`.
fn ending_load(kv: &Kv, key: &[u8], packed: Packed) -> Packed {
    match kv.mark_of(key) {
        Some(mark) => packed.begin(2, b"DEL").word(&mark),
        None => packed,
    }
}

/// Sends all `commands` at once. `read` makes one outcome of their replies. If one fails, the others may have been executed.
fn send_each(kv: &Kv, call: Call<'_>, commands: impl Iterator<Item = Packed>, read: fn(Vec<Reply>) -> Result<Outcome>) {
    let waiting: Vec<_> = commands.map(|packed| kv.manager.call(packed.writes(call.operation()))).collect();
    call.run(|_| {
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

pub(super) fn has(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::flag, |call| Ok(one_key(kv, b"EXISTS", call.key(0)?).reads(call.operation())));
}

pub(super) fn mget(kv: &Kv, call: Call<'_>) {
    if call.from(0).is_empty() {
        return call.give(Ok(Outcome::List(Vec::new())));
    }
    call.send(&kv.manager, decode::json_list, |call| Ok(many_keys(kv, b"MGET", call)?.reads(call.operation())));
}

/// Arguments: ttlSec, then key and JSON by turns.
pub(super) fn mset(kv: &Kv, call: Call<'_>) {
    let args = call.args;
    let entries = args.from(1);
    if entries.is_empty() {
        // There is nothing to set, but a wrong expiry is refused nevertheless.
        return call.give(args.ttl(0).map(|_| Outcome::Nothing));
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
            Err(error) => return call.give(Err(error)),
        }
    }
    match args.ttl(0) {
        Err(error) => call.give(Err(error)),
        Ok(None) => call.send(&kv.manager, decode::nothing, |call| {
            pairs()
                .try_fold(Packed::sized(size).begin(1 + entries.len(), b"MSET"), |packed, pair| {
                    let (key, value) = pair?;
                    Ok(packed.key(&kv.namespace, key).word(value))
                })
                .map(|packed| packed.writes(call.operation()))
        }),
        Ok(Some(ttl)) => mset_for(kv, call, ttl, size, pairs),
    }
}

/// Sets `pairs`, which take `size` bytes, for `ttl` milliseconds.
fn mset_for<'a, Pairs: Iterator<Item = Result<(&'a [u8], &'a [u8])>>>(
    kv: &Kv,
    call: Call<'_>,
    ttl: u64,
    size: usize,
    pairs: impl Fn() -> Pairs,
) {
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
    // In a cluster all keys of a transaction must be in one slot, and the keys of an `mset` may be in many.
    if kv.is_on_cluster() && brief {
        let each = pairs().flatten().map(|(key, value)| {
            set(sized(kv, key, value.len() + 192).begin(1, b"MULTI"), key, value).begin(1, b"EXEC")
        });
        return send_each(kv, call, each, |replies| {
            replies.into_iter().try_for_each(|reply| decode::last(reply).map(drop)).map(|()| Outcome::Nothing)
        });
    }
    if kv.is_on_cluster() {
        return call.send(
            &kv.manager,
            decode::statuses,
            |call| Ok(sets(Packed::sized(size))?.writes(call.operation())),
        );
    }
    call.send(&kv.manager, decode::transaction, |call| {
        let packed = sets(Packed::sized(size).begin(1, b"MULTI"))?;
        Ok(packed.begin(1, b"EXEC").writes(call.operation()))
    });
}

/// Arguments: key, by, ttlSec.
pub(super) fn incr(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::counter, |call| {
        let (key, by) = (call.key(0)?, call.step(1, "by", 1)?);
        Ok(match call.ttl(2)? {
            None => sized(kv, key, 0).begin(3, b"INCRBY").key(&kv.namespace, key).signed(by).writes(call.operation()),
            Some(ttl) => brief_script(kv, &scripts::INCR, key, 64, Some(ttl), 2)
                .signed(by)
                .number(ttl)
                .runs(call.operation(), &scripts::INCR),
        })
    });
}

/// Arguments: key, by.
pub(super) fn decr(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::counter, |call| {
        let (key, by) = (call.key(0)?, call.step(1, "by", 1)?);
        Ok(sized(kv, key, 0).begin(3, b"INCRBY").key(&kv.namespace, key).signed(-by).writes(call.operation()))
    });
}

pub(super) fn get_del(kv: &Kv, call: Call<'_>) {
    match call.key(0) {
        Ok(key) => kv.remove(call, decoders!(json), key, |packed| packed.begin(2, b"GETDEL").key(&kv.namespace, key)),
        Err(error) => call.give(Err(error)),
    }
}

pub(super) fn ttl(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::ttl, |call| Ok(one_key(kv, b"PTTL", call.key(0)?).reads(call.operation())));
}

/// Arguments: key, ttlSec.
pub(super) fn expire(kv: &Kv, call: Call<'_>) {
    match call.key(0).and_then(|key| Ok((key, call.required_ttl(1)?))) {
        Ok((key, ttl)) => {
            let mark = if load::is_brief(Some(ttl)) { kv.mark_of(key) } else { None };
            kv.write(call, decoders!(flag), mark, sized(kv, key, 32), |packed| {
                packed.begin(3, b"PEXPIRE").key(&kv.namespace, key).number(ttl)
            });
        }
        Err(error) => call.give(Err(error)),
    }
}

pub(super) fn persist(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::flag, |call| Ok(one_key(kv, b"PERSIST", call.key(0)?).writes(call.operation())));
}

/// Arguments: key, JSON, limit, ttlSec.
pub(super) fn lpush_recent(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::number, |call| {
        let (key, value) = (call.key(0)?, call.text(1, "value")?);
        let (limit, ttl) = (call.count(2, "limit")?, call.ttl(3)?);
        let packed = brief_script(kv, &scripts::LPUSH_RECENT, key, value.len() + 96, ttl, 3).word(value).number(limit);
        let packed = match ttl {
            Some(ttl) => packed.number(ttl),
            None => packed.word(b""),
        };
        Ok(packed.runs(call.operation(), &scripts::LPUSH_RECENT))
    });
}

/// A call of `script`. If the expiry is brief, the second key is the mark of a load of the first key.
fn brief_script(kv: &Kv, script: &Script, key: &[u8], more: usize, ttl: Option<u64>, args: usize) -> Packed {
    let mark = if load::is_brief(ttl) { kv.mark_of(key) } else { None };
    sized(kv, key, more + mark.as_ref().map_or(0, Bytes::len))
        .script(script, 1 + usize::from(mark.is_some()), args)
        .key(&kv.namespace, key)
        .words(mark.as_deref())
}

/// Arguments: key, limit.
pub(super) fn get_recent(kv: &Kv, call: Call<'_>) {
    call.send(&kv.manager, decode::json_list, |call| {
        let (key, limit) = (call.key(0)?, call.count(1, "limit")?);
        let packed = sized(kv, key, 0).begin(4, b"LRANGE").key(&kv.namespace, key).number(0).number(limit - 1);
        Ok(packed.reads(call.operation()))
    });
}

fn sized(kv: &Kv, key: &[u8], more: usize) -> Packed {
    Packed::sized(kv.namespace.prefix().len() + key.len() + more)
}

fn one_key(kv: &Kv, name: &[u8], key: &[u8]) -> Packed {
    sized(kv, key, 0).begin(2, name).key(&kv.namespace, key)
}

fn many_keys(kv: &Kv, name: &[u8], call: &Call<'_>) -> Result<Packed> {
    let keys = call.from(0);
    let room = keys.len() * (kv.namespace.prefix().len() + 48);
    keys.iter().try_fold(Packed::sized(room).begin(1 + keys.len(), name), |packed, key| {
        Ok(packed.key(&kv.namespace, call.as_key("key", *key)?))
    })
}
