//! The calls for one session: one script each.

use std::time::Duration;

use bytes::Bytes;

use super::{Sessions, ids, record, scripts, settings};
use crate::backoff::Backoff;
use crate::connection::{Command, Packed, Script};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::telemetry::Operation;
use crate::verb::Call;

/// The longest id of a session, and the longest name of a user, in bytes.
const LONGEST_NAME: usize = 512;
/// The most messages of a session.
const MOST_MESSAGES: u64 = 10_000;
/// The delays between the attempts of an `update`.
const UPDATE_BACKOFF: Backoff = Backoff { min: Duration::from_millis(1), max: Duration::from_millis(100) };

/// A call of a script with the keys of one session, and then `args`.
pub(super) fn script<const N: usize>(sessions: &Sessions, script: &Script, id: &[u8], args: [&[u8]; N]) -> Packed {
    let keys = sessions.keys(id);
    let size = keys.all().iter().map(Bytes::len).sum::<usize>() + args.iter().map(|arg| arg.len()).sum::<usize>();
    Packed::sized(size + 32 * (N + 6))
        .script(script, keys.all().len(), N)
        .words(keys.all().iter().map(|key| &key[..]))
        .words(args)
}

/// An id of a session or the name of a user.
pub(super) fn name<'a>(call: &Call<'a>, place: usize, what: &str) -> Result<&'a [u8]> {
    match call.at(place) {
        Arg::Text(text) if (1..=LONGEST_NAME).contains(&text.len()) => Ok(text.as_bytes()),
        other => Err(call.wrong(what, "a string of 1 to 512 bytes", other)),
    }
}

/// A name in options.
pub(super) fn named(options: &mut Options, name: &'static str) -> Result<Option<String>> {
    options.text_to(name, LONGEST_NAME)
}

/// JSON, no longer than `maxBytes`.
pub(super) fn json<'a>(sessions: &Sessions, call: &Call<'a>, place: usize, what: &str) -> Result<&'a [u8]> {
    let json = call.text(place, what)?;
    let most = sessions.settings.max_bytes;
    if json.len() <= most {
        return Ok(json);
    }
    let (owner, got) = (call.owner(), json.len());
    Err(Error::config(format!("{owner}: {what}: expected at most maxBytes, {most} bytes of JSON, got {got}")))
}

pub(super) fn digits(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// The arguments of `create.lua`.
pub(super) struct Creation<'a> {
    pub(super) id: &'a [u8],
    pub(super) json: &'a [u8],
    pub(super) ttl: u64,
    pub(super) user: &'a [u8],
    /// For a session of another store: for how long it is not taken over again, in ms.
    pub(super) taking: Option<u64>,
}

impl Creation<'_> {
    pub(super) fn command(&self, sessions: &Sessions, operation: Operation) -> Command {
        let (token, ttl) = (ids::token(), self.ttl.to_string());
        let (ends, taking) = (digits(sessions.settings.absolute), digits(self.taking));
        let args = [self.json, token.as_bytes(), ttl.as_bytes(), ends.as_bytes(), self.user, taking.as_bytes()];
        script(sessions, &scripts::CREATE, self.id, args).runs_repeatable(operation, &scripts::CREATE)
    }
}

/// Arguments: JSON, options as JSON. Returns the id and the outcome.
pub(super) fn create(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let json = json(&sessions, call, 0, "data")?.to_vec();
        let mut options = call.options(1)?;
        let id = named(&mut options, "id")?.unwrap_or_else(|| ids::id(None));
        let user = named(&mut options, "user")?;
        let ttl = settings::seconds(&mut options, "ttlSec", 0.001)?.unwrap_or(sessions.settings.ttl);
        options.finish()?;
        let operation = call.operation();
        Ok(async move {
            if let Some(user) = &user {
                sessions.enter(user.as_bytes(), id.as_bytes(), ttl).await?;
            }
            let user = user.as_deref().unwrap_or_default().as_bytes();
            let creation = Creation { id: id.as_bytes(), json: &json, ttl, user, taking: None };
            let written = sessions.run(creation.command(&sessions, operation), record::written).await?;
            Ok(Outcome::List(vec![Outcome::Text(id.into()), written]))
        })
    });
}

/// Arguments: id, whether the call touches the session.
pub(super) fn load(sessions: &Sessions, call: Call<'_>) {
    sessions.send(call, false, record::session, |call| {
        let touches = match call.at(1) {
            Arg::Bool(touches) => touches,
            other => return Err(call.wrong("touch", "true or false", other)),
        };
        let every = digits(touches.then_some(sessions.settings.touch_every));
        let packed = script(sessions, &scripts::LOAD, name(call, 0, "id")?, [every.as_bytes()]);
        Ok(packed.runs_repeatable(call.operation(), &scripts::LOAD))
    });
}

