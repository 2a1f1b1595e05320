//! The status of a manager: its state, its server and its last failure. Reports changes to the observer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

use super::event::{Event, Observer};
use super::server_info::ServerInfo;
use super::state::State;
use crate::error::Error;
use crate::sync::Mutex;

pub(super) struct Status {
    observer: Arc<dyn Observer>,
    state: AtomicU8,
    /// The state again, for waiting on a change.
    entered: watch::Sender<State>,
    server: Mutex<Option<ServerInfo>>,
    last_error: Mutex<Option<Error>>,
}

impl Status {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        let state = AtomicU8::new(State::Idle as u8);
        Self {
            observer,
            state,
            entered: watch::Sender::new(State::Idle),
            server: Mutex::new(None),
            last_error: Mutex::new(None),
        }
    }

    pub(super) fn state(&self) -> State {
        State::from_u8(self.state.load(Ordering::Acquire))
    }

    /// Resolves when the state is no longer `ready`.
    pub(super) async fn unready(&self) {
        // The wait cannot fail, because this value owns the sender.
        let _ = self.entered.subscribe().wait_for(|state| *state != State::Ready).await;
    }

    /// Enters the state `to`, and informs the observer.
    pub(super) fn enter(&self, to: State) {
        let from = self.state();
        self.state.store(to as u8, Ordering::Release);
        self.entered.send_replace(to);
        self.emit(Event::State { from, to });
    }

    pub(super) fn emit(&self, event: Event) {
        self.observer.event(event);
    }

    /// Remembers and reports the failure of a connection.
    pub(super) fn failed(&self, error: &Error) {
        *self.last_error.lock() = Some(error.clone());
        self.emit(Event::Error(error.clone()));
    }

    pub(super) fn last_error(&self) -> Option<Error> {
        self.last_error.lock().clone()
    }

    /// The server that answered last.
    pub(super) fn server(&self) -> Option<ServerInfo> {
        self.server.lock().clone()
    }

    /// Remembers that `server` has answered.
    pub(super) fn met(&self, server: ServerInfo) {
        *self.server.lock() = Some(server);
    }
}
