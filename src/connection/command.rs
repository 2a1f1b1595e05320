//! What a command by its name may do: whether it only reads, whether it blocks, and which ones a shared connection
//! cannot carry.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::cluster::unpack;
use crate::error::{Error, Result};
use crate::resp;
use crate::telemetry::Operation;

/// Where a blocking command has its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    LastSeconds,
    FirstSeconds,
    /// After the word `BLOCK`, in milliseconds; without it the command does not block.
    BlockOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Reads,
    Writes,
    Blocks(Timeout),
    /// `XREAD`: after the word `BLOCK` it blocks, and it never writes.
    BlocksReading,
    Waits,
    Refused(&'static str),
}

/// What is known of a command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub operation: Operation,
    nature: Nature,
}

/// How a command travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With all others.
    Shared,
    /// On a connection of its own, for at most this long; `None` is until the connection ends.
    Own(Option<Duration>),
}

const READS: &str = "BITCOUNT BITFIELD_RO BITPOS DBSIZE DUMP ECHO EXISTS EXPIRETIME GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO \
GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO KEYS LCS \
LINDEX LLEN LOLWUT LPOS LRANGE MGET PEXPIRETIME PFCOUNT PING PTTL RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER \
SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION TIME TTL TYPE XINFO XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT \
ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX \
ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION EVAL_RO EVALSHA_RO FCALL_RO";

const WRITES: &str = "ACL APPEND BGREWRITEAOF BGSAVE BITFIELD BITOP CLIENT CLUSTER COMMAND CONFIG COPY DEBUG DECR DECRBY DEL EVAL \
EVALSHA EXPIRE EXPIREAT FAILOVER FCALL FLUSHALL FLUSHDB FUNCTION GEOADD GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE GETDEL GETEX \
GETSET HDEL HEXPIRE HINCRBY HINCRBYFLOAT HMSET HPERSIST HPEXPIRE HPTTL HSET HSETNX HTTL INCR INCRBY INCRBYFLOAT LASTSAVE LATENCY \
LINSERT LMOVE LMPOP LPOP LPUSH LPUSHX LREM LSET LTRIM MEMORY MIGRATE MODULE MOVE MSET MSETNX OBJECT PERSIST PEXPIRE PEXPIREAT PFADD \
PFMERGE PSETEX PUBLISH PUBSUB RENAME RENAMENX REPLICAOF RESTORE RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SCRIPT \
SDIFFSTORE SET SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTERSTORE SLAVEOF SLOWLOG SMOVE SORT SPOP SPUBLISH SREM SUNIONSTORE SWAPDB \
TOUCH UNLINK XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP XSETID XTRIM ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX \
ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE";

const SUBSCRIPTION: &str = "use MessageBus.subscribe(): a subscription changes the whole connection";
const SHARED: &str = "it would change the connection for everyone who shares it";

static TABLE: LazyLock<HashMap<&'static str, Spec>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    let mut put = |names: &'static str, nature| {
        for name in names.split_ascii_whitespace() {
            table.insert(name, Spec { operation: Operation::named(name), nature });
        }
    };
    put(READS, Nature::Reads);
    put(WRITES, Nature::Writes);
    put("BLPOP BRPOP BRPOPLPUSH BLMOVE BZPOPMIN BZPOPMAX", Nature::Blocks(Timeout::LastSeconds));
    put("BLMPOP BZMPOP", Nature::Blocks(Timeout::FirstSeconds));
    put("XREAD", Nature::BlocksReading);
    put("XREADGROUP", Nature::Blocks(Timeout::BlockOption));
    put("WAIT WAITAOF", Nature::Waits);
    put("SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE", Nature::Refused(SUBSCRIPTION));
    put(
        "MULTI EXEC DISCARD WATCH UNWATCH",
        Nature::Refused("use transaction(), or KVStore.update() for a compare-and-set"),
    );
    put("SELECT", Nature::Refused("set RedisConfig.db: it would change the connection for everyone who shares it"));
    put(
        "AUTH HELLO",
        Nature::Refused(
            "set RedisConfig.username and password: it would change the connection for everyone who shares it",
        ),
    );
    put("QUIT RESET", Nature::Refused("use disconnect(): it would end the connection for everyone who shares it"));
    put(
        "READONLY READWRITE",
        Nature::Refused(
            "every command goes to a master: it would have a replica answer everyone who shares the connection",
        ),
    );
    put("MONITOR SYNC PSYNC REPLCONF ASKING", Nature::Refused(SHARED));
    table
});

