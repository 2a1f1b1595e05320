//! Heartbeats: what is said of workers, and what comes back. Those asked for in one batch of calls travel in one call.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::call::millis;
use super::members::Member;
use super::register::{self, metadata, status, worker_id};
use super::scripts;
use super::worker;
use super::{Inner, Registry};
use crate::arguments::Arguments;
use crate::connection::Packed;
use crate::crossing::{Answer, Arg, Outcome, at_end_of_batch};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::verb::Call;

/// Workers in one call.
const CHUNK: usize = 128;
/// Commands that may wait for one worker.
const MAX_COMMANDS: u64 = 100;
const MAX_COMMAND: usize = 64 * 1_024;
const COMMANDS: [&str; 4] = ["pause", "resume", "drain", "shutdown"];
const MAX_LOAD: f64 = 1e9;

/// A worker, and what is to be said of it once.
pub(super) struct Beat {
    id: Bytes,
    status: Option<Bytes>,
    metadata: Option<Bytes>,
    waiting: Vec<Answer>,
}

impl Beat {
    /// That it is still there.
    pub(super) fn plain(id: Bytes) -> Self {
        Self { id, status: None, metadata: None, waiting: Vec::new() }
    }

    /// Tells whoever waits for it.
    fn answer(self, alive: &Result<bool>) {
        self.waiting.into_iter().for_each(|answer| answer.give(alive.clone().map(Outcome::Bool)));
    }
}

/// Heartbeats that were asked for in the present batch of calls.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<Bytes, Beat>>);

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

/// What is said of a worker with its next heartbeats.
fn apply(member: &mut Member, args: &Arguments<'_>) -> Result<()> {
    let load = match args.at(1) {
        Arg::Absent => None,
        Arg::Number(load) if (0.0..=MAX_LOAD).contains(&load) => Some(load),
        other => return Err(args.wrong("load", &format!("a number from 0 to {MAX_LOAD}"), other)),
    };
    let reported = match args.at(2) {
        Arg::Absent => None,
        Arg::Bool(reported) => Some(reported),
        other => return Err(args.wrong("degraded", "true or false", other)),
    };
    if let Some(load) = load {
        member.say(|member| member.load = decimal(load));
    }
    if let Some(reported) = reported {
        member.say(|member| member.reported = reported);
    }
    Ok(())
}

