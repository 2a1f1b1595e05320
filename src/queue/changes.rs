//! What may be changed of a job, and of many.

use std::sync::Arc;

use bytes::Bytes;

use super::options::{MAX_DELAY_MS, MAX_PRIORITY, check_data};
use super::outbox::deliver_left;
use super::reading::{self, Known, job_id, no_such_job};
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

/// The longest line of a job's log, in bytes, and how many of the newest are kept.
const MAX_LINE: usize = 64 * 1024;
const MAX_LINES: u64 = 1_000;
/// Jobs that one script removes at most.
const BATCH: u64 = 150;

pub(super) fn pause(queue: &Queue, call: Call<'_>) {
    set_paused(queue, true, call);
}

pub(super) fn resume(queue: &Queue, call: Call<'_>) {
    set_paused(queue, false, call);
}

fn set_paused(queue: &Queue, paused: bool, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|_| Ok(async move { pausing(&core, paused).await.map(|()| Outcome::Nothing) }));
}

async fn pausing(core: &Core, paused: bool) -> Result<()> {
    let channel = core.keys.wake_all();
    let args: [&[u8]; 2] = [if paused { b"1" } else { b"0" }, &channel];
    let packed = plain(&scripts::PAUSE, &[core.key(Part::Meta)], &args);
    core.call(packed.runs(*operation::ADMIN, &scripts::PAUSE)).await.map(drop)
}

/// Argument: whether delayed jobs go too.
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
            // Those that fail again meanwhile are not retried again.
            let limit = limit.min(reading::total(&core, State::Failed).await?);
            bulk_change(&core, "retry", limit, 0).await.map(|n| Outcome::Number(n as f64))
        })
    });
}

/// Removes up to `limit` jobs of a kind that are `older` ms, or has them wait again. Gives how many.
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
        deliver_left(core, integer(&left).ok_or_else(Error::unexpected_reply)?);
        if integer(&looked).is_none_or(|looked| looked == 0) {
            break;
        }
    }
    Ok(done)
}

/// Argument: whether active jobs do not matter.
pub(super) fn obliterate(queue: &Queue, call: Call<'_>) {
    let force = call.at(0) == Arg::Bool(true);
    let core = queue.flushed();
    call.run(move |_| {
        Ok(async move {
            let was_paused = reading::paused(&core).await?;
            pausing(&core, true).await?;
            if !force && reading::total(&core, State::Active).await? > 0 {
                if !was_paused {
                    pausing(&core, false).await?;
                }
                return Err(Error::config(
                    "TaskQueue.obliterate: force: expected true, because jobs of the queue are active, got false",
                ));
            }
            remove_everything(&core).await.map(|()| Outcome::Nothing)
        })
    });
}

/// Again where it fails on the way: what is left of the queue is removed then.
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
    // Parents in other queues hear that their children are gone, before what says so is.
    let mut before = i64::MAX;
    loop {
        match outbox::deliver(core).await {
            // What a queue refuses it refuses for good.
            Err(error) if error.kind() != ErrorKind::Server => return Err(error),
            _ => {}
        }
        // Delivering may leave more: where many waited for one job.
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
        several(core, b"UNLINK", None, page).await?;
    }
    // Without their leases workers know that they hold nothing; without the events' token listeners know that they have missed some.
    let whole = || Part::ALL.iter().map(|part| core.key(*part));
    let left: Vec<_> = whole().cloned().chain(whole().map(|key| core.keys.aside(key))).collect();
    several(core, b"UNLINK", None, &left).await?;
    several(core, b"PUBLISH", Some(core.keys.prefix(Prefix::EventChannel)), &[Bytes::new()]).await?;
    several(core, b"PUBLISH", Some(&core.keys.wake_all()), &[Bytes::from_static(b"c")]).await
}

