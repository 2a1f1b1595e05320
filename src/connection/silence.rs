//! How long a peer may be silent. After `keepAliveMs` the peer is asked for a sign of life. After almost twice `keepAliveMs` it is
//! lost.

use std::time::{Duration, Instant};

/// The silence of one peer.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    asked: bool,
}

/// What is to be done about a silence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before then.
    Wait(Instant),
    /// A sign of life must be asked for now, and must come before then.
    Ask(Instant),
    /// The peer is lost: it has been silent for this long.
    Lost(Duration),
}

impl Silence {
    pub(super) fn since(heard: Instant) -> Self {
        Self { since: heard, asked: false }
    }

    /// Something came from the peer.
    pub(super) fn end(&mut self, now: Instant) {
        *self = Self::since(now);
    }

    /// The peer has received something. This is a sign of life, but no answer.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.since = now;
    }

    pub(super) fn began(&self) -> Instant {
        self.since
    }

    pub(super) fn due(&mut self, keep_alive: Duration, now: Instant) -> Due {
        // A little less than twice `keepAliveMs`, so that the loss is known within twice `keepAliveMs`.
        let lost_at = |since: Instant| since + keep_alive.mul_f64(1.9);
        if self.asked {
            return if now >= lost_at(self.since) {
                Due::Lost(now.saturating_duration_since(self.since))
            } else {
                Due::Wait(lost_at(self.since))
            };
        }
        if now < self.since + keep_alive {
            return Due::Wait(self.since + keep_alive);
        }
        // This process may have been stopped for long. The peer gets the full time to answer from now on.
        self.since = self.since.max(now.checked_sub(keep_alive).unwrap_or(now));
        self.asked = true;
        Due::Ask(lost_at(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_peer_is_asked_once_and_lost_within_twice_the_keep_alive() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 9)), Due::Wait(after(start, 10)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 10)), Due::Ask(after(start, 19)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 18)), Due::Wait(after(start, 19)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 19)), Due::Lost(Duration::from_secs(19)));
    }

    #[test]
    fn a_peer_that_answers_is_asked_again_after_the_next_silence() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 10)), Due::Ask(after(start, 19)));
        silence.end(after(start, 12));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 20)), Due::Wait(after(start, 22)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 22)), Due::Ask(after(start, 31)));
    }

    #[test]
    fn a_peer_that_receives_something_has_more_time_to_answer() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 10)), Due::Ask(after(start, 19)));
        silence.interrupt(after(start, 15));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 33)), Due::Wait(after(start, 34)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 34)), Due::Lost(Duration::from_secs(19)));
    }

    #[test]
    fn after_a_stop_of_this_process_the_peer_has_the_full_time_to_answer() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 100)), Due::Ask(after(start, 109)));
    }
}
