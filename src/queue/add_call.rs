//! The calls of the scripts that add jobs.

use super::Core;
use super::flows::NewJob;
use super::scripts::{self, ScriptCall, array, integer, operation};
use crate::connection::{Command, Packed};
use crate::error::{Error, Result};
use crate::keys::queue::{Part, Prefix};

/// Packs the call that adds `jobs`. Jobs without options take a script with fewer keys.
pub(super) fn pack(core: &Core, jobs: &[NewJob]) -> Command {
    if jobs.iter().all(NewJob::is_plain) {
        return append(core, jobs);
    }
    with_options(ScriptCall::of(core, &scripts::ADD), jobs)
}

fn with_options(call: ScriptCall<'_>, jobs: &[NewJob]) -> Command {
    let mut call = call.number(jobs.len() as u64);
    for job in jobs {
        call.add(job.id.clone());
        call.add(job.body.clone());
        call.add(job.extra());
    }
    call.writes(*operation::ADD)
}

fn append(core: &Core, jobs: &[NewJob]) -> Command {
    let words = || core.keys.append().chain(jobs.iter().flat_map(|job| [&job.id, &job.body]));
    let size = words().map(|word| word.len() + 16).sum();
    let mut packed =
        Packed::sized(size).script(&scripts::APPEND, Part::APPEND.len(), Prefix::APPEND.len() + jobs.len() * 2);
    for word in words() {
        packed = packed.word(word);
    }
    packed.runs(*operation::ADD, &scripts::APPEND)
}

/// Adds jobs that came in messages of other queues. Gives how many messages the script wrote to the outbox.
pub(super) async fn add_from_messages(core: &Core, jobs: &[NewJob]) -> Result<i64> {
    let command = with_options(ScriptCall::of(core, &scripts::ADD).part(Part::Inbox), jobs);
    let parts = array(core.call(command).await?).ok_or_else(Error::unexpected_reply)?;
    parts.get(2).and_then(integer).ok_or_else(Error::unexpected_reply)
}