/// One command on many words.
async fn several(core: &Core, name: &[u8], key: Option<&Bytes>, words: &[Bytes]) -> Result<()> {
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

/// Writes what is progress of a job; under a lease, where `fence` is not empty.
///
/// # Errors
///
/// `config` where there is no such job, `lease-lost` where the lease is not its own any more.
pub(super) async fn update(core: &Core, said: &str, verb: &str, id: &str, fence: &str, value: Bytes) -> Result<i64> {
    let call = ScriptCall::of(core, &scripts::UPDATE)
        .arg(verb.to_owned())
        .arg(id.to_owned())
        .arg(fence.to_owned())
        .arg(value)
        .number(MAX_LINES);
    match integer(&core.call(call.writes(*operation::CHANGE)).await.map_err(damage)?) {
        Some(-1) => Err(no_such_job(said)),
        Some(-2) => Err(Error::new(ErrorKind::LeaseLost, format!("{said}: the job's lease was lost"))
            .with_delivery(Delivery::Rejected)),
        Some(count) => Ok(count),
        None => Err(Error::unexpected_reply()),
    }
}

/// What a script says of a damaged job.
fn damage(error: Error) -> Error {
    if error.server_code() == Some("DAMAGED") {
        return Error::new(ErrorKind::Serialization, "the stored job is damaged").with_delivery(Delivery::Rejected);
    }
    error
}

/// Argument: id. False where there is no such job.
pub(super) fn remove(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = job_id(call, 0)?.to_owned();
        Ok(async move {
            match change(&core, "remove", &id, "").await? {
                Changed::Done => Ok(Outcome::Bool(true)),
                Changed::Missing => Ok(Outcome::Bool(false)),
                Changed::Not(state) => Err(wrong_state("Job.remove", "a job that is not active", state)),
            }
        })
    });
}

/// Argument: id.
pub(super) fn retry(queue: &Queue, call: Call<'_>) {
    must(queue, call, ("retry", "a failed job"), String::new());
}

/// Argument: id.
pub(super) fn promote(queue: &Queue, call: Call<'_>) {
    must(queue, call, ("promote", "a delayed job"), String::new());
}

/// Arguments: id, ms.
pub(super) fn change_delay(queue: &Queue, call: Call<'_>) {
    match whole(&call, 1, "ms", MAX_DELAY_MS) {
        Ok(ms) => {
            must(queue, call, ("delay", "a delayed or waiting job"), ms.to_string());
        }
        Err(error) => call.give(Err(error)),
    }
}

/// Arguments: id, priority.
pub(super) fn change_priority(queue: &Queue, call: Call<'_>) {
    match whole(&call, 1, "priority", MAX_PRIORITY) {
        Ok(priority) => must(queue, call, ("priority", "a job that waits or is delayed"), priority.to_string()),
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

/// Arguments: id, reason. False where there was nothing to cancel.
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

/// A change that a job must be in the right state for: the script's verb, what is expected.
fn must(queue: &Queue, call: Call<'_>, (verb, expected): (&'static str, &'static str), value: String) {
    let core = queue.flushed();
    call.run(|call| {
        let (id, owner) = (job_id(call, 0)?.to_owned(), call.owner());
        Ok(async move {
            match change(&core, verb, &id, &value).await? {
                Changed::Done => Ok(Outcome::Nothing),
                Changed::Missing => Err(no_such_job(owner)),
                Changed::Not(state) => Err(wrong_state(owner, expected, state)),
            }
        })
    });
}

fn wrong_state(said: &str, expected: &str, state: State) -> Error {
    Error::new(ErrorKind::Config, format!("{said}: expected {expected}, got one that is {}", state.name()))
        .with_delivery(Delivery::Rejected)
}

enum Changed {
    Done,
    Missing,
    /// It is in a state that does not allow it.
    Not(State),
}

async fn change(core: &Arc<Core>, verb: &str, id: &str, value: &str) -> Result<Changed> {
    // What it was added with does not change, so it can be read before.
    let Some(found) = reading::find(core, id).await? else { return Ok(Changed::Missing) };
    let known = Known::of(core, &found.body);
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
    deliver_left(core, integer(&left).ok_or_else(Error::unexpected_reply)?);
    let letter = bytes(letter).ok_or_else(Error::unexpected_reply)?;
    Ok(match &letter[..] {
        b"" => Changed::Done,
        b"-" => Changed::Missing,
        b"w" => Changed::Not(State::Waiting),
        b"a" => Changed::Not(State::Active),
        b"d" => Changed::Not(State::Delayed),
        b"c" => Changed::Not(State::Completed),
        b"f" => Changed::Not(State::Failed),
        b"k" => Changed::Not(State::WaitingChildren),
        _ => return Err(Error::unexpected_reply()),
    })
}
