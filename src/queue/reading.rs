//! Jobs by id and by state.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;

use super::options::{JobOptions, MAX_NAME};
use super::record::{JobRecord, RunRecord, State};
use super::scripts::{self, array, bytes, integer, operation, plain};
use super::snapshot::{Snapshot, snapshots};
use super::{Core, Queue, paged_listing};
use crate::arguments::Arguments;
use crate::connection::{Cursor, Packed};
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::queue::{Part, Prefix};
use crate::resp::Reply;
use crate::verb::Call;

/// The most jobs that one script returns.
const PAGE: u64 = 500;

/// Reads the argument that is the id of a job.
pub(super) fn job_id<'a>(args: &Arguments<'a>, place: usize) -> Result<&'a str> {
    match args.at(place) {
        Arg::Text(text) if !text.is_empty() && text.len() <= MAX_NAME => Ok(text),
        other => Err(args.wrong("id", "a string of 1 to 512 bytes", other)),
    }
}

/// One job, if it exists.
pub(super) async fn find(core: &Core, id: &str) -> Result<Option<Snapshot>> {
    let keys = core.keys.keys([Part::Jobs, Part::Run, Part::More]);
    let command = plain(&scripts::GET, &keys, &[id.as_bytes()]).runs_repeatable(*operation::READ, &scripts::GET);
    match core.call(command).await? {
        Reply::Nil => Ok(None),
        reply => Snapshot::read(&mut array(reply).ok_or_else(Error::unexpected_reply)?.into_iter()).map(Some),
    }
}

/// The state that a caller reads before it waits for a job's end.
pub(super) struct WaitStatus {
    /// The number of the last event that was written before the read.
    pub(super) newest: i64,
    /// `None` if the job does not exist.
    pub(super) run: Option<RunRecord>,
    /// The large result of a job that was removed when it finished.
    pub(super) unkept_result: Option<Bytes>,
}

pub(super) async fn wait_status(core: &Core, id: &str) -> Result<WaitStatus> {
    let [jobs, run, meta] = core.keys.keys([Part::Jobs, Part::Run, Part::Meta]);
    let keys = [jobs, run, meta, &core.keys.result(id.as_bytes())];
    let command =
        plain(&scripts::WAIT_STATUS, &keys, &[id.as_bytes()]).runs_repeatable(*operation::READ, &scripts::WAIT_STATUS);
    let reply = array(core.call(command).await?).ok_or_else(Error::unexpected_reply)?;
    let [newest, exists, record, result] = <[Reply; 4]>::try_from(reply).map_err(|_| Error::unexpected_reply())?;
    let newest = integer(&newest).ok_or_else(Error::unexpected_reply)?;
    if integer(&exists) == Some(1) {
        Ok(WaitStatus { newest, run: Some(RunRecord::read(bytes(record).as_ref())?), unkept_result: None })
    } else {
        Ok(WaitStatus { newest, run: None, unkept_result: bytes(result) })
    }
}

/// Argument: id.
pub(super) fn get(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let id = job_id(call, 0)?.to_owned();
        Ok(async move { find(&core, &id).await?.map_or(Ok(Outcome::Null), |job| job.outcome()) })
    });
}

