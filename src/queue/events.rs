//! Events of the whole fleet, for listeners and for callers that wait until a job has finished.
//!
//! Scripts write events to a bounded stream while there are subscribers. Entries have consecutive numbers. A reader reads from its
//! last position. If there is nothing new, the same script marks the reader as waiting. The next script that writes an event then
//! publishes a wake-up. So no event is missed, no reader polls, and a queue without subscribers writes no events. A reader that
//! finds a number missing reports a gap.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::scripts::{self, array, bytes, integer, operation, plain};
use super::{Core, Queue, failure, fresh_owner};
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Subscription};
use crate::crossing::codes::EVENT_VALUES;
use crate::crossing::{Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::queue::{Part, Prefix};
use crate::lifecycle;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// For how long after a read the server records events, and how often a reader reads.
const RECORD_FOR: Duration = Duration::from_mins(1);
const READ_EVERY: Duration = Duration::from_secs(20);
/// How long a reader without subscribers continues, so that consecutive waits share one reader.
const LINGER: Duration = Duration::from_secs(10);
const ENTRIES: &[u8] = b"200";
/// The payload that replaces a result too large for an event.
const LARGE: &[u8] = b">";
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

/// Reads the events of one queue handle.
#[derive(Debug)]
pub(super) struct EventReader {
    core: Arc<Core>,
    outlet: Outlet,
    subscribers: Mutex<Subscribers>,
    /// Cancelled when the queue is closed.
    closed: CancellationToken,
    /// Wakes the reading task.
    nudge: Notify,
    stage: watch::Sender<Stage>,
    /// The number of the last event that was read.
    read_to: watch::Sender<i64>,
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Stopped,
    /// The server records events: the reader will see every event from now on.
    Recorded,
    /// The reader also gets wake-ups: it reads an event as soon as it is written.
    Live,
}

/// Why a reader has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StopReason {
    /// The reader has no subscribers, and is marked as stopped.
    Unneeded,
    /// The queue is closed or the manager disconnected.
    Closed,
}

#[derive(Debug, Default)]
struct Subscribers {
    listening: bool,
    running: bool,
    waits: HashMap<u64, Wait>,
}

#[derive(Debug)]
struct Wait {
    id: String,
    /// Gets the changes of the job.
    change: mpsc::UnboundedSender<JobEvent>,
    cancel: Arc<Notify>,
}

impl Wait {
    fn notify(&self, number: i64, change: JobChange) {
        // The caller may have stopped waiting.
        let _ = self.change.send(JobEvent { number, change });
    }
}

/// The position of a reader in the events.
#[derive(Debug)]
struct Position {
    /// The number of the last event that was read; -1 before the first read.
    last: i64,
    /// The token of the stream in which `last` counts. An obliterated queue counts from the start again, with a new token.
    born: Bytes,
}

impl Default for Position {
    fn default() -> Self {
        Self { last: -1, born: Bytes::new() }
    }
}

/// A change of a job, and the number of its event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JobEvent {
    pub(super) number: i64,
    pub(super) change: JobChange,
}

/// A change of a job, for a caller that waits for its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JobChange {
    Completed(Bytes),
    Failed(Bytes),
    Removed,
    /// An event was missed, or does not contain the result: the job must be read.
    Unknown,
}

impl EventReader {
    pub(super) fn new(core: Arc<Core>, outlet: Outlet) -> Self {
        let subscribers = Mutex::default();
        Self {
            core,
            outlet,
            subscribers,
            closed: CancellationToken::new(),
            nudge: Notify::new(),
            stage: watch::Sender::new(Stage::Stopped),
            read_to: watch::Sender::new(-1),
        }
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock()
    }

