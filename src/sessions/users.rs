//! The lists of users' sessions. The folder's `mod.rs` explains how a list stays correct.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::calls::{name, named, script};
use super::{Sessions, ids, record, scripts};
use crate::connection::{Command, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// How many entries are checked when one is written.
const CHECKED: u64 = 2;
/// How many entries a page has.
const PAGE: u64 = 100;
/// The least age of an entry without a session to be removed. The session of a younger entry may be about to be created.
const LEAST_AGE: Duration = Duration::from_mins(1);
/// The least time for which a destroyed session stays marked. It is longer than any call that began before may take.
const LEAST_MARK: Duration = Duration::from_mins(10);

/// An entry of a list, and its session, if the session belongs to the user.
struct Entry {
    id: Bytes,
    session: Option<Outcome>,
}

/// The place in a list after an entry.
#[derive(Default)]
struct Place {
    last: Bytes,
    at: Bytes,
}

impl Sessions {
    fn age(&self) -> Duration {
        LEAST_AGE.max(self.manager.config().command_timeout * 4)
    }

    fn mark_for(&self) -> u64 {
        let least = LEAST_MARK.max(self.age());
        self.settings.ttl.max(u64::try_from(least.as_millis()).unwrap_or(u64::MAX))
    }

    /// Writes the entry of a session into the list of its user. The session may live for `ttl` ms.
    pub(super) async fn enter(&self, user: &[u8], id: &[u8], ttl: u64) -> Result<()> {
        let list = self.namespace.sessions_of(user);
        let age = self.age().as_millis().to_string();
        // A session writes its entry once in `touch_every`. The list outlives a write that is late, or that is lost once.
        let stays = ttl.saturating_add(self.settings.touch_every.saturating_mul(3)).to_string();
        let packed = Packed::sized(list.len() + id.len() + 128)
            .script(&scripts::ENLIST, 1, 4)
            .word(&list)
            .words([id, stays.as_bytes(), age.as_bytes()])
            .number(CHECKED);
        let reply = self.ask(packed.runs_repeatable(operation(), &scripts::ENLIST), true).await?;
        let Reply::Array(old) = reply else { return Err(Error::unexpected_reply()) };
        let old: Vec<_> =
            old.into_iter().filter_map(|id| if let Reply::Bulk(id) = id { Some(id) } else { None }).collect();
        if !old.is_empty() {
            let (sessions, user) = (self.clone(), Bytes::copy_from_slice(user));
            // The call does not wait for the check. If it fails, the next write checks the entries again.
            lifecycle::spawn(async move { drop(sessions.look(&user, old).await) });
        }
        Ok(())
    }

    /// Checks which of the sessions exist and belong to the user, and updates the list.
    async fn look(&self, user: &Bytes, ids: Vec<Bytes>) -> Result<Vec<Entry>> {
        let looks: Vec<Command> = ids
            .iter()
            .map(|id| {
                let args = [b"0".as_slice(), b"0", b"0"];
                script(self, &scripts::TOUCH, id, args).runs_repeatable(operation(), &scripts::TOUCH)
            })
            .collect();
        let mut entries = Vec::with_capacity(ids.len());
        for (id, reply) in ids.into_iter().zip(self.ask_all(looks).await?) {
            let is_theirs =
                matches!(&reply, Reply::Array(parts) if matches!(parts.last(), Some(Reply::Bulk(of)) if of == user));
            let session = if is_theirs { Some(record::session(reply, self.manager.metrics())?) } else { None };
            entries.push(Entry { id, session });
        }
        let signs = entries.iter().map(|entry| (entry.session.is_some(), &entry.id));
        self.tidy(user, self.age(), signs).await?;
        Ok(entries)
    }

    /// Updates the list of a user. `signs` says which sessions exist. Entries without a session are removed from the age `age` on, because
    /// the session of a younger entry may be about to be created.
    async fn tidy<'a>(
        &self,
        user: &[u8],
        age: Duration,
        signs: impl ExactSizeIterator<Item = (bool, &'a Bytes)>,
    ) -> Result<()> {
        if signs.len() == 0 {
            return Ok(());
        }
        let list = self.namespace.sessions_of(user);
        let packed = Packed::sized(list.len() + 64 * signs.len())
            .script(&scripts::TIDY, 1, 1 + signs.len())
            .word(&list)
            .word(age.as_millis().to_string().as_bytes());
        let packed = signs.fold(packed, |packed, (is_there, id)| {
            packed.word(&[if is_there { b"+" } else { b"-" }, &id[..]].concat())
        });
        self.ask(packed.runs_repeatable(operation(), &scripts::TIDY), true).await.map(drop)
    }

    /// The answers to any number of commands, which are sent together.
    async fn ask_all(&self, commands: Vec<Command>) -> Result<Vec<Reply>> {
        if let Some(reach) = &self.reach {
            reach.gate().await?;
        }
        // All commands are accepted before the first answer is awaited.
        let asked: Vec<_> = commands.into_iter().map(|command| self.manager.call(command)).collect();
        let mut replies = Vec::with_capacity(asked.len());
        for answer in asked {
            let answer = answer.await;
            if let (Some(reach), Err(error)) = (&self.reach, &answer) {
                reach.note(error);
            }
            replies.push(answer?);
        }
        Ok(replies)
    }

    /// The next page of a list, and the place after it; `None` at the end of the list.
    async fn ids(&self, user: &[u8], place: &Place) -> Result<(Vec<Bytes>, Option<Place>)> {
        let list = self.namespace.sessions_of(user);
        let packed = Packed::sized(list.len() + place.last.len() + 64)
            .script(&scripts::PAGE, 1, 3)
            .words([&list[..], &place.last, &place.at])
            .number(PAGE);
        let Reply::Array(parts) = self.ask(packed.runs_repeatable(operation(), &scripts::PAGE), false).await? else {
            return Err(Error::unexpected_reply());
        };
        let mut ids = Vec::with_capacity(parts.len() / 2);
        let mut next = None;
        for pair in parts.chunks_exact(2) {
            let [Reply::Bulk(id), Reply::Bulk(at)] = pair else { return Err(Error::unexpected_reply()) };
            ids.push(id.clone());
            next = Some(Place { last: id.clone(), at: at.clone() });
        }
        Ok((ids, next))
    }

    /// Destroys a session; with a user only a session of this user. Returns whether there was one.
    async fn end(&self, id: &[u8], user: &[u8], operation: Operation) -> Result<bool> {
        let (token, stays) = (ids::token(), self.mark_for().to_string());
        let packed = script(self, &scripts::DESTROY, id, [token.as_bytes(), stays.as_bytes(), user]);
        let reply = self.ask(packed.runs_repeatable(operation, &scripts::DESTROY), true).await?;
        let (was_there, owner) = record::count_and_user(reply)?;
        if user.is_empty() && !owner.is_empty() {
            // The session is destroyed. If its entry stays, a later check removes it.
            let (sessions, id) = (self.clone(), Bytes::copy_from_slice(id));
            lifecycle::spawn(async move {
                drop(sessions.tidy(&owner, Duration::ZERO, std::iter::once((false, &id))).await);
            });
        }
        Ok(was_there == 1)
    }
}

/// The operation of the list's scripts.
fn operation() -> Operation {
    static OPERATION: std::sync::LazyLock<Operation> = std::sync::LazyLock::new(|| Operation::named("sessions.users"));
    *OPERATION
}

/// Argument: id.
pub(super) fn destroy(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let (id, operation) = (name(call, 0, "id")?.to_vec(), call.operation());
        Ok(async move { sessions.end(&id, b"", operation).await.map(Outcome::Bool) })
    });
}

