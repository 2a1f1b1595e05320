//! Waiting until a job has finished.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::timeout;

use super::adding;
use super::events::{EventReader, JobChange, JobEvent};
use super::flows::text_of;
use super::reading::{self, WaitStatus, job_id, no_such_job};
use super::record::{RunRecord, State};
use super::{Core, Queue};
use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::verb::Call;

const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Arguments: number of the wait, id, timeoutMs. Gives how the job ended.
pub(super) fn wait(queue: &Queue, call: Call<'_>) {
    let reader = Arc::clone(&queue.events);
    let core = queue.flushed();
    call.run(|call| {
        let (number, id) = (call.id(0)?, job_id(call, 1)?.to_owned());
        let limit = call.millis(2, "timeoutMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let watch = Watch::begin(call.owner(), reader, number, &id)?;
        let written = watch.reader.written();
        Ok(async move {
            let ending = async {
                // The job is read after this point. If it is unfinished then, its end will be among the events.
                written.await?;
                watch.ending(&core, &id).await
            };
            let outcome = watch.within(limit, Delivery::Rejected, ending).await;
            outcome.map(|outcome| outcome.listed(None))
        })
    });
}

/// Arguments: number of the wait, timeoutMs, then as `queue.add`. Adds a job and gives how it ended, and its id.
pub(super) fn add_and_wait(queue: &Queue, call: Call<'_>) {
    let reader = Arc::clone(&queue.events);
    let core = queue.flushed();
    call.run(|call| {
        let number = call.id(0)?;
        let limit = call.millis(1, "timeoutMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let jobs = adding::read(&core, call, 2)?;
        let id = jobs.first().map(|job| text_of(&job.id)).unwrap_or_default();
        let watch = Watch::begin(call.owner(), reader, number, &id)?;
        let written = watch.reader.written();
        Ok(async move {
            let added = AtomicBool::new(false);
            let ending = async {
                // The server records events before the job is added, so the job's end will be among the events.
                written.await?;
                let there = adding::add_now(&core, jobs).await?;
                added.store(true, Ordering::Relaxed);
                let Some((there, run)) = there else { return Ok((watch.ending(&core, &id).await?, id)) };
                if let Some(ended) = end_of(&run?) {
                    return Ok((ended, there));
                }
                if there != id {
                    // Another job has the same dedupe id.
                    watch.switch_to(&there).await?;
                }
                Ok((watch.ending(&core, &there).await?, there))
            };
            let outcome = watch.within(limit, Delivery::MaybeExecuted, ending).await;
            match outcome {
                Ok((outcome, id)) => Ok(outcome.listed(Some(id))),
                Err(error) if added.load(Ordering::Relaxed) => Err(error.with_delivery(Delivery::Rejected)),
                Err(error) => Err(error),
            }
        })
    });
}

/// A wait for the end of a job.
struct Watch {
    owner: &'static str,
    reader: Arc<EventReader>,
    number: u64,
    change: Mutex<mpsc::UnboundedReceiver<JobEvent>>,
    cancel: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reader.forget(self.number);
    }
}

impl Watch {
    /// Starts to collect the changes of the job.
    fn begin(owner: &'static str, reader: Arc<EventReader>, number: u64, id: &str) -> Result<Self> {
        let cancel = Arc::new(Notify::new());
        let change = Mutex::new(reader.register(owner, number, id, &cancel)?);
        Ok(Self { owner, reader, number, change, cancel })
    }

    /// Starts to collect the changes of another job instead.
    async fn switch_to(&self, id: &str) -> Result<()> {
        *self.change.lock().await = self.reader.register(self.owner, self.number, id, &self.cancel)?;
        Ok(())
    }

    /// The outcome of `steps`, or an error if they exceed `limit` or the wait is cancelled.
    async fn within<T>(
        &self,
        limit: Duration,
        delivery: Delivery,
        steps: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            outcome = timeout(limit, steps) => outcome.unwrap_or_else(|_| Err(Error::new(
                ErrorKind::Timeout,
                format!("{}: the job has not finished within timeoutMs, {}", self.owner, limit.as_millis()),
            )
            .with_delivery(delivery))),
            () = self.cancel.notified() => {
                Err(Error::new(ErrorKind::Cancelled, format!("{}: signal: aborted", self.owner)))
            }
        }
    }

    /// Waits for the end of the job. The server must record events before this is called.
    async fn ending(&self, core: &Core, id: &str) -> Result<JobEnd> {
        let mut change = self.change.lock().await;
        let live = self.reader.live();
        let lost = async {
            match live.await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::pin!(lost);
        loop {
            let status = reading::wait_status(core, id).await?;
            if let Some(ended) = ended(&status) {
                return Ok(ended);
            }
            let observed = Observed { is_there: status.run.is_some(), newest: status.newest };
            let end = tokio::select! {
                biased;
                end = self.listen(observed, &mut change) => end?,
                error = &mut lost => return Err(error),
            };
            if let Some(end) = end {
                return self.end_of_change(end);
            }
        }
    }

    /// Waits for a change that says how the observed job ended. `None` if the job must be read again.
    async fn listen(
        &self,
        observed: Observed,
        change: &mut mpsc::UnboundedReceiver<JobEvent>,
    ) -> Result<Option<JobChange>> {
        let read_on = async {
            if observed.is_there { std::future::pending().await } else { self.reader.read_until(observed.newest).await }
        };
        tokio::pin!(read_on);
        let mut last = JobChange::Removed;
        loop {
            tokio::select! {
                biased;
                event = change.recv() => {
                    let closed = || Error::new(ErrorKind::Closed, format!("{}: the queue is closed", self.owner));
                    match observed.decide(event.ok_or_else(closed)?) {
                        Decision::Recheck => return Ok(None),
                        Decision::Ended(change) => return Ok(Some(change)),
                        Decision::Remember(change) => last = change,
                        Decision::Ignore => {}
                    }
                }
                () = &mut read_on => return Ok(Some(last)),
            }
        }
    }

    fn end_of_change(&self, change: JobChange) -> Result<JobEnd> {
        match change {
            JobChange::Completed(result) => Ok(JobEnd::Completed(result)),
            JobChange::Failed(reason) => Ok(JobEnd::Failed(reason)),
            JobChange::Removed | JobChange::Unknown => Err(no_such_job(self.owner)),
        }
    }
}

/// What was read of a job whose end is not known.
#[derive(Clone, Copy)]
struct Observed {
    is_there: bool,
    /// The number of the last event that was written before the read.
    newest: i64,
}

/// How a change of a job is handled.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Recheck,
    /// The change is older than the read.
    Ignore,
    Ended(JobChange),
    /// The job did not exist when it was read. The last change before the read says how the job ended.
    Remember(JobChange),
}

