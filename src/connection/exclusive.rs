//! Blocking commands. Each has a connection of its own while it blocks, so that no other command waits for it.
//!
//! A command with a timeout is bounded by the timeout plus a grace. A command that blocks for longer than the keep-alive is watched
//! (see [`liveness`](super::liveness)). `disconnect()` makes the server unblock the command, so that no element is popped for a
//! caller that is gone.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout, timeout_at};

use super::command::Command;
use super::core::Core;
use super::opened::{Opened, open};
use super::request::{Request, Sink};
use super::shared::Shared;
use super::state::State;
use super::topology;
use super::wait::{self, Next, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;

/// How long an attempt to connect may take before the topology is asked where the server is.
const SLOW: Duration = Duration::from_millis(100);

/// Runs `command` on a connection of its own. `blocks_for` is the command's own timeout.
pub(super) fn submit(shared: &Arc<Shared>, command: Command, sink: Sink, blocks_for: Option<Duration>) {
    if shared.is_shut() {
        return sink.settle(Err(shared.core.closed()), &shared.core.metrics);
    }
    if let Err(error) = shared.core.room() {
        return sink.settle(Err(error), &shared.core.metrics);
    }
    let request = Request::new(command, sink, Instant::now(), Arc::clone(&shared.core.metrics));
    let owner = Arc::clone(shared);
    let task = async move {
        let outcome = run(&owner, &request, blocks_for).await;
        request.settle(outcome, Instant::now());
    };
    shared.core.exclusive.spawn_on(task, crate::lifecycle::io());
    topology::watch(shared);
}

/// Sends the command to the right server, and after a refusal again, until the command's own timeout is over.
async fn run(shared: &Arc<Shared>, request: &Request, blocks_for: Option<Duration>) -> Result<Reply> {
    let mut wait = Wait::new(request, blocks_for);
    let watched = is_watched(&shared.core, blocks_for);
    let mut kept: Option<Opened> = None;
    loop {
        let interruption = shared.core.interruption();
        let interrupted = || async {
            tokio::select! {
                () = interruption.cancelled() => {}
                () = shared.core.callers_gone.cancelled() => {}
            }
        };
        let mut opened = match kept.take() {
            Some(opened) => opened,
            None => {
                open_in_time(shared, request, watched, &wait).await.inspect_err(|error| shared.core.failed(error))?
            }
        };
        let (payload, blocks_for) = wait.rest(&request.command)?;
        let outcome = opened.ask(shared, &payload, blocks_for, interrupted()).await;
        let answered = outcome.is_ok();
        if let Next::Done(outcome) = wait.judge(&shared.core, request, &opened, outcome) {
            return outcome;
        }
        kept = Some(opened).filter(|opened| answered && wait.keeps(&shared.core, opened));
        tokio::select! {
            () = wait.pause(&shared.core) => {}
            () = interrupted() => return Err(shared.core.closed()),
        }
        kept = kept.filter(|opened| wait.keeps(&shared.core, opened));
    }
}

/// Must a connection that is blocked for this long be watched?
fn is_watched(core: &Core, blocks_for: Option<Duration>) -> bool {
    blocks_for.is_none_or(|time| time > core.config.keep_alive)
}

/// As [`open`], but tries again while the shared connection is being restored, or while another server is being looked for after a
/// refusal, until no time is left. `disconnect()` ends the attempts.
pub(super) async fn open_in_time(
    shared: &Arc<Shared>,
    request: &Request,
    watched: bool,
    wait: &Wait,
) -> Result<Opened> {
    let interruption = shared.core.interruption();
    tokio::select! {
        opened = try_in_time(shared, request, watched, wait) => opened,
        () = interruption.cancelled() => Err(shared.core.closed()),
        () = shared.core.callers_gone.cancelled() => Err(shared.core.closed()),
    }
}

async fn try_in_time(shared: &Arc<Shared>, request: &Request, watched: bool, wait: &Wait) -> Result<Opened> {
    let config = &shared.core.config;
    let deadline = wait.connected_by(request, config.command_timeout);
    let mut attempt = 0;
    let mut missing = None;
    loop {
        let news = shared.core.topology.changed();
        let opening = async {
            let mut opening = pin!(open(&shared.core, Some(&request.command), watched, wait.redirect.as_ref()));
            if let Ok(opened) = timeout(SLOW, &mut opening).await {
                return opened;
            }
            missing.get_or_insert_with(|| shared.core.topology.missing());
            opening.await
        };
        let opened = match deadline {
            Some(deadline) => timeout_at(deadline.into(), opening).await.unwrap_or_else(|_| Err(too_slow())),
            None => opening.await,
        };
        let error = match opened {
            Err(error) if is_transient(&shared.core, wait, &error) => error,
            outcome => return outcome,
        };
        missing.get_or_insert_with(|| shared.core.topology.missing());
        let again = Instant::now() + config.reconnect.delay(attempt);
        let again = deadline.map_or(again, |deadline| again.min(deadline));
        tokio::select! {
            () = sleep_until(again.into()) => {}
            () = news => {}
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(wait::not_connected(config.command_timeout, wait.why.as_ref(), error));
        }
        attempt = attempt.saturating_add(1);
    }
}

/// May the next attempt succeed? A manager in state `ready` may not have noticed yet that its connection is lost.
fn is_transient(core: &Core, wait: &Wait, error: &Error) -> bool {
    let restores = matches!(core.status.state(), State::Ready | State::Reconnecting)
        || core.topology.is_known()
        || wait.why.is_some();
    restores && matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout)
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Timeout, "no connection for a blocking command in time")
}
