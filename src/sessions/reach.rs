//! Whether Redis can be reached, for stores that go on without it.
//!
//! ```text
//! near ── a call finds no usable connection, or gets no answer ──► away since then
//! away ── a PING is answered ──► near, and the face is told
//! ```
//!
//! A call waits until Redis has been away for `after`, and no longer; later calls are refused at once. A write is sent only over a usable
//! connection: refused, it has done nothing. What was sent and lost its connection is sent again, because scripts of this
//! folder give the same call the same answer, and is waited for as long as any command.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::connection::{Command, Manager, State};
use crate::crossing::Outlet;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;

/// The delays between the questions whether Redis is back.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_millis(500) };
/// What a server says that serves nobody for a time.
const NOBODY: [&str; 3] = ["LOADING", "CLUSTERDOWN", "MASTERDOWN"];

/// The way to Redis of one store. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    manager: Manager,
    after: Duration,
    outlet: Outlet,
    since: Arc<watch::Sender<Option<Instant>>>,
}

impl Reach {
    pub(super) fn new(manager: Manager, after: Duration, outlet: Outlet) -> Self {
        Self { manager, after, outlet, since: Arc::new(watch::Sender::new(None)) }
    }

    /// Sends a command that may be sent twice, if Redis can be reached.
    ///
    /// # Errors
    ///
    /// As any command; `connection`, `not-sent`, when Redis has been away for `after`.
    pub(super) async fn call(&self, command: Command, writes: bool) -> Result<Reply> {
        self.gate().await?;
        let answer = self.manager.call(command);
        let outcome = if writes {
            answer.await
        } else {
            // Nothing of a read can have happened: it need not wait for its answer.
            tokio::select! {
                outcome = answer => outcome,
                refused = self.refused() => Err(refused),
            }
        };
        outcome.inspect_err(|error| {
            if is_away(error) {
                self.leave(Instant::now().checked_sub(self.after).unwrap_or_else(Instant::now));
            }
        })
    }

    /// Passes while Redis can be reached.
    pub(super) async fn gate(&self) -> Result<()> {
        let state = self.manager.state();
        if state == State::Ready && self.since.borrow().is_none() {
            return Ok(());
        }
        if matches!(state, State::Closed | State::Closing) {
            // Whoever ended the manager is told so by its own error.
            return Ok(());
        }
        self.leave(Instant::now());
        let mut since = self.since.subscribe();
        let Some(begun) = *since.borrow_and_update() else { return Ok(()) };
        match timeout_at(begun + self.after, since.wait_for(Option::is_none)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Resolves when Redis has been away for `after`.
    async fn refused(&self) -> Error {
        let mut since = self.since.subscribe();
        loop {
            let begun = *since.borrow_and_update();
            let over = async {
                match begun {
                    Some(begun) => tokio::time::sleep_until(begun + self.after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => return self.refusal(),
                changed = since.changed() => if changed.is_err() {
                    return self.refusal();
                },
            }
        }
    }

    fn refusal(&self) -> Error {
        let ms = self.after.as_millis();
        Error::new(ErrorKind::Connection, format!("Redis has been away for afterMs, {ms} ms"))
            .with_delivery(Delivery::NotSent)
    }

    /// Redis is away since `begun`, unless that is known already. Whoever finds it first begins to ask for it.
    fn leave(&self, begun: Instant) {
        let is_first = self.since.send_if_modified(|since| {
            let is_first = since.is_none();
            if is_first {
                *since = Some(begun);
            }
            is_first
        });
        if is_first {
            lifecycle::spawn(self.clone().watch());
        }
    }

    /// Asks until Redis answers, or the manager is ended.
    async fn watch(self) {
        let mut attempt = 0;
        loop {
            match self.manager.ping().await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Closed => break,
                // A store without anyone else is of no use to anyone.
                Err(_) if Arc::strong_count(&self.since) == 1 => return,
                Err(_) => {}
            }
            sleep(BACKOFF.delay(attempt)).await;
            attempt = attempt.saturating_add(1);
        }
        self.since.send_replace(None);
        self.outlet.tell(r#"{"event":"back"}"#.to_owned());
    }
}

/// Does it say that Redis is away?
fn is_away(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connection | ErrorKind::Timeout => true,
        ErrorKind::Server => error.server_code().is_some_and(|code| NOBODY.contains(&code)),
        _ => false,
    }
}
