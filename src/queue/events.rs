//! What happened in the whole fleet: for listeners, and for those who wait until a job has finished.
//!
//! Scripts write events to a bounded stream while somebody listens; entries are numbered one after another. A listener
//! reads from where it stands; when there is nothing it says so in the same script, and the next script that writes
//! publishes a wake-up. So none is missed, nobody polls, and a queue to which nobody listens writes nothing. A listener that
//! finds a number missing tells a gap.

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
use crate::connection::{Channel, ChannelKind, Listener, Message, Subscription};
use crate::crossing::codes::EVENT_VALUES;
use crate::crossing::{Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::queue::{Part, Prefix};
use crate::lifecycle;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// For how long events are written after a listener was last heard of, and how often it is.
const HEARD: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_secs(20);
/// For how long a listener nobody needs goes on, so that waits one after another share one.
const LINGER: Duration = Duration::from_secs(10);
const ENTRIES: &[u8] = b"200";
/// In the place of a result that is too large for an event.
const LARGE: &[u8] = b">";
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };

/// The one listener of a queue's handle.
#[derive(Debug)]
pub(super) struct Ears {
    core: Arc<Core>,
    outlet: Outlet,
    hearing: Mutex<Hearing>,
    /// Is the queue closed?
    closed: CancellationToken,
    /// Wakes the task.
    nudge: Notify,
    stage: watch::Sender<Stage>,
    /// The number of the last event that was read.
    read_to: watch::Sender<i64>,
}

/// How far a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Deaf,
    /// Events are written: what happens from now on will be heard.
    Written,
    /// And whatever is written is heard at once.
    Live,
}

/// Why a listener reads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    /// Nobody needs it; it is noted that it has stopped.
    Needless,
    /// The queue is closed or the manager disconnected.
    Over,
}

#[derive(Debug, Default)]
struct Hearing {
    listening: bool,
    running: bool,
    waits: HashMap<u64, Wait>,
}

#[derive(Debug)]
struct Wait {
    id: String,
    /// Told what is news.
    news: mpsc::UnboundedSender<Told>,
    cancel: Arc<Notify>,
}

impl Wait {
    fn tell(&self, number: i64, news: News) {
        // Whoever waited may have given up.
        let _ = self.news.send(Told { number, news });
    }
}

/// Where a listener stands.
#[derive(Debug)]
struct Place {
    /// The number of the last event that was read; -1: none yet.
    last: i64,
    /// Which events it is a number of: a queue that was obliterated counts anew.
    born: Bytes,
}

impl Default for Place {
    fn default() -> Self {
        Self { last: -1, born: Bytes::new() }
    }
}

/// News, and the number of the event that they are of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) number: i64,
    pub(super) news: News,
}

/// What one who waits for a job is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Completed(Bytes),
    Failed(Bytes),
    Removed,
    /// Something may have been missed, or is not in the event: look.
    Look,
}

