//! Every command: its name, how many arguments it takes, what it may do, where its keys are, and who runs it.
//!
//! An arity counts the command's own name; a negative one is a minimum. Key positions are `(first, last, step)`, a
//! negative last counting from the end; `(0, 0, 0)` stands for none or for positions only the handler knows.

use super::{
    Handler, acl, auth, bitfield, bits, client, config, dump, generic, geo, geo_search, hash, hyperloglog, keys, lcs,
    list, monitor, numeric, pubsub, scan, script, server, set, sort, stream, stream_groups, stream_info, string,
    transaction, zset, zset_range, zset_store,
};

pub(in crate::embedded) const WRITE: u16 = 1;
pub(in crate::embedded) const READ: u16 = 1 << 1;
/// Refused beyond `maxmemory`.
pub(in crate::embedded) const DENY_OOM: u16 = 1 << 2;
pub(in crate::embedded) const NO_SCRIPT: u16 = 1 << 3;
pub(in crate::embedded) const BLOCKING: u16 = 1 << 4;
/// Not allowed between MULTI and EXEC.
pub(in crate::embedded) const NO_MULTI: u16 = 1 << 5;
/// Runs at once between MULTI and EXEC.
pub(in crate::embedded) const NOT_QUEUED: u16 = 1 << 6;
/// Allowed to a RESP2 client that is subscribed.
pub(in crate::embedded) const WHILE_SUBSCRIBED: u16 = 1 << 7;
/// Has subcommands, which have entries of their own.
pub(super) const CONTAINER: u16 = 1 << 8;
/// Answered before a password is given.
pub(in crate::embedded) const NO_AUTH: u16 = 1 << 10;
/// Not shown to MONITOR.
pub(in crate::embedded) const UNSEEN: u16 = 1 << 11;
/// Answered while a script runs for too long.
pub(in crate::embedded) const WHILE_BUSY: u16 = 1 << 12;
/// Not a write, but held back by CLIENT PAUSE WRITE.
const MAY_REPLICATE: u16 = 1 << 9;

const W: u16 = WRITE;
const R: u16 = READ;
const M: u16 = DENY_OOM;
const S: u16 = NO_SCRIPT;
const B: u16 = BLOCKING;
const Y: u16 = WHILE_BUSY;

type KeyPositions = (i8, i8, i8);

#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Spec {
    pub(in crate::embedded) name: &'static str,
    pub(in crate::embedded) arity: i32,
    pub(in crate::embedded) flags: u16,
    pub(in crate::embedded) keys: KeyPositions,
    pub(in crate::embedded) handler: Handler,
}

impl Spec {
    pub(in crate::embedded) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(in crate::embedded) fn may_write(&self) -> bool {
        self.has(WRITE | MAY_REPLICATE)
    }

    pub(super) fn fits(&self, args: usize) -> bool {
        let args = i32::try_from(args).unwrap_or(i32::MAX);
        if self.arity < 0 { args >= -self.arity } else { args == self.arity }
    }
}

const NONE: KeyPositions = (0, 0, 0);
const ONE: KeyPositions = (1, 1, 1);
const TWO: KeyPositions = (1, 2, 1);
const ALL: KeyPositions = (1, -1, 1);
const PAIRS: KeyPositions = (1, -1, 2);
const BUT_LAST: KeyPositions = (1, -2, 1);
const SECOND: KeyPositions = (2, 2, 1);

macro_rules! table {
    ($($name:literal $arity:literal $flags:expr, $keys:expr => $handler:path;)*) => {
        &[$(Spec { name: $name, arity: $arity, flags: $flags, keys: $keys, handler: $handler }),*]
    };
}

