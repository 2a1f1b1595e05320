//! Commands about the whole server: INFO, TIME, COMMAND, FLUSHALL, and commands for monitoring.

use std::fmt::Write as _;

use super::client::VERSION;
use super::generic::db_index;
use super::{Args, Cx, Mode, int_arg, is, lookup};
use crate::embedded::keyspace::DATABASES;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, Wait};
use crate::embedded::state::Pause;
use crate::redis_commands::{Keys, Spec, flag};

/// The handler of commands with subcommands, which never run without one.
pub(super) fn unreachable(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Err(Fault::SYNTAX)
}

pub(super) fn ok(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::OK)
}

pub(super) fn zero(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Int(0))
}

pub(super) fn empty_array(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(Vec::new()))
}

pub(super) fn help(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let name = String::from_utf8_lossy(args[0]).to_ascii_uppercase();
    let lines = [
        format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"),
        "HELP".to_owned(),
        "    Print this help.".to_owned(),
    ];
    Ok(Reply::Array(lines.into_iter().map(|l| Reply::Status(l.into_bytes().into())).collect()))
}

pub(super) fn ping(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(Fault::arity("ping"));
    }
    let subscribed = cx.core.client(cx.slot).is_some_and(|c| c.is_subscriber() && !c.resp3);
    if subscribed && cx.mode == Mode::Direct {
        return Ok(Reply::Array(vec![Reply::bulk("pong"), Reply::bulk(args.get(1).unwrap_or(&&b""[..]))]));
    }
    Ok(args.get(1).map_or(Reply::status("PONG"), Reply::bulk))
}

pub(super) fn echo(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::bulk(args[1]))
}

pub(super) fn time(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    // For a script the reply advances, although keys expire by the time at which the script started.
    let micros = cx.core.clock.micros();
    Ok(Reply::bulks([(micros / 1_000_000).to_string(), (micros % 1_000_000).to_string()]))
}

pub(super) fn dbsize(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.db().keys.len()))
}

pub(super) fn lastsave(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Int(cx.core.started / 1000))
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>, dbs: std::ops::Range<usize>) -> Outcome {
    match &args[1..] {
        [] => {}
        [word] if is(word, "sync") || is(word, "async") => {}
        _ => return Err(Fault::SYNTAX),
    }
    for db in dbs {
        cx.core.touch_all(db, None);
        cx.core.dbs[db].clear();
    }
    Ok(Reply::OK)
}

pub(super) fn flushdb(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let db = cx.db;
    flush(cx, args, db..db + 1)
}

pub(super) fn flushall(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    flush(cx, args, 0..DATABASES)
}

pub(super) fn swapdb(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    const BAD: [Fault; 2] = [Fault::of("ERR invalid first DB index"), Fault::of("ERR invalid second DB index")];
    // Both arguments must be numbers before the range of either is checked.
    for (arg, bad) in args[1..].iter().zip(BAD) {
        number::integer(arg).filter(|&n| i32::try_from(n).is_ok()).ok_or(bad)?;
    }
    let first = db_index(args[1], &Fault::SYNTAX)?;
    let second = db_index(args[2], &Fault::SYNTAX)?;
    if first != second {
        cx.core.touch_all(first, Some(second));
        cx.core.touch_all(second, Some(first));
        cx.core.dbs.swap(first, second);
    }
    Ok(Reply::OK)
}

pub(super) fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let replicas = int_arg(args[1])?;
    let ms = number::integer(args[2]).ok_or(Fault::of("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err(Fault::of("ERR timeout is negative"));
    }
    if replicas <= 0 || !cx.may_wait() {
        return Ok(Reply::Int(0));
    }
    // There are no replicas, so only the timeout can end the wait.
    let deadline = if ms == 0 { None } else { cx.now().checked_add(ms) };
    Ok(Reply::Block(Box::new(Wait { keys: Vec::new(), deadline, empty: Reply::Int(0), args: Vec::new() })))
}

/// Only DEBUG SLEEP is allowed.
pub(in crate::embedded) fn check_debug(args: Args<'_>) -> Result<(), Fault> {
    if args.len() == 3 && is(args[1], "sleep") {
        return Ok(());
    }
    Err(Fault::of(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
    ))
}

pub(super) fn debug(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    check_debug(args)?;
    let deadline = super::timeout(cx, args[2])?;
    let (Some(until), true) = (deadline, cx.may_wait()) else {
        return Ok(Reply::OK);
    };
    // All clients of this engine wait, also this one. The thread continues to serve other engines.
    cx.core.pause = Some(Pause { until, writes_only: false });
    Ok(Reply::Block(Box::new(Wait { keys: Vec::new(), deadline, empty: Reply::OK, args: Vec::new() })))
}

pub(super) fn role(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Int(0), Reply::Array(Vec::new())]))
}

pub(super) fn lolwut(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Verbatim(format!("Redis ver. {VERSION}\n").into_bytes()))
}

pub(super) fn slowlog_get(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(super::bad_subcommand(args));
    }
    if let Some(count) = args.get(2) {
        let count = number::integer(count).filter(|&n| n >= -1);
        count.ok_or(Fault::of("ERR count should be greater than or equal to -1"))?;
    }
    Ok(Reply::Array(Vec::new()))
}

pub(super) fn latency_doctor(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Verbatim(b"I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n".to_vec()))
}

pub(super) fn latency_graph(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Err(Fault::new([b"ERR No samples available for event '", args[2], b"'"].concat()))
}