impl Ears {
    pub(super) fn new(core: Arc<Core>, outlet: Outlet) -> Self {
        let hearing = Mutex::default();
        Self {
            core,
            outlet,
            hearing,
            closed: CancellationToken::new(),
            nudge: Notify::new(),
            stage: watch::Sender::new(Stage::Deaf),
            read_to: watch::Sender::new(-1),
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock()
    }

    /// Starts the task unless it runs; the future resolves when what happens from now on will be heard.
    pub(super) fn written(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send + use<> {
        self.reach(Stage::Written)
    }

    /// Starts the task unless it runs; the future resolves when what happens from now on is heard at once.
    pub(super) fn live(self: &Arc<Self>) -> impl Future<Output = Result<()>> + Send + use<> {
        self.reach(Stage::Live)
    }

    fn reach(self: &Arc<Self>, stage: Stage) -> impl Future<Output = Result<()>> + Send + use<> {
        let starts = {
            let mut hearing = self.hearing();
            !self.closed.is_cancelled() && !std::mem::replace(&mut hearing.running, true)
        };
        if starts {
            let ears = Arc::clone(self);
            lifecycle::spawn(async move { ears.run().await });
        }
        let mut reached = self.stage.subscribe();
        let patience = self.core.manager.config().command_timeout;
        let (closed, closing) = (self.closed.clone(), self.core.manager.closing());
        async move {
            // Nobody is to be kept waiting, nor kept in memory, for what comes no more.
            tokio::select! {
                biased;
                () = closed.cancelled() => Err(Error::new(ErrorKind::Closed, "the queue is closed")),
                () = closing.cancelled() => Err(Error::new(ErrorKind::Closed, "the connection manager was disconnected")),
                reached = timeout(patience, reached.wait_for(|reached| *reached >= stage)) => match reached {
                    Ok(Ok(_)) => Ok(()),
                    _ => Err(Error::new(ErrorKind::Timeout, "the events of the queue could not be subscribed to in time")),
                },
            }
        }
    }

    async fn run(self: Arc<Self>) {
        let closing = self.core.manager.closing();
        let mut place = Place::default();
        // First of all, and it need not wait for the subscription. Where it fails it is done again below.
        if self.read(&mut place).await.is_ok() {
            self.stage.send_replace(Stage::Written);
        }
        let mut troubled = false;
        let subscription = self.subscribed(&closing, &mut troubled).await;
        if subscription.is_some() && self.follow(&closing, &mut place, troubled).await == Follow::Needless {
            return;
        }
        self.stage.send_replace(Stage::Deaf);
        let mut hearing = self.hearing();
        hearing.running = false;
        hearing.waits.clear();
        if closing.is_cancelled() && std::mem::take(&mut hearing.listening) {
            self.outlet.tell(json!({ "event": "closed" }).to_string());
        }
    }

    /// Subscribes to wake-ups, however often it fails. `None` where the queue is closed meanwhile, or the manager disconnected.
    async fn subscribed(self: &Arc<Self>, closing: &CancellationToken, troubled: &mut bool) -> Option<Subscription> {
        let mut failures = 0;
        loop {
            let channel = Channel { kind: ChannelKind::Exact, name: self.core.keys.prefix(Prefix::Told).clone() };
            match self.core.manager.subscribe(channel, Arc::new(Woken(Arc::downgrade(self)))).await {
                Ok(subscription) => return Some(subscription),
                Err(_) if closing.is_cancelled() || self.closed.is_cancelled() => return None,
                Err(error) => {
                    *troubled = true;
                    self.rest_after(&error, &mut failures).await;
                }
            }
        }
    }

    /// Reads whenever there may be something.
    async fn follow(&self, closing: &CancellationToken, place: &mut Place, mut troubled: bool) -> Follow {
        let mut failures = 0;
        loop {
            match self.read(place).await {
                Ok(more) => {
                    failures = 0;
                    if more {
                        continue;
                    }
                    if std::mem::take(&mut troubled) {
                        // Whoever asked to listen was told that it failed: what happened until now was not heard.
                        self.missed(-1);
                    }
                    self.stage.send_replace(Stage::Live);
                }
                Err(_) if closing.is_cancelled() => return Follow::Over,
                Err(error) => {
                    troubled = troubled || place.last < 0;
                    self.rest_after(&error, &mut failures).await;
                    continue;
                }
            }
            let needed = self.is_needed();
            tokio::select! {
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(if needed { LOOK } else { LINGER }) => {
                    if !needed && self.stop_unless_needed() {
                        return Follow::Needless;
                    }
                }
                () = closing.cancelled() => return Follow::Over,
            }
            if self.closed.is_cancelled() {
                return Follow::Over;
            }
        }
    }

    /// Tells of the failure, and rests before the next try.
    async fn rest_after(&self, error: &Error, failures: &mut u32) {
        self.tell_error(error);
        tokio::time::sleep(BACKOFF.delay(*failures)).await;
        *failures = failures.saturating_add(1);
    }

    fn is_needed(&self) -> bool {
        let hearing = self.hearing();
        hearing.listening || !hearing.waits.is_empty()
    }

    fn stop_unless_needed(&self) -> bool {
        let mut hearing = self.hearing();
        let stops = !hearing.listening && hearing.waits.is_empty();
        if stops {
            self.stage.send_replace(Stage::Deaf);
            hearing.running = false;
        }
        stops
    }

    /// Reads on from `place`. True where there may be more.
    async fn read(&self, place: &mut Place) -> Result<bool> {
        let (from, keep) = (place.last.to_string(), HEARD.as_millis().to_string());
        let (born, fresh) = (place.born.clone(), fresh_owner());
        let keys = self.core.keys.keys([Part::Events, Part::Meta]);
        let command =
            plain(&scripts::HEAR, &keys, &[from.as_bytes(), keep.as_bytes(), ENTRIES, &born, fresh.as_bytes()])
                .runs(*operation::HEAR, &scripts::HEAR);
        let mut parts = array(self.core.call(command).await?).ok_or_else(Error::unexpected_reply)?.into_iter();
        let mut number = || parts.next().as_ref().and_then(integer).ok_or_else(Error::unexpected_reply);
        let (now_at, missed) = (number()?, number()?);
        let begins = place.last < 0;
        *place = Place { last: now_at, born: parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)? };
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
                self.happened(at, &field, payload, &mut values);
            }
        }
        if !values.is_empty() {
            self.outlet.deliver(values);
        }
        self.read_to.send_replace(now_at);
        Ok(more)
    }

    /// One event: the number of its entry, its letter and the id of the job, and what is said of it.
    fn happened(&self, number: i64, field: &Bytes, payload: Bytes, values: &mut Vec<Outcome>) {
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
        let hearing = self.hearing();
        let is_large = payload == LARGE;
        if matches!(letter, b'c' | b'f' | b'v') {
            for wait in hearing.waits.values().filter(|wait| wait.id.as_bytes() == &id[..]) {
                let news = match letter {
                    b'c' if is_large => News::Look,
                    b'c' => News::Completed(payload.clone()),
                    b'f' => News::Failed(reason_of(&payload)),
                    _ => News::Removed,
                };
                wait.tell(number, news);
            }
        }
        if hearing.listening {
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
            let hearing = self.hearing();
            for wait in hearing.waits.values() {
                wait.tell(i64::MAX, News::Look);
            }
            hearing.listening
        };
        if listening {
            let missed = (entries > 0).then_some(entries);
            self.outlet.tell(json!({ "event": "gap", "missed": missed }).to_string());
        }
    }

    fn tell_error(&self, error: &Error) {
        if self.hearing().listening {
            self.outlet.tell(json!({ "event": "error", "error": failure(error) }).to_string());
        }
    }
}

