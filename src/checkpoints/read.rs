//! Reads a checkpoint, a page of the history, and the names of threads.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::call::{self, ScriptCall};
use super::part::Part;
use super::{Checkpoints, scripts};
use crate::connection::Packed;
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::json::same;
use crate::keys::checkpoints::SHARES;
use crate::resp::Reply;
use crate::verb::Call;

/// The largest number of checkpoints in one page.
const PAGE: u64 = 100;

/// A checkpoint as the server gives it.
pub(super) struct Loaded {
    info: Reply,
    /// Alternating names and values.
    values: Vec<Reply>,
    /// Alternating tasks, names and values.
    pending: Vec<Reply>,
    /// Alternating names and versions.
    versions: Vec<Reply>,
}

impl Loaded {
    /// Reads an answer. `None` if there is no such checkpoint, or its only value is missing.
    pub(super) fn read(reply: Reply) -> Result<Option<Self>> {
        if reply == Reply::Nil {
            return Ok(None);
        }
        let [info, values, pending, versions] =
            <[Reply; 4]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
        let (values, pending, versions) = (call::array(values)?, call::array(pending)?, call::array(versions)?);
        let is_lost = matches!(&values[..], [Reply::Bulk(name), Reply::Nil] if name.is_empty());
        Ok((!is_lost).then_some(Self { info, values, pending, versions }))
    }

    pub(super) fn meta(&self) -> Result<Bytes> {
        let Reply::Array(info) = &self.info else { return Err(Error::unexpected_reply()) };
        call::bytes(info.get(5).cloned().unwrap_or(Reply::Nil))
    }

    /// The parts, as another thread saves them. A state of one part has the version of its checkpoint.
    pub(super) fn parts(&self) -> Vec<Part> {
        let bytes = |reply: &Reply| call::bytes(reply.clone()).unwrap_or_default();
        let pairs = self.values.chunks_exact(2).zip(self.versions.chunks_exact(2));
        pairs
            .map(|(value, version)| {
                let name = bytes(&value[0]);
                let version = if name.is_empty() { Bytes::new() } else { bytes(&version[1]) };
                Part { name, version, value: call::bytes(value[1].clone()).ok() }
            })
            .collect()
    }

    /// `[info, [name, value, …], [task, name, value, …], [name, version, …]]`. Values are JSON; with `raw` they are bytes.
    pub(super) fn outcome(self, raw: bool) -> Result<Outcome> {
        let value = |reply: Reply| {
            Ok(match reply {
                Reply::Nil => Outcome::Null,
                other if raw => Outcome::Bytes(call::bytes(other)?),
                other => Outcome::Json(call::bytes(other)?),
            })
        };
        let list = |items: Vec<Reply>, of: usize| -> Result<Outcome> {
            let outcomes = items
                .into_iter()
                .enumerate()
                .map(|(at, item)| if at % of == of - 1 { value(item) } else { call::bytes(item).map(Outcome::Text) });
            outcomes.collect::<Result<_>>().map(Outcome::List)
        };
        let versions = self.versions.into_iter().map(|text| call::bytes(text).map(Outcome::Text));
        Ok(Outcome::List(vec![
            call::info(self.info)?,
            list(self.values, 2)?,
            list(self.pending, 3)?,
            Outcome::List(versions.collect::<Result<_>>()?),
        ]))
    }
}

/// Arguments: thread, id or null for the latest, options as JSON. Gives [`Loaded::outcome`], or null.
pub(super) fn load(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let thread = call::name(call, 0, "thread")?;
        let id = if call.at(1) == Arg::Null { "" } else { call::name(call, 1, "id")? };
        let mut options = call::options(call, 2)?;
        let scope = call::scope_option(&mut options)?;
        let raw = options.flag("raw")?.unwrap_or(false);
        options.finish()?;
        let script = ScriptCall::of(&scripts::LOAD, &inner, thread).arg(&scope).arg(id);
        let reply = inner.manager.call(script.reads(call.operation()));
        Ok(async move {
            match Loaded::read(reply.await?)? {
                Some(found) => found.outcome(raw),
                None => Ok(Outcome::Null),
            }
        })
    });
}