/// The names of all commands that a shared connection takes, in capitals, in no order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(|(_, spec)| !matches!(spec.nature, Nature::Refused(_))).map(|(name, _)| *name)
}

static OTHER: LazyLock<Operation> = LazyLock::new(|| Operation::named("other"));

/// What is known of the command called `name`, in any case of letters.
#[must_use]
pub fn spec(name: &[u8]) -> Spec {
    let mut upper = [0u8; 24];
    let known = upper.get_mut(..name.len()).and_then(|upper| {
        upper.copy_from_slice(name);
        upper.make_ascii_uppercase();
        TABLE.get(std::str::from_utf8(upper).ok()?).copied()
    });
    known.unwrap_or(Spec { operation: *OTHER, nature: Nature::Writes })
}

impl Spec {
    /// Does it, with `args`, only read, so that sending it twice does no harm? An `XREAD` from "now" on would miss what came
    /// in between.
    #[must_use]
    pub fn is_safe(&self, args: &[&[u8]]) -> bool {
        match self.nature {
            Nature::Reads => true,
            Nature::BlocksReading => !args.iter().any(|arg| matches!(arg, [b'$' | b'+'])),
            Nature::Writes | Nature::Blocks(_) | Nature::Waits | Nature::Refused(_) => false,
        }
    }

    /// Where it has its timeout, if it blocks.
    fn timeout(&self) -> Option<Timeout> {
        match self.nature {
            Nature::Blocks(place) => Some(place),
            Nature::BlocksReading => Some(Timeout::BlockOption),
            Nature::Reads | Nature::Writes | Nature::Waits | Nature::Refused(_) => None,
        }
    }

    /// How the command `name` with `args` travels.
    ///
    /// # Errors
    ///
    /// `config` for a command that would change or end a shared connection, and for a timeout that is no number.
    pub fn way(&self, name: &[u8], args: &[&[u8]], longest: Duration) -> Result<Way> {
        let name = || String::from_utf8_lossy(name).to_uppercase();
        match self.nature {
            Nature::Refused(why) => Err(Error::config(format!(
                "{}: expected another command, got one that is not for a shared connection: {why}",
                name()
            ))),
            Nature::Reads | Nature::Writes => refuse_modes(&name(), args).map(|()| Way::Shared),
            Nature::Waits => {
                // It is about the writes of the connection it comes on, so it cannot go elsewhere.
                let timeout = args.last().and_then(|arg| number(arg)).map(|ms| ms / 1e3);
                match timeout {
                    Some(seconds) if seconds > 0.0 && seconds < longest.as_secs_f64() => Ok(Way::Shared),
                    _ => Err(Error::config(format!(
                        "{}: expected a timeout above 0 and below commandTimeoutMs, {}, because it holds up the shared connection",
                        name(),
                        longest.as_millis()
                    ))),
                }
            }
            Nature::Blocks(place) => blocks_for(name, args, place),
            Nature::BlocksReading => blocks_for(name, args, Timeout::BlockOption),
        }
    }
}