pub(super) fn latency_histogram(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Map(Vec::new()))
}

pub(super) fn memory_doctor(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Verbatim(b"Hi Sam, this instance is empty or is using very little memory, my issue detector can't be used in these conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be back to our programming as soon as I finished rebooting.\n".to_vec()))
}

pub(super) fn memory_usage(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    match &args[3..] {
        [] => {}
        [word, n] if is(word, "samples") => {
            if int_arg(n)? < 0 {
                return Err(Fault::SYNTAX);
            }
        }
        _ => return Err(Fault::SYNTAX),
    }
    if !cx.exists(args[2]) {
        return Ok(Reply::Null);
    }
    Ok(cx.db().counted(args[2]).map_or(Reply::Null, Reply::len))
}

fn flags(spec: &Spec) -> Reply {
    let named = [
        (flag::WRITE, "write"),
        (flag::READ, "readonly"),
        (flag::DENY_OOM, "denyoom"),
        (flag::NO_SCRIPT, "noscript"),
        (flag::BLOCKING, "blocking"),
    ];
    Reply::Set(named.iter().filter(|(flag, _)| spec.has(*flag)).map(|(_, name)| Reply::status(name)).collect())
}

fn describe(spec: &Spec) -> Reply {
    let (first, last, step) = spec.keys.fixed();
    Reply::Array(vec![
        Reply::bulk(spec.name),
        Reply::Int(i64::from(spec.arity)),
        flags(spec),
        Reply::Int(i64::from(first)),
        Reply::Int(i64::from(last)),
        Reply::Int(i64::from(step)),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

pub(super) fn command(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(lookup::all().map(describe).collect()))
}

pub(super) fn command_count(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::len(lookup::all().count()))
}

pub(super) fn command_list(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(lookup::all().map(|s| Reply::bulk(s.name)).collect()))
}

pub(super) fn command_info(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        return Ok(Reply::Array(lookup::all().map(describe).collect()));
    }
    let named = args[2..].iter().map(|name| lookup::by_name(name).map_or(Reply::NullArray, describe));
    Ok(Reply::Array(named.collect()))
}

pub(super) fn command_docs(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let named = args[2..].iter().filter_map(|name| lookup::by_name(name));
    let docs = |spec: &Spec| [Reply::bulk(spec.name), Reply::Map(Vec::new())];
    Ok(Reply::Map(named.flat_map(docs).collect()))
}

pub(super) fn command_getkeys(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let inner = &args[2..];
    let lookup::Command { spec, .. } = lookup::find(inner).map_err(|fault| {
        let unknown = fault.0.starts_with(b"ERR unknown");
        Fault::of(if unknown {
            "ERR Invalid command specified"
        } else {
            "ERR Invalid number of arguments specified for command"
        })
    })?;
    let keys = spec.keys.among(inner).ok_or(Fault::of("ERR Invalid arguments specified for command"))?;
    // A script may be called without keys.
    if keys.is_empty() && spec.keys != Keys::Script {
        return Err(Fault::of("ERR The command has no key arguments"));
    }
    Ok(Reply::bulks(keys))
}

pub(super) fn info(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let wanted = |section: &str| {
        args.len() == 1
            || args[1..].iter().any(|a| is(a, section) || is(a, "all") || is(a, "default") || is(a, "everything"))
    };
    let core = &*cx.core;
    let uptime = (core.now - core.started).max(0) / 1000;
    let clients = core.each_client().count();
    let used = core.used_memory();
    let role = if core.faults.readonly { "slave" } else { "master" };
    let mut sections = Vec::new();
    let mut section = |name: &str, body: String| {
        if wanted(name) {
            sections.push(format!("# {name}\r\n{body}"));
        }
    };
    section(
        "Server",
        format!(
            "redis_version:{VERSION}\r\nredis_mode:standalone\r\nos:memory\r\narch_bits:64\r\nprocess_id:{}\r\ntcp_port:0\r\nuptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n",
            std::process::id(),
            uptime / 86_400
        ),
    );
    section(
        "Clients",
        format!("connected_clients:{clients}\r\nmaxclients:10000\r\nblocked_clients:{}\r\n", core.waiting.clients()),
    );
    section(
        "Memory",
        format!(
            "used_memory:{used}\r\nused_memory_dataset:{used}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n",
            core.config.max_memory
        ),
    );
    section("Persistence", "loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n".to_owned());
    section(
        "Stats",
        format!(
            "total_connections_received:{}\r\ntotal_commands_processed:{}\r\nexpired_keys:{}\r\nevicted_keys:0\r\npubsub_channels:{}\r\npubsub_patterns:{}\r\n",
            core.stats.connections,
            core.stats.commands,
            core.stats.expired,
            core.subscribers.channels.len(),
            core.subscribers.patterns.len()
        ),
    );
    section("Replication", format!("role:{role}\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n"));
    section("Cluster", "cluster_enabled:0\r\n".to_owned());
    let mut keyspace = String::new();
    for (i, db) in core.dbs.iter().enumerate().filter(|(_, db)| !db.keys.is_empty()) {
        let _ = write!(keyspace, "db{i}:keys={},expires={},avg_ttl=0\r\n", db.keys.len(), db.expires.len());
    }
    section("Keyspace", keyspace);
    Ok(Reply::Verbatim(sections.join("\r\n").into_bytes()))
}
