//! Taking over what was interrupted, one thread after another, as the face has room for them.
//!
//! Who waits looks when the next lease of the fleet that it knows of ends, when a registry declares a crash, and every few seconds.

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

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Those who take over do not all look at once.
const SPREAD_MS: u64 = 50;
/// How many threads one look brings: of several processes that look at once each begins with another.
const MOST: u64 = 64;
const MAX_RESUMES: u64 = 1_000_000;

/// Which threads one resumer takes.
#[derive(Debug)]
struct Wanted {
    pattern: Option<String>,
    max_resumes: u64,
    claimant: Claimant,
    /// Before the first look: something went wrong just now.
    pause: Duration,
}

/// Arguments: id of the wait, id of the run, options as JSON. Gives `['taken', thread, fence, checkpoint, interruption]` of a thread that this
/// process owns from now on, `['failed', thread, times]` of one that it has given up, or null when the wait is ended.
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
        inner.listen_for_crashes(operation);
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

async fn find(inner: &Arc<Inner>, operation: Operation, wanted: &Wanted) -> Result<Outcome> {
    let mut cut_off_since = None;
    tokio::time::sleep(wanted.pause).await;
    loop {
        let interrupted = inner.crashes.interrupted.notified();
        let asked = Instant::now();
        let pause = match inner.look(operation, MOST).await {
            Ok(look) => {
                if let Some(since) = cut_off_since.take() {
                    inner.authority.was_cut_off_for(Instant::now().duration_since(since));
                }
                let pause = look.next.map_or(LOOK, |next| next.min(LOOK));
                if let Some(found) = take_one(inner, operation, wanted, look).await? {
                    return Ok(found);
                }
                pause
            }
            Err(error) if error.retryable() => {
                cut_off_since.get_or_insert(asked);
                LOOK
            }
            Err(error) => return Err(error),
        };
        let pause = pause + Duration::from_millis(fastrand::u64(1..=SPREAD_MS));
        let slept = Instant::now();
        // Told, or not: it looks again.
        let _ = tokio::time::timeout(pause, interrupted).await;
        // A process that was stopped wakes late.
        inner.authority.was_cut_off_for(slept.elapsed().saturating_sub(pause));
    }
}

/// Takes one of the threads, of several processes that try each another one first.
async fn take_one(inner: &Arc<Inner>, operation: Operation, wanted: &Wanted, look: Overdue) -> Result<Option<Outcome>> {
    let mut overdue = look.overdue;
    fastrand::shuffle(&mut overdue);
    for found in overdue {
        let Ok(thread) = std::str::from_utf8(&found.thread) else { continue };
        if wanted.pattern.as_ref().is_some_and(|pattern| !glob_matches(pattern.as_bytes(), thread.as_bytes())) {
            continue;
        }
        let name = || Outcome::Text(found.thread.clone());
        match inner.take(operation, thread, &wanted.claimant, Which::Interrupted(wanted.max_resumes)).await {
            Ok(Attempt::Taken(Outcome::List(run))) => {
                let told = [Outcome::Text("taken".into()), name()].into_iter().chain(run).collect();
                return Ok(Some(Outcome::List(told)));
            }
            Ok(Attempt::Failed(times)) => {
                let told = vec![Outcome::Text("failed".into()), name(), Outcome::Number(times as f64)];
                return Ok(Some(Outcome::List(told)));
            }
            // Somebody was faster.
            Ok(_) => {}
            Err(error) => {
                // It may have been taken: asked again by the same name it is, and it is given back.
                inner.give_up(operation, thread, wanted.claimant.id());
                if !error.retryable() {
                    return Err(error);
                }
            }
        }
    }
    Ok(None)
}
