//! Schedules: one job for each tick, in the whole fleet.
//!
//! A schedule is stored as its text and its next tick. Every worker knows when the next tick is due and runs the script of the
//! tick then. The script moves the schedule on only from exactly that tick, so one worker adds the job. Ticks that are due while
//! no worker runs are one tick when a worker runs again.

mod clock;
mod cron;
#[cfg(fuzzing)]
pub mod fuzzing;
mod when;

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use super::adding::read_name;
use super::flows::of_schedule;
use super::options::{JobOptions, MAX_NAME, check_data, is_name};
use super::scripts::{self, ScriptCall, array, bytes, integer, operation, plain};
use super::worker::after;
use super::{Core, Queue};
use crate::connection::Packed;
use crate::crossing::{Arg, Outcome, is_json};
use crate::error::{Error, Result};
use crate::keys::queue::Part;
use crate::resp::Reply;
use crate::verb::Call;

use when::When;

/// The longest id of a schedule, in bytes. The id of its job is longer by a colon and the milliseconds of the tick.
const MAX_ID: usize = MAX_NAME - 17;

/// Arguments: id, when, name, data, options.
pub(super) fn schedule(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = match call.at(0) {
            Arg::Text(id) if is_name(id) && id.len() <= MAX_ID => id.to_owned(),
            other => {
                let expected = format!("a string of 1 to {MAX_ID} bytes without control characters");
                return Err(call.wrong("id", &expected, other));
            }
        };
        let when = When::parse(std::str::from_utf8(call.text(1, "when")?).unwrap_or_default())?;
        let name = read_name(call, 2, "job.name")?.to_owned();
        let data = call.text(3, "job.data")?;
        check_data("TaskQueue.schedule: job.data", data)?;
        let options = match call.at(4) {
            Arg::Absent | Arg::Null => "",
            Arg::Text(text) => text,
            other => return Err(call.wrong("job.options", "an object", other)),
        };
        let parsed = JobOptions::parse(options)?;
        for (name, given) in [
            ("id", parsed.id.is_some()),
            ("dedupe", parsed.dedupe.is_some()),
            ("children", !parsed.children.is_empty()),
        ] {
            if given {
                return Err(Error::config(format!(
                    "TaskQueue.schedule: job.options.{name}: expected none, because every tick adds a job of its own, got one"
                )));
            }
        }
        let text = json!({
            "when": when.to_json(),
            "name": name,
            "data": String::from_utf8_lossy(data),
            "options": options,
        })
        .to_string();
        Ok(async move {
            let next = match &when {
                When::Every(every) => format!("-{every}"),
                When::Cron { .. } => when.after(server_time(&core).await?, None)?.to_string(),
            };
            let keys = [core.key(Part::Schedules), core.key(Part::Ticks)];
            let same = format!("\"when\":{}", when.to_json());
            let channel = core.keys.wake_all();
            let args: [&[u8]; 5] = [id.as_bytes(), text.as_bytes(), same.as_bytes(), next.as_bytes(), &channel];
            let packed = plain(&scripts::SCHEDULE, &keys, &args);
            core.call(packed.runs(*operation::SCHEDULE, &scripts::SCHEDULE)).await.map(|_| Outcome::Nothing)
        })
    });
}

/// Milliseconds of server time.
async fn server_time(core: &Core) -> Result<u64> {
    let command = Packed::sized(0).begin(1, b"TIME").reads(*operation::SCHEDULE);
    let parts = array(core.call(command).await?).ok_or_else(Error::unexpected_reply)?;
    let part = |at: usize| {
        parts.get(at).and_then(integer).and_then(|n| u64::try_from(n).ok()).ok_or_else(Error::unexpected_reply)
    };
    part(0)?.checked_mul(1_000).and_then(|ms| ms.checked_add(part(1).ok()? / 1_000)).ok_or_else(Error::unexpected_reply)
}