/// Argument: id. Returns the new id and the session, or null.
pub(super) fn regenerate(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let (old, operation) = (Bytes::copy_from_slice(name(call, 0, "id")?), call.operation());
        Ok(async move {
            let args = [b"0".as_slice(), b"0", b"0"];
            let look = script(&sessions, &scripts::TOUCH, &old, args).runs_repeatable(operation, &scripts::TOUCH);
            let user = match sessions.ask(look, false).await? {
                Reply::Array(parts) => match parts.into_iter().last() {
                    Some(Reply::Bulk(user)) => user,
                    _ => return Err(Error::unexpected_reply()),
                },
                _ => return Ok(Outcome::Null),
            };
            let new = ids::id(Some(&old));
            if !user.is_empty() {
                sessions.enter(&user, new.as_bytes(), sessions.settings.ttl).await?;
            }
            let session = sessions.run(renaming(&sessions, &old, new.as_bytes(), operation), record::session).await?;
            if !user.is_empty() {
                let gone = std::iter::once((false, &old));
                sessions.tidy(&user, Duration::ZERO, gone).await?;
            }
            Ok(match session {
                Outcome::Null => Outcome::Null,
                session => Outcome::List(vec![Outcome::Text(new.into()), session]),
            })
        })
    });
}

fn renaming(sessions: &Sessions, old: &[u8], new: &[u8], operation: Operation) -> Command {
    let (from, to) = (sessions.keys(old), sessions.keys(new));
    let (token, stays) = (ids::token(), sessions.mark_for());
    let keys = || from.all().iter().chain(to.all()).map(|key| &key[..]);
    Packed::sized(keys().map(<[u8]>::len).sum::<usize>() + 512)
        .script(&scripts::REGENERATE, keys().count(), 2)
        .words(keys())
        .word(token.as_bytes())
        .number(stays)
        .runs_repeatable(operation, &scripts::REGENERATE)
}