    /// Starts the reading task unless it runs. The future resolves when the server records events.
    pub(super) fn written(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send + use<> {
        self.reach(Stage::Recorded)
    }

    /// Starts the reading task unless it runs. The future resolves when events are read as soon as they are written.
    pub(super) fn live(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send + use<> {
        self.reach(Stage::Live)
    }

    fn reach(self: &Arc<Self>, stage: Stage) -> impl Future<Output = Result<()>> + Send + use<> {
        let starts = {
            let mut subscribers = self.subscribers();
            !self.closed.is_cancelled() && !std::mem::replace(&mut subscribers.running, true)
        };
        if starts {
            let reader = Arc::clone(self);
            lifecycle::spawn(async move { reader.run().await });
        }
        let mut reached = self.stage.subscribe();
        let limit = self.core.manager.config().command_timeout;
        let (closed, closing) = (self.closed.clone(), self.core.manager.closing());
        async move {
            // The caller must not wait for ever for a server that does not answer.
            tokio::select! {
                biased;
                () = closed.cancelled() => Err(Error::new(ErrorKind::Closed, "the queue is closed")),
                () = closing.cancelled() => Err(Error::new(ErrorKind::Closed, "the connection manager was disconnected")),
                reached = timeout(limit, reached.wait_for(|reached| *reached >= stage)) => match reached {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(Error::new(ErrorKind::Timeout, "the events of the queue could not be subscribed to in time")),
                },
            }
        }
    }

    async fn run(self: Arc<Self>) {
        let closing = self.core.manager.closing();
        let mut position = Position::default();
        // The first read need not wait for the subscription. If it fails, `follow` reads again.
        if self.read(&mut position).await.is_ok() {
            self.stage.send_replace(Stage::Recorded);
        }
        let mut troubled = false;
        let subscription = self.subscribed(&closing, &mut troubled).await;
        if subscription.is_some() && self.follow(&closing, &mut position, troubled).await == StopReason::Unneeded {
            return;
        }
        self.stage.send_replace(Stage::Stopped);
        let mut subscribers = self.subscribers();
        subscribers.running = false;
        subscribers.waits.clear();
        if closing.is_cancelled() && std::mem::take(&mut subscribers.listening) {
            self.outlet.emit(json!({ "event": "closed" }).to_string());
        }
    }

    /// Subscribes to wake-ups, and retries until it succeeds. `None` if the queue was closed or the manager disconnected
    /// meanwhile.
    async fn subscribed(self: &Arc<Self>, closing: &CancellationToken, troubled: &mut bool) -> Option<Subscription> {
        let mut failures = 0;
        loop {
            let channel =
                Channel { kind: ChannelKind::Exact, name: self.core.keys.prefix(Prefix::EventChannel).clone() };
            match self.core.manager.subscribe(channel, Arc::new(WakeUps(Arc::downgrade(self)))).await {
                Ok(subscription) => return Some(subscription),
                Err(_) if closing.is_cancelled() || self.closed.is_cancelled() => return None,
                Err(error) => {
                    *troubled = true;
                    self.back_off(&error, &mut failures).await;
                }
            }
        }
    }

    /// Reads whenever there may be new events.
    async fn follow(&self, closing: &CancellationToken, position: &mut Position, mut troubled: bool) -> StopReason {
        let mut failures = 0;
        loop {
            match self.read(position).await {
                Ok(more) => {
                    failures = 0;
                    if more {
                        continue;
                    }
                    if std::mem::take(&mut troubled) {
                        // The listener got an error before the first read, so the number of missed events is unknown.
                        self.missed(-1);
                    }
                    self.stage.send_replace(Stage::Live);
                }
                Err(_) if closing.is_cancelled() => return StopReason::Closed,
                Err(error) => {
                    troubled = troubled || position.last < 0;
                    self.back_off(&error, &mut failures).await;
                    continue;
                }
            }
            let needed = self.is_needed();
            tokio::select! {
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(if needed { READ_EVERY } else { LINGER }) => {
                    if !needed && self.stop_unless_needed() {
                        return StopReason::Unneeded;
                    }
                }
                () = closing.cancelled() => return StopReason::Closed,
            }
            if self.closed.is_cancelled() {
                return StopReason::Closed;
            }
        }
    }

    /// Reports the failure, and waits before the next attempt.
    async fn back_off(&self, error: &Error, failures: &mut u32) {
        self.emit_error(error);
        tokio::time::sleep(BACKOFF.delay(*failures)).await;
        *failures = failures.saturating_add(1);
    }

    fn is_needed(&self) -> bool {
        let subscribers = self.subscribers();
        subscribers.listening || !subscribers.waits.is_empty()
    }

    fn stop_unless_needed(&self) -> bool {
        let mut subscribers = self.subscribers();
        let stops = !subscribers.listening && subscribers.waits.is_empty();
        if stops {
            self.stage.send_replace(Stage::Stopped);
            subscribers.running = false;
        }
        stops
    }

    /// Reads the events after `position`. True if there may be more.
    async fn read(&self, position: &mut Position) -> Result<bool> {
        let (from, keep) = (position.last.to_string(), RECORD_FOR.as_millis().to_string());
        let (born, fresh) = (position.born.clone(), fresh_owner());
        let keys = self.core.keys.keys([Part::Events, Part::Meta]);
        let command =
            plain(&scripts::READ_EVENTS, &keys, &[from.as_bytes(), keep.as_bytes(), ENTRIES, &born, fresh.as_bytes()])
                .runs(*operation::EVENTS, &scripts::READ_EVENTS);
        let mut parts = array(self.core.call(command).await?).ok_or_else(Error::unexpected_reply)?.into_iter();
        let mut number = || parts.next().as_ref().and_then(integer).ok_or_else(Error::unexpected_reply);
        let (now_at, missed) = (number()?, number()?);
        let begins = position.last < 0;
        *position = Position { last: now_at, born: parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)? };
        if missed != 0 && !begins {
            self.missed(missed);
        }
        let mut more = false;
        let mut values = Vec::new();
        for entry in parts {
            more = true;
            let mut fields = array(entry).ok_or_else(Error::unexpected_reply)?.into_iter();
            let at = fields.next().as_ref().and_then(integer).ok_or_else(Error::unexpected_reply)?;
            let mut fields = fields.filter_map(bytes);
            while let (Some(field), Some(payload)) = (fields.next(), fields.next()) {
                self.on_event(at, &field, payload, &mut values);
            }
        }
        if !values.is_empty() {
            self.outlet.deliver(values);
        }
        self.read_to.send_replace(now_at);
        Ok(more)
    }

    /// Passes on one event. `field` is a letter for the kind of event, followed by the id of the job.
    fn on_event(&self, number: i64, field: &Bytes, payload: Bytes, values: &mut Vec<Outcome>) {
        let Some((letter, _)) = field.split_first() else { return };
        let id = field.slice(1..);
        let name = match letter {
            b'a' => "added",
            b'x' => "active",
            b'p' => "progress",
            b'c' => "completed",
            b'f' => "failed",
            b'r' => "retrying",
            b's' => "stalled",
            b'v' => "removed",
            b'z' => "drained",
            _ => return,
        };
        let subscribers = self.subscribers();
        let is_large = payload == LARGE;
        if matches!(letter, b'c' | b'f' | b'v') {
            for wait in subscribers.waits.values().filter(|wait| wait.id.as_bytes() == &id[..]) {
                let change = match letter {
                    b'c' if is_large => JobChange::Unknown,
                    b'c' => JobChange::Completed(payload.clone()),
                    b'f' => JobChange::Failed(reason_of(&payload)),
                    _ => JobChange::Removed,
                };
                wait.notify(number, change);
            }
        }
        if subscribers.listening {
            let event: [Outcome; EVENT_VALUES as usize] = [
                Outcome::Text(Bytes::from_static(name.as_bytes())),
                Outcome::Text(id),
                if payload.is_empty() || is_large { Outcome::Null } else { Outcome::Text(payload) },
            ];
            values.extend(event);
        }
    }

    fn missed(&self, entries: i64) {
        let listening = {
            let subscribers = self.subscribers();
            for wait in subscribers.waits.values() {
                wait.notify(i64::MAX, JobChange::Unknown);
            }
            subscribers.listening
        };
        if listening {
            let missed = (entries > 0).then_some(entries);
            self.outlet.emit(json!({ "event": "gap", "missed": missed }).to_string());
        }
    }

    fn emit_error(&self, error: &Error) {
        if self.subscribers().listening {
            self.outlet.emit(json!({ "event": "error", "error": failure(error) }).to_string());
        }
    }
}

fn reason_of(payload: &[u8]) -> Bytes {
    let fields: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    fields["reason"].as_str().unwrap_or_default().to_owned().into()
}

struct WakeUps(std::sync::Weak<EventReader>);

impl Listener for WakeUps {
    fn message(&self, _message: &ChannelMessage) {
        if let Some(reader) = self.0.upgrade() {
            reader.nudge.notify_one();
        }
    }

