//! The events of a manager.

use std::time::Duration;

use super::state::State;
use crate::error::Error;

/// Something happened to a manager.
#[derive(Clone, Debug)]
pub enum Event {
    State {
        from: State,
        to: State,
    },
    /// The connection for commands is usable. Subscriptions have their own connection, see [`super::Manager::subscribed`].
    Ready,
    /// Attempt number `attempt` (1 is the first) will be made after `delay`.
    Reconnecting {
        attempt: u32,
        delay: Duration,
    },
    /// An attempt failed or a connection was lost.
    Error(Error),
    /// The server evicts keys by this policy when its memory is full; see [`super::Manager::keeps`].
    Evicts {
        policy: String,
    },
    /// The manager has closed or given up.
    End,
}

/// Gets the events of a manager. Called on the I/O thread; must not block.
pub trait Observer: Send + Sync {
    fn event(&self, event: Event);
}

/// An observer that ignores all events.
#[derive(Debug)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn event(&self, _event: Event) {}
}
