//! Commands about one connection: HELLO, AUTH, SELECT, CLIENT, RESET, QUIT.

use std::fmt::Write as _;

use super::generic::db_index;
use super::{Args, Cx, int_arg, is};
use crate::embedded::client::{Client, ReplyMode};
use crate::embedded::delivery;
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::state::Pause;

/// The version of Redis whose behaviour is reproduced.
pub(in crate::embedded) const VERSION: &str = "7.0.15";
const BAD_NAME: Fault = Fault::of("ERR Client names cannot contain spaces, newlines or special characters.");

fn me<'a>(cx: &'a mut Cx<'_>) -> Result<&'a mut Client, Fault> {
    cx.core.client(cx.slot).ok_or(Fault::of("ERR no such client"))
}

pub(super) fn hello(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let mut resp3 = me(cx)?.resp3;
    if let Some(version) = args.get(1) {
        resp3 = match number::integer(version) {
            None => {
                return Err(Fault::of("ERR Protocol version is not an integer or out of range"));
            }
            Some(2) => false,
            Some(3) => true,
            Some(_) => return Err(Fault::of("NOPROTO unsupported protocol version")),
        };
    }
    let mut name = None;
    let mut i = 2;
    while i < args.len() {
        let more = args.len() - 1 - i;
        if is(args[i], "auth") && more >= 2 {
            super::auth::log_in(cx, args[i + 1], args[i + 2])?;
            i += 2;
        } else if is(args[i], "setname") && more >= 1 {
            check_name(args[i + 1])?;
            name = Some(args[i + 1].to_vec());
            i += 1;
        } else {
            return Err(Fault::new([b"ERR Syntax error in HELLO option '", c_text(args[i]), b"'"].concat()));
        }
        i += 1;
    }
    if super::auth::is_owed(cx.core, cx.slot) {
        return Err(Fault::of(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    let client = me(cx)?;
    client.resp3 = resp3;
    if let Some(name) = name {
        client.name = name;
    }
    let id = i64::try_from(client.id).unwrap_or(0);
    let fields = [
        ("server", Reply::bulk("redis")),
        ("version", Reply::bulk(VERSION)),
        ("proto", Reply::Int(if resp3 { 3 } else { 2 })),
        ("id", Reply::Int(id)),
        ("mode", Reply::bulk("standalone")),
        ("role", Reply::bulk("master")),
        ("modules", Reply::Array(Vec::new())),
    ];
    Ok(Reply::Map(fields.into_iter().flat_map(|(k, v)| [Reply::bulk(k), v]).collect()))
}

pub(super) fn select(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let db = db_index(args[1], &Fault::NOT_INTEGER)?;
    cx.db = db;
    if cx.mode != super::Mode::Script {
        me(cx)?.db = db;
    }
    Ok(Reply::OK)
}

pub(super) fn quit(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    me(cx)?.closing = true;
    Ok(Reply::OK)
}

pub(super) fn reset(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    super::transaction::discard(cx.core, cx.slot);
    cx.core.unsubscribe_all(cx.slot);
    cx.core.monitors.retain(|monitor| *monitor != cx.slot);
    let free = cx.core.config.password().is_none();
    let client = me(cx)?;
    client.authenticated = free;
    client.db = 0;
    client.resp3 = false;
    client.name.clear();
    // SKIP applies to this command.
    if client.reply_mode == ReplyMode::Off {
        client.reply_mode = ReplyMode::On;
    }
    client.no_evict = false;
    Ok(Reply::status("RESET"))
}

pub(super) fn id(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Int(i64::try_from(me(cx)?.id).unwrap_or(0)))
}

pub(super) fn getname(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    let client = me(cx)?;
    Ok(if client.name.is_empty() { Reply::Null } else { Reply::bulk(&client.name) })
}

fn check_name(name: &[u8]) -> Result<(), Fault> {
    if name.iter().all(|b| (b'!'..=b'~').contains(b)) { Ok(()) } else { Err(BAD_NAME) }
}

pub(super) fn setname(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    check_name(args[2])?;
    me(cx)?.name = args[2].to_vec();
    Ok(Reply::OK)
}

/// The address in the descriptions of a client, which has no socket.
fn address(client: &Client) -> String {
    format!("memory:{}", client.id)
}

fn flags(client: &Client) -> String {
    let mut flags = String::new();
    for (set, letter) in [
        (client.is_subscriber(), 'P'),
        (client.transaction.is_some(), 'x'),
        (client.blocked.is_some(), 'b'),
        (client.watch_broken, 'd'),
        (client.closing, 'c'),
        (client.no_evict, 'e'),
    ] {
        if set {
            flags.push(letter);
        }
    }
    if flags.is_empty() { "N".to_owned() } else { flags }
}

fn describe(client: &Client, now: i64) -> String {
    let mut text = String::new();
    let multi = client.transaction.as_ref().map_or("-1".to_owned(), |t| t.commands.len().to_string());
    let _ = write!(
        text,
        "id={} addr={} laddr=memory:0 fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={multi} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={} user=default redir=-1 resp={}",
        client.id,
        address(client),
        String::from_utf8_lossy(&client.name),
        (now - client.created).max(0) / 1000,
        (now - client.active).max(0) / 1000,
        flags(client),
        client.db,
        client.channels.len(),
        client.patterns.len(),
        client.shards.len(),
        client.input.len(),
        client.output.len(),
        client.input.capacity() + client.output.capacity(),
        client.last_command,
        if client.resp3 { 3 } else { 2 },
    );
    text
}

pub(super) fn info(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    let now = cx.now();
    Ok(Reply::Verbatim((describe(me(cx)?, now) + "\n").into_bytes()))
}

fn is_type(client: &Client, word: &[u8]) -> Result<bool, Fault> {
    match word {
        w if is(w, "normal") => Ok(!client.is_subscriber()),
        w if is(w, "pubsub") => Ok(client.is_subscriber()),
        w if is(w, "master") || is(w, "slave") || is(w, "replica") => Ok(false),
        w => Err(Fault::new([b"ERR Unknown client type '", w, b"'"].concat())),
    }
}

pub(super) fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let now = cx.now();
    let mut wanted: Option<Vec<u64>> = None;
    let mut kind = None;
    match &args[2..] {
        [] => {}
        [word, name] if is(word, "type") => {
            is_type(me(cx)?, name)?;
            kind = Some(*name);
        }
        [word, ids @ ..] if is(word, "id") && !ids.is_empty() => {
            let parse =
                |id: &&[u8]| number::integer(id).map(i64::cast_unsigned).ok_or(Fault::of("ERR Invalid client ID"));
            wanted = Some(ids.iter().map(parse).collect::<Result<_, _>>()?);
        }
        _ => return Err(Fault::SYNTAX),
    }
    let mut text = String::new();
    let mut all: Vec<&Client> = cx.core.each_client().map(|(_, c)| c).collect();
    all.sort_by_key(|c| c.id);
    for client in all {
        if wanted.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && kind.is_none_or(|k| is_type(client, k).unwrap_or(false))
        {
            text.push_str(&describe(client, now));
            text.push('\n');
        }
    }
    Ok(Reply::Verbatim(text.into_bytes()))
}

pub(super) fn kill(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let filters = &args[2..];
    let old_style = filters.len() == 1;
    if !old_style && filters.len() % 2 == 1 {
        return Err(Fault::SYNTAX);
    }
    let mut skip_me = !old_style;
    for pair in filters.chunks(2).filter(|_| !old_style) {
        match pair[0] {
            w if is(w, "id") => {
                number::unsigned(pair[1])
                    .filter(|&n| n > 0)
                    .ok_or(Fault::of("ERR client-id should be greater than 0"))?;
            }
            w if is(w, "type") => drop(is_type(me(cx)?, pair[1])?),
            w if is(w, "addr") || is(w, "laddr") => {}
            w if is(w, "user") => {
                if pair[1] != b"default" {
                    return Err(Fault::new([b"ERR No such user '", pair[1], b"'"].concat()));
                }
            }
            w if is(w, "skipme") => {
                skip_me = match pair[1] {
                    v if is(v, "yes") => true,
                    v if is(v, "no") => false,
                    _ => return Err(Fault::SYNTAX),
                }
            }
            _ => return Err(Fault::SYNTAX),
        }
    }
    let hit = |client: &Client| {
        if old_style {
            return address(client).as_bytes() == filters[0];
        }
        filters.chunks(2).all(|pair| match pair[0] {
            w if is(w, "id") => number::unsigned(pair[1]) == Some(client.id),
            w if is(w, "type") => is_type(client, pair[1]).unwrap_or(false),
            w if is(w, "addr") => address(client).as_bytes() == pair[1],
            w if is(w, "laddr") => pair[1] == b"memory:0",
            _ => true,
        })
    };
    let victims: Vec<usize> = cx
        .core
        .each_client()
        .filter(|(slot, client)| hit(client) && !(skip_me && *slot == cx.slot))
        .map(|(slot, _)| slot)
        .collect();
    for &slot in &victims {
        if slot == cx.slot {
            me(cx)?.closing = true;
        } else {
            cx.core.expect_back();
            cx.core.detach(slot);
        }
    }
    if !old_style {
        return Ok(Reply::len(victims.len()));
    }
    if victims.is_empty() { Err(Fault::of("ERR No such client")) } else { Ok(Reply::OK) }
}

pub(super) fn no_evict(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    me(cx)?.no_evict = match args[2] {
        w if is(w, "on") => true,
        w if is(w, "off") => false,
        _ => return Err(Fault::SYNTAX),
    };
    Ok(Reply::OK)
}

pub(super) fn pause(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let writes_only = match &args[3..] {
        [] => false,
        [word] if is(word, "all") => false,
        [word] if is(word, "write") => true,
        [_] => return Err(Fault::of("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(super::bad_subcommand(args)),
    };
    let ms = number::integer(args[2]).ok_or(Fault::of("ERR timeout is not an integer or out of range"))?;
    if ms < 0 {
        return Err(Fault::of("ERR timeout is negative"));
    }
    let until = cx.now().checked_add(ms).ok_or(Fault::of("ERR timeout is out of range"))?;
    cx.core.pause = Some(Pause { until, writes_only });
    Ok(Reply::OK)
}

pub(super) fn unpause(cx: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    if cx.core.pause.take().is_some() {
        delivery::resume_all(cx.core);
    }
    Ok(Reply::OK)
}

pub(super) fn reply(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let client = me(cx)?;
    match args[2] {
        w if is(w, "on") => {
            client.reply_mode = ReplyMode::On;
            Ok(Reply::OK)
        }
        w if is(w, "off") => {
            client.reply_mode = ReplyMode::Off;
            Ok(Reply::Silent)
        }
        w if is(w, "skip") => {
            if client.reply_mode == ReplyMode::On {
                client.reply_mode = ReplyMode::Skip;
            }
            Ok(Reply::Silent)
        }
        _ => Err(Fault::SYNTAX),
    }
}

pub(super) fn unblock(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let with_error = match args.get(3) {
        None => false,
        Some(word) if is(word, "timeout") => false,
        Some(word) if is(word, "error") => true,
        Some(_) => {
            return Err(Fault::of("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = int_arg(args[2])?;
    let found = cx.core.each_client().find(|(_, c)| i64::try_from(c.id) == Ok(id) && c.blocked.is_some());
    let Some((slot, client)) = found else {
        return Ok(Reply::Int(0));
    };
    let reply = if with_error {
        Reply::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec())
    } else {
        client.blocked.as_ref().map_or(Reply::Null, |b| b.wait.empty.clone())
    };
    delivery::unblock(cx.core, slot);
    delivery::deliver(cx.core, slot, &reply);
    Ok(Reply::Int(1))
}

pub(super) fn getredir(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Int(-1))
}

pub(super) fn caching(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Err(Fault::of(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

pub(super) fn tracking(_: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    match args[2] {
        w if is(w, "off") && args.len() == 3 => Ok(Reply::OK),
        w if is(w, "on") => Err(Fault::of("ERR memory:// does not track what clients cache")),
        _ => Err(Fault::SYNTAX),
    }
}

pub(super) fn trackinginfo(_: &mut Cx<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Map(vec![
        Reply::bulk("flags"),
        Reply::Set(vec![Reply::bulk("off")]),
        Reply::bulk("redirect"),
        Reply::Int(-1),
        Reply::bulk("prefixes"),
        Reply::Array(Vec::new()),
    ]))
}