/// Arguments: thread, options as JSON (`all`: all scopes; `before` is then scope, NUL and id). Gives a page of checkpoints without their
/// states, the greatest id first, whose metadata match `where`; and the start of the next page, or null.
pub(super) fn history(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let thread = call::name(call, 0, "thread")?;
        let mut options = call::options(call, 1)?;
        let scope = call::scope_option(&mut options)?;
        let all = options.flag("all")?.unwrap_or(false);
        let before = options.text("before")?.unwrap_or_default();
        let wanted = match options.take("where") {
            None => serde_json::Map::new(),
            Some(Value::Object(wanted)) if !wanted.contains_key("$") => wanted,
            Some(other) => return Err(options.wrong("where", "an object", &other)),
        };
        let most = options.whole("limit", 1..=PAGE)?.unwrap_or(PAGE);
        options.finish()?;
        let script = ScriptCall::of(&scripts::HISTORY, &inner, thread).arg(scope).arg(before).number(most).flag(all);
        let reply = inner.manager.call(script.reads(call.operation()));
        Ok(async move {
            let page = call::array(reply.await?)?;
            let is_last = (page.len() as u64) < most;
            let mut next = Outcome::Null;
            if let (false, Some(Reply::Array(last))) = (is_last, page.last()) {
                let (scope, id) = (call::bytes(last[0].clone())?, call::bytes(last[1].clone())?);
                next = Outcome::Text(if all { [&scope[..], b"\0", &id].concat().into() } else { id });
            }
            let found = page.into_iter().filter(|info| has(info, &wanted)).map(call::info);
            Ok(Outcome::List(vec![next, Outcome::List(found.collect::<Result<_>>()?)]))
        })
    });
}

/// Whether the metadata have every wanted member.
fn has(info: &Reply, wanted: &serde_json::Map<String, Value>) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Reply::Array(parts) = info else { return false };
    let Some(Reply::Bulk(meta)) = parts.get(5) else { return false };
    let Ok(Value::Object(meta)) = serde_json::from_slice(meta) else { return false };
    wanted.iter().all(|(name, value)| meta.get(name).is_some_and(|other| same(value, other)))
}

/// Arguments: the cursor or absent, the prefix of the threads. Gives the next cursor or null, and threads.
pub(super) fn threads(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (share, cursor) = match call.at(0) {
            Arg::Absent => (0, "0".to_owned()),
            Arg::Text(written) => place(written).ok_or_else(Error::unexpected_reply)?,
            other => return Err(call.wrong("cursor", "what the call before gave", other)),
        };
        let prefix = match call.at(1) {
            Arg::Absent => "",
            Arg::Text(prefix) => prefix,
            other => return Err(call.wrong("prefix", "a string", other)),
        };
        let keys = inner.namespace.threads(share);
        let packed = Packed::sized(keys.states.len() * 2 + prefix.len() + 128)
            .script(&scripts::THREADS, 2, 2)
            .word(&keys.states)
            .word(&keys.threads)
            .word(cursor.as_bytes())
            .word(prefix.as_bytes());
        let reply = inner.manager.call(packed.runs(call.operation(), &scripts::THREADS));
        Ok(async move {
            let [next, found] =
                <[Reply; 2]>::try_from(call::array(reply.await?)?).map_err(|_| Error::unexpected_reply())?;
            let next = call::bytes(next)?;
            let next = match (&next[..], share + 1) {
                (b"0", SHARES) => Outcome::Null,
                (b"0", following) => Outcome::Text(format!("{following} 0").into()),
                (cursor, _) => Outcome::Text([share.to_string().as_bytes(), b" ", cursor].concat().into()),
            };
            let found = call::array(found)?.into_iter().map(|thread| call::bytes(thread).map(Outcome::Text));
            Ok(Outcome::List(vec![next, Outcome::List(found.collect::<Result<_>>()?)]))
        })
    });
}

/// `<share> <cursor>`.
fn place(written: &str) -> Option<(u32, String)> {
    let (share, cursor) = written.split_once(' ')?;
    let share = share.parse().ok().filter(|share| *share < SHARES)?;
    cursor.bytes().all(|byte| byte.is_ascii_digit()).then(|| (share, cursor.to_owned()))
}
