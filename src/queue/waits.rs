//! Waiting until a job has finished.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::timeout;

use super::adding;
use super::events::{Ears, News, Told};
use super::flows::text_of;
use super::reading::{self, Standing, job_id, no_such_job};
use super::record::{Progressed, State};
use super::{Core, Queue};
use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::verb::Call;

const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// Arguments: number, id, timeoutMs. Gives how the job ended.
pub(super) fn wait(queue: &Queue, call: Call<'_>) {
    let ears = Arc::clone(&queue.events);
    let core = queue.flushed();
    call.run(|call| {
        let (number, id) = (call.id(0)?, job_id(call, 1)?.to_owned());
        let patience = call.millis(2, "timeoutMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let watch = Watch::begin(call.owner(), ears, number, &id)?;
        let written = watch.ears.written();
        Ok(async move {
            let ending = async {
                // Only then is the job read: one that is unfinished ends within what is heard.
                written.await?;
                watch.ending(&core, &id).await
            };
            let outcome = watch.within(patience, Delivery::Rejected, ending).await;
            outcome.map(|outcome| outcome.listed(None))
        })
    });
}

/// Arguments: number, timeoutMs, then as `queue.add`. Adds a job and gives how it ended, and its id.
pub(super) fn add_and_wait(queue: &Queue, call: Call<'_>) {
    let ears = Arc::clone(&queue.events);
    let core = queue.flushed();
    call.run(|call| {
        let number = call.id(0)?;
        let patience = call.millis(1, "timeoutMs", 0.0)?.unwrap_or(DEFAULT_WAIT);
        let jobs = adding::read(&core, call, 2)?;
        let id = jobs.first().map(|job| text_of(&job.id)).unwrap_or_default();
        let watch = Watch::begin(call.owner(), ears, number, &id)?;
        let written = watch.ears.written();
        Ok(async move {
            let added = AtomicBool::new(false);
            let ending = async {
                // Its end is heard, however soon it comes, for what hears it was there before the job.
                written.await?;
                let there = adding::add_now(&core, jobs).await?;
                added.store(true, Ordering::Relaxed);
                let Some((there, progressed)) = there else { return Ok((watch.ending(&core, &id).await?, id)) };
                if let Some(ended) = end_of(&progressed?) {
                    return Ok((ended, there));
                }
                if there != id {
                    // Another job has its dedupe id.
                    watch.turn_to(&there).await?;
                }
                Ok((watch.ending(&core, &there).await?, there))
            };
            let outcome = watch.within(patience, Delivery::MaybeExecuted, ending).await;
            match outcome {
                Ok((outcome, id)) => Ok(outcome.listed(Some(id))),
                Err(error) if added.load(Ordering::Relaxed) => Err(error.with_delivery(Delivery::Rejected)),
                Err(error) => Err(error),
            }
        })
    });
}

/// One who waits for the end of a job.
struct Watch {
    said: &'static str,
    ears: Arc<Ears>,
    number: u64,
    news: Mutex<mpsc::UnboundedReceiver<Told>>,
    cancel: Arc<Notify>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ears.forget(self.number);
    }
}

impl Watch {
    /// From now on news of the job are collected.
    fn begin(said: &'static str, ears: Arc<Ears>, number: u64, id: &str) -> Result<Self> {
        let cancel = Arc::new(Notify::new());
        let news = Mutex::new(ears.register(said, number, id, &cancel)?);
        Ok(Self { said, ears, number, news, cancel })
    }

    /// From now on news of another job are collected.
    async fn turn_to(&self, id: &str) -> Result<()> {
        *self.news.lock().await = self.ears.register(self.said, self.number, id, &self.cancel)?;
        Ok(())
    }

    /// What `steps` come to, unless they take too long or are cancelled.
    async fn within<T>(
        &self,
        patience: Duration,
        delivery: Delivery,
        steps: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            outcome = timeout(patience, steps) => outcome.unwrap_or_else(|_| Err(Error::new(
                ErrorKind::Timeout,
                format!("{}: the job has not finished within timeoutMs, {}", self.said, patience.as_millis()),
            )
            .with_delivery(delivery))),
            () = self.cancel.notified() => {
                Err(Error::new(ErrorKind::Cancelled, format!("{}: signal: aborted", self.said)))
            }
        }
    }

    /// How the job ends. What happens to it must be heard by now.
    async fn ending(&self, core: &Core, id: &str) -> Result<Ended> {
        let mut news = self.news.lock().await;
        let live = self.ears.live();
        let deaf = async {
            match live.await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::pin!(deaf);
        'look: loop {
            let standing = reading::stands(core, id).await?;
            let open = match ended(&standing) {
                Some(outcome) => return Ok(outcome),
                None => standing.progressed.is_some(),
            };
            // What was written until now is of the time before, and news only where the job is not there: it may have ended
            // since it was asked about, and then the last of that is how.
            let mut last = None;
            let over =
                async { if open { std::future::pending().await } else { self.ears.read_until(standing.told).await } };
            tokio::pin!(over);
            loop {
                tokio::select! {
                    biased;
                    told = news.recv() => match told {
                        None => return Err(Error::new(ErrorKind::Closed, format!("{}: the queue is closed", self.said))),
                        Some(Told { news: News::Look, number }) if !open || number > standing.told => continue 'look,
                        Some(Told { number, .. }) if open && number <= standing.told => {}
                        Some(Told { news, .. }) if open => return self.how(news),
                        Some(Told { news, .. }) => last = Some(news),
                    },
                    () = &mut over => return self.how(last.unwrap_or(News::Removed)),
                    error = &mut deaf => return Err(error),
                }
            }
        }
    }

    fn how(&self, news: News) -> Result<Ended> {
        match news {
            News::Completed(result) => Ok(Ended::Completed(result)),
            News::Failed(reason) => Ok(Ended::Failed(reason)),
            News::Removed | News::Look => Err(no_such_job(self.said)),
        }
    }
}

/// How a job ended.
enum Ended {
    /// With its result; empty for none.
    Completed(Bytes),
    /// With the reason.
    Failed(Bytes),
}

impl Ended {
    /// As the face reads it.
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

/// How a job has ended, where it has and that is known.
fn ended(standing: &Standing) -> Option<Ended> {
    match &standing.progressed {
        None => standing.left.clone().map(Ended::Completed),
        Some(progressed) => end_of(progressed),
    }
}

fn end_of(progressed: &Progressed) -> Option<Ended> {
    match progressed.state {
        State::Completed => Some(Ended::Completed(progressed.rest.clone())),
        State::Failed => Some(Ended::Failed(progressed.rest.clone())),
        _ => None,
    }
}

/// Argument: number. Ends the wait of that number.
pub(super) fn wait_cancel(queue: &Queue, call: Call<'_>) {
    call.at_once(|call| {
        let number = call.id(0)?;
        queue.events.cancel(number);
        Ok(Outcome::Nothing)
    });
}