/// Argument: id. False if there is no such schedule.
pub(super) fn unschedule(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = read_name(call, 0, "id")?.to_owned();
        Ok(async move {
            let (schedules, ticks) = (core.key(Part::Schedules), core.key(Part::Ticks));
            let counted = format!("\u{1}{id}");
            let known = Packed::sized(ticks.len() + id.len()).begin(3, b"ZREM").word(ticks).word(id.as_bytes());
            let removed = core.call(known.writes(*operation::SCHEDULE)).await?;
            let text = Packed::sized(schedules.len() + id.len() * 2)
                .begin(4, b"HDEL")
                .word(schedules)
                .word(id.as_bytes())
                .word(counted.as_bytes());
            // A damaged schedule may be in only one of the two keys.
            let erased = core.call(text.writes(*operation::SCHEDULE)).await?;
            Ok(Outcome::Bool(removed == Reply::Int(1) || integer(&erased).is_some_and(|fields| fields > 0)))
        })
    });
}

pub(super) fn schedules(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|_| {
        Ok(async move {
            let ticks = core.key(Part::Ticks);
            let packed =
                Packed::sized(ticks.len()).begin(5, b"ZRANGE").word(ticks).number(0).signed(-1).word(b"WITHSCORES");
            let mut outcomes = Vec::new();
            for (id, next) in with_scores(core.call(packed.reads(*operation::SCHEDULE)).await?)? {
                let counted = [&[1u8][..], &id].concat();
                let packed = Packed::sized(id.len() * 2 + 64)
                    .begin(4, b"HMGET")
                    .word(core.key(Part::Schedules))
                    .word(&id)
                    .word(&counted);
                let mut found = array(core.call(packed.reads(*operation::SCHEDULE)).await?)
                    .ok_or_else(Error::unexpected_reply)?
                    .into_iter();
                // The schedule may have been removed meanwhile.
                let Some(text) = found.next().and_then(bytes) else { continue };
                let counted = found.next().and_then(bytes).unwrap_or_default();
                outcomes.extend(listed(id, next, &text, &counted));
            }
            Ok(Outcome::List(outcomes))
        })
    });
}

/// Members and scores of a sorted set, in RESP2 or RESP3.
fn with_scores(reply: Reply) -> Result<Vec<(Bytes, i64)>> {
    let mut flat = Vec::new();
    for item in array(reply).ok_or_else(Error::unexpected_reply)? {
        match item {
            Reply::Array(pair) => flat.extend(pair),
            one => flat.push(one),
        }
    }
    let mut flat = flat.into_iter();
    let mut pairs = Vec::new();
    while let (Some(member), Some(score)) = (flat.next(), flat.next()) {
        #[expect(clippy::cast_possible_truncation, reason = "a score is a whole number of milliseconds")]
        let score = match score {
            Reply::Double(score) => score as i64,
            other => integer(&other).ok_or_else(Error::unexpected_reply)?,
        };
        pairs.push((bytes(member).ok_or_else(Error::unexpected_reply)?, score));
    }
    Ok(pairs)
}

/// The eight values of a schedule that TypeScript reads; `None` for a damaged schedule.
fn listed(id: Bytes, next: i64, text: &[u8], counted: &[u8]) -> Option<Outcome> {
    std::str::from_utf8(&id).ok()?;
    let schedule: Value = serde_json::from_slice(text).ok()?;
    When::parse(&schedule["when"].to_string()).ok()?;
    schedule["data"].as_str().filter(|data| is_json(data))?;
    JobOptions::parse(schedule["options"].as_str()?).ok()?;
    let word = |name: &str| schedule[name].as_str().unwrap_or_default().to_owned();
    let mut counted = std::str::from_utf8(counted)
        .unwrap_or_default()
        .split(' ')
        .map(|text| text.parse::<f64>().ok().filter(|number| number.is_finite()));
    let last = counted.next().flatten().map_or(Outcome::Null, Outcome::Number);
    let ticks = counted.next().flatten().unwrap_or(0.0);
    let options = word("options");
    Some(Outcome::List(vec![
        Outcome::Text(id),
        Outcome::Text(schedule["when"].to_string().into()),
        Outcome::Text(word("name").into()),
        Outcome::Text(word("data").into()),
        if options.is_empty() { Outcome::Null } else { Outcome::Text(options.into()) },
        Outcome::Number(next as f64),
        last,
        Outcome::Number(ticks),
    ]))
}

