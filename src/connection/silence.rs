//! How long a peer may be silent: after `keepAliveMs` it is asked for a sign of life, and after almost as long again it is lost.

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
    /// A sign of life is to be asked for now; it must come before then.
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

    /// The peer has taken in something. That is a sign of life, and no answer to a question.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.since = now;
    }

    pub(super) fn began(&self) -> Instant {
        self.since
    }

    pub(super) fn due(&mut self, keep_alive: Duration, now: Instant) -> Due {
        // A little less than twice, so that the loss is known within twice.
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
        // This process may have been stopped for long: the peer gets its time to answer from now on.
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
    fn a_peer_that_is_heard_is_asked_anew() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 10)), Due::Ask(after(start, 19)));
        silence.end(after(start, 12));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 20)), Due::Wait(after(start, 22)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 22)), Due::Ask(after(start, 31)));
    }

    #[test]
    fn a_peer_that_takes_something_in_has_more_time_for_the_same_question() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 10)), Due::Ask(after(start, 19)));
        silence.interrupt(after(start, 15));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 33)), Due::Wait(after(start, 34)));
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 34)), Due::Lost(Duration::from_secs(19)));
    }

    #[test]
    fn a_process_that_was_stopped_gives_its_peer_the_time_to_answer() {
        let start = Instant::now();
        let mut silence = Silence::since(start);
        assert_eq!(silence.due(KEEP_ALIVE, after(start, 100)), Due::Ask(after(start, 109)));
    }
}