/// Subcommands that change the connection for every later caller: what is answered, how it counts, what it is called.
const MODES: &[(&str, &str, &str)] = &[
    ("CLIENT", "REPLY", SHARED),
    ("CLIENT", "TRACKING", SHARED),
    ("CLIENT", "CACHING", SHARED),
    ("CLIENT", "CAPA", SHARED),
    ("CLIENT", "NO-EVICT", SHARED),
    ("CLIENT", "NO-TOUCH", SHARED),
    ("CLIENT", "IMPORT-SOURCE", SHARED),
    ("CLIENT", "SETNAME", "set RedisConfig.clientName: it would rename the connection for everyone who shares it"),
    ("CLIENT", "SETINFO", SHARED),
    ("SCRIPT", "DEBUG", SHARED),
];

fn blocks_for(name: impl Fn() -> String, args: &[&[u8]], place: Timeout) -> Result<Way> {
    let (timeout, unit) = match place {
        Timeout::LastSeconds => (args.last(), 1.0),
        Timeout::FirstSeconds => (args.first(), 1.0),
        Timeout::BlockOption => match block_option(args) {
            Some(at) => (args.get(at + 1), 1e-3),
            None => return Ok(Way::Shared),
        },
    };
    let seconds = timeout.and_then(|arg| number(arg)).map(|n| n * unit);
    match seconds {
        Some(0.0) => Ok(Way::Own(None)),
        Some(seconds) if seconds > 0.0 && seconds <= 1e7 => Ok(Way::Own(Some(Duration::from_secs_f64(seconds)))),
        _ => Err(Error::config(format!("{}: expected a timeout from 0 on, got something else", name()))),
    }
}

/// A packed command that blocks, with `left` as its timeout: at least a millisecond, because none at all is for ever. `None`
/// where it does not block.
#[must_use]
pub fn with_timeout(packed: &[u8], left: Duration) -> Option<Bytes> {
    let (mut words, _) = unpack(packed)?;
    let (name, args) = words.split_first()?;
    let place = spec(name).timeout()?;
    let at = match place {
        Timeout::LastSeconds => args.len(),
        Timeout::FirstSeconds => 1,
        Timeout::BlockOption => block_option(args)? + 2,
    };
    let millis = left.as_millis().max(1);
    let text = match place {
        Timeout::LastSeconds | Timeout::FirstSeconds => format!("{}.{:03}", millis / 1000, millis % 1000),
        Timeout::BlockOption => millis.to_string(),
    };
    *words.get_mut(at)? = text.as_bytes();
    let mut out = BytesMut::with_capacity(packed.len() + text.len());
    resp::pack(&mut out, &words);
    Some(out.freeze())
}

fn refuse_modes(name: &str, args: &[&[u8]]) -> Result<()> {
    let Some(sub) = args.first() else { return Ok(()) };
    let refused =
        |(command, mode, _): &&(&str, &str, &str)| name == *command && sub.eq_ignore_ascii_case(mode.as_bytes());
    match MODES.iter().find(refused) {
        None => Ok(()),
        Some((_, mode, why)) => Err(Error::config(format!(
            "{name} {mode}: expected another subcommand, got one that is not for a shared connection: {why}"
        ))),
    }
}

/// Where the option `BLOCK` of `XREAD` or `XREADGROUP` stands. A group, a consumer and a stream may be called so too.
fn block_option(args: &[&[u8]]) -> Option<usize> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if is("BLOCK") => return Some(at),
            () if is("STREAMS") => return None,
            () if is("GROUP") => 3,
            () if is("COUNT") || is("CLAIM") => 2,
            () => 1,
        };
    }
    None
}

