//! Interrupted threads are taken over one after another, as JavaScript has room for them.
//!
//! A resumer that waits looks for interrupted threads when the next known lease ends, when a registry declares a crash, and every two seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::overdue::Overdue;
use super::runs::{Attempt, Claimant, Which};
use super::{Checkpoints, Inner};
use crate::connection::glob_matches;
use crate::crossing::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Operation;
use crate::verb::Call;

/// The longest time between two searches.
const LOOK: Duration = Duration::from_secs(2);
/// A random delay of up to this keeps the resumers of several processes from searching all at once.
const SPREAD_MS: u64 = 50;
/// The largest number of threads of one search. Processes that search at the same time try them in different orders.
const MOST: u64 = 64;
const MAX_RESUMES: u64 = 1_000_000;

/// The threads that one resumer takes.
#[derive(Debug)]
struct Wanted {
    pattern: Option<String>,
    max_resumes: u64,
    claimant: Claimant,
    /// The pause before the first search, after a failure.
    pause: Duration,
}

/// Arguments: id of the wait, id of the run, options as JSON. Gives `['taken', thread, fence, checkpoint, interruption]` for a thread that this
/// process owns from now on, `['failed', thread, times]` for a thread that nobody takes any more, or null when the wait is ended.
pub(super) fn next(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (id, run) = (call.id(0)?, call.id(1)?);
        let mut options = call.options(2)?;
        options.stays("concurrency");
        let pattern = options.text("match")?;
        let max_resumes = options.whole("maxResumes", 1..=MAX_RESUMES)?.unwrap_or(5);
        let claimant = Claimant::read(run, &mut options)?;
        let pause = options.time("pauseMs", 0.0)?.unwrap_or_default();
        options.finish()?;
        let wanted = Wanted { pattern, max_resumes, claimant, pause };
        let (operation, ended) = (call.operation(), inner.waits.start(id));
        let closing = inner.manager.closing();
        Ok(async move {
            let outcome = tokio::select! {
                biased;
                () = ended.cancelled() => Ok(Outcome::Null),
                () = closing.cancelled() => {
                    Err(Error::new(ErrorKind::Closed, "CheckpointStore.resume: the connection manager was disconnected"))
                }
                outcome = find(&inner, operation, &wanted) => outcome,
            };
            inner.waits.end(id);
            outcome
        })
    });
}

impl Wanted {
    fn accepts(&self, thread: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| glob_matches(pattern.as_bytes(), thread))
    }
}

async fn find(inner: &Arc<Inner>, operation: Operation, wanted: &Wanted) -> Result<Outcome> {
    tokio::time::sleep(wanted.pause).await;
    loop {
        inner.listen_for_crashes(operation);
        let interrupted = inner.crashes.interrupted.notified();
        if let Some(failure) = inner.crashes.failure() {
            return Err(failure);
        }
        let pause = match find_once(inner, operation, wanted).await {
            Ok(Look::Found(found)) => return Ok(found),
            Ok(Look::Nothing { next }) => next.map_or(LOOK, |next| next.min(LOOK)),
            Err(error) if error.retryable() => LOOK,
            Err(error) => return Err(error),
        };
        let pause = pause + Duration::from_millis(fastrand::u64(1..=SPREAD_MS));
        let slept = Instant::now();
        // The next search follows a crash as well as the end of the pause.
        let _ = tokio::time::timeout(pause, interrupted).await;
        // A process that was stopped wakes late.
        inner.authority.was_cut_off_for(slept.elapsed().saturating_sub(pause));
    }
}

/// The result of one search.
enum Look {
    Found(Outcome),
    Nothing { next: Option<Duration> },
}

/// Searches once, and takes one of the threads. Processes that search at the same time try the threads in different orders.
async fn find_once(inner: &Arc<Inner>, operation: Operation, wanted: &Wanted) -> Result<Look> {
    let Overdue { mut overdue, next } = inner.look(operation, MOST, |thread| wanted.accepts(thread)).await?;
    fastrand::shuffle(&mut overdue);
    for found in overdue {
        // Names cross as text, so a thread of another program whose name is not UTF-8 is skipped.
        let Ok(thread) = std::str::from_utf8(&found.thread) else { continue };
        let name = || Outcome::Text(found.thread.clone());
        match inner.take(operation, thread, &wanted.claimant, Which::Interrupted(wanted.max_resumes)).await? {
            Attempt::Taken(Outcome::List(run)) => {
                let told = [Outcome::Text("taken".into()), name()].into_iter().chain(run).collect();
                return Ok(Look::Found(Outcome::List(told)));
            }
            Attempt::Failed(times) => {
                let told = vec![Outcome::Text("failed".into()), name(), Outcome::Number(times as f64)];
                return Ok(Look::Found(Outcome::List(told)));
            }
            // Another process was faster.
            Attempt::Taken(_) | Attempt::HeldFor(_) | Attempt::Free => {}
        }
    }
    Ok(Look::Nothing { next })
}
