//! Changes of one job, and of many jobs at once.

use std::sync::Arc;

use bytes::Bytes;

use super::options::{MAX_DELAY_MS, MAX_PRIORITY, check_data};
use super::outbox::deliver_messages;
use super::reading::{self, StoredOptions, job_id, no_such_job};
use super::record::State;
use super::scripts::{self, ScriptCall, array, bytes, integer, operation, plain};
use super::{Core, Queue, outbox, paged_listing};
use crate::arguments::Arguments;
use crate::connection::{Cursor, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::queue::{Part, Prefix};
use crate::resp::Reply;
use crate::verb::Call;

/// The longest line of a job's log, in bytes, and how many lines are kept.
const MAX_LINE: usize = 64 * 1024;
const MAX_LINES: u64 = 1_000;
/// The most jobs that one script removes.
const BATCH: u64 = 150;

pub(super) fn pause(queue: &Queue, call: Call<'_>) {
    set_paused(queue, true, call);
}

pub(super) fn resume(queue: &Queue, call: Call<'_>) {
    set_paused(queue, false, call);
}

fn set_paused(queue: &Queue, paused: bool, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|_| Ok(async move { set_paused_on_server(&core, paused).await.map(|()| Outcome::Nothing) }));
}

async fn set_paused_on_server(core: &Core, paused: bool) -> Result<()> {
    let channel = core.keys.wake_all();
    let args: [&[u8]; 2] = [if paused { b"1" } else { b"0" }, &channel];
    let packed = plain(&scripts::PAUSE, &[core.key(Part::Meta)], &args);
    core.call(packed.runs(*operation::ADMIN, &scripts::PAUSE)).await.map(drop)
}

/// Argument: whether delayed jobs are removed too.
pub(super) fn drain(queue: &Queue, call: Call<'_>) {
    let delayed = call.at(0) == Arg::Bool(true);
    let core = queue.flushed();
    call.run(move |_| {
        Ok(async move {
            let mut removed = 0;
            for kind in ["wait", "ranked", "group", "delayed"].into_iter().take(if delayed { 4 } else { 3 }) {
                removed += bulk_change(&core, kind, u64::MAX, 0).await?;
            }
            Ok(Outcome::Number(removed as f64))
        })
    });
}

/// Arguments: state, olderThanMs, limit.
pub(super) fn clean(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let kind = match call.at(0) {
            Arg::Text("completed") => "completed",
            Arg::Text("failed") => "failed",
            other => return Err(call.wrong("state", "'completed' or 'failed'", other)),
        };
        let older = reading::count_or(call, 1, "olderThanMs", 0)?;
        let limit = reading::count_or(call, 2, "limit", u64::MAX)?;
        Ok(async move { bulk_change(&core, kind, limit, older).await.map(|n| Outcome::Number(n as f64)) })
    });
}

/// Argument: limit.
pub(super) fn retry_failed(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let limit = reading::count_or(call, 0, "limit", u64::MAX)?;
        Ok(async move {
            // Jobs that fail again meanwhile are not retried a second time.
            let limit = limit.min(reading::total(&core, State::Failed).await?);
            bulk_change(&core, "retry", limit, 0).await.map(|n| Outcome::Number(n as f64))
        })
    });
}

/// Removes or retries up to `limit` jobs of a kind that finished at least `older` ms ago. Gives how many.
async fn bulk_change(core: &Arc<Core>, kind: &str, limit: u64, older: u64) -> Result<u64> {
    let mut done = 0;
    while done < limit {
        let call = ScriptCall::of(core, &scripts::BULK_CHANGE)
            .arg(kind.to_owned())
            .number(BATCH.min(limit - done))
            .number(older)
            .arg(core.keys.once(b""));
        let reply = core.call(call.writes(*operation::ADMIN)).await?;
        let [looked, gone, left] = <[Reply; 3]>::try_from(array(reply).ok_or_else(Error::unexpected_reply)?)
            .map_err(|_| Error::unexpected_reply())?;
        done += integer(&gone).ok_or_else(Error::unexpected_reply)?.unsigned_abs();
        deliver_messages(core, integer(&left).ok_or_else(Error::unexpected_reply)?);
        if integer(&looked).is_none_or(|looked| looked == 0) {
            break;
        }
    }
    Ok(done)
}

