//! Streams: adding, trimming, reading.

use super::{Args, Cx, Mode, int_arg, is};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply, c_text};
use crate::embedded::stream::{Fields, Group, Id, Stream, Trim, TrimTo};

const BAD_ID: Fault = Fault::of("ERR Invalid stream ID specified as stream command argument");
/// The most entries that an approximate trim removes without LIMIT: a hundred nodes.
const DEFAULT_LIMIT: usize = 10_000;

pub(super) fn strict_id(arg: &[u8], missing: u64) -> Result<Id, Fault> {
    if arg.len() > 127 {
        return Err(BAD_ID);
    }
    Id::parse(arg, missing).ok_or(BAD_ID)
}

fn loose_id(arg: &[u8], missing: u64) -> Result<Id, Fault> {
    match arg {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => strict_id(arg, missing),
    }
}

/// Reads both ends of a range; `(` excludes an end.
pub(super) fn interval(start: &[u8], end: &[u8]) -> Result<(Id, Id), Fault> {
    let from = match start.strip_prefix(b"(") {
        Some(rest) if !rest.is_empty() => {
            strict_id(rest, 0)?.next().ok_or(Fault::of("ERR invalid start ID for the interval"))?
        }
        _ => loose_id(start, 0)?,
    };
    let to = match end.strip_prefix(b"(") {
        Some(rest) if !rest.is_empty() => {
            strict_id(rest, u64::MAX)?.previous().ok_or(Fault::of("ERR invalid end ID for the interval"))?
        }
        _ => loose_id(end, u64::MAX)?,
    };
    Ok((from, to))
}

/// The id argument of XADD.
#[derive(Debug, Clone, Copy)]
enum NewId {
    Auto,
    /// `<ms>-*`
    Within(u64),
    Exact(Id),
}

#[derive(Debug)]
struct AddOrTrim {
    trim: Option<Trim>,
    no_make: bool,
    id: NewId,
    /// The index of the first argument after the options.
    rest: usize,
}