    fn restored(&self, _gap: Duration) {
        if let Some(reader) = self.0.upgrade() {
            reader.nudge.notify_one();
        }
    }
}

pub(super) fn listen(queue: &Queue, call: Call<'_>) {
    queue.events.subscribers().listening = true;
    let live = queue.events.live();
    queue.events.nudge.notify_one();
    call.run(|_| Ok(async move { live.await.map(|()| Outcome::Nothing) }));
}

pub(super) fn unlisten(queue: &Queue, call: Call<'_>) {
    queue.events.subscribers().listening = false;
    queue.events.nudge.notify_one();
    call.give(Ok(Outcome::Nothing));
}

pub(super) fn close(queue: &Queue, call: Call<'_>) {
    queue.events.closed.cancel();
    {
        let mut subscribers = queue.events.subscribers();
        subscribers.listening = false;
        // A wait ends when its sender is dropped.
        subscribers.waits.clear();
    }
    queue.events.nudge.notify_one();
    queue.flushed();
    call.run(|_| Ok(async { Ok(Outcome::Nothing) }));
}

impl EventReader {
    /// Gives the wait `number` the changes of a job.
    pub(super) fn register(
        &self,
        owner: &str,
        number: u64,
        id: &str,
        cancel: &Arc<Notify>,
    ) -> Result<mpsc::UnboundedReceiver<JobEvent>> {
        let (sender, change) = mpsc::unbounded_channel();
        let mut subscribers = self.subscribers();
        if self.closed.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, format!("{owner}: the queue is closed")));
        }
        subscribers.waits.insert(number, Wait { id: id.to_owned(), change: sender, cancel: Arc::clone(cancel) });
        Ok(change)
    }

    /// Reads further events, and resolves when the event `number` has been passed on.
    pub(super) async fn read_until(&self, number: i64) {
        let mut read_to = self.read_to.subscribe();
        self.nudge.notify_one();
        // The reader owns the sender, so the channel cannot be closed.
        let _ = read_to.wait_for(|read_to| *read_to >= number).await;
    }

    /// Removes the wait `number`.
    pub(super) fn forget(&self, number: u64) {
        self.subscribers().waits.remove(&number);
    }

    /// Cancels the wait `number`.
    pub(super) fn cancel(&self, number: u64) {
        if let Some(wait) = self.subscribers().waits.get(&number) {
            wait.cancel.notify_one();
        }
    }
}