pub(super) static TABLE: &[Spec] = table! {
    // strings
    "append" 3 W | M, ONE => string::append;
    "bitcount" -2 R, ONE => bits::bitcount;
    "bitfield" -2 W | M, ONE => bitfield::bitfield;
    "bitfield_ro" -2 R, ONE => bitfield::bitfield_ro;
    "bitop" -4 W | M, (2, -1, 1) => bits::bitop;
    "bitpos" -3 R, ONE => bits::bitpos;
    "decr" 2 W | M, ONE => numeric::decr;
    "decrby" 3 W | M, ONE => numeric::decrby;
    "get" 2 R, ONE => string::get;
    "getbit" 3 R, ONE => bits::getbit;
    "getdel" 2 W, ONE => string::getdel;
    "getex" -2 W, ONE => string::getex;
    "getrange" 4 R, ONE => string::getrange;
    "getset" 3 W | M, ONE => string::getset;
    "incr" 2 W | M, ONE => numeric::incr;
    "incrby" 3 W | M, ONE => numeric::incrby;
    "incrbyfloat" 3 W | M, ONE => numeric::incrbyfloat;
    "lcs" -3 R, TWO => lcs::lcs;
    "mget" -2 R, ALL => string::mget;
    "mset" -3 W | M, PAIRS => string::mset;
    "msetnx" -3 W | M, PAIRS => string::msetnx;
    "pfadd" -2 W | M, ONE => hyperloglog::pfadd;
    "pfcount" -2 R, ALL => hyperloglog::pfcount;
    "pfmerge" -2 W | M, ALL => hyperloglog::pfmerge;
    "psetex" 4 W | M, ONE => string::psetex;
    "set" -3 W | M, ONE => string::set;
    "setbit" 4 W | M, ONE => bits::setbit;
    "setex" 4 W | M, ONE => string::setex;
    "setnx" 3 W | M, ONE => string::setnx;
    "setrange" 4 W | M, ONE => string::setrange;
    "strlen" 2 R, ONE => string::strlen;
    "substr" 4 R, ONE => string::getrange;
    // keys
    "copy" -3 W | M, TWO => generic::copy;
    "del" -2 W, ALL => generic::del;
    "dump" 2 R, ONE => dump::dump;
    "exists" -2 R, ALL => generic::exists;
    "expire" -3 W, ONE => keys::expire;
    "expireat" -3 W, ONE => keys::expireat;
    "expiretime" 2 R, ONE => keys::expiretime;
    "keys" 2 R, NONE => generic::keys;
    "move" 3 W, ONE => generic::r#move;
    "object" -2 CONTAINER, NONE => server::unreachable;
    "object|encoding" 3 R, SECOND => generic::object_encoding;
    "object|freq" 3 R, SECOND => generic::object_freq;
    "object|help" 2 0, NONE => server::help;
    "object|idletime" 3 R, SECOND => generic::object_idletime;
    "object|refcount" 3 R, SECOND => generic::object_refcount;
    "persist" 2 W, ONE => keys::persist;
    "pexpire" -3 W, ONE => keys::pexpire;
    "pexpireat" -3 W, ONE => keys::pexpireat;
    "pexpiretime" 2 R, ONE => keys::pexpiretime;
    "pttl" 2 R, ONE => keys::pttl;
    "randomkey" 1 R, NONE => generic::randomkey;
    "rename" 3 W, TWO => generic::rename;
    "renamenx" 3 W, TWO => generic::renamenx;
    "restore" -4 W | M, ONE => dump::restore;
    "scan" -2 R, NONE => scan::scan;
    "sort" -2 W | M, ONE => sort::sort;
    "sort_ro" -2 R, ONE => sort::sort_ro;
    "touch" -2 R, ALL => generic::exists;
    "ttl" 2 R, ONE => keys::ttl;
    "type" 2 R, ONE => generic::r#type;
    "unlink" -2 W, ALL => generic::del;
    // hashes
    "hdel" -3 W, ONE => hash::hdel;
    "hexists" 3 R, ONE => hash::hexists;
    "hget" 3 R, ONE => hash::hget;
    "hgetall" 2 R, ONE => hash::hgetall;
    "hincrby" 4 W | M, ONE => numeric::hincrby;
    "hincrbyfloat" 4 W | M, ONE => numeric::hincrbyfloat;
    "hkeys" 2 R, ONE => hash::hkeys;
    "hlen" 2 R, ONE => hash::hlen;
    "hmget" -3 R, ONE => hash::hmget;
    "hmset" -4 W | M, ONE => hash::hmset;
    "hrandfield" -2 R, ONE => hash::hrandfield;
    "hscan" -3 R, ONE => scan::hscan;
    "hset" -4 W | M, ONE => hash::hset;
    "hsetnx" 4 W | M, ONE => hash::hsetnx;
    "hstrlen" 3 R, ONE => hash::hstrlen;
    "hvals" 2 R, ONE => hash::hvals;
    // lists
    "blmove" 6 W | M | S | B, TWO => list::blmove;
    "blmpop" -5 W | B, NONE => list::blmpop;
    "blpop" -3 W | S | B, BUT_LAST => list::blpop;
    "brpop" -3 W | S | B, BUT_LAST => list::brpop;
    "brpoplpush" 4 W | M | S | B, TWO => list::brpoplpush;
    "lindex" 3 R, ONE => list::lindex;
    "linsert" 5 W | M, ONE => list::linsert;
    "llen" 2 R, ONE => list::llen;
    "lmove" 5 W | M, TWO => list::lmove;
    "lmpop" -4 W, NONE => list::lmpop;
    "lpop" -2 W, ONE => list::lpop;
    "lpos" -3 R, ONE => list::lpos;
    "lpush" -3 W | M, ONE => list::lpush;
    "lpushx" -3 W | M, ONE => list::lpushx;
    "lrange" 4 R, ONE => list::lrange;
    "lrem" 4 W, ONE => list::lrem;
    "lset" 4 W | M, ONE => list::lset;
    "ltrim" 4 W, ONE => list::ltrim;
    "rpop" -2 W, ONE => list::rpop;
    "rpoplpush" 3 W | M, TWO => list::rpoplpush;
    "rpush" -3 W | M, ONE => list::rpush;
    "rpushx" -3 W | M, ONE => list::rpushx;
    // sets
    "sadd" -3 W | M, ONE => set::sadd;
    "scard" 2 R, ONE => set::scard;
    "sdiff" -2 R, ALL => set::sdiff;
    "sdiffstore" -3 W | M, ALL => set::sdiffstore;
    "sinter" -2 R, ALL => set::sinter;
    "sintercard" -3 R, NONE => set::sintercard;
    "sinterstore" -3 W | M, ALL => set::sinterstore;
    "sismember" 3 R, ONE => set::sismember;
    "smembers" 2 R, ONE => set::smembers;
    "smismember" -3 R, ONE => set::smismember;
    "smove" 4 W, TWO => set::smove;
    "spop" -2 W, ONE => set::spop;
    "srandmember" -2 R, ONE => set::srandmember;
    "srem" -3 W, ONE => set::srem;
    "sscan" -3 R, ONE => scan::sscan;
    "sunion" -2 R, ALL => set::sunion;
    "sunionstore" -3 W | M, ALL => set::sunionstore;
    // sorted sets
    "bzmpop" -5 W | B, NONE => zset_range::bzmpop;
    "bzpopmax" -3 W | S | B, BUT_LAST => zset_range::bzpopmax;
    "bzpopmin" -3 W | S | B, BUT_LAST => zset_range::bzpopmin;
    "geoadd" -5 W | M, ONE => geo::geoadd;
    "geodist" -4 R, ONE => geo::geodist;
    "geohash" -2 R, ONE => geo::geohash;
    "geopos" -2 R, ONE => geo::geopos;
    "georadius" -6 W | M, ONE => geo_search::georadius;
    "georadius_ro" -6 R, ONE => geo_search::georadius_ro;
    "georadiusbymember" -5 W | M, ONE => geo_search::georadiusbymember;
    "georadiusbymember_ro" -5 R, ONE => geo_search::georadiusbymember_ro;
    "geosearch" -7 R, ONE => geo_search::geosearch;
    "geosearchstore" -8 W | M, TWO => geo_search::geosearchstore;
    "zadd" -4 W | M, ONE => zset::zadd;
    "zcard" 2 R, ONE => zset::zcard;
    "zcount" 4 R, ONE => zset::zcount;
    "zdiff" -3 R, NONE => zset_store::zdiff;
    "zdiffstore" -4 W | M, ONE => zset_store::zdiffstore;
    "zincrby" 4 W | M, ONE => zset::zincrby;
    "zinter" -3 R, NONE => zset_store::zinter;
    "zintercard" -3 R, NONE => zset_store::zintercard;
    "zinterstore" -4 W | M, ONE => zset_store::zinterstore;
    "zlexcount" 4 R, ONE => zset::zlexcount;
    "zmpop" -4 W, NONE => zset_range::zmpop;
    "zmscore" -3 R, ONE => zset::zmscore;
    "zpopmax" -2 W, ONE => zset_range::zpopmax;
    "zpopmin" -2 W, ONE => zset_range::zpopmin;
    "zrandmember" -2 R, ONE => zset::zrandmember;
    "zrange" -4 R, ONE => zset_range::zrange;
    "zrangebylex" -4 R, ONE => zset_range::zrangebylex;
    "zrangebyscore" -4 R, ONE => zset_range::zrangebyscore;
    "zrangestore" -5 W | M, TWO => zset_range::zrangestore;
    "zrank" 3 R, ONE => zset::zrank;
    "zrem" -3 W, ONE => zset::zrem;
    "zremrangebylex" 4 W, ONE => zset::zremrangebylex;
    "zremrangebyrank" 4 W, ONE => zset::zremrangebyrank;
    "zremrangebyscore" 4 W, ONE => zset::zremrangebyscore;
    "zrevrange" -4 R, ONE => zset_range::zrevrange;
    "zrevrangebylex" -4 R, ONE => zset_range::zrevrangebylex;
    "zrevrangebyscore" -4 R, ONE => zset_range::zrevrangebyscore;
    "zrevrank" 3 R, ONE => zset::zrevrank;
    "zscan" -3 R, ONE => scan::zscan;
    "zscore" 3 R, ONE => zset::zscore;
    "zunion" -3 R, NONE => zset_store::zunion;
    "zunionstore" -4 W | M, ONE => zset_store::zunionstore;
    // streams
    "xack" -4 W, ONE => stream_groups::xack;
    "xadd" -5 W | M, ONE => stream::xadd;
    "xautoclaim" -6 W, ONE => stream_groups::xautoclaim;
    "xclaim" -6 W, ONE => stream_groups::xclaim;
    "xdel" -3 W, ONE => stream::xdel;
    "xgroup" -2 CONTAINER, NONE => server::unreachable;
    "xgroup|create" -5 W | M, SECOND => stream_groups::xgroup_create;
    "xgroup|createconsumer" 5 W | M, SECOND => stream_groups::xgroup_createconsumer;
    "xgroup|delconsumer" 5 W, SECOND => stream_groups::xgroup_delconsumer;
    "xgroup|destroy" 4 W, SECOND => stream_groups::xgroup_destroy;
    "xgroup|help" 2 0, NONE => server::help;
    "xgroup|setid" -5 W, SECOND => stream_groups::xgroup_setid;
    "xinfo" -2 CONTAINER, NONE => server::unreachable;
    "xinfo|consumers" 4 R, SECOND => stream_info::xinfo_consumers;
    "xinfo|groups" 3 R, SECOND => stream_info::xinfo_groups;
    "xinfo|help" 2 0, NONE => server::help;
    "xinfo|stream" -3 R, SECOND => stream_info::xinfo_stream;
    "xlen" 2 R, ONE => stream::xlen;
    "xpending" -3 R, ONE => stream_groups::xpending;
    "xrange" -4 R, ONE => stream::xrange;
    "xread" -4 R | B, NONE => stream::xread;
    "xreadgroup" -7 W | B, NONE => stream::xreadgroup;
    "xrevrange" -4 R, ONE => stream::xrevrange;
    "xsetid" -3 W | M, ONE => stream::xsetid;
    "xtrim" -4 W, ONE => stream::xtrim;
    // channels
    "psubscribe" -2 S | WHILE_SUBSCRIBED, NONE => pubsub::psubscribe;
    "publish" 3 MAY_REPLICATE, NONE => pubsub::publish;
    "pubsub" -2 CONTAINER, NONE => server::unreachable;
    "pubsub|channels" -2 0, NONE => pubsub::pubsub_channels;
    "pubsub|help" 2 0, NONE => server::help;
    "pubsub|numpat" 2 0, NONE => pubsub::pubsub_numpat;
    "pubsub|numsub" -2 0, NONE => pubsub::pubsub_numsub;
    "pubsub|shardchannels" -2 0, NONE => pubsub::pubsub_shardchannels;
    "pubsub|shardnumsub" -2 0, NONE => pubsub::pubsub_shardnumsub;
    "punsubscribe" -1 S | WHILE_SUBSCRIBED, NONE => pubsub::punsubscribe;
    "spublish" 3 MAY_REPLICATE, ONE => pubsub::spublish;
    "ssubscribe" -2 S | WHILE_SUBSCRIBED, ALL => pubsub::ssubscribe;
    "subscribe" -2 S | WHILE_SUBSCRIBED, NONE => pubsub::subscribe;
    "sunsubscribe" -1 S | WHILE_SUBSCRIBED, ALL => pubsub::sunsubscribe;
    "unsubscribe" -1 S | WHILE_SUBSCRIBED, NONE => pubsub::unsubscribe;
    // transactions
    "discard" 1 S | Y | NOT_QUEUED, NONE => transaction::discard_command;
    "exec" 1 S | UNSEEN | NOT_QUEUED, NONE => transaction::exec;
    "multi" 1 S | Y | NOT_QUEUED, NONE => transaction::multi;
    "unwatch" 1 S | Y, NONE => transaction::unwatch;
    "watch" -2 S | Y | NOT_QUEUED, ALL => transaction::watch;
    // scripts
    "eval" -3 S | MAY_REPLICATE, NONE => script::eval;
    "eval_ro" -3 S | R, NONE => script::eval_ro;
    "evalsha" -3 S | MAY_REPLICATE, NONE => script::evalsha;
    "evalsha_ro" -3 S | R, NONE => script::evalsha_ro;
    "script" -2 CONTAINER, NONE => server::unreachable;
    "script|debug" 3 S, NONE => script::script_debug;
    "script|exists" -3 S, NONE => script::script_exists;
    "script|flush" -2 S, NONE => script::script_flush;
    "script|help" 2 S, NONE => server::help;
    "script|kill" 2 S | Y, NONE => script::script_kill;
    "script|load" 3 S, NONE => script::script_load;
    // connections
    "acl" -2 CONTAINER, NONE => server::unreachable;
    "acl|cat" -2 S, NONE => acl::cat;
    "acl|deluser" -3 S, NONE => acl::refused;
    "acl|genpass" -2 S, NONE => acl::genpass;
    "acl|getuser" 3 S, NONE => acl::getuser;
    "acl|help" 2 S, NONE => server::help;
    "acl|list" 2 S, NONE => acl::list;
    "acl|log" -2 S, NONE => acl::log;
    "acl|setuser" -3 S, NONE => acl::refused;
    "acl|users" 2 S, NONE => acl::users;
    "acl|whoami" 2 S, NONE => acl::whoami;
    "auth" -2 S | Y | NO_AUTH | UNSEEN, NONE => auth::auth;
    "client" -2 CONTAINER, NONE => server::unreachable;
    "client|caching" 3 S, NONE => client::caching;
    "client|getname" 2 S, NONE => client::getname;
    "client|getredir" 2 S, NONE => client::getredir;
    "client|help" 2 S, NONE => server::help;
    "client|id" 2 S, NONE => client::id;
    "client|info" 2 S, NONE => client::info;
    "client|kill" -3 S, NONE => client::kill;
    "client|list" -2 S, NONE => client::list;
    "client|no-evict" 3 S, NONE => client::no_evict;
    "client|pause" -3 S, NONE => client::pause;
    "client|reply" 3 S, NONE => client::reply;
    "client|setname" 3 S, NONE => client::setname;
    "client|tracking" -3 S, NONE => client::tracking;
    "client|trackinginfo" 2 S, NONE => client::trackinginfo;
    "client|unblock" -3 S, NONE => client::unblock;
    "client|unpause" 2 S, NONE => client::unpause;
    "echo" 2 0, NONE => server::echo;
    "hello" -1 S | Y | NO_AUTH | UNSEEN, NONE => client::hello;
    "ping" -1 WHILE_SUBSCRIBED, NONE => server::ping;
    "quit" -1 S | Y | NO_AUTH | NOT_QUEUED | WHILE_SUBSCRIBED, NONE => client::quit;
    "reset" 1 S | Y | NO_AUTH | NOT_QUEUED | WHILE_SUBSCRIBED, NONE => client::reset;
    "select" 2 0, NONE => client::select;
    // the server
    "command" -1 CONTAINER, NONE => server::command;
    "command|count" 2 0, NONE => server::command_count;
    "command|docs" -2 0, NONE => server::command_docs;
    "command|getkeys" -4 0, NONE => server::command_getkeys;
    "command|help" 2 0, NONE => server::help;
    "command|info" -2 0, NONE => server::command_info;
    "command|list" -2 0, NONE => server::command_list;
    "config" -2 CONTAINER, NONE => server::unreachable;
    "config|get" -3 S, NONE => config::get;
    "config|help" 2 S, NONE => server::help;
    "config|resetstat" 2 S, NONE => config::resetstat;
    "config|rewrite" 2 S, NONE => config::rewrite;
    "config|set" -4 S, NONE => config::set;
    "dbsize" 1 R, NONE => server::dbsize;
    "debug" -2 S, NONE => server::debug;
    "flushall" -1 W, NONE => server::flushall;
    "flushdb" -1 W, NONE => server::flushdb;
    "info" -1 0, NONE => server::info;
    "lastsave" 1 0, NONE => server::lastsave;
    "latency" -2 CONTAINER, NONE => server::unreachable;
    "latency|doctor" 2 S, NONE => server::latency_doctor;
    "latency|graph" 3 S, NONE => server::latency_graph;
    "latency|help" 2 S, NONE => server::help;
    "latency|histogram" -2 S, NONE => server::latency_histogram;
    "latency|history" 3 S, NONE => server::empty_array;
    "latency|latest" 2 S, NONE => server::empty_array;
    "latency|reset" -2 S, NONE => server::zero;
    "lolwut" -1 R, NONE => server::lolwut;
    "memory" -2 CONTAINER, NONE => server::unreachable;
    "memory|doctor" 2 0, NONE => server::memory_doctor;
    "memory|help" 2 0, NONE => server::help;
    "memory|purge" 2 0, NONE => server::ok;
    "memory|usage" -3 R, SECOND => server::memory_usage;
    "monitor" 1 S | UNSEEN, NONE => monitor::monitor;
    "role" 1 S, NONE => server::role;
    "slowlog" -2 CONTAINER, NONE => server::unreachable;
    "slowlog|get" -2 0, NONE => server::slowlog_get;
    "slowlog|help" 2 0, NONE => server::help;
    "slowlog|len" 2 0, NONE => server::zero;
    "slowlog|reset" 2 0, NONE => server::ok;
    "swapdb" 3 W, NONE => server::swapdb;
    "time" 1 0, NONE => server::time;
    "wait" 3 S, NONE => server::wait;
};