/// Argument: whether the queue is obliterated although jobs are active.
pub(super) fn obliterate(queue: &Queue, call: Call<'_>) {
    let force = call.at(0) == Arg::Bool(true);
    let core = queue.flushed();
    call.run(move |_| {
        Ok(async move {
            let was_paused = reading::paused(&core).await?;
            set_paused_on_server(&core, true).await?;
            if !force && reading::total(&core, State::Active).await? > 0 {
                if !was_paused {
                    set_paused_on_server(&core, false).await?;
                }
                return Err(Error::config(
                    "TaskQueue.obliterate: force: expected true, because jobs of the queue are active, got false",
                ));
            }
            remove_everything(&core).await.map(|()| Outcome::Nothing)
        })
    });
}

/// Removes the whole queue. After a failure the caller can call it again, and the rest of the queue is removed.
async fn remove_everything(core: &Core) -> Result<()> {
    let mut cursor = Cursor::default();
    loop {
        let at = Bytes::copy_from_slice(cursor.word());
        let call = ScriptCall::of(core, &scripts::OBLITERATE).arg(at).number(BATCH).arg(core.keys.once(b""));
        let (reply, origin) = core.call_located(call.writes(*operation::ADMIN)).await?;
        let next = bytes(reply).ok_or_else(Error::unexpected_reply)?;
        // An empty page is not the last one.
        if !cursor.advance(origin, next) {
            break;
        }
    }
    // The outbox tells parents in other queues that their children are removed. It is delivered before it is removed itself.
    let mut before = i64::MAX;
    loop {
        match outbox::deliver(core).await {
            // A queue that refuses a message would refuse it again.
            Err(error) if error.kind() != ErrorKind::Server => return Err(error),
            _ => {}
        }
        // A delivery may write further messages: many jobs may have waited for one job.
        let key = core.key(Part::Outbox);
        let length = Packed::sized(key.len()).begin(2, b"HLEN").word(key).reads(*operation::ADMIN);
        let left = integer(&core.call(length).await?).unwrap_or_default();
        if left == 0 || left >= before {
            break;
        }
        before = left;
    }
    let owners = paged_listing::pairs(core, b"ZSCAN", core.key(Part::Leases)).await?;
    let mut many: Vec<_> = owners.keys().map(|owner| core.keys.held(&String::from_utf8_lossy(owner))).collect();
    many.extend(paged_listing::pairs(core, b"ZSCAN", core.key(Part::Holding)).await?.into_keys());
    for page in many.chunks(1000) {
        send_words(core, b"UNLINK", None, page).await?;
    }
    // A worker without its lease notices that it holds no jobs. A listener notices by the missing token that it missed events.
    let whole = || Part::ALL.iter().map(|part| core.key(*part));
    let left: Vec<_> = whole().cloned().chain(whole().map(|key| core.keys.aside(key))).collect();
    send_words(core, b"UNLINK", None, &left).await?;
    send_words(core, b"PUBLISH", Some(core.keys.prefix(Prefix::EventChannel)), &[Bytes::new()]).await?;
    send_words(core, b"PUBLISH", Some(&core.keys.wake_all()), &[Bytes::from_static(b"c")]).await
}

/// Sends one command with many words.
async fn send_words(core: &Core, name: &[u8], key: Option<&Bytes>, words: &[Bytes]) -> Result<()> {
    if words.is_empty() {
        return Ok(());
    }
    let size = words.iter().map(|word| word.len() + 16).sum();
    let mut packed = Packed::sized(size).begin(1 + usize::from(key.is_some()) + words.len(), name);
    for word in key.into_iter().chain(words) {
        packed = packed.word(word);
    }
    core.call(packed.writes(*operation::ADMIN)).await.map(drop)
}