fn parse_options(args: Args<'_>, xadd: bool) -> Result<AddOrTrim, Fault> {
    let mut parsed = AddOrTrim { trim: None, no_make: false, id: NewId::Auto, rest: args.len() };
    let mut limit = None;
    let mut i = 2;
    while i < args.len() {
        let word = args[i];
        let more = args.len() - 1 - i;
        if xadd && word == b"*" {
            parsed.rest = i + 1;
            break;
        } else if more > 0 && (is(word, "maxlen") || is(word, "minid")) {
            if parsed.trim.is_some() {
                return Err(Fault::of(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            let (trim, words) = trim_of(is(word, "minid"), &args[i + 1..])?;
            parsed.trim = Some(trim);
            i += words;
        } else if more > 0 && is(word, "limit") {
            let n = int_arg(args[i + 1])?;
            limit = Some(usize::try_from(n).map_err(|_| Fault::of("ERR The LIMIT argument must be >= 0."))?);
            i += 1;
        } else if xadd && is(word, "nomkstream") {
            parsed.no_make = true;
        } else if xadd {
            parsed.id = match word.strip_suffix(b"-*") {
                Some(ms) if !ms.contains(&b'-') => NewId::Within(strict_id(ms, 0)?.ms),
                _ => NewId::Exact(strict_id(word, 0)?),
            };
            parsed.rest = i + 1;
            break;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    bound_by(&mut parsed.trim, limit, xadd)?;
    Ok(parsed)
}

/// Reads the words after `MAXLEN` or `MINID`. Also gives how many words they are.
fn trim_of(is_min_id: bool, rest: &[&[u8]]) -> Result<(Trim, usize), Fault> {
    let mark = rest[0];
    let approximate = rest.len() >= 2 && mark == b"~";
    let words = if approximate || rest.len() >= 2 && mark == b"=" { 2 } else { 1 };
    let bound = rest[words - 1];
    let to = if is_min_id {
        TrimTo::From(strict_id(bound, 0)?)
    } else {
        let n = int_arg(bound)?;
        TrimTo::Length(usize::try_from(n).map_err(|_| Fault::of("ERR The MAXLEN argument must be >= 0."))?)
    };
    Ok((Trim { to, approximate, limit: 0 }, words))
}

/// Sets the LIMIT of a trim, or refuses it if the trim cannot have one.
fn bound_by(trim: &mut Option<Trim>, limit: Option<usize>, xadd: bool) -> Result<(), Fault> {
    match trim {
        None if limit.is_some_and(|limit| limit > 0) => {
            Err(Fault::of("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
        }
        None if !xadd => Err(Fault::of("ERR syntax error, XTRIM must be called with MAXLEN or MINID")),
        Some(trim) if limit.is_some() && !trim.approximate => {
            Err(Fault::of("ERR syntax error, LIMIT cannot be used without the special ~ option"))
        }
        Some(trim) if trim.approximate => {
            trim.limit = limit.unwrap_or(DEFAULT_LIMIT);
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(super) fn xadd(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    const TOO_SMALL: Fault =
        Fault::of("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    let parsed = parse_options(args, true)?;
    let fields = &args[parsed.rest.min(args.len())..];
    if fields.len() < 2 || fields.len() % 2 == 1 {
        return Err(Fault::arity("xadd"));
    }
    if matches!(parsed.id, NewId::Exact(id) if id == Id::MIN) {
        return Err(Fault::of("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let now = u64::try_from(cx.now()).unwrap_or(0);
    let last = match cx.stream(args[1])? {
        None if parsed.no_make => return Ok(Reply::Null),
        None => Id::MIN,
        Some(stream) => stream.last,
    };
    if last == Id::MAX {
        return Err(Fault::of("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = match parsed.id {
        NewId::Auto if now > last.ms => Id { ms: now, seq: 0 },
        NewId::Auto => last.next().ok_or(TOO_SMALL)?,
        NewId::Within(ms) if ms == last.ms => Id { ms, seq: last.seq.checked_add(1).ok_or(TOO_SMALL)? },
        NewId::Within(ms) => Id { ms, seq: 0 },
        NewId::Exact(id) => id,
    };
    if id <= last {
        return Err(TOO_SMALL);
    }
    let stream = cx.stream_or_new(args[1])?;
    stream.append(id, fields.iter().map(|f| (*f).into()).collect());
    if let Some(trim) = parsed.trim {
        stream.trim(trim);
    }
    cx.changed(args[1]);
    Ok(Reply::Bulk(id.text()))
}

pub(super) fn xtrim(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let parsed = parse_options(args, false)?;
    let (Some(stream), Some(trim)) = (cx.stream(args[1])?, parsed.trim) else {
        return Ok(Reply::Int(0));
    };
    let removed = stream.trim(trim);
    if removed > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(removed))
}

pub(super) fn xlen(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::len(cx.stream(args[1])?.map_or(0, |s| s.len())))
}

pub(super) fn xdel(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    if cx.stream(args[1])?.is_none() {
        return Ok(Reply::Int(0));
    }
    let ids = args[2..].iter().map(|a| strict_id(a, 0)).collect::<Result<Vec<Id>, Fault>>()?;
    let Some(stream) = cx.stream(args[1])? else {
        return Ok(Reply::Int(0));
    };
    let deleted = ids.into_iter().filter(|id| stream.delete(*id)).count();
    if deleted > 0 {
        cx.changed(args[1]);
    }
    Ok(Reply::len(deleted))
}

pub(super) fn xsetid(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let id = strict_id(args[2], 0)?;
    let (mut added, mut max_deleted) = (None, None);
    let mut i = 3;
    while i < args.len() {
        let Some(value) = args.get(i + 1) else {
            return Err(Fault::SYNTAX);
        };
        if is(args[i], "entriesadded") {
            let n = int_arg(value)?;
            added = Some(u64::try_from(n).map_err(|_| Fault::of("ERR entries_added must be positive"))?);
        } else if is(args[i], "maxdeletedid") {
            let deleted = strict_id(value, 0)?;
            if id < deleted {
                return Err(Fault::of(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted = Some(deleted);
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 2;
    }
    let stream = cx.stream(args[1])?.ok_or(Fault::NO_KEY)?;
    if stream.entries.last_key_value().is_some_and(|(top, _)| id < *top) {
        return Err(Fault::of("ERR The ID specified in XSETID is smaller than the target stream top item"));
    }
    if added.is_some_and(|n| n < stream.len() as u64) {
        return Err(Fault::of("ERR The entries_added specified in XSETID is smaller than the target stream length"));
    }
    stream.last = id;
    stream.added = added.unwrap_or(stream.added);
    stream.max_deleted = max_deleted.filter(|d| *d != Id::MIN).unwrap_or(stream.max_deleted);
    cx.changed(args[1]);
    Ok(Reply::OK)
}

pub(super) fn entry(id: Id, fields: &Fields) -> Reply {
    Reply::Array(vec![Reply::Bulk(id.text()), Reply::bulks(fields)])
}

fn range(cx: &mut Cx<'_>, args: Args<'_>, reverse: bool) -> Outcome {
    let (start, end) = if reverse { (args[3], args[2]) } else { (args[2], args[3]) };
    let (from, to) = interval(start, end)?;
    let mut count = None;
    let mut i = 4;
    while i < args.len() {
        if !is(args[i], "count") || i + 1 >= args.len() {
            return Err(Fault::SYNTAX);
        }
        count = Some(usize::try_from(int_arg(args[i + 1])?).unwrap_or(0));
        i += 2;
    }
    let Some(stream) = cx.stream(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    if count == Some(0) {
        return Ok(Reply::NullArray);
    }
    let n = count.unwrap_or(usize::MAX);
    let entries = stream.range(from, to);
    let shown = if reverse {
        entries.rev().take(n).map(|(id, f)| entry(id, f)).collect()
    } else {
        entries.take(n).map(|(id, f)| entry(id, f)).collect()
    };
    Ok(Reply::Array(shown))
}

pub(super) fn xrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, false)
}

pub(super) fn xrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    range(cx, args, true)
}

/// The arguments of XREAD and XREADGROUP.
#[derive(Debug, Default)]
struct Read<'a> {
    count: Option<usize>,
    /// `Some(None)` blocks for ever.
    #[expect(clippy::option_option, reason = "not to block, to block for ever, to block until")]
    block: Option<Option<i64>>,
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// The index of the first key. The index of its id is larger by `keys`.
    first: usize,
    keys: usize,
}

fn parse_read<'a>(cx: &Cx<'_>, args: Args<'a>, grouped: bool) -> Result<Read<'a>, Fault> {
    let mut read = Read::default();
    let mut i = 1;
    while i < args.len() {
        let (word, more) = (args[i], args.len() - i - 1);
        if is(word, "block") && more > 0 {
            i += 1;
            let ms = number::integer(args[i]).ok_or(Fault::of("ERR timeout is not an integer or out of range"))?;
            if ms < 0 {
                return Err(Fault::of("ERR timeout is negative"));
            }
            let at = cx.now().checked_add(ms).ok_or(Fault::of("ERR timeout is out of range"))?;
            read.block = Some((ms > 0).then_some(at));
        } else if is(word, "count") && more > 0 {
            i += 1;
            read.count = usize::try_from(int_arg(args[i])?).ok().filter(|&n| n > 0);
        } else if is(word, "streams") && more > 0 {
            read.first = i + 1;
            let rest = args.len() - read.first;
            if rest % 2 == 1 {
                return Err(Fault::of(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                ));
            }
            read.keys = rest / 2;
            break;
        } else if is(word, "group") && more >= 2 {
            if !grouped {
                return Err(Fault::of(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            read.group = Some((args[i + 1], args[i + 2]));
            i += 2;
        } else if is(word, "noack") {
            if !grouped {
                return Err(Fault::of(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            read.no_ack = true;
        } else {
            return Err(Fault::SYNTAX);
        }
        i += 1;
    }
    if read.keys == 0 {
        return Err(Fault::SYNTAX);
    }
    if grouped && read.group.is_none() {
        return Err(Fault::of("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(read)
}

fn refuse_block_in_script(cx: &Cx<'_>, read: &Read<'_>, command: &str) -> Result<(), Fault> {
    if cx.mode == Mode::Script && read.block.is_some() {
        return Err(Fault::new(format!("ERR {command} command is not allowed with BLOCK option from scripts")));
    }
    Ok(())
}

fn answer(cx: &Cx<'_>, found: Vec<(Vec<u8>, Reply)>) -> Reply {
    if cx.resp3 {
        return Reply::Map(found.into_iter().flat_map(|(k, v)| [Reply::Bulk(k), v]).collect());
    }
    Reply::Array(found.into_iter().map(|(k, v)| Reply::Array(vec![Reply::Bulk(k), v])).collect())
}

pub(super) fn xread(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let read = parse_read(cx, args, false)?;
    refuse_block_in_script(cx, &read, "xread")?;
    let retry = cx.mode == Mode::Retry;
    let mut after = Vec::with_capacity(read.keys);
    for i in read.first..read.first + read.keys {
        let arg = args[i + read.keys];
        let stream = match cx.stream(args[i]) {
            Err(_) if retry => None,
            found => found?,
        };
        after.push(match arg {
            b"$" => stream.map_or(Id::MIN, |s| s.last),
            b">" => {
                return Err(Fault::of(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            _ => strict_id(arg, 0)?,
        });
    }
    let mut found = Vec::new();
    for (i, id) in after.iter().enumerate() {
        let key = args[read.first + i];
        if retry && (!cx.core.waiting.serves(key) || !found.is_empty()) {
            continue;
        }
        let (Some(stream), Some(from)) = (cx.stream(key).ok().flatten(), id.next()) else {
            continue;
        };
        let n = read.count.unwrap_or(usize::MAX);
        let entries: Vec<Reply> = stream.range(from, Id::MAX).take(n).map(|(id, f)| entry(id, f)).collect();
        if !entries.is_empty() {
            found.push((key.to_vec(), Reply::Array(entries)));
        }
    }
    if !found.is_empty() {
        return Ok(answer(cx, found));
    }
    let Some(deadline) = read.block else {
        return Ok(Reply::NullArray);
    };
    // `$` means the present end, also when the command runs again later. So it is replaced by an id.
    let ids: Vec<Vec<u8>> = after.into_iter().map(Id::text).collect();
    let mut again = args.to_vec();
    for (i, id) in ids.iter().enumerate() {
        again[read.first + read.keys + i] = id;
    }
    cx.wait(&args[read.first..read.first + read.keys], deadline, Reply::NullArray, &again)
}

pub(super) fn xreadgroup(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let read = parse_read(cx, args, true)?;
    refuse_block_in_script(cx, &read, "xreadgroup")?;
    let Some((group, consumer)) = read.group else {
        return Err(Fault::SYNTAX);
    };
    for i in read.first..read.first + read.keys {
        if !cx.core.waiting.serves(args[i]) {
            continue;
        }
        check_group(cx, args[i], group)?;
        match args[i + read.keys] {
            b">" => {}
            b"$" => {
                return Err(Fault::of(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                ));
            }
            id => {
                strict_id(id, 0)?;
            }
        }
    }
    let mut found = Vec::new();
    let now = cx.now();
    for i in read.first..read.first + read.keys {
        let (key, id) = (args[i], args[i + read.keys]);
        if cx.mode == Mode::Retry && (!cx.core.waiting.serves(key) || !found.is_empty()) {
            continue;
        }
        let Some(stream) = cx.stream(key)? else {
            continue;
        };
        let from = if id == b">" { None } else { Some(strict_id(id, 0)?) };
        let n = read.count.unwrap_or(usize::MAX);
        let entries = match from {
            Some(after) => Some(history(stream, group, consumer, after, n, now)),
            None => deliver_new(stream, group, consumer, n, read.no_ack, now),
        };
        // A read by a group is not a change for clients that watch the key or wait for entries.
        cx.db().recount(key);
        if let Some(entries) = entries {
            found.push((key.to_vec(), Reply::Array(entries)));
        }
    }
    if !found.is_empty() {
        return Ok(answer(cx, found));
    }
    let Some(deadline) = read.block else {
        return Ok(Reply::NullArray);
    };
    cx.wait(&args[read.first..read.first + read.keys], deadline, Reply::NullArray, args)
}

fn check_group(cx: &mut Cx<'_>, key: &[u8], group: &[u8]) -> Result<(), Fault> {
    let retry = cx.mode == Mode::Retry;
    let stream = match cx.stream(key) {
        Ok(None) | Err(_) if retry => {
            return Err(Fault::of("UNBLOCKED the stream key no longer exists"));
        }
        found => found?,
    };
    if stream.is_some_and(|s| s.groups.contains_key(group)) {
        return Ok(());
    }
    if retry {
        return Err(Fault::of("NOGROUP the consumer group this client was blocked on no longer exists"));
    }
    Err(Fault::new(
        [
            b"NOGROUP No such key '",
            c_text(key),
            b"' or consumer group '",
            c_text(group),
            b"' in XREADGROUP with GROUP option",
        ]
        .concat(),
    ))
}

/// The entries that a consumer got and has not acknowledged. A deleted entry has no fields.
fn history(stream: &mut Stream, group: &[u8], consumer: &[u8], after: Id, n: usize, now: i64) -> Vec<Reply> {
    let Stream { entries, groups, .. } = stream;
    let (Some(group), Some(from)) = (groups.get_mut(group), after.next()) else {
        return Vec::new();
    };
    let owner = group.consumers.entry(consumer.into()).or_default();
    owner.seen = now;
    let ids: Vec<Id> = owner.pending.range(from..).take(n).copied().collect();
    ids.into_iter()
        .map(|id| match entries.get(&id) {
            Some(fields) => {
                if let Some(pending) = group.pending.get_mut(&id) {
                    pending.delivered = now;
                    pending.count += 1;
                }
                entry(id, fields)
            }
            None => Reply::Array(vec![Reply::Bulk(id.text()), Reply::NullArray]),
        })
        .collect()
}

/// Delivers entries that the group has not read yet to a consumer; `None` if there are none.
fn deliver_new(
    stream: &mut Stream,
    group: &[u8],
    consumer: &[u8],
    n: usize,
    no_ack: bool,
    now: i64,
) -> Option<Vec<Reply>> {
    let mut state = stream.groups.remove(group)?;
    let result = deliver_to(stream, &mut state, consumer, n, no_ack, now);
    stream.groups.insert(group.into(), state);
    result
}

fn deliver_to(
    stream: &Stream,
    group: &mut Group,
    consumer: &[u8],
    n: usize,
    no_ack: bool,
    now: i64,
) -> Option<Vec<Reply>> {
    let from = group.last.next()?;
    let found: Vec<(Id, &Fields)> = stream.range(from, Id::MAX).take(n).collect();
    if found.is_empty() {
        return None;
    }
    group.consumers.entry(consumer.into()).or_default().seen = now;
    let mut replies = Vec::with_capacity(found.len());
    for (id, fields) in found {
        group.read = match group.read {
            Some(read) if !stream.has_tombstones(Some(id)) => Some(read + 1),
            _ if stream.added > 0 => stream.counter_at(id),
            read => read,
        };
        group.last = id;
        if !no_ack {
            group.assign(id, consumer, now, 1);
        }
        replies.push(entry(id, fields));
    }
    Some(replies)
}