impl Observed {
    /// | the job | the change | decision |
    /// |---|---|---|
    /// | exists | is older than the read | ignored: the read includes the change |
    /// | exists | is newer and not an end | the job is read again |
    /// | exists | is newer and an end | the change is the job's end |
    /// | does not exist | is not an end | the job is read again: its result may be kept |
    /// | does not exist | is an end | the last such change is the job's end, once all events up to the read have been seen |
    fn decide(self, JobEvent { number, change }: JobEvent) -> Decision {
        match change {
            _ if self.is_there && number <= self.newest => Decision::Ignore,
            JobChange::Unknown => Decision::Recheck,
            change if self.is_there => Decision::Ended(change),
            change => Decision::Remember(change),
        }
    }
}

/// How a job ended.
enum JobEnd {
    /// The result; empty if there is none.
    Completed(Bytes),
    /// The reason.
    Failed(Bytes),
}

impl JobEnd {
    /// The values that TypeScript reads.
    fn listed(self, id: Option<String>) -> Outcome {
        let (how, text) = match self {
            Self::Completed(result) if result.is_empty() => ("completed", Outcome::Null),
            Self::Completed(result) => ("completed", Outcome::Text(result)),
            Self::Failed(reason) => ("failed", Outcome::Text(reason)),
        };
        let mut values = vec![Outcome::Text(Bytes::from_static(how.as_bytes())), text];
        values.extend(id.map(|id| Outcome::Text(id.into())));
        Outcome::List(values)
    }
}

/// How a job ended; `None` if the job has not ended or its end is not known.
fn ended(status: &WaitStatus) -> Option<JobEnd> {
    match &status.run {
        None => status.unkept_result.clone().map(JobEnd::Completed),
        Some(run) => end_of(run),
    }
}

fn end_of(run: &RunRecord) -> Option<JobEnd> {
    match run.state {
        State::Completed => Some(JobEnd::Completed(run.rest.clone())),
        State::Failed => Some(JobEnd::Failed(run.rest.clone())),
        _ => None,
    }
}

/// Argument: number of the wait. Cancels the wait.
pub(super) fn wait_cancel(queue: &Queue, call: Call<'_>) {
    call.at_once(|call| {
        let number = call.id(0)?;
        queue.events.cancel(number);
        Ok(Outcome::Nothing)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_an_existing_job_counts_if_it_is_newer_than_the_read() {
        let observed = Observed { is_there: true, newest: 5 };
        let completed = || JobChange::Completed(Bytes::from_static(b"1"));
        for (number, change, step) in [
            (5, completed(), Decision::Ignore),
            (5, JobChange::Unknown, Decision::Ignore),
            (6, completed(), Decision::Ended(completed())),
            (6, JobChange::Removed, Decision::Ended(JobChange::Removed)),
            (6, JobChange::Unknown, Decision::Recheck),
            (i64::MAX, JobChange::Unknown, Decision::Recheck),
        ] {
            let owner = format!("{change:?} of {number}");
            assert_eq!(observed.decide(JobEvent { number, change }), step, "{owner}");
        }
    }

    #[test]
    fn an_end_of_a_missing_job_is_remembered_and_another_change_makes_the_job_be_read_again() {
        let observed = Observed { is_there: false, newest: 5 };
        for number in [4, 5, 6] {
            let failed = || JobChange::Failed(Bytes::from_static(b"reason"));
            assert_eq!(observed.decide(JobEvent { number, change: failed() }), Decision::Remember(failed()));
            assert_eq!(
                observed.decide(JobEvent { number, change: JobChange::Removed }),
                Decision::Remember(JobChange::Removed)
            );
            assert_eq!(observed.decide(JobEvent { number, change: JobChange::Unknown }), Decision::Recheck);
        }
    }
}