/// Arguments: id, data.
pub(super) fn update_data(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let (id, data) = (job_id(call, 0)?.to_owned(), call.text(1, "data")?);
        check_data("Job.updateData: data", data)?;
        let data = Bytes::copy_from_slice(data);
        Ok(async move { update(&core, "Job.updateData", "data", &id, "", data).await.map(|_| Outcome::Nothing) })
    });
}

/// Arguments: id, progress.
pub(super) fn update_progress(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let (id, progress) = (job_id(call, 0)?.to_owned(), call.text(1, "progress")?);
        check_data("Job.updateProgress: progress", progress)?;
        let progress = Bytes::copy_from_slice(progress);
        Ok(
            async move {
                update(&core, "Job.updateProgress", "progress", &id, "", progress).await.map(|_| Outcome::Nothing)
            },
        )
    });
}

/// Arguments: id, line.
pub(super) fn log(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let (id, line) = (job_id(call, 0)?.to_owned(), read_line(call)?);
        Ok(async move { update(&core, "Job.log", "log", &id, "", line).await.map(|lines| Outcome::Number(lines as f64)) })
    });
}

/// The line of a log, the second argument.
pub(super) fn read_line(args: &Arguments<'_>) -> Result<Bytes> {
    match args.at(1) {
        Arg::Text(line) if line.len() <= MAX_LINE => Ok(Bytes::copy_from_slice(line.as_bytes())),
        other => Err(args.wrong("line", "a string of at most 65536 bytes", other)),
    }
}

/// Writes data, progress or a log line of a job. A `fence` that is not empty names the lease that the job must still have.
///
/// # Errors
///
/// `config` if there is no such job, `lease-lost` if the job no longer has the lease.
pub(super) async fn update(core: &Core, caller: &str, verb: &str, id: &str, fence: &str, value: Bytes) -> Result<i64> {
    let call = ScriptCall::of(core, &scripts::UPDATE)
        .arg(verb.to_owned())
        .arg(id.to_owned())
        .arg(fence.to_owned())
        .arg(value)
        .number(MAX_LINES);
    match integer(&core.call(call.writes(*operation::CHANGE)).await.map_err(damage)?) {
        Some(-1) => Err(no_such_job(caller)),
        Some(-2) => Err(Error::new(ErrorKind::LeaseLost, format!("{caller}: the job's lease was lost"))
            .with_delivery(Delivery::Rejected)),
        Some(count) => Ok(count),
        None => Err(Error::unexpected_reply()),
    }
}

/// The error of a script about a damaged job becomes `serialization`.
fn damage(error: Error) -> Error {
    if error.server_code() == Some("DAMAGED") {
        return Error::new(ErrorKind::Serialization, "the stored job is damaged").with_delivery(Delivery::Rejected);
    }
    error
}

/// Argument: id. False if there is no such job.
pub(super) fn remove(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = job_id(call, 0)?.to_owned();
        Ok(async move {
            match change(&core, "remove", &id, "").await? {
                Changed::Done => Ok(Outcome::Bool(true)),
                Changed::Missing => Ok(Outcome::Bool(false)),
                Changed::WrongState(state) => Err(wrong_state("Job.remove", "a job that is not active", state)),
            }
        })
    });
}

/// Argument: id.
pub(super) fn retry(queue: &Queue, call: Call<'_>) {
    change_or_fail(queue, call, ("retry", "a failed job"), String::new());
}

/// Argument: id.
pub(super) fn promote(queue: &Queue, call: Call<'_>) {
    change_or_fail(queue, call, ("promote", "a delayed job"), String::new());
}

/// Arguments: id, ms.
pub(super) fn change_delay(queue: &Queue, call: Call<'_>) {
    match whole(&call, 1, "ms", MAX_DELAY_MS) {
        Ok(ms) => {
            change_or_fail(queue, call, ("delay", "a delayed or waiting job"), ms.to_string());
        }
        Err(error) => call.give(Err(error)),
    }
}

