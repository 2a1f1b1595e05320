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
        let lost = async {
            match live.await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        tokio::pin!(lost);
        loop {
            let standing = reading::stands(core, id).await?;
            if let Some(ended) = ended(&standing) {
                return Ok(ended);
            }
            let look = Look { is_there: standing.progressed.is_some(), told: standing.told };
            let end = tokio::select! {
                biased;
                end = self.listen(look, &mut news) => end?,
                error = &mut lost => return Err(error),
            };
            if let Some(end) = end {
                return self.how(end);
            }
        }
    }

    /// Waits until news tell how the job ended that was looked at; `None`: it is to be looked at again.
    async fn listen(&self, look: Look, news: &mut mpsc::UnboundedReceiver<Told>) -> Result<Option<News>> {
        let read_on =
            async { if look.is_there { std::future::pending().await } else { self.ears.read_until(look.told).await } };
        tokio::pin!(read_on);
        let mut last = News::Removed;
        loop {
            tokio::select! {
                biased;
                told = news.recv() => {
                    let closed = || Error::new(ErrorKind::Closed, format!("{}: the queue is closed", self.said));
                    match look.step(told.ok_or_else(closed)?) {
                        Step::LookAgain => return Ok(None),
                        Step::Ended(news) => return Ok(Some(news)),
                        Step::Remember(news) => last = news,
                        Step::Ignore => {}
                    }
                }
                () = &mut read_on => return Ok(Some(last)),
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

/// How it stood with an unfinished job when it was looked at.
#[derive(Clone, Copy)]
struct Look {
    is_there: bool,
    /// The number of the last event that was written by then.
    told: i64,
}

/// What is to be done about news of a job.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    LookAgain,
    /// The news are older than the look.
    Ignore,
    Ended(News),
    /// The job was gone when it was looked at. The last news until then tell how it ended.
    Remember(News),
}

impl Look {
    /// | the job | the news | |
    /// |---|---|---|
    /// | is there | older than the look | ignored: the look saw what they tell |
    /// | is there | newer, without an end | the job is looked at again |
    /// | is there | newer, with an end | they are the end |
    /// | is gone | without an end | the job is looked at again: its result may be kept |
    /// | is gone | with an end | the last of them is the end, once all events up to the look have been read |
    fn step(self, Told { number, news }: Told) -> Step {
        match news {
            _ if self.is_there && number <= self.told => Step::Ignore,
            News::Look => Step::LookAgain,
            news if self.is_there => Step::Ended(news),
            news => Step::Remember(news),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_job_that_is_there_count_where_they_are_newer_than_the_look() {
        let look = Look { is_there: true, told: 5 };
        let completed = || News::Completed(Bytes::from_static(b"1"));
        for (number, news, step) in [
            (5, completed(), Step::Ignore),
            (5, News::Look, Step::Ignore),
            (6, completed(), Step::Ended(completed())),
            (6, News::Removed, Step::Ended(News::Removed)),
            (6, News::Look, Step::LookAgain),
            (i64::MAX, News::Look, Step::LookAgain),
        ] {
            let said = format!("{news:?} of {number}");
            assert_eq!(look.step(Told { number, news }), step, "{said}");
        }
    }

    #[test]
    fn of_a_job_that_is_gone_all_news_are_remembered_and_one_without_an_end_has_it_looked_at_again() {
        let look = Look { is_there: false, told: 5 };
        for number in [4, 5, 6] {
            let failed = || News::Failed(Bytes::from_static(b"reason"));
            assert_eq!(look.step(Told { number, news: failed() }), Step::Remember(failed()));
            assert_eq!(look.step(Told { number, news: News::Removed }), Step::Remember(News::Removed));
            assert_eq!(look.step(Told { number, news: News::Look }), Step::LookAgain);
        }
    }
}
