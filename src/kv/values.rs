//! Values by key. Each verb is one command, or one script, packed and submitted at once.

use super::scripts::{self, operation};
use super::{Kv, decode};
use crate::arguments::Arguments;
use crate::connection::Packed;
use crate::connection::{Command, Target};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::Result;
use crate::telemetry::Operation;

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
    kv.send(answer, decode::nothing, || {
        Ok(set_command(kv, args.key(0)?, args.text(1, "value")?, args.ttl(2)?, &[], *operation::SET))
    });
}

pub(super) fn cache_set(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.cacheSet", args);
    kv.send(answer, decode::nothing, || {
        Ok(set_command(kv, args.key(0)?, args.text(1, "value")?, args.ttl(2)?, &[], *operation::CACHE_SET))
    });
}

pub(super) fn set_if_absent(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.setIfAbsent", args);
    kv.send(answer, decode::was_set, || {
        Ok(set_command(kv, args.key(0)?, args.text(1, "value")?, args.ttl(2)?, b"NX", *operation::SET_IF_ABSENT))
    });
}

pub(super) fn set_buffer(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.setBuffer", args);
    kv.send(answer, decode::nothing, || {
        Ok(set_command(kv, args.key(0)?, args.bytes(1, "value")?, args.ttl(2)?, &[], *operation::SET_BUFFER))
    });
}

pub(super) fn get_set(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.getSet", args);
    kv.send(answer, decode::json, || {
        Ok(set_command(kv, args.key(0)?, args.text(1, "value")?, args.ttl(2)?, b"GET", *operation::GET_SET))
    });
}

/// `SET key value [PX ttl] [flag]`.
fn set_command(kv: &Kv, key: &[u8], value: &[u8], ttl: Option<u64>, flag: &[u8], operation: Operation) -> Command {
    let words = 3 + if ttl.is_some() { 2 } else { 0 } + usize::from(!flag.is_empty());
    let mut packed = sized(kv, key, value.len()).begin(words, b"SET").key(&kv.namespace, key).word(value);
    if let Some(ttl) = ttl {
        packed = packed.word(b"PX").number(ttl);
    }
    if !flag.is_empty() {
        packed = packed.word(flag);
    }
    packed.writes(operation)
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
    if args.from(0).is_empty() {
        return answer.give(Ok(Outcome::Number(0.0)));
    }
    kv.send(answer, decode::number, || Ok(many_keys(kv, b"DEL", args)?.writes(*operation::DEL)));
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
            let sets = |packed: Packed| {
                pairs().try_fold(packed, |packed, pair| -> Result<_> {
                    let (key, value) = pair?;
                    Ok(packed.begin(5, b"SET").key(&kv.namespace, key).word(value).word(b"PX").number(ttl))
                })
            };
            // The keys of a transaction are of one slot of a cluster, those of an `mset` are not.
            if matches!(kv.manager.config().target, Target::Cluster(_)) {
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
            Some(ttl) => sized(kv, key, 64)
                .script(&scripts::INCR, 1, 2)
                .key(&kv.namespace, key)
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
    kv.send(answer, decode::json, || Ok(one_key(kv, b"GETDEL", args.key(0)?).writes(*operation::GET_DEL)));
}

pub(super) fn ttl(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.ttl", args);
    kv.send(answer, decode::ttl, || Ok(one_key(kv, b"PTTL", args.key(0)?).reads(*operation::TTL)));
}

/// Arguments: key, ttlSec.
pub(super) fn expire(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.expire", args);
    kv.send(answer, decode::flag, || {
        let (key, ttl) = (args.key(0)?, args.required_ttl(1)?);
        Ok(sized(kv, key, 0).begin(3, b"PEXPIRE").key(&kv.namespace, key).number(ttl).writes(*operation::EXPIRE))
    });
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
        let packed = sized(kv, key, value.len() + 96)
            .script(&scripts::LPUSH_RECENT, 1, 3)
            .key(&kv.namespace, key)
            .word(value)
            .number(limit);
        let packed = match ttl {
            Some(ttl) => packed.number(ttl),
            None => packed.word(b""),
        };
        Ok(packed.runs(*operation::LPUSH_RECENT, &scripts::LPUSH_RECENT))
    });
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
