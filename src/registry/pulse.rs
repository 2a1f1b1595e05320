//! Does the event loop answer? A ping goes to JavaScript the way every answer does, and JavaScript calls back. While one is
//! unanswered for `stalledAfterMs` the workers are degraded, and their heartbeats, which are not JavaScript's, go on.

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
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the last ping.
    pinged: u64,
    /// When it was sent, until it is answered.
    waiting_since: Option<Instant>,
    answered_at: Option<Instant>,
    lag: Duration,
    stalled: bool,
    memory: f64,
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.lock().stalled
    }

    /// How long the answer took, how long ago it was, and how much memory the process had then: milliseconds and bytes.
    pub(super) fn report(&self) -> String {
        let state = self.lock();
        let lag = state.waiting_since.map_or(state.lag, |since| since.elapsed().max(state.lag));
        let age = state.answered_at.map_or(Duration::ZERO, |at| at.elapsed());
        format!("{:.1} {} {:.0}", lag.as_secs_f64() * 1e3, age.as_millis(), state.memory)
    }

    /// The number of a ping to send, if none is on its way.
    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.waiting_since.is_some() {
            return None;
        }
        state.pinged += 1;
        state.waiting_since = Some(Instant::now());
        Some(state.pinged)
    }

    /// Says whether it has just been noticed that the loop is stalled.
    fn stalls(&self, after: Duration) -> bool {
        let mut state = self.lock();
        let stalled = state.waiting_since.is_some_and(|since| since.elapsed() >= after);
        stalled && !std::mem::replace(&mut state.stalled, true)
    }

    /// The whole process stood still: that says nothing of its event loop.
    fn forgive(&self) {
        let mut state = self.lock();
        if state.waiting_since.is_some() {
            state.waiting_since = Some(Instant::now());
        }
    }

    /// The answer to ping `number`. Gives how long it took, and whether the loop was stalled until now.
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

/// Asks for as long as the workers beat by themselves.
pub(super) async fn run(inner: Arc<Inner>) {
    let stalled_after = inner.settings.stalled_after;
    let period = (stalled_after / 5).clamp(LEAST_PERIOD, LONGEST_PERIOD);
    let closing = inner.manager.closing();
    while inner.beats.are_running() {
        if let Some(number) = inner.pulse.next() {
            inner.outlet.tell(format!(r#"{{"event":"tick","number":{number}}}"#));
        }
        let planned = Instant::now() + period;
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            () = inner.ended.cancelled() => break,
            () = sleep(period) => {}
        }
        if planned.elapsed() > stalled_after / 2 {
            inner.pulse.forgive();
        }
        if inner.pulse.stalls(stalled_after) {
            inner.manager.metrics().registry_stalled.add(1);
            inner.beats.hurry();
        }
    }
    inner.pulse.reset();
}

/// Arguments: number, bytes of memory. JavaScript's answer to a ping.
pub(super) fn tick(registry: &Registry, call: Call<'_>) {
    let inner = &registry.0;
    let memory = if let Arg::Number(memory) = call.at(1) { memory } else { 0.0 };
    let ticked = call.id(0).map(|number| {
        if let Some((lag, was_stalled)) = inner.pulse.answered(number, memory) {
            inner.manager.metrics().registry_event_loop_lag.record(lag);
            if was_stalled {
                inner.beats.hurry();
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
        let pulse = Pulse::default();
        assert!(!pulse.stalls(Duration::ZERO), "nothing was asked");
        assert_eq!(pulse.next(), Some(1));
        assert_eq!(pulse.next(), None, "one at a time");
        assert!(!pulse.stalls(Duration::from_mins(1)));
        assert!(pulse.stalls(Duration::ZERO));
        assert!(!pulse.stalls(Duration::ZERO), "noticed already");
        assert!(pulse.is_stalled());
        assert!(pulse.answered(7, 0.0).is_none(), "another ping's answer");
        let (_, was_stalled) = pulse.answered(1, 5e6).unwrap();
        assert!(was_stalled && !pulse.is_stalled());
        assert!(pulse.report().ends_with(" 5000000"), "{}", pulse.report());
        assert_eq!(pulse.next(), Some(2));
    }
}
