//! The task that beats for the workers of this process by itself.
//!
//! It runs from the first registration until no worker is left, the manager is disconnected or the registry dropped. Every
//! interval all workers beat, many in one call, and the server is asked to do what is due. A beat that failed is repeated soon; one
//! that waits for a reconnect goes out with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::heartbeat::{Beat, send_beats};
use super::{Inner, leaving, pulse, register, sweeper};
use crate::lifecycle;

/// Workers in one call.
const CHUNK: usize = 128;
/// Between two attempts where the server cannot be asked; a connection that is being restored holds them up by itself.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Beats {
    running: AtomicBool,
    hurry: Notify,
}

impl Beats {
    /// Has the next beat made now.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    pub(super) fn are_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }
}

impl Inner {
    /// Has the workers beat by themselves.
    pub(super) fn start_beats(self: &Arc<Self>) {
        // Under the lock under which the task decides to end.
        let _members = self.members.lock();
        if !self.beats.running.swap(true, Ordering::AcqRel) {
            lifecycle::spawn(run(Arc::clone(self)));
            lifecycle::spawn(pulse::run(Arc::clone(self)));
        }
    }

    /// Is there nothing left to beat for? Then the task ends.
    fn ends_beats(&self) -> bool {
        let members = self.members.lock();
        if members.is_empty() {
            self.beats.running.store(false, Ordering::Release);
        }
        members.is_empty()
    }
}

async fn run(inner: Arc<Inner>) {
    let closing = inner.manager.closing();
    let mut wait = jittered(inner.settings.interval);
    loop {
        let planned = Instant::now() + wait;
        tokio::select! {
            biased;
            () = closing.cancelled() => {
                leaving::disconnected(&inner);
                inner.ends_beats();
                return;
            }
            () = inner.ended.cancelled() => return,
            () = sleep(wait) => inner.sight.stood_still(planned.elapsed()),
            () = inner.beats.hurry.notified() => {}
        }
        if inner.ends_beats() {
            return;
        }
        let began = Instant::now();
        wait = if beat_all(&inner).await {
            jittered(inner.settings.interval).saturating_sub(began.elapsed())
        } else {
            RETRY.min(inner.settings.interval)
        };
    }
}

/// Up to a tenth less, so that processes that began together do not stay together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - fastrand::f64() / 10.0)
}

/// Says whether all of it succeeded.
async fn beat_all(inner: &Arc<Inner>) -> bool {
    let mut all = register::enter_all_again(inner).await;
    let ids: Vec<Bytes> = inner
        .members
        .lock()
        .values()
        .filter(|member| member.lost.is_none())
        .map(|member| member.registration.id.clone())
        .collect();
    let calls: Vec<_> = ids
        .chunks(CHUNK)
        .enumerate()
        .map(|(at, ids)| send_beats(inner, ids.iter().cloned().map(Beat::plain).collect(), at == 0))
        .collect();
    let mut more = false;
    for call in calls {
        match call.await {
            Ok(due) => more |= due,
            Err(_) => all = false,
        }
    }
    if more {
        all &= sweeper::sweep(inner).await.is_ok();
    }
    all
}