/// In millionths, without trailing zeros: short, and the same for the same number.
fn decimal(load: f64) -> String {
    let text = format!("{load:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Arguments: id, load, degraded. What goes with the next heartbeat.
pub(super) fn report(registry: &Registry, call: Call<'_>) {
    let noted = worker_id(&call, 0)
        .and_then(|id| registry.0.members.with(id, |member| apply(member, &call)).unwrap_or(Ok(())))
        .map(|()| Outcome::Nothing);
    call.give(noted);
}

/// Arguments: id, load, degraded, status, metadata. Gives false if this registry's registration of it is over.
pub(super) fn heartbeat(registry: &Registry, call: Call<'_>) {
    let inner = &registry.0;
    let said = worker_id(&call, 0).and_then(|id| {
        let (status, metadata) = (status(&call, 3)?, metadata(&call, 4)?);
        let applied = inner.members.with(id, |member| {
            apply(member, &call)?;
            if let Some(status) = &status {
                member.status = status.clone();
            }
            if let Some(metadata) = &metadata {
                member.metadata = metadata.clone();
            }
            Ok::<_, Error>(member.lost.is_none().then(|| member.registration.id.clone()))
        });
        if matches!(applied, Some(Ok(None))) {
            register::again(inner);
        }
        Ok((applied.transpose()?.flatten(), status, metadata))
    });
    let (id, status, metadata) = match said {
        Ok((Some(id), status, metadata)) => (id, status, metadata),
        Ok(_) => return call.give(Ok(Outcome::Bool(false))),
        Err(error) => return call.give(Err(error)),
    };
    let mut asked = inner.asked.0.lock();
    if asked.is_empty() {
        let inner = Arc::clone(inner);
        at_end_of_batch(move || flush(&inner));
    }
    let beat = asked.entry(id.clone()).or_insert_with(|| Beat::plain(id));
    beat.status = status.or(beat.status.take());
    beat.metadata = metadata.or(beat.metadata.take());
    beat.waiting.push(call.answer);
}

/// Sends what was asked for.
fn flush(inner: &Arc<Inner>) {
    let asked = std::mem::take(&mut *inner.asked.0.lock());
    let mut beats: Vec<Beat> = asked.into_values().collect();
    while !beats.is_empty() {
        let rest = beats.split_off(beats.len().min(CHUNK));
        let sent = send_beats(inner, beats, false);
        lifecycle::spawn(async move {
            // Each caller has its own answer.
            let _ = sent.await;
        });
        beats = rest;
    }
}

/// Beats for all of them, and gives their waiters what came. Says whether more is due on the server.
pub(super) fn send_beats(
    inner: &Arc<Inner>,
    beats: Vec<Beat>,
    sweep: bool,
) -> impl Future<Output = Result<bool>> + Send + use<> {
    let batch = Batch::of(inner, beats);
    let reply = inner.ask(&scripts::BEAT, batch.packed(inner, sweep));
    let inner = Arc::clone(inner);
    async move { batch.answered(&inner, reply.await) }
}

/// A beat that is sent, and the registration and the command that it speaks of.
struct Sent {
    epoch: u64,
    command: u64,
    beat: Beat,
}

/// The beats of one call.
struct Batch {
    /// In the order in which the call names them.
    sent: Vec<Sent>,
    /// What the call says of them.
    words: Vec<Bytes>,
    /// How many say only that a worker is still there. They come first.
    plain: u64,
}

impl Batch {
    /// Beats of workers that are not members any more are answered at once and left out.
    fn of(inner: &Inner, beats: Vec<Beat>) -> Self {
        let (mut sent, mut others) = (Vec::with_capacity(beats.len()), Vec::new());
        let (mut words, mut more_words): (Vec<Bytes>, Vec<Bytes>) = (Vec::with_capacity(beats.len() * 2), Vec::new());
        let stalled = inner.pulse.is_stalled();
        let mut members = inner.members.lock();
        for beat in beats {
            let Some(member) = members.get_mut(&beat.id) else {
                beat.answer(&Ok(false));
                continue;
            };
            let expected = member.head(stalled);
            let one = Sent { epoch: member.epoch, command: member.command, beat };
            if !member.unacknowledged && one.beat.status.is_none() && one.beat.metadata.is_none() {
                words.extend([one.beat.id.clone(), expected]);
                sent.push(one);
                continue;
            }
            let acknowledged =
                if member.unacknowledged { Bytes::from(member.command.to_string()) } else { Bytes::new() };
            more_words.extend([
                one.beat.id.clone(),
                expected,
                acknowledged,
                one.beat.status.clone().unwrap_or_default(),
                one.beat.metadata.clone().unwrap_or_default(),
            ]);
            others.push(one);
        }
        let plain = sent.len() as u64;
        sent.append(&mut others);
        words.append(&mut more_words);
        Self { sent, words, plain }
    }

    fn packed(&self, inner: &Inner, sweep: bool) -> Packed {
        let bytes = self.words.iter().map(|word| word.len() + 8).sum::<usize>() + 256;
        let mut packed = inner
            .begin(&scripts::BEAT, &[], 6 + self.words.len(), bytes)
            .word(if sweep { b"1" } else { b"0" })
            .word(inner.process.as_bytes())
            .word(inner.pulse.report().as_bytes())
            .number(inner.process_kept_ms())
            .number(millis(inner.settings.degraded_after))
            .number(self.plain);
        for word in &self.words {
            packed = packed.word(word);
        }
        packed
    }

    /// Notes what the server said of each, and answers whoever waits. Says whether more is due on the server.
    fn answered(self, inner: &Arc<Inner>, reply: Result<Reply>) -> Result<bool> {
        let answer = reply.and_then(|reply| verdicts(&reply, self.sent.len()));
        let (now, more, mut exceptions) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let failed = Err(error);
                self.sent.into_iter().for_each(|one| one.beat.answer(&failed));
                return failed;
            }
        };
        inner.heard(now);
        inner.manager.metrics().registry_heartbeats.add(self.sent.len() as u64);
        for (place, one) in self.sent.into_iter().enumerate() {
            let alive = one.judged(inner, exceptions.remove(&place).unwrap_or(Verdict::Alive));
            one.beat.answer(&Ok(alive));
        }
        Ok(more)
    }
}

impl Sent {
    /// Notes what the server said of the worker. False where the registration is over.
    fn judged(&self, inner: &Arc<Inner>, verdict: Verdict) -> bool {
        let id = &self.beat.id;
        let alive = matches!(verdict, Verdict::Alive | Verdict::Commands(_));
        match verdict {
            Verdict::Alive => {
                inner.members.at_epoch(id, self.epoch, |member| {
                    member.unacknowledged &= member.command != self.command;
                });
            }
            Verdict::Commands(commands) => hand_on(inner, id, self.epoch, &commands),
            Verdict::Gone => register::lose(inner, id, self.epoch),
            Verdict::Superseded => register::supersede(inner, id, self.epoch),
        }
        alive
    }
}