fn number(arg: &[u8]) -> Option<f64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(words: &[&str]) -> Result<Way> {
        let args: Vec<&[u8]> = words[1..].iter().map(|word| word.as_bytes()).collect();
        spec(words[0].as_bytes()).way(words[0].as_bytes(), &args, Duration::from_secs(5))
    }

    #[test]
    fn blocking_commands_get_a_connection_of_their_own_for_as_long_as_they_say() {
        assert_eq!(way(&["blpop", "k", "1.5"]).unwrap(), Way::Own(Some(Duration::from_millis(1500))));
        assert_eq!(way(&["BLMPOP", "2", "1", "k", "LEFT"]).unwrap(), Way::Own(Some(Duration::from_secs(2))));
        assert_eq!(
            way(&["XREAD", "block", "100", "STREAMS", "s", "$"]).unwrap(),
            Way::Own(Some(Duration::from_millis(100)))
        );
        assert_eq!(way(&["XREAD", "STREAMS", "s", "0"]).unwrap(), Way::Shared);
        assert_eq!(way(&["XREAD", "STREAMS", "block", "0"]).unwrap(), Way::Shared);
        assert_eq!(way(&["XREADGROUP", "GROUP", "block", "block", "STREAMS", "s", ">"]).unwrap(), Way::Shared);
        assert_eq!(
            way(&["XREADGROUP", "GROUP", "block", "c", "COUNT", "1", "BLOCK", "0", "STREAMS", "block", ">"]).unwrap(),
            Way::Own(None)
        );
        assert_eq!(way(&["BRPOP", "k", "0"]).unwrap(), Way::Own(None));
        assert!(way(&["BLPOP", "k", "soon"]).is_err());
    }

    #[test]
    fn a_command_that_goes_on_elsewhere_blocks_for_what_is_left_and_never_for_ever() {
        let rest = |words: &[&str], left| {
            let mut packed = BytesMut::new();
            resp::pack(&mut packed, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
            let rest = with_timeout(&packed, Duration::from_micros(left))?;
            let (words, _) = unpack(&rest)?;
            Some(words.into_iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(rest(&["BLPOP", "k", "5"], 1_250_000).unwrap(), "BLPOP k 1.250");
        assert_eq!(rest(&["BLPOP", "k", "5"], 10).unwrap(), "BLPOP k 0.001");
        assert_eq!(rest(&["bzmpop", "5", "1", "k", "MIN"], 12_003_000).unwrap(), "bzmpop 12.003 1 k MIN");
        let read = ["XREAD", "COUNT", "1", "BLOCK", "0", "STREAMS", "s", "$"];
        assert_eq!(rest(&read, 70_000).unwrap(), "XREAD COUNT 1 BLOCK 70 STREAMS s $");
        assert_eq!(rest(&["XREAD", "STREAMS", "s", "$"], 70_000), None);
        assert_eq!(rest(&["GET", "k"], 70_000), None);
    }

    #[test]
    fn commands_that_would_change_a_shared_connection_are_refused() {
        for words in [
            &["SUBSCRIBE", "c"][..],
            &["multi"],
            &["SELECT", "1"],
            &["CLIENT", "reply", "OFF"],
            &["CLIENT", "Caching", "YES"],
            &["client", "no-evict", "ON"],
            &["CLIENT", "SETNAME", "another"],
            &["CLIENT", "SETINFO", "LIB-NAME", "another"],
            &["readonly"],
            &["READWRITE"],
            &["DISCARD"],
            &["ASKING"],
            &["REPLCONF", "ACK", "1"],
            &["SCRIPT", "debug", "YES"],
            &["QUIT"],
            &["WAIT", "1", "0"],
        ] {
            let error = way(words).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config, "{words:?}");
        }
    }

    #[test]
    fn only_reads_are_safe_to_send_again() {
        assert!(spec(b"get").is_safe(&[b"k"]));
        assert!(spec(b"XREAD").is_safe(&[b"BLOCK", b"0", b"STREAMS", b"s", b"1-1"]));
        assert!(!spec(b"XREAD").is_safe(&[b"BLOCK", b"0", b"STREAMS", b"s", b"$"]));
        for name in ["SET", "INCR", "EVAL", "XREADGROUP", "BLPOP", "NO-SUCH-COMMAND", "A-NAME-LONGER-THAN-ANY-COMMAND"]
        {
            assert!(!spec(name.as_bytes()).is_safe(&[]), "{name}");
        }
    }
}
