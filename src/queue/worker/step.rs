//! The call of `step.lua`, and its answer.

use bytes::Bytes;

use super::slot::Outgoing;
use crate::connection::Command;
use crate::error::{Error, Result};
use crate::keys::queue::Part;
use crate::queue::Core;
use crate::queue::options::{Keep, WorkerOptions};
use crate::queue::record::{JobRecord, RunRecord};
use crate::queue::scripts::{self, ScriptCall, array, bytes, integer, operation};
use crate::resp::Reply;

/// Packs a step, which settles `outgoing` and then claims up to `wanted` jobs under `lease`. If `lease_ms` is not 0, a claim
/// starts the lease for that time.
#[expect(clippy::too_many_arguments, reason = "each is an argument of the script")]
pub(super) fn pack(
    core: &Core,
    options: &WorkerOptions,
    owner: &str,
    lease: &str,
    wanted: usize,
    idle_ms: u64,
    lease_ms: u64,
    outgoing: &[Outgoing],
) -> Command {
    let (most, window) = options.rate.unwrap_or((0, 0));
    let mut call = ScriptCall::of(core, &scripts::STEP)
        .key(core.keys.held(owner))
        .part(Part::Rate)
        .arg(owner.to_owned())
        .arg(lease.to_owned())
        .number(wanted as u64)
        .number(options.group_concurrency.unwrap_or(0))
        .number(most)
        .number(window)
        .number(idle_ms)
        .number(lease_ms);
    add_outcomes(&mut call, outgoing);
    call.writes(*operation::STEP)
}

/// Adds the rules for keeping finished jobs and the outcomes, as `step.lua` and `recover.lua` read them.
pub(super) fn add_outcomes(call: &mut ScriptCall<'_>, outgoing: &[Outgoing]) {
    let mut rules: Vec<(&'static str, Keep)> = Vec::new();
    for rule in outgoing.iter().filter_map(|outcome| outcome.keep) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    call.add(rules.len().to_string());
    call.add(outgoing.len().to_string());
    let bound = |bound: Option<u64>| bound.map_or_else(|| "-1".to_owned(), |bound| bound.to_string());
    for (list, keep) in rules {
        call.add(list);
        call.add(bound(keep.count));
        call.add(bound(keep.age_ms));
    }
    for outcome in outgoing {
        call.add(outcome.kind);
        call.add(outcome.id.clone());
        call.add(outcome.fence.clone());
        call.add(outcome.before.clone());
        call.add(outcome.after.clone());
        call.add(outcome.extra.clone());
    }
}

/// A job that was claimed.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) id: Bytes,
    pub(super) stored: Result<JobRecord>,
    pub(super) run: RunRecord,
    /// The progress of an earlier attempt; empty if there is none.
    pub(super) progress: Bytes,
}

/// The answer to a step.
#[derive(Debug)]
pub(super) struct StepResult {
    /// Milliseconds of server time.
    pub(super) now: u64,
    /// The indexes of outcomes that were refused.
    pub(super) refused: Vec<usize>,
    pub(super) claimed: Vec<Claimed>,
    /// Milliseconds until the next delayed job is due.
    pub(super) due_in: Option<u64>,
    /// Milliseconds until the rate limit allows a start.
    pub(super) limited_for: Option<u64>,
    /// How many messages the script wrote to the outbox.
    pub(super) messages: i64,
    /// True if jobs may wait although fewer jobs than wanted were claimed.
    pub(super) more: bool,
    /// How many jobs the server says this worker holds.
    pub(super) held: u64,
}

/// Reads the answer; `None` if the worker's lease had ended.
pub(super) fn read(reply: Reply) -> Result<Option<StepResult>> {
    let mut parts = array(reply).ok_or_else(Error::unexpected_reply)?.into_iter();
    let mut next = || parts.next().ok_or_else(Error::unexpected_reply);
    let now = milliseconds(&next()?).ok_or_else(Error::unexpected_reply)?;
    if integer(&next()?) != Some(1) {
        return Ok(None);
    }
    let refused = array(next()?).ok_or_else(Error::unexpected_reply)?;
    let refused = refused.iter().filter_map(integer).filter_map(|at| usize::try_from(at).ok()).collect();
    let mut flat = array(next()?).ok_or_else(Error::unexpected_reply)?.into_iter();
    let mut claimed = Vec::with_capacity(flat.len() / 4);
    while flat.len() > 0 {
        let mut next = || flat.next().and_then(bytes).ok_or_else(Error::unexpected_reply);
        let (id, body, text, progress) = (next()?, next()?, next()?, next()?);
        let run = parse_run(&text, now).ok_or_else(Error::unexpected_reply)?;
        claimed.push(Claimed { id, stored: JobRecord::read(&body), run, progress });
    }
    let due = milliseconds(&next()?);
    let limited_for = milliseconds(&next()?).filter(|ms| *ms > 0);
    let messages = integer(&next()?).ok_or_else(Error::unexpected_reply)?;
    let more = integer(&next()?) == Some(1);
    let held = milliseconds(&next()?).ok_or_else(Error::unexpected_reply)?;
    let due_in = due.map(|due| due.saturating_sub(now));
    Ok(Some(StepResult { now, refused, claimed, due_in, limited_for, messages, more, held }))
}

pub(super) fn milliseconds(reply: &Reply) -> Option<u64> {
    integer(reply).and_then(|ms| u64::try_from(ms).ok())
}

/// Reads `attempts|stalls|priority`, which is empty for a first attempt.
fn parse_run(text: &[u8], now: u64) -> Option<RunRecord> {
    let mut run = RunRecord { started: now, ..RunRecord::new() };
    if !text.is_empty() {
        let mut parts = std::str::from_utf8(text).ok()?.split('|');
        run.attempts = parts.next()?.parse().ok()?;
        run.stalls = parts.next()?.parse().ok()?;
        run.priority = match parts.next()? {
            "" => None,
            digits => Some(digits.parse().ok()?),
        };
    }
    Some(run)
}