/// Arguments: start, limit, newest first, states.
pub(super) fn list(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let start = count_or(call, 0, "start", 0)?;
        let limit = count_or(call, 1, "limit", 100)?;
        let backwards = call.at(2) == Arg::Bool(true);
        let states = call
            .from(3)
            .iter()
            .map(|arg| match arg {
                Arg::Text(name) => State::named(name).ok_or(*arg),
                other => Err(*other),
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|other| {
                call.wrong(
                    "state",
                    "'waiting', 'active', 'delayed', 'completed', 'failed' or 'waiting-children'",
                    other,
                )
            })?;
        Ok(async move {
            let mut outcomes = Vec::new();
            let (mut skip, mut left) = (start, limit);
            for state in states {
                loop {
                    if left == 0 {
                        break;
                    }
                    let mut wanted = left.min(PAGE);
                    let page = if let Some(page) = page(&core, state, skip, wanted, backwards).await? {
                        page
                    } else {
                        wanted = left;
                        paged_listing::list(&core, state, skip, wanted, backwards).await?
                    };
                    let count = page.len() as u64;
                    left -= count.min(left);
                    outcomes.extend(page.iter().map(Snapshot::outcome_or_damaged));
                    if count < wanted {
                        // This state had fewer jobs than `skip`: the rest of `skip` applies to the next state.
                        skip = match skip {
                            0 => 0,
                            _ if count > 0 => 0,
                            _ => skip.saturating_sub(total(&core, state).await?),
                        };
                        break;
                    }
                    skip += count;
                }
            }
            Ok(Outcome::List(outcomes))
        })
    });
}

pub(super) fn count_or(args: &Arguments<'_>, place: usize, name: &str, default: u64) -> Result<u64> {
    match args.at(place) {
        Arg::Absent => Ok(default),
        Arg::Number(n) if n.fract() == 0.0 && (0.0..=1e15).contains(&n) =>
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
            Ok(n as u64)
        }
        other => Err(args.wrong(name, "a whole number from 0", other)),
    }
}

/// One page of jobs by one script. `None` if the script would have to read too many entries.
async fn page(core: &Core, state: State, start: u64, limit: u64, backwards: bool) -> Result<Option<Vec<Snapshot>>> {
    let letter = match state {
        State::Waiting => "w",
        State::Active => "a",
        State::Delayed => "d",
        State::Completed => "c",
        State::Failed => "f",
        State::WaitingChildren => "k",
    };
    let keys = {
        use Part::{Blocked, Completed, Delayed, Failed, Jobs, Leases, Meta, More, Parked, Ranked, Ring, Run, Wait};
        core.keys.keys([Wait, Ranked, Delayed, Parked, Completed, Failed, Leases, Jobs, Run, More, Ring, Blocked, Meta])
    };
    let (start, limit) = (start.to_string(), limit.to_string());
    let args: [&[u8]; 6] = [
        letter.as_bytes(),
        start.as_bytes(),
        limit.as_bytes(),
        if backwards { b"1" } else { b"0" },
        &core.keys.held_prefix(),
        core.keys.prefix(Prefix::Group),
    ];
    let command = plain(&scripts::LIST, &keys, &args).runs_repeatable(*operation::READ, &scripts::LIST);
    match core.call(command).await? {
        Reply::Nil => Ok(None),
        reply => snapshots(reply).map(Some),
    }
}

async fn count_all(core: &Core) -> Result<Vec<i64>> {
    let keys = {
        use Part::{Completed, Delayed, Failed, Leases, Meta, Parked, Ranked, Wait};
        core.keys.keys([Wait, Ranked, Delayed, Parked, Completed, Failed, Leases, Meta])
    };
    let prefix = core.keys.held_prefix();
    let mut by_worker: HashMap<Bytes, i64> = HashMap::new();
    let mut cursor = Cursor::default();
    loop {
        let command = plain(&scripts::COUNTS, &keys, &[&prefix, cursor.word()]);
        let (reply, origin) = core.call_located(command.runs_repeatable(*operation::READ, &scripts::COUNTS)).await?;
        let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
        let counts = parts.by_ref().take(6).map(|count| integer(&count).ok_or_else(Error::unexpected_reply));
        let mut counts = counts.collect::<Result<Vec<_>>>()?;
        let next = parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)?;
        while let (Some(owner), Some(held)) = (parts.next().and_then(bytes), parts.next()) {
            by_worker.insert(owner, integer(&held).ok_or_else(Error::unexpected_reply)?);
        }
        if !cursor.advance(origin, next) {
            counts[1] += by_worker.values().sum::<i64>();
            return Ok(counts);
        }
    }
}

