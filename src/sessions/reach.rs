//! Whether Redis can be reached, for stores that continue without Redis.
//!
//! ```text
//! near ────── a call finds no usable connection, or gets no answer ──► away        the face is told
//! away ────── a PING is answered, or the manager was ended ──────────► answered    the face brings back what it kept meanwhile
//! answered ── the face resumes ──────────────────────────────────────► near
//! ```
//!
//! A call waits at most until Redis has been away for `after`. Later calls are refused at once, until the face resumes. A write is sent
//! only on a usable connection, so a refused write has not been executed. A call that was sent on a lost connection is sent again,
//! because the scripts of this folder give the same call the same answer. The time limit is that of any command.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::backoff::Backoff;
use crate::connection::{Command, Manager, NO_KEYS, State};
use crate::crossing::Outlet;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;

/// The delays between the `PING`s that find out whether Redis is back.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_millis(500) };

/// A time without Redis.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    /// The end of the outage, once it has come: Redis answers, or the manager is closed.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answered,
    Closed,
}

/// Whether one store can reach Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    manager: Manager,
    after: Duration,
    outlet: Outlet,
    outage: Arc<watch::Sender<Option<Outage>>>,
}

impl Reach {
    pub(super) fn new(manager: Manager, after: Duration, outlet: Outlet) -> Self {
        Self { manager, after, outlet, outage: Arc::new(watch::Sender::new(None)) }
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
            // A read changes nothing, so the call need not wait for the answer.
            tokio::select! {
                outcome = answer => outcome,
                refused = self.refused() => Err(refused),
            }
        };
        outcome.inspect_err(|error| self.note(error))
    }

    /// A call failed with `error`. If the error means that Redis is away, the outage counts as `after` old already.
    pub(super) fn note(&self, error: &Error) {
        if is_away(error) {
            self.leave(Instant::now().checked_sub(self.after).unwrap_or_else(Instant::now));
        }
    }

    /// Waits until Redis can be reached, or fails when Redis has been away for `after`.
    pub(super) async fn gate(&self) -> Result<()> {
        let state = self.manager.state();
        if matches!(state, State::Closed | State::Closing) || (state == State::Ready && self.outage.borrow().is_none())
        {
            // The call gets the manager's own error.
            return Ok(());
        }
        self.leave(Instant::now());
        let mut outage = self.outage.subscribe();
        let Some(Outage { since, .. }) = *outage.borrow_and_update() else { return Ok(()) };
        match timeout_at(since + self.after, outage.wait_for(Option::is_none)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Resolves when Redis has been away for `after`, counted from the loss of the connection.
    async fn refused(&self) -> Error {
        let mut outage = self.outage.subscribe();
        loop {
            let since = outage.borrow_and_update().map(|outage| outage.since);
            let over = async {
                if let Some(since) = since {
                    sleep_until(since + self.after).await;
                    return true;
                }
                self.manager.unready().await;
                false
            };
            tokio::select! {
                is_over = over => if is_over {
                    return self.refusal();
                } else {
                    self.leave(Instant::now());
                },
                // The wait cannot fail, because this value owns the sender.
                _ = outage.changed() => {}
            }
        }
    }

    fn refusal(&self) -> Error {
        let ms = self.after.as_millis();
        Error::new(ErrorKind::Connection, format!("Redis has been away for afterMs, {ms} ms"))
            .with_delivery(Delivery::NotSent)
    }

    /// Records that Redis is away since `since`, unless this is known already. The first call starts the `PING`s.
    fn leave(&self, since: Instant) {
        let is_first = self.outage.send_if_modified(|outage| {
            let is_first = outage.is_none();
            if is_first {
                *outage = Some(Outage { since, end: None });
            }
            is_first
        });
        if is_first {
            self.outlet.emit(r#"{"event":"away"}"#.to_owned());
            lifecycle::spawn(self.clone().watch());
        }
    }

    /// Sends `PING`s until Redis answers, or the manager is closed.
    async fn watch(self) {
        let mut attempt = 0;
        let end = loop {
            match self.manager.ping().await {
                Ok(_) => break End::Answered,
                Err(error) if error.kind() == ErrorKind::Closed => break End::Closed,
                // The store was dropped.
                Err(_) if Arc::strong_count(&self.outage) == 1 => return,
                Err(_) => {}
            }
            sleep(BACKOFF.delay(attempt)).await;
            attempt = attempt.saturating_add(1);
        };
        self.outage.send_modify(|outage| {
            if let Some(outage) = outage {
                outage.end = Some(end);
            }
        });
    }

    /// Resolves when Redis answers again; false if the manager was closed instead.
    pub(super) async fn back(&self) -> bool {
        let mut outage = self.outage.subscribe();
        let is_over = |outage: &Option<Outage>| outage.is_none_or(|outage| outage.end.is_some());
        match outage.wait_for(is_over).await {
            Ok(outage) => !matches!(*outage, Some(Outage { end: Some(End::Closed), .. })),
            Err(_) => false,
        }
    }

    /// Calls go to Redis again.
    pub(super) fn resume(&self) {
        self.outage.send_replace(None);
    }
}

/// Does `error` mean that Redis is away?
fn is_away(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connection | ErrorKind::Timeout => true,
        ErrorKind::Server => error.server_code().is_some_and(|code| NO_KEYS.contains(&code)),
        _ => false,
    }
}
