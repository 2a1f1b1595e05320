//! Waiting until a job has finished.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::timeout;

use super::events::{News, written};
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
        let mut news = ears.register(number, &id, &cancel)?;
        let (written, live) = (ears.written(), ears.live());
        Ok(async move {
            let waiting = async {
                let deaf = async {
                    match live.await {
                        Ok(()) => std::future::pending().await,
                        Err(error) => error,
                    }
                };
                tokio::pin!(deaf);
                // Only then is the job read: one that is unfinished ends within what is heard.
                written.await?;
                loop {
                    let told = match stands(&core, &id).await? {
                        Stands::Ended(outcome) => return Ok(outcome),
                        Stands::Open => tokio::select! {
                            told = &mut news => told.ok(),
                            error = &mut deaf => return Err(error),
                        },
                        // If it ended since it was asked about, the news of that is among what was written until now.
                        Stands::Gone(written) => tokio::select! {
                            told = &mut news => told.ok(),
                            () = ears.read_until(written) => match news.try_recv() {
                                Err(TryRecvError::Empty) => return Err(no_such_job("Job.waitUntilFinished")),
                                told => told.ok(),
                            },
                            error = &mut deaf => return Err(error),
                        },
                    };
                    match told {
                        Some(News::Completed(result)) => return Ok(said("completed", result)),
                        Some(News::Failed(reason)) => return Ok(said("failed", reason)),
                        Some(News::Removed) => return Err(no_such_job("Job.waitUntilFinished")),
                        Some(News::Look) => news = ears.register(number, &id, &cancel)?,
                        None => {
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

/// How it stands with a job that is waited for.
enum Stands {
    Ended(Outcome),
    Open,
    /// It is not there: with the number of the last event that was written by then.
    Gone(i64),
}

async fn stands(core: &Core, id: &str) -> Result<Stands> {
    let Some(job) = find(core, id).await? else { return Ok(Stands::Gone(written(core).await?)) };
    let progressed = Progressed::read(job.record.as_ref())?;
    Ok(match progressed.state {
        State::Completed => Stands::Ended(said("completed", progressed.rest)),
        State::Failed => Stands::Ended(said("failed", progressed.rest)),
        _ => Stands::Open,
    })
}

/// Argument: number. Ends the wait of that number.
pub(super) fn wait_cancel(queue: &Queue, args: &[Arg<'_>], answer: Answer) {
    answer.give(Arguments::of("Job.waitUntilFinished", args).id(0).map(|number| {
        queue.events.cancel(number);
        Outcome::Nothing
    }));
}
