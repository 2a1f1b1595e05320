//! What `step.lua` is asked and what it answers.

use bytes::Bytes;

use super::slot::Outgoing;
use crate::connection::Command;
use crate::error::{Error, Result};
use crate::keys::queue::Part;
use crate::queue::Core;
use crate::queue::options::{Keep, WorkerOptions};
use crate::queue::record::{Progressed, Stored};
use crate::queue::scripts::{self, ScriptCall, array, bytes, integer, operation};
use crate::resp::Reply;

/// Packs a step: settles `outgoing`, then claims up to `wanted` jobs under `lease`, which starts for `lease_ms` where that is not 0.
#[expect(clippy::too_many_arguments, reason = "each is a word of the script")]
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

/// The rules and the outcomes, as `step.lua` and `recover.lua` read them.
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
        call.add(outcome.what);
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
    pub(super) stored: Result<Stored>,
    pub(super) progressed: Progressed,
    /// What was progress of it in an earlier attempt; empty where nothing was.
    pub(super) progress: Bytes,
}

/// What a step came to.
#[derive(Debug)]
pub(super) struct StepResult {
    /// Milliseconds of server time.
    pub(super) now: u64,
    pub(super) refused: Vec<usize>,
    pub(super) claimed: Vec<Claimed>,
    /// Milliseconds until the next delayed job is due.
    pub(super) due_in: Option<u64>,
    /// Milliseconds until the rate limit allows a start.
    pub(super) limited_for: Option<u64>,
    /// How many messages were left in the outbox.
    pub(super) messages: i64,
    /// May jobs wait though fewer came than were wanted?
    pub(super) more: bool,
    /// How many jobs the server says this worker holds.
    pub(super) held: u64,
}

/// Reads the answer; `None` where the worker's lease had ended.
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
        let (id, body, how_far, progress) = (next()?, next()?, next()?, next()?);
        let progressed = how_far_it_is(&how_far, now).ok_or_else(Error::unexpected_reply)?;
        claimed.push(Claimed { id, stored: Stored::read(&body), progressed, progress });
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

/// `attempts|stalls|priority`, or nothing for a first attempt.
fn how_far_it_is(text: &[u8], now: u64) -> Option<Progressed> {
    let mut progressed = Progressed { started: now, ..Progressed::new() };
    if !text.is_empty() {
        let mut parts = std::str::from_utf8(text).ok()?.split('|');
        progressed.attempts = parts.next()?.parse().ok()?;
        progressed.stalls = parts.next()?.parse().ok()?;
        progressed.priority = match parts.next()? {
            "" => None,
            digits => Some(digits.parse().ok()?),
        };
    }
    Some(progressed)
}