/// Arguments: id, attempt. Reads the session for an update. Each attempt after the first waits for a longer delay.
pub(super) fn read(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let (id, attempt) = (name(call, 0, "id")?, call.id(1)?);
        let command =
            script(&sessions, &scripts::LOAD, id, [b"".as_slice()]).runs_repeatable(call.operation(), &scripts::LOAD);
        Ok(async move {
            if let Some(attempt) = attempt.checked_sub(1) {
                tokio::time::sleep(UPDATE_BACKOFF.delay(u32::try_from(attempt).unwrap_or(u32::MAX))).await;
            }
            record::session(sessions.ask(command, false).await?, sessions.manager.metrics())
        })
    });
}

/// Arguments: id, version, ms of the session's creation, JSON, ttlSec.
pub(super) fn save(sessions: &Sessions, call: Call<'_>) {
    sessions.send(call, true, record::written, |call| {
        let (id, json) = (name(call, 0, "session.id")?, json(sessions, call, 3, "data")?);
        let version = call.count(1, "session.version")?.to_string();
        let created = call.count(2, "session.createdAt")?.to_string();
        let (ttl, every) = (digits(call.ttl(4)?), sessions.settings.touch_every.to_string());
        let args = [version.as_bytes(), created.as_bytes(), json, ttl.as_bytes(), every.as_bytes()];
        Ok(script(sessions, &scripts::SAVE, id, args).runs_repeatable(call.operation(), &scripts::SAVE))
    });
}

/// Arguments: id, ttlSec, whether the call touches the session even if no touch is due.
pub(super) fn touch(sessions: &Sessions, call: Call<'_>) {
    sessions.send(call, true, record::session, |call| {
        let (id, ttl) = (name(call, 0, "id")?, digits(call.ttl(1)?));
        let every = sessions.settings.touch_every.to_string();
        let always = if call.at(2) == Arg::Bool(true) { b"1" } else { b"0" };
        let args = [ttl.as_bytes(), every.as_bytes(), always.as_slice()];
        Ok(script(sessions, &scripts::TOUCH, id, args).runs_repeatable(call.operation(), &scripts::TOUCH))
    });
}

/// Arguments: id, JSON, limit.
pub(super) fn append(sessions: &Sessions, call: Call<'_>) {
    sessions.send(call, true, record::counted, |call| {
        let (id, json) = (name(call, 0, "id")?, json(sessions, call, 1, "message")?);
        let (token, limit) = (ids::token(), limit(call, 2)?.to_string());
        let every = sessions.settings.touch_every.to_string();
        let args = [token.as_bytes(), json, limit.as_bytes(), every.as_bytes()];
        Ok(script(sessions, &scripts::APPEND, id, args).runs_repeatable(call.operation(), &scripts::APPEND))
    });
}

/// Arguments: id, limit.
pub(super) fn recent(sessions: &Sessions, call: Call<'_>) {
    sessions.send(call, false, record::messages, |call| {
        let (id, limit) = (name(call, 0, "id")?, limit(call, 1)?.to_string());
        let packed = script(sessions, &scripts::RECENT, id, [limit.as_bytes()]);
        Ok(packed.runs_repeatable(call.operation(), &scripts::RECENT))
    });
}

fn limit(call: &Call<'_>, place: usize) -> Result<u64> {
    match call.count(place, "limit") {
        Ok(limit) if limit <= MOST_MESSAGES => Ok(limit),
        _ => Err(call.wrong("limit", "a whole number from 1 to 10000", call.at(place))),
    }
}

/// Counts a call that was answered without Redis.
pub(super) fn degraded(sessions: &Sessions, call: Call<'_>) {
    call.at_once(|_| {
        sessions.manager.metrics().session_degraded.add(1);
        Ok(Outcome::Nothing)
    });
}

/// Answers when Redis is back: true, or false if the manager was closed.
pub(super) fn back(sessions: &Sessions, call: Call<'_>) {
    let reach = sessions.reach.clone();
    call.run(|_| {
        Ok(async move {
            Ok(Outcome::Bool(match reach {
                Some(reach) => reach.back().await,
                None => true,
            }))
        })
    });
}

/// Calls go to Redis again.
pub(super) fn resume(sessions: &Sessions, call: Call<'_>) {
    call.at_once(|_| {
        if let Some(reach) = &sessions.reach {
            reach.resume();
        }
        Ok(Outcome::Nothing)
    });
}
