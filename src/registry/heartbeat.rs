//! Heartbeats: what they say about workers, and the answers. Heartbeats that callers ask for in one batch travel in one call.

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

/// A worker, and the changes that one heartbeat carries.
pub(super) struct Heartbeat {
    id: Bytes,
    status: Option<Bytes>,
    metadata: Option<Bytes>,
    answers: Vec<Answer>,
}

impl Heartbeat {
    /// A heartbeat without changes.
    pub(super) fn plain(id: Bytes) -> Self {
        Self { id, status: None, metadata: None, answers: Vec::new() }
    }

    /// Answers all callers that wait for it.
    fn answer(self, alive: &Result<bool>) {
        self.answers.into_iter().for_each(|answer| answer.give(alive.clone().map(Outcome::Bool)));
    }
}

/// Heartbeats that callers asked for in the current batch of calls.
#[derive(Default)]
pub(super) struct Requested(Mutex<HashMap<Bytes, Heartbeat>>);

impl std::fmt::Debug for Requested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requested")
    }
}

/// Records what the next heartbeats report about a worker.
fn note_report(member: &mut Member, args: &Arguments<'_>) -> Result<()> {
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
        member.update(|member| member.load = decimal(load));
    }
    if let Some(reported) = reported {
        member.update(|member| member.reported = reported);
    }
    Ok(())
}

