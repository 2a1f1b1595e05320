//! Adding jobs. The calls of `add` in one turn of the event loop are collected, and one script adds up to 100 jobs.

use std::sync::Arc;

use super::add_call::pack;
use super::flows::{self, NewJob};
use super::options::{JobOptions, check_data, is_name};
use super::outbox::deliver_messages;
use super::record::RunRecord;
use super::scripts::{array, integer};
use super::snapshot::Snapshot;
use super::{Core, Queue};
use crate::arguments::Arguments;
use crate::connection::Sink;
use crate::crossing::{Answer, Arg, Outcome, at_end_of_batch};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// A batch of calls of `add` is sent when it has this many jobs or this many bytes of them.
const MOST_JOBS: usize = 100;
const MOST_BYTES: usize = 256 * 1024;
/// Jobs of `addBulk` in one script. A job with options counts as eight jobs, and so does each `BULK_BYTES` of a job.
const BULK_JOBS: usize = 1_000;
const BULK_BYTES: usize = 4 * 1024;

/// Calls of `add` that are sent at the end of the current turn of the event loop.
#[derive(Debug, Default)]
pub(super) struct Collector(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    announced: bool,
}

/// Jobs of one script, and the answers of the callers that added them.
#[derive(Debug, Default)]
struct Batch {
    jobs: Vec<NewJob>,
    bytes: usize,
    /// Each answer, and the index of its job.
    answers: Vec<(Answer, usize)>,
}

impl Collector {
    fn waiting(&self) -> MutexGuard<'_, Pending> {
        self.0.lock()
    }

    fn add(self: &Arc<Self>, core: &Arc<Core>, jobs: Vec<NewJob>, answer: Answer) {
        let (full, announce) = {
            let mut waiting = self.waiting();
            let batch = &mut waiting.batch;
            let at = batch.jobs.len();
            batch.answers.push((answer, at));
            batch.bytes += jobs.iter().map(|job| job.body.len()).sum::<usize>();
            // The index of a parent counts from the start of the script.
            batch.jobs.extend(jobs.into_iter().map(|job| job.moved(at)));
            let full = batch.jobs.len() >= MOST_JOBS || batch.bytes >= MOST_BYTES;
            (full.then(|| std::mem::take(batch)), !std::mem::replace(&mut waiting.announced, true))
        };
        if let Some(batch) = full {
            batch.send(core);
        }
        if announce {
            let (collector, core) = (Arc::clone(self), Arc::clone(core));
            at_end_of_batch(move || {
                collector.waiting().announced = false;
                collector.flush(&core);
            });
        }
    }

    /// Sends the collected jobs, so that the next call sees them.
    pub(super) fn flush(&self, core: &Arc<Core>) {
        let batch = std::mem::take(&mut self.waiting().batch);
        if !batch.jobs.is_empty() {
            batch.send(core);
        }
    }
}

impl Batch {
    fn send(self, core: &Arc<Core>) {
        let Self { jobs, answers, .. } = self;
        let command = pack(core, &jobs);
        let owner = Arc::clone(core);
        core.manager.submit(
            command,
            Sink::then(move |reply| match reply.and_then(|reply| Added::read(&owner, reply, jobs)) {
                Ok(mut added) => {
                    deliver_messages(&owner, added.messages);
                    for (answer, at) in answers {
                        answer.give(Ok(Outcome::List(added.pair(at).into())));
                    }
                }
                Err(error) => {
                    owner.failed(&error);
                    answers.into_iter().for_each(|(answer, _)| answer.give(Err(error.clone())));
                }
            }),
        );
        core.manager.keeps();
    }
}

/// The result of a script that adds jobs.
struct Added {
    now: i64,
    jobs: Vec<NewJob>,
    /// The jobs that the script returned, by index: existing jobs, and jobs that got another state than their options say.
    existing: Vec<Option<Outcome>>,
    /// The index, the id and the run record of each job that existed already.
    existing_runs: Vec<(usize, String, Result<RunRecord>)>,
    /// How many messages the script wrote to the outbox.
    messages: i64,
}

impl Added {
    fn read(core: &Core, reply: Reply, jobs: Vec<NewJob>) -> Result<Self> {
        let [now, present, messages, following] =
            <[Reply; 4]>::try_from(array(reply).ok_or_else(Error::unexpected_reply)?)
                .map_err(|_| Error::unexpected_reply())?;
        let mut existing: Vec<_> = jobs.iter().map(|_| None).collect();
        let mut existing_runs = Vec::new();
        let mut parts = array(present).ok_or_else(Error::unexpected_reply)?.into_iter();
        while let Some(place) = parts.next() {
            let place =
                integer(&place).and_then(|place| usize::try_from(place).ok()).ok_or_else(Error::unexpected_reply)?;
            let snapshot = Snapshot::read(&mut parts)?;
            *existing.get_mut(place).ok_or_else(Error::unexpected_reply)? = Some(snapshot.outcome_or_damaged());
            existing_runs.push((place, flows::text_of(&snapshot.id), RunRecord::read(snapshot.record.as_ref())));
        }
        let added = existing.iter().filter(|job| job.is_none()).count();
        core.manager.metrics().queue_added.add(added as u64);
        let mut parts = array(following).ok_or_else(Error::unexpected_reply)?.into_iter();
        while let Some(place) = parts.next() {
            let place =
                integer(&place).and_then(|place| usize::try_from(place).ok()).ok_or_else(Error::unexpected_reply)?;
            let snapshot = Snapshot::added(&mut parts)?;
            *existing.get_mut(place).ok_or_else(Error::unexpected_reply)? = Some(snapshot.outcome_or_damaged());
        }
        let (now, messages) = (
            integer(&now).ok_or_else(Error::unexpected_reply)?,
            integer(&messages).ok_or_else(Error::unexpected_reply)?,
        );
        Ok(Self { now, jobs, existing, existing_runs, messages })
    }