/// What the server says of one worker.
enum Verdict {
    Alive,
    /// Each a number, a space and JSON.
    Commands(Vec<Bytes>),
    /// Forgotten, or declared crashed.
    Gone,
    /// Somebody else has registered its id.
    Superseded,
}

fn verdicts(reply: &Reply, count: usize) -> Result<(f64, bool, HashMap<usize, Verdict>)> {
    let Reply::Array(parts) = reply else { return Err(Error::unexpected_reply()) };
    let [Reply::Int(now), Reply::Int(more), exceptions @ ..] = &parts[..] else {
        return Err(Error::unexpected_reply());
    };
    let mut found = HashMap::with_capacity(exceptions.len());
    for exception in exceptions {
        let Reply::Array(words) = exception else { return Err(Error::unexpected_reply()) };
        let [Reply::Int(place), Reply::Bulk(what), rest @ ..] = &words[..] else {
            return Err(Error::unexpected_reply());
        };
        let verdict = match &what[..] {
            b"gone" | b"crashed" => Verdict::Gone,
            b"superseded" => Verdict::Superseded,
            b"commands" => Verdict::Commands(
                rest.iter()
                    .filter_map(|word| if let Reply::Bulk(command) = word { Some(command.clone()) } else { None })
                    .collect(),
            ),
            _ => return Err(Error::unexpected_reply()),
        };
        let place =
            usize::try_from(*place - 1).ok().filter(|place| *place < count).ok_or_else(Error::unexpected_reply)?;
        found.insert(place, verdict);
    }
    Ok((*now as f64, *more == 1, found))
}

/// Hands commands on that were not yet, and remembers to say so.
fn hand_on(inner: &Inner, id: &Bytes, epoch: u64, commands: &[Bytes]) {
    let mut fresh = Vec::new();
    inner.members.at_epoch(id, epoch, |member| {
        for command in commands {
            let text = String::from_utf8_lossy(command);
            let Some((number, json)) = text.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if number > member.command {
                member.command = number;
                fresh.push(json.to_owned());
            }
        }
        member.unacknowledged = true;
    });
    let damaged = fresh.extract_if(.., |json| !is_command(json)).count();
    for _ in 0..damaged {
        inner.tell_damage("command", id);
    }
    let id = Value::from(String::from_utf8_lossy(id));
    for json in fresh {
        inner.outlet.tell(format!(r#"{{"event":"command","id":{id},"command":{json}}}"#));
    }
    inner.beats.hurry();
}

/// What `send` leaves.
#[derive(Deserialize)]
struct Command {
    name: String,
    #[serde(rename = "data")]
    _data: Option<IgnoredAny>,
}

fn is_command(json: &str) -> bool {
    serde_json::from_str::<Command>(json).is_ok_and(|command| COMMANDS.contains(&&*command.name))
}

/// Arguments: id, JSON. Gives false if no such worker is registered, or this registry's registration of it is over.
pub(super) fn send(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = worker_id(call, 0)?;
        let command = call.text(1, "command")?;
        if command.len() > MAX_COMMAND {
            return Err(Error::config(format!(
                "WorkerRegistry.send: command: expected at most {MAX_COMMAND} bytes of JSON, got {}",
                command.len()
            )));
        }
        let packed = inner
            .begin(&scripts::SEND, &[], 4, id.len() + command.len() + 96)
            .word(id)
            .word(command)
            .number(MAX_COMMANDS)
            .word(inner.members.own_epoch(id).as_bytes());
        let reply = inner.ask(&scripts::SEND, packed);
        Ok(async move {
            match reply.await? {
                Reply::Int(-1) => Err(Error::new(
                    ErrorKind::Overloaded,
                    format!("WorkerRegistry.send: {MAX_COMMANDS} commands wait for that worker already"),
                )),
                reply => Ok(Outcome::Bool(worker::yes(&reply)?)),
            }
        })
    });
}

impl Inner {
    /// For how long what is said of the process outlives its last heartbeat.
    pub(super) fn process_kept_ms(&self) -> u64 {
        millis(self.settings.lease().saturating_mul(2)).max(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn a_load_is_short_and_the_same_for_the_same_number() {
        for (load, text) in
            [(0.0, "0"), (0.5, "0.5"), (1.0, "1"), (1e9, "1000000000"), (1.0 / 3.0, "0.333333"), (1e-9, "0")]
        {
            assert_eq!(decimal(load), text);
        }
    }
}