/// Arguments: id, priority.
pub(super) fn change_priority(queue: &Queue, call: Call<'_>) {
    match whole(&call, 1, "priority", MAX_PRIORITY) {
        Ok(priority) => {
            change_or_fail(queue, call, ("priority", "a job that waits or is delayed"), priority.to_string());
        }
        Err(error) => call.give(Err(error)),
    }
}

fn whole(args: &Arguments<'_>, place: usize, name: &str, most: u64) -> Result<u64> {
    match args.at(place) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
        Arg::Number(n) if n.fract() == 0.0 && (0.0..=most as f64).contains(&n) => Ok(n as u64),
        other => Err(args.wrong(name, &format!("a whole number from 0 to {most}"), other)),
    }
}

/// Arguments: id, reason. False if there was nothing to cancel.
pub(super) fn cancel(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = job_id(call, 0)?.to_owned();
        let reason = match call.at(1) {
            Arg::Absent => String::new(),
            Arg::Text(text) if text.len() <= MAX_LINE => text.to_owned(),
            other => return Err(call.wrong("reason", "a string of at most 65536 bytes", other)),
        };
        Ok(async move { Ok(Outcome::Bool(matches!(change(&core, "cancel", &id, &reason).await?, Changed::Done))) })
    });
}

/// A change that fails unless the job is in the right state. `verb` is the script's; `expected` is for the error.
fn change_or_fail(queue: &Queue, call: Call<'_>, (verb, expected): (&'static str, &'static str), value: String) {
    let core = queue.flushed();
    call.run(|call| {
        let (id, owner) = (job_id(call, 0)?.to_owned(), call.owner());
        Ok(async move {
            match change(&core, verb, &id, &value).await? {
                Changed::Done => Ok(Outcome::Nothing),
                Changed::Missing => Err(no_such_job(owner)),
                Changed::WrongState(state) => Err(wrong_state(owner, expected, state)),
            }
        })
    });
}

fn wrong_state(caller: &str, expected: &str, state: State) -> Error {
    Error::new(ErrorKind::Config, format!("{caller}: expected {expected}, got one that is {}", state.name()))
        .with_delivery(Delivery::Rejected)
}

enum Changed {
    Done,
    Missing,
    /// The job's state does not allow the change.
    WrongState(State),
}

async fn change(core: &Arc<Core>, verb: &str, id: &str, value: &str) -> Result<Changed> {
    // The options of a job never change, so they can be read before the script runs.
    let Some(found) = reading::find(core, id).await? else { return Ok(Changed::Missing) };
    let known = StoredOptions::of(core, &found.body);
    let call = ScriptCall::of(core, &scripts::CHANGE)
        .part(Part::Cancels)
        .arg(verb.to_owned())
        .arg(id.to_owned())
        .arg(value.to_owned())
        .number(known.priority)
        .arg(known.group)
        .arg(known.ending);
    let reply = core.call(call.writes(*operation::CHANGE)).await?;
    let [letter, left] = <[Reply; 2]>::try_from(array(reply).ok_or_else(Error::unexpected_reply)?)
        .map_err(|_| Error::unexpected_reply())?;
    deliver_messages(core, integer(&left).ok_or_else(Error::unexpected_reply)?);
    let letter = bytes(letter).ok_or_else(Error::unexpected_reply)?;
    Ok(match &letter[..] {
        b"" => Changed::Done,
        b"-" => Changed::Missing,
        b"w" => Changed::WrongState(State::Waiting),
        b"a" => Changed::WrongState(State::Active),
        b"d" => Changed::WrongState(State::Delayed),
        b"c" => Changed::WrongState(State::Completed),
        b"f" => Changed::WrongState(State::Failed),
        b"k" => Changed::WrongState(State::WaitingChildren),
        _ => return Err(Error::unexpected_reply()),
    })
}