/// How many jobs are in `state`.
pub(super) async fn total(core: &Core, state: State) -> Result<u64> {
    let place = State::ALL.iter().position(|other| *other == state).unwrap_or(0);
    let counts = count_all(core).await?;
    Ok(counts.get(place).copied().and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

pub(super) fn counts(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|_| {
        Ok(async move {
            let counts = count_all(&core).await?;
            Ok(Outcome::List(counts.into_iter().map(|count| Outcome::Number(count.max(0) as f64)).collect()))
        })
    });
}

/// Argument: id.
pub(super) fn logs(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let key = core.keys.log(job_id(call, 0)?.as_bytes());
        Ok(async move {
            let command = Packed::sized(key.len()).begin(4, b"LRANGE").word(&key).number(0).signed(-1);
            let lines = array(core.call(command.reads(*operation::READ)).await?).ok_or_else(Error::unexpected_reply)?;
            Ok(Outcome::List(lines.into_iter().filter_map(bytes).map(Outcome::Text).collect()))
        })
    });
}

/// The names and results of the children that have completed.
pub(super) async fn children_of(core: &Core, id: &str) -> Result<Outcome> {
    let key = core.keys.kids(id.as_bytes());
    let command = Packed::sized(key.len()).begin(2, b"HGETALL").word(&key).reads(*operation::READ);
    let pairs: Vec<(Reply, Reply)> = match core.call(command).await? {
        Reply::Map(pairs) => pairs,
        Reply::Array(flat) => {
            let mut flat = flat.into_iter();
            std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
        }
        _ => return Err(Error::unexpected_reply()),
    };
    let mut outcomes = Vec::new();
    for (name, value) in pairs {
        let (Some(name), Some(value)) = (bytes(name), bytes(value)) else { return Err(Error::unexpected_reply()) };
        // Fields whose names are control characters are not children, see `part/base.lua`.
        if name.first().is_some_and(|first| *first >= b' ') && value.first() == Some(&b'c') {
            let result = value.slice(1..);
            outcomes.push(Outcome::Text(name));
            outcomes.push(if result.is_empty() { Outcome::Null } else { Outcome::Text(result) });
        }
    }
    Ok(Outcome::List(outcomes))
}

pub(super) fn is_paused(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|_| Ok(async move { paused(&core).await.map(Outcome::Bool) }));
}

pub(super) async fn paused(core: &Core) -> Result<bool> {
    let command = Packed::sized(64).begin(3, b"HEXISTS").word(core.key(Part::Meta)).word(b"paused");
    let reply = core.call(command.reads(*operation::READ)).await?;
    Ok(matches!(reply, Reply::Int(1) | Reply::Bool(true)))
}

/// The stored options of a job that the script of a change needs.
pub(super) struct StoredOptions {
    pub(super) priority: u64,
    pub(super) group: String,
    pub(super) ending: String,
}

impl StoredOptions {
    /// Defaults if the job is damaged.
    pub(super) fn of(core: &Core, body: &Bytes) -> Self {
        let read = || -> Result<Self> {
            let stored = JobRecord::read(body)?;
            let options = JobOptions::parse(std::str::from_utf8(&stored.options).unwrap_or_default())?;
            let parent = std::str::from_utf8(&stored.parent).unwrap_or_default();
            let ending = super::flows::ending(core, options.dedupe.as_ref(), Some(stored.added), parent);
            let ending = Value::Object(ending).to_string();
            Ok(Self { priority: options.priority, group: options.group.unwrap_or_default(), ending })
        };
        read().unwrap_or_else(|_| Self { priority: 0, group: String::new(), ending: "{}".into() })
    }
}

/// The error of a verb on a job that does not exist.
pub(super) fn no_such_job(verb: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{verb}: id: expected the id of an existing job, got an unknown one"))
        .with_delivery(Delivery::Rejected)
}
