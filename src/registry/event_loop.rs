//! Whether the event loop answers. A ping goes to JavaScript as every answer does, and JavaScript calls back. While a ping is
//! unanswered for `stalledAfterMs`, the workers are degraded. Their heartbeats go on, because JavaScript does not send them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Inner, Registry};
use crate::crossing::{Arg, Outcome};
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

const LEAST_PERIOD: Duration = Duration::from_millis(10);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct EventLoop(Mutex<Pings>);

#[derive(Debug, Default)]
struct Pings {
    /// The number of the last ping.
    pinged: u64,
    /// When the ping was sent; nothing once it is answered.
    waiting_since: Option<Instant>,
    answered_at: Option<Instant>,
    lag: Duration,
    stalled: bool,
    memory: f64,
}

impl EventLoop {
    fn lock(&self) -> MutexGuard<'_, Pings> {
        self.0.lock()
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// How long the last answer took and how long ago it came, in ms; the memory of the process then, in bytes.
    pub(super) fn report(&self) -> String {
        let state = self.lock();
        let lag = state.waiting_since.map_or(state.lag, |since| since.elapsed().max(state.lag));
        let age = state.answered_at.map_or(Duration::ZERO, |at| at.elapsed());
        format!("{:.1} {} {:.0}", lag.as_secs_f64() * 1e3, age.as_millis(), state.memory)
    }

    /// The number of a ping to send; nothing while one is in flight.
    fn next_ping(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.waiting_since.is_some() {
            return None;
        }
        state.pinged += 1;
        state.waiting_since = Some(Instant::now());
        Some(state.pinged)
    }

    /// Returns true once, when the loop is first found to be stalled.
    fn detect_stall(&self, after: Duration) -> bool {
        let mut state = self.lock();
        let stalled = state.waiting_since.is_some_and(|since| since.elapsed() >= after);
        stalled && !std::mem::replace(&mut state.stalled, true)
    }

    /// Restarts the wait: the whole process stood still, which says nothing about its event loop.
    fn restart_wait(&self) {
        let mut state = self.lock();
        if state.waiting_since.is_some() {
            state.waiting_since = Some(Instant::now());
        }
    }

    /// Records the answer to ping `number`. Returns how long it took, and whether the loop was stalled until now.
    fn answered(&self, number: u64, memory: f64) -> Option<(Duration, bool)> {
        let mut state = self.lock();
        if number != state.pinged {
            return None;
        }
        let since = state.waiting_since.take()?;
        state.lag = since.elapsed();
        state.answered_at = Some(Instant::now());
        state.memory = memory;
        Some((state.lag, std::mem::take(&mut state.stalled)))
    }

    fn reset(&self) {
        let mut state = self.lock();
        (state.waiting_since, state.stalled) = (None, false);
    }
}

/// Sends pings while the heartbeat task runs.
pub(super) async fn run(inner: Arc<Inner>) {
    let stalled_after = inner.settings.stalled_after;
    let period = (stalled_after / 5).clamp(LEAST_PERIOD, LONGEST_PERIOD);
    let closing = inner.manager.closing();
    while inner.heartbeat_task.is_running() {
        if let Some(number) = inner.event_loop.next_ping() {
            inner.outlet.emit(format!(r#"{{"event":"tick","number":{number}}}"#));
        }
        let planned = Instant::now() + period;
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            () = inner.ended.cancelled() => break,
            () = sleep(period) => {}
        }
        if planned.elapsed() > stalled_after / 2 {
            inner.event_loop.restart_wait();
        }
        if inner.event_loop.detect_stall(stalled_after) {
            inner.manager.metrics().registry_stalled.add(1);
            inner.heartbeat_task.run_now();
        }
    }
    inner.event_loop.reset();
}

/// Arguments: number, bytes of memory. JavaScript's answer to a ping.
pub(super) fn tick(registry: &Registry, call: Call<'_>) {
    let inner = &registry.0;
    let memory = if let Arg::Number(memory) = call.at(1) { memory } else { 0.0 };
    let ticked = call.id(0).map(|number| {
        if let Some((lag, was_stalled)) = inner.event_loop.answered(number, memory) {
            inner.manager.metrics().registry_event_loop_lag.record(lag);
            if was_stalled {
                inner.heartbeat_task.run_now();
            }
        }
        Outcome::Nothing
    });
    call.give(ticked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_stalled_from_a_ping_that_is_not_answered_until_one_that_is() {
        let event_loop = EventLoop::default();
        assert!(!event_loop.detect_stall(Duration::ZERO), "nothing was asked");
        assert_eq!(event_loop.next_ping(), Some(1));
        assert_eq!(event_loop.next_ping(), None, "one at a time");
        assert!(!event_loop.detect_stall(Duration::from_mins(1)));
        assert!(event_loop.detect_stall(Duration::ZERO));
        assert!(!event_loop.detect_stall(Duration::ZERO), "noticed already");
        assert!(event_loop.is_stalled());
        assert!(event_loop.answered(7, 0.0).is_none(), "another ping's answer");
        let (_, was_stalled) = event_loop.answered(1, 5e6).unwrap();
        assert!(was_stalled && !event_loop.is_stalled());
        assert!(event_loop.report().ends_with(" 5000000"), "{}", event_loop.report());
        assert_eq!(event_loop.next_ping(), Some(2));
    }
}
