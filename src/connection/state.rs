//! The life of a manager as a pure state machine.
//!
//! ```text
//! idle ─────── use ──────► connecting          nothing was tried yet
//! connecting ─ up ───────► ready
//! connecting ─ give up ──► failed              all attempts of connect() failed
//! ready ────── lost ─────► reconnecting        the connection broke by itself
//! reconnecting up ───────► ready
//! reconnecting give up ──► failed              wrong credentials, or maxAttempts
//! failed ───── use ──────► connecting          a fresh attempt
//! closed ───── connect ──► connecting          only connect() reopens; a command is refused
//! any ──────── close ────► closing ─ ended ──► closed
//! ```

/// Where a manager is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    Idle,
    Connecting,
    Ready,
    Reconnecting,
    Closing,
    Closed,
    Failed,
}

/// What happened to a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A command was submitted.
    Use,
    /// `connect()` was called.
    Connect,
    /// A connection is open and its handshake is done.
    Up,
    /// No further attempt will be made.
    GiveUp,
    /// The connection broke.
    Lost,
    /// `disconnect()` was called.
    Close,
    /// All connections of the manager have ended.
    Ended,
}

impl State {
    pub const ALL: [Self; 7] =
        [Self::Idle, Self::Connecting, Self::Ready, Self::Reconnecting, Self::Closing, Self::Closed, Self::Failed];

    /// The state after `trigger`, or `None` where the event changes nothing.
    #[must_use]
    pub fn after(self, trigger: Trigger) -> Option<Self> {
        match (self, trigger) {
            (Self::Idle | Self::Failed, Trigger::Use | Trigger::Connect) | (Self::Closed, Trigger::Connect) => {
                Some(Self::Connecting)
            }
            (Self::Connecting | Self::Reconnecting, Trigger::Up) => Some(Self::Ready),
            (Self::Connecting | Self::Reconnecting, Trigger::GiveUp) => Some(Self::Failed),
            (Self::Ready, Trigger::Lost) => Some(Self::Reconnecting),
            (Self::Idle | Self::Connecting | Self::Ready | Self::Reconnecting | Self::Failed, Trigger::Close) => {
                Some(Self::Closing)
            }
            (Self::Closing, Trigger::Ended) => Some(Self::Closed),
            _ => None,
        }
    }

    /// The name in the TypeScript API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Reconnecting => "reconnecting",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// Does it refuse commands?
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closing | Self::Closed)
    }

    pub(super) fn from_u8(n: u8) -> Self {
        Self::ALL.get(usize::from(n)).copied().unwrap_or(Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGERS: [Trigger; 7] =
        [Trigger::Use, Trigger::Connect, Trigger::Up, Trigger::GiveUp, Trigger::Lost, Trigger::Close, Trigger::Ended];

    #[test]
    fn the_transitions_are_those_of_the_diagram() {
        let mut moves = Vec::new();
        for state in State::ALL {
            for trigger in TRIGGERS {
                if let Some(next) = state.after(trigger) {
                    moves.push(format!("{} {trigger:?} {}", state.name(), next.name()));
                }
            }
        }
        assert_eq!(
            moves,
            [
                "idle Use connecting",
                "idle Connect connecting",
                "idle Close closing",
                "connecting Up ready",
                "connecting GiveUp failed",
                "connecting Close closing",
                "ready Lost reconnecting",
                "ready Close closing",
                "reconnecting Up ready",
                "reconnecting GiveUp failed",
                "reconnecting Close closing",
                "closing Ended closed",
                "closed Connect connecting",
                "failed Use connecting",
                "failed Connect connecting",
                "failed Close closing",
            ]
        );
    }

    #[test]
    fn a_command_never_reopens_a_closed_manager() {
        assert_eq!(State::Closed.after(Trigger::Use), None);
        assert_eq!(State::Closing.after(Trigger::Connect), None);
    }
}