/// In millionths, without trailing zeros: short, and equal numbers give equal texts.
fn decimal(load: f64) -> String {
    let text = format!("{load:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Arguments: id, load, degraded. Recorded for the next heartbeat.
pub(super) fn report(registry: &Registry, call: Call<'_>) {
    let noted = worker_id(&call, 0)
        .and_then(|id| registry.0.members.with(id, |member| note_report(member, &call)).unwrap_or(Ok(())))
        .map(|()| Outcome::Nothing);
    call.give(noted);
}

/// Arguments: id, load, degraded, status, metadata. Returns false if this registry's registration of the worker has ended.
pub(super) fn heartbeat(registry: &Registry, call: Call<'_>) {
    let inner = &registry.0;
    let read = worker_id(&call, 0).and_then(|id| {
        let (status, metadata) = (status(&call, 3)?, metadata(&call, 4)?);
        let applied = inner.members.with(id, |member| {
            note_report(member, &call)?;
            if let Some(status) = &status {
                member.status = status.clone();
            }
            if let Some(metadata) = &metadata {
                member.metadata = metadata.clone();
            }
            Ok::<_, Error>(member.lost.is_none().then(|| member.registration.id.clone()))
        });
        if matches!(applied, Some(Ok(None))) {
            register::reregister_soon(inner);
        }
        Ok((applied.transpose()?.flatten(), status, metadata))
    });
    let (id, status, metadata) = match read {
        Ok((Some(id), status, metadata)) => (id, status, metadata),
        Ok(_) => return call.give(Ok(Outcome::Bool(false))),
        Err(error) => return call.give(Err(error)),
    };
    let mut requested = inner.requested.0.lock();
    if requested.is_empty() {
        let inner = Arc::clone(inner);
        at_end_of_batch(move || flush(&inner));
    }
    let heartbeat = requested.entry(id.clone()).or_insert_with(|| Heartbeat::plain(id));
    heartbeat.status = status.or(heartbeat.status.take());
    heartbeat.metadata = metadata.or(heartbeat.metadata.take());
    heartbeat.answers.push(call.answer);
}

/// Sends the heartbeats that callers asked for.
fn flush(inner: &Arc<Inner>) {
    let requested = std::mem::take(&mut *inner.requested.0.lock());
    let mut heartbeats: Vec<Heartbeat> = requested.into_values().collect();
    while !heartbeats.is_empty() {
        let rest = heartbeats.split_off(heartbeats.len().min(CHUNK));
        let sent = send_heartbeats(inner, heartbeats, false);
        lifecycle::spawn(async move {
            // Each caller gets its own answer.
            let _ = sent.await;
        });
        heartbeats = rest;
    }
}

/// Sends heartbeats, and gives the callers their answers. Returns whether more is due on the server.
pub(super) fn send_heartbeats(
    inner: &Arc<Inner>,
    heartbeats: Vec<Heartbeat>,
    sweep: bool,
) -> impl Future<Output = Result<bool>> + Send + use<> {
    let batch = Batch::of(inner, heartbeats);
    let reply = inner.call(&scripts::HEARTBEAT, batch.packed(inner, sweep));
    let inner = Arc::clone(inner);
    async move { batch.answered(&inner, reply.await) }
}

/// A heartbeat in flight, with the epoch and the last command of its worker when it was sent.
struct Sent {
    epoch: u64,
    command: u64,
    heartbeat: Heartbeat,
}

/// The heartbeats of one call.
struct Batch {
    /// In the order of the call's arguments.
    sent: Vec<Sent>,
    /// The arguments of the call.
    words: Vec<Bytes>,
    /// How many heartbeats carry no change. They come first.
    plain: u64,
}

impl Batch {
    /// Heartbeats of workers that are not members any more are answered at once and left out.
    fn of(inner: &Inner, heartbeats: Vec<Heartbeat>) -> Self {
        let (mut sent, mut others) = (Vec::with_capacity(heartbeats.len()), Vec::new());
        let (mut words, mut more_words): (Vec<Bytes>, Vec<Bytes>) =
            (Vec::with_capacity(heartbeats.len() * 2), Vec::new());
        let stalled = inner.event_loop.is_stalled();
        let mut members = inner.members.lock();
        for heartbeat in heartbeats {
            let Some(member) = members.get_mut(&heartbeat.id) else {
                heartbeat.answer(&Ok(false));
                continue;
            };
            let expected = member.state_prefix(stalled);
            let one = Sent { epoch: member.epoch, command: member.last_command, heartbeat };
            if !member.unacknowledged && one.heartbeat.status.is_none() && one.heartbeat.metadata.is_none() {
                words.extend([one.heartbeat.id.clone(), expected]);
                sent.push(one);
                continue;
            }
            let acknowledged =
                if member.unacknowledged { Bytes::from(member.last_command.to_string()) } else { Bytes::new() };
            more_words.extend([
                one.heartbeat.id.clone(),
                expected,
                acknowledged,
                one.heartbeat.status.clone().unwrap_or_default(),
                one.heartbeat.metadata.clone().unwrap_or_default(),
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
            .begin(&scripts::HEARTBEAT, &[], 6 + self.words.len(), bytes)
            .word(if sweep { b"1" } else { b"0" })
            .word(inner.process.as_bytes())
            .word(inner.event_loop.report().as_bytes())
            .number(inner.process_kept_ms())
            .number(millis(inner.settings.degraded_after))
            .number(self.plain);
        for word in &self.words {
            packed = packed.word(word);
        }
        packed
    }

    /// Records the server's answer about each worker, and answers the callers. Returns whether more is due on the server.
    fn answered(self, inner: &Arc<Inner>, reply: Result<Reply>) -> Result<bool> {
        let answer = reply.and_then(|reply| statuses(&reply, self.sent.len()));
        let (now, more, mut exceptions) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let failed = Err(error);
                self.sent.into_iter().for_each(|one| one.heartbeat.answer(&failed));
                return failed;
            }
        };
        inner.note_server_time(now);
        inner.manager.metrics().registry_heartbeats.add(self.sent.len() as u64);
        for (place, one) in self.sent.into_iter().enumerate() {
            let alive = one.record(inner, exceptions.remove(&place).unwrap_or(Status::Alive));
            one.heartbeat.answer(&Ok(alive));
        }
        Ok(more)
    }
}

impl Sent {
    /// Records the server's answer about this worker. Returns false if the registration has ended.
    fn record(&self, inner: &Arc<Inner>, status: Status) -> bool {
        let id = &self.heartbeat.id;
        let alive = matches!(status, Status::Alive | Status::Commands(_));
        match status {
            Status::Alive => {
                inner.members.at_epoch(id, self.epoch, |member| {
                    member.unacknowledged &= member.last_command != self.command;
                });
            }
            Status::Commands(commands) => deliver_commands(inner, id, self.epoch, &commands),
            Status::Gone => register::lost(inner, id, self.epoch),
            Status::Superseded => register::superseded(inner, id, self.epoch),
        }
        alive
    }
}

/// The server's answer about one worker.
enum Status {
    Alive,
    /// Each is a number, a space and JSON.
    Commands(Vec<Bytes>),
    /// The registration is unknown, or was declared crashed.
    Gone,
    /// The id was registered again.
    Superseded,
}

fn statuses(reply: &Reply, count: usize) -> Result<(f64, bool, HashMap<usize, Status>)> {
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
        let status = match &what[..] {
            b"gone" | b"crashed" => Status::Gone,
            b"superseded" => Status::Superseded,
            b"commands" => Status::Commands(
                rest.iter()
                    .filter_map(|word| if let Reply::Bulk(command) = word { Some(command.clone()) } else { None })
                    .collect(),
            ),
            _ => return Err(Error::unexpected_reply()),
        };
        let place =
            usize::try_from(*place - 1).ok().filter(|place| *place < count).ok_or_else(Error::unexpected_reply)?;
        found.insert(place, status);
    }
    Ok((*now as f64, *more == 1, found))
}

/// Delivers the commands that are new, and has the next heartbeat acknowledge them.
fn deliver_commands(inner: &Inner, id: &Bytes, epoch: u64, commands: &[Bytes]) {
    let mut fresh = Vec::new();
    inner.members.at_epoch(id, epoch, |member| {
        for command in commands {
            let text = String::from_utf8_lossy(command);
            let Some((number, json)) = text.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            if number > member.last_command {
                member.last_command = number;
                fresh.push(json.to_owned());
            }
        }
        member.unacknowledged = true;
    });
    let damaged = fresh.extract_if(.., |json| !is_command(json)).count();
    for _ in 0..damaged {
        inner.report_damaged("command", id);
    }
    let id = Value::from(String::from_utf8_lossy(id));
    for json in fresh {
        inner.outlet.emit(format!(r#"{{"event":"command","id":{id},"command":{json}}}"#));
    }
    inner.heartbeat_task.run_now();
}

/// A command as `send` stores it.
#[derive(Deserialize)]
struct Command {
    name: String,
    #[serde(rename = "data")]
    _data: Option<IgnoredAny>,
}

fn is_command(json: &str) -> bool {
    serde_json::from_str::<Command>(json).is_ok_and(|command| COMMANDS.contains(&&*command.name))
}

/// Arguments: id, JSON. Returns false if the worker is not registered, or this registry's registration of it has ended.
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
        let reply = inner.call(&scripts::SEND, packed);
        Ok(async move {
            match reply.await? {
                Reply::Int(-1) => Err(Error::new(
                    ErrorKind::Overloaded,
                    format!("WorkerRegistry.send: {MAX_COMMANDS} commands wait for that worker already"),
                )),
                reply => Ok(Outcome::Bool(worker::bool_reply(&reply)?)),
            }
        })
    });
}

impl Inner {
    /// How long the record of the process outlives its last heartbeat.
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