    /// The answer to a caller of `add`: the time and the id of the added job, or 0 and a whole job. The whole job is one that
    /// existed already, or one that got another state than its options say.
    fn pair(&mut self, at: usize) -> [Outcome; 2] {
        match self.existing.get_mut(at).and_then(Option::take) {
            Some(snapshot) => [Outcome::Number(0.0), snapshot],
            None => [Outcome::Number(self.now as f64), Outcome::Text(self.jobs[at].id.clone())],
        }
    }
}

/// Arguments: name, data, options.
pub(super) fn add(queue: &Queue, call: Call<'_>) {
    match read(&queue.core, &call, 0) {
        Ok(jobs) => queue.adding.add(&queue.core, jobs, call.answer),
        Err(error) => call.give(Err(error)),
    }
}

/// Reads the job whose arguments start at `place`, with its children.
pub(super) fn read(core: &Core, args: &Arguments<'_>, place: usize) -> Result<Vec<NewJob>> {
    let name = read_name(args, place, "name")?;
    let data = args.text(place + 1, "data")?;
    check_data("TaskQueue.add: data", data)?;
    match args.at(place + 2) {
        Arg::Absent | Arg::Null => Ok(vec![NewJob::plain(core, name.as_bytes(), data)]),
        Arg::Text(options) => flows::flatten(core, name, data, JobOptions::parse(options)?),
        other => Err(args.wrong("options", "an object", other)),
    }
}

pub(super) fn read_name<'a>(args: &Arguments<'a>, place: usize, what: &str) -> Result<&'a str> {
    match args.at(place) {
        Arg::Text(text) if is_name(text) => Ok(text),
        other => Err(args.wrong(what, "a string of 1 to 512 bytes without control characters", other)),
    }
}

/// Arguments: name, data and options of each job.
pub(super) fn add_bulk(queue: &Queue, call: Call<'_>) {
    let core = queue.flushed();
    call.run(|call| {
        let count = call.from(0).len() / 3;
        let mut scripts: Vec<(Vec<NewJob>, Vec<usize>)> = Vec::new();
        let mut weight = 0;
        for at in 0..count {
            let jobs = read(&core, call, at * 3)?;
            let heavier = jobs.iter().map(weight_of).sum::<usize>();
            weight += heavier;
            if scripts.is_empty() || weight > BULK_JOBS {
                scripts.push((Vec::new(), Vec::new()));
                weight = heavier;
            }
            if let Some((present, places)) = scripts.last_mut() {
                let place = present.len();
                places.push(place);
                present.extend(jobs.into_iter().map(|job| job.moved(place)));
            }
        }
        // All scripts are sent before this call returns, so that later calls come after them. The answers are awaited together.
        let sent: Vec<_> = scripts
            .into_iter()
            .map(|(jobs, places)| {
                let answer = core.manager.call(pack(&core, &jobs));
                (answer, jobs, places)
            })
            .collect();
        core.manager.keeps();
        Ok(async move {
            let mut outcomes = Vec::with_capacity(count * 2);
            let mut failed = None;
            for (answer, jobs, places) in sent {
                match answer.await.and_then(|reply| Added::read(&core, reply, jobs)) {
                    Ok(mut added) => {
                        deliver_messages(&core, added.messages);
                        for place in places {
                            outcomes.extend(added.pair(place));
                        }
                    }
                    // The other scripts are awaited too, so that no script still runs when the caller gets the error.
                    Err(error) => {
                        core.failed(&error);
                        failed = failed.or(Some(error));
                    }
                }
            }
            failed.map_or(Ok(Outcome::List(outcomes)), Err)
        })
    });
}

fn weight_of(job: &NewJob) -> usize {
    let least = if job.is_plain() { 1 } else { 8 };
    least + job.body.len() / BULK_BYTES * 8
}

/// Adds a job with its children. If the job exists already, gives its id and its run record.
pub(super) async fn add_now(core: &Arc<Core>, jobs: Vec<NewJob>) -> Result<Option<(String, Result<RunRecord>)>> {
    let reply = core.call(pack(core, &jobs)).await?;
    let added = Added::read(core, reply, jobs)?;
    deliver_messages(core, added.messages);
    Ok(added.existing_runs.into_iter().find_map(|(at, id, run)| (at == 0).then_some((id, run))))
}
