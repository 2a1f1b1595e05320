//! Waiting until a job has finished.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::events::News;
use super::reading::{find, job_id, no_such_job};
use super::record::{Progressed, State};
use super::{Core, Queue};
use crate::arguments::Arguments;
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};

const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Arguments: number, id, timeoutMs. Gives how the job ended.
pub(super) fn wait(queue: &Queue, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("Job.waitUntilFinished", args);
    let ears = Arc::clone(&queue.events);
    queue.run(answer, |core| {
        let (number, id) = (args.id(0)?, job_id(&args, 1)?.to_owned());
        let patience = args.millis(2, "timeoutMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let cancel = Arc::new(Notify::new());
        // Events are written from before the job is read: one that is unfinished then ends within what is heard.
        let mut news = ears.register(number, &id, &cancel)?;
        let live = ears.live();
        Ok(async move {
            let waiting = async {
                let deaf = async {
                    match live.await {
                        Ok(()) => std::future::pending().await,
                        Err(error) => error,
                    }
                };
                tokio::pin!(deaf);
                loop {
                    if let Some(outcome) = ended(&core, &id).await? {
                        return Ok(outcome);
                    }
                    let told = tokio::select! {
                        told = &mut news => told,
                        error = &mut deaf => return Err(error),
                    };
                    match told {
                        Ok(News::Completed(result)) => return Ok(said("completed", result)),
                        Ok(News::Failed(reason)) => return Ok(said("failed", reason)),
                        Ok(News::Removed) => return Err(no_such_job("Job.waitUntilFinished")),
                        Ok(News::Look) => news = ears.register(number, &id, &cancel)?,
                        Err(_) => {
                            return Err(Error::new(ErrorKind::Closed, "Job.waitUntilFinished: the queue is closed"));
                        }
                    }
                }
            };
            let outcome = tokio::select! {
                outcome = timeout(patience, waiting) => outcome.unwrap_or_else(|_| Err(Error::new(
                    ErrorKind::Timeout,
                    format!("Job.waitUntilFinished: the job has not finished within timeoutMs, {}", patience.as_millis()),
                )
                .with_delivery(Delivery::Rejected))),
                () = cancel.notified() => {
                    Err(Error::new(ErrorKind::Cancelled, "Job.waitUntilFinished: signal: aborted"))
                }
            };
            ears.forget(number);
            outcome
        })
    });
}

fn said(how: &'static str, text: Bytes) -> Outcome {
    let text = if how == "completed" && text.is_empty() { Outcome::Null } else { Outcome::Text(text) };
    Outcome::List(vec![Outcome::Text(Bytes::from_static(how.as_bytes())), text])
}

/// How the job has ended, if it has.
async fn ended(core: &Core, id: &str) -> Result<Option<Outcome>> {
    let Some(job) = find(core, id).await? else { return Err(no_such_job("Job.waitUntilFinished")) };
    let progressed = Progressed::read(job.record.as_ref())?;
    Ok(match progressed.state {
        State::Completed => Some(said("completed", progressed.rest)),
        State::Failed => Some(said("failed", progressed.rest)),
        _ => None,
    })
}

/// Argument: number. Ends the wait of that number.
pub(super) fn wait_cancel(queue: &Queue, args: &[Arg<'_>], answer: Answer) {
    answer.give(Arguments::of("Job.waitUntilFinished", args).id(0).map(|number| {
        queue.events.cancel(number);
        Outcome::Nothing
    }));
}