fn reason_of(payload: &[u8]) -> Bytes {
    let said: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    said["reason"].as_str().unwrap_or_default().to_owned().into()
}

struct Woken(std::sync::Weak<Ears>);

impl Listener for Woken {
    fn message(&self, _message: &Message) {
        if let Some(ears) = self.0.upgrade() {
            ears.nudge.notify_one();
        }
    }

    fn restored(&self, _gap: Duration) {
        if let Some(ears) = self.0.upgrade() {
            ears.nudge.notify_one();
        }
    }
}

pub(super) fn listen(queue: &Queue, call: Call<'_>) {
    queue.events.hearing().listening = true;
    let live = queue.events.live();
    queue.events.nudge.notify_one();
    call.run(|_| Ok(async move { live.await.map(|()| Outcome::Nothing) }));
}

pub(super) fn unlisten(queue: &Queue, call: Call<'_>) {
    queue.events.hearing().listening = false;
    queue.events.nudge.notify_one();
    call.give(Ok(Outcome::Nothing));
}

pub(super) fn close(queue: &Queue, call: Call<'_>) {
    queue.events.closed.cancel();
    {
        let mut hearing = queue.events.hearing();
        hearing.listening = false;
        // Whose news can come no more is told so.
        hearing.waits.clear();
    }
    queue.events.nudge.notify_one();
    queue.flushed();
    call.run(|_| Ok(async { Ok(Outcome::Nothing) }));
}

impl Ears {
    /// Has `number` told how the job ends.
    pub(super) fn register(
        &self,
        said: &str,
        number: u64,
        id: &str,
        cancel: &Arc<Notify>,
    ) -> Result<mpsc::UnboundedReceiver<Told>> {
        let (sender, news) = mpsc::unbounded_channel();
        let mut hearing = self.hearing();
        if self.closed.is_cancelled() {
            return Err(Error::new(ErrorKind::Closed, format!("{said}: the queue is closed")));
        }
        hearing.waits.insert(number, Wait { id: id.to_owned(), news: sender, cancel: Arc::clone(cancel) });
        Ok(news)
    }

    /// Reads on, and resolves when the event of that number has been told.
    pub(super) async fn read_until(&self, number: i64) {
        let mut read_to = self.read_to.subscribe();
        self.nudge.notify_one();
        // The sender is ours: it is never gone.
        let _ = read_to.wait_for(|read_to| *read_to >= number).await;
    }

    /// The wait of that number is over.
    pub(super) fn forget(&self, number: u64) {
        self.hearing().waits.remove(&number);
    }

    /// Ends the wait of that number.
    pub(super) fn cancel(&self, number: u64) {
        if let Some(wait) = self.hearing().waits.get(&number) {
            wait.cancel.notify_one();
        }
    }
}
