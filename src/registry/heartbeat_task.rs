//! The task that sends the heartbeats of this process' workers by itself.
//!
//! It runs from the first registration until no worker is left, the manager is disconnected, or the registry is dropped. In every
//! interval all workers send a heartbeat, many in one call, and the server is asked to sweep. A failed heartbeat is repeated
//! soon. A heartbeat that waits for a reconnect is sent with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::heartbeat::{Heartbeat, send_heartbeats};
use super::{Inner, event_loop, register, sweeper, unregister};
use crate::lifecycle;

/// Workers in one call.
const CHUNK: usize = 128;
/// The pause between two attempts when the server cannot be asked; a connection that is being restored delays them anyway.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct HeartbeatTask {
    running: AtomicBool,
    wake: Notify,
}

impl HeartbeatTask {
    /// Has the next heartbeats sent now.
    pub(super) fn run_now(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }
}

impl Inner {
    /// Starts the task, unless it runs.
    pub(super) fn start_heartbeats(self: &Arc<Self>) {
        // The task decides to end under the same lock.
        let _members = self.members.lock();
        if !self.heartbeat_task.running.swap(true, Ordering::AcqRel) {
            lifecycle::spawn(run(Arc::clone(self)));
            lifecycle::spawn(event_loop::run(Arc::clone(self)));
        }
    }

    /// Ends the task when no worker is left. Returns whether it ends.
    fn ends_heartbeats(&self) -> bool {
        let members = self.members.lock();
        if members.is_empty() {
            self.heartbeat_task.running.store(false, Ordering::Release);
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
                unregister::disconnected(&inner);
                inner.ends_heartbeats();
                return;
            }
            () = inner.ended.cancelled() => return,
            () = sleep(wait) => inner.authority.silent_for(planned.elapsed()),
            () = inner.heartbeat_task.wake.notified() => {}
        }
        if inner.ends_heartbeats() {
            return;
        }
        let began = Instant::now();
        wait = if heartbeat_all(&inner).await {
            jittered(inner.settings.interval).saturating_sub(began.elapsed())
        } else {
            RETRY.min(inner.settings.interval)
        };
    }
}

/// Up to a tenth less than the interval, so that processes that started together drift apart.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - fastrand::f64() / 10.0)
}

/// Returns whether every heartbeat succeeded.
async fn heartbeat_all(inner: &Arc<Inner>) -> bool {
    let mut all = register::register_all_again(inner).await;
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
        .map(|(at, ids)| send_heartbeats(inner, ids.iter().cloned().map(Heartbeat::plain).collect(), at == 0))
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