/// Runs all ticks that are due. Gives the time of the next tick, if there is one.
pub(super) async fn tick(core: &Core) -> Result<Option<Instant>> {
    loop {
        let keys = [core.key(Part::Schedules), core.key(Part::Ticks)];
        let command =
            plain(&scripts::DUE_SCHEDULES, &keys, &[]).runs_repeatable(*operation::SCHEDULE, &scripts::DUE_SCHEDULES);
        let [now, first, due] =
            <[Reply; 3]>::try_from(array(core.call(command).await?).ok_or_else(Error::unexpected_reply)?)
                .map_err(|_| Error::unexpected_reply())?;
        let now = integer(&now).and_then(|ms| u64::try_from(ms).ok()).ok_or_else(Error::unexpected_reply)?;
        let mut due = array(due).ok_or_else(Error::unexpected_reply)?.into_iter();
        if due.len() == 0 {
            let first = integer(&first).and_then(|ms| u64::try_from(ms).ok());
            return Ok(first.map(|first| after(Instant::now(), first.saturating_sub(now))));
        }
        while let (Some(Reply::Bulk(id)), Some(at), Some(Reply::Bulk(text))) = (due.next(), due.next(), due.next()) {
            // A score that is not a whole number of milliseconds is damage.
            let whole = integer(&at).filter(|ms| *ms >= 0 && bytes(at).is_some_and(|text| text == ms.to_string()));
            tick_one(core, &id, whole.map(i64::unsigned_abs), &text, now).await?;
        }
    }
}

async fn tick_one(core: &Core, id: &Bytes, at: Option<u64>, text: &Bytes, now: u64) -> Result<()> {
    let name = String::from_utf8_lossy(id);
    let made = at.filter(|_| std::str::from_utf8(id).is_ok()).map(|at| (at, prepare_tick(core, &name, at, text, now)));
    let Some((at, Ok(PreparedTick { body, extra, following, every }))) = made else {
        // A damaged schedule is removed: its tick would stay due, and hold up the others for ever.
        let ticks = core.key(Part::Ticks);
        let packed = Packed::sized(ticks.len() + id.len()).begin(3, b"ZREM").word(ticks).word(id);
        core.call(packed.writes(*operation::SCHEDULE)).await?;
        let meta = core.key(Part::Meta);
        let packed = Packed::sized(meta.len()).begin(4, b"HINCRBY").word(meta).word(b"mended").number(1);
        return core.call(packed.writes(*operation::SCHEDULE)).await.map(drop);
    };
    let call = ScriptCall::of(core, &scripts::TICK)
        .part(Part::Schedules)
        .part(Part::Ticks)
        .arg(id.clone())
        .arg(text.clone())
        .number(at)
        .number(following)
        .arg(job_of(&name, at))
        .arg(body)
        .arg(if extra.is_empty() { "{}".to_owned() } else { extra })
        .number(every);
    core.call(call.writes(*operation::SCHEDULE)).await.map(drop)
}

/// What the script of a tick needs.
struct PreparedTick {
    body: Bytes,
    extra: String,
    following: u64,
    /// Milliseconds between ticks of an interval; 0 for a cron line.
    every: u64,
}

fn prepare_tick(core: &Core, id: &str, at: u64, text: &[u8], now: u64) -> Result<PreparedTick> {
    let schedule: Value = serde_json::from_slice(text).map_err(|_| Error::unexpected_reply())?;
    let data = schedule["data"].as_str().filter(|data| is_json(data)).ok_or_else(Error::unexpected_reply)?;
    let word = |name: &str| schedule[name].as_str().unwrap_or_default();
    let when = When::parse(&schedule["when"].to_string())?;
    let every = if let When::Every(every) = when { every } else { 0 };
    // If this time has passed when the script runs, the next round runs the tick. The script itself moves an interval past its
    // own time.
    let following = when.after(now, Some(at))?;
    let job = of_schedule(core, &job_of(id, at), word("name"), data.as_bytes(), JobOptions::parse(word("options"))?)?;
    Ok(PreparedTick { extra: job.extra(), body: job.body, following, every })
}

/// The id of the job that a tick adds.
fn job_of(schedule: &str, tick: u64) -> String {
    [schedule, &tick.to_string()].join(":")
}
