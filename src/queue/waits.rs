//! Waiting until a job has finished.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Queue;
use super::events::{News, Told};
use super::reading::{self, Standing, job_id, no_such_job};
use super::record::State;
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
                'look: loop {
                    let standing = reading::stands(&core, &id).await?;
                    let open = match ended(&standing) {
                        Some(outcome) => return Ok(outcome),
                        None => standing.progressed.is_some(),
                    };
                    // What was written until now is of the time before, and news only where the job is not there: it may have ended
                    // since it was asked about, and then the last of that is how.
                    let mut last = None;
                    let over = async {
                        if open { std::future::pending().await } else { ears.read_until(standing.told).await }
                    };
                    tokio::pin!(over);
                    loop {
                        tokio::select! {
                            biased;
                            told = news.recv() => match told {
                                None => return Err(Error::new(
                                    ErrorKind::Closed,
                                    "Job.waitUntilFinished: the queue is closed",
                                )),
                                Some(Told { news: News::Look, number }) if !open || number > standing.told => continue 'look,
                                Some(Told { number, .. }) if open && number <= standing.told => {}
                                Some(Told { news, .. }) if open => return how(news),
                                Some(Told { news, .. }) => last = Some(news),
                            },
                            () = &mut over => return how(last.unwrap_or(News::Removed)),
                            error = &mut deaf => return Err(error),
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

/// How a job has ended, where it has and that is known.
fn ended(standing: &Standing) -> Option<Outcome> {
    match &standing.progressed {
        None => standing.left.clone().map(|result| said("completed", result)),
        Some(progressed) => match progressed.state {
            State::Completed => Some(said("completed", progressed.rest.clone())),
            State::Failed => Some(said("failed", progressed.rest.clone())),
            _ => None,
        },
    }
}

fn how(news: News) -> Result<Outcome> {
    match news {
        News::Completed(result) => Ok(said("completed", result)),
        News::Failed(reason) => Ok(said("failed", reason)),
        News::Removed | News::Look => Err(no_such_job("Job.waitUntilFinished")),
    }
}

/// Argument: number. Ends the wait of that number.
pub(super) fn wait_cancel(queue: &Queue, args: &[Arg<'_>], answer: Answer) {
    answer.give(Arguments::of("Job.waitUntilFinished", args).id(0).map(|number| {
        queue.events.cancel(number);
        Outcome::Nothing
    }));
}