/// Argument: user. Returns `[id, session]` for each of the user's sessions.
pub(super) fn of_user(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let user = Bytes::copy_from_slice(name(call, 0, "user")?);
        Ok(async move {
            let (mut seen, mut found) = (HashSet::new(), Vec::new());
            let mut place = Place::default();
            loop {
                let (mut ids, next) = sessions.ids(&user, &place).await?;
                ids.retain(|id| seen.insert(id.clone()));
                for Entry { id, session } in sessions.look(&user, ids).await? {
                    found.extend(session.map(|session| Outcome::List(vec![Outcome::Text(id), session])));
                }
                match next {
                    Some(next) => place = next,
                    None => return Ok(Outcome::List(found)),
                }
            }
        })
    });
}

/// Arguments: user, options as JSON. Returns how many sessions there were.
pub(super) fn destroy_of_user(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let (user, mut options) = (Bytes::copy_from_slice(name(call, 0, "user")?), call.options(1)?);
        let except = named(&mut options, "except")?;
        options.finish()?;
        let operation = call.operation();
        Ok(async move {
            let mut destroyed = 0_u32;
            let mut place = Place::default();
            loop {
                let (ids, next) = sessions.ids(&user, &place).await?;
                let gone: Vec<_> =
                    ids.into_iter().filter(|id| except.as_ref().is_none_or(|except| except.as_bytes() != id)).collect();
                for id in &gone {
                    destroyed += u32::from(sessions.end(id, &user, operation).await?);
                }
                // After the mark none of these sessions can be created any more.
                sessions.tidy(&user, Duration::ZERO, gone.iter().map(|id| (false, id))).await?;
                match next {
                    Some(next) => place = next,
                    None => return Ok(Outcome::Number(f64::from(destroyed))),
                }
            }
        })
    });
}

/// Arguments: user, id, ms of expiry from now. Writes an entry again.
pub(super) fn enlist(sessions: &Sessions, call: Call<'_>) {
    let sessions = sessions.clone();
    call.run(|call| {
        let (user, id) = (name(call, 0, "user")?.to_vec(), name(call, 1, "id")?.to_vec());
        let lives = match call.at(2) {
            Arg::Number(ms) if ms >= 0.0 => call.millis(2, "time", 0.0)?.unwrap_or_default(),
            other => return Err(call.wrong("time", "milliseconds", other)),
        };
        Ok(async move {
            let ttl = u64::try_from(lives.as_millis()).unwrap_or(u64::MAX);
            sessions.enter(&user, &id, ttl.max(sessions.settings.ttl)).await.map(|()| Outcome::Nothing)
        })
    });
}
