//! The messages of one subscribed topic or pattern that wait for JavaScript.
//!
//! A feed sends messages to JavaScript until a window of them is in flight. JavaScript says how many it has taken. Further messages
//! are queued here. Beyond the bounds the oldest message is dropped, so that the connection is read even while JavaScript is blocked.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Bus, topic};
use crate::arguments::Arguments;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Manager, Subscription};
use crate::crossing::{Arg, Outcome, Outlet, at_end_of_batch};
use crate::error::{Error, Result};
use crate::keys::Namespace;
use crate::sync::Mutex;
use crate::telemetry::Metrics;
use crate::verb::Call;

/// Messages in flight to JavaScript, per feed.
const WINDOW: usize = 1024;
/// Bytes in flight to JavaScript, per feed; one message may be larger.
const WINDOW_BYTES: usize = 1 << 20;

/// The feeds of one bus.
pub(super) struct Live {
    outlet: Outlet,
    metrics: Arc<Metrics>,
    feeds: Mutex<HashMap<u64, FeedEntry>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("feeds", &self.feeds.lock().len()).finish_non_exhaustive()
    }
}

struct FeedEntry {
    feed: Arc<Feed>,
    /// Set once the server has confirmed it.
    confirmed: Option<Confirmed>,
}

/// A confirmed subscription, counted in the metrics while it lasts.
struct Confirmed {
    subscription: Subscription,
    _counted: Counted,
}

struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.bus_subscriptions.add(1);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.bus_subscriptions.add(-1);
    }
}

impl Live {
    pub(super) fn new(manager: &Manager, outlet: Outlet) -> Self {
        Self { outlet, metrics: Arc::clone(manager.metrics()), feeds: Mutex::default() }
    }

    fn feed(&self, id: u64) -> Option<Arc<Feed>> {
        self.feeds.lock().get(&id).map(|entry| Arc::clone(&entry.feed))
    }

    /// Keeps `subscription`, unless the feed has ended meanwhile.
    fn confirmed(&self, id: u64, subscription: Subscription) {
        let confirmed = Confirmed { subscription, _counted: Counted::new(&self.metrics) };
        if let Some(entry) = self.feeds.lock().get_mut(&id) {
            entry.confirmed = Some(confirmed);
        }
    }

    /// Removes a feed. Returns the subscription to end, if it was confirmed.
    fn remove(&self, id: u64) -> Option<Subscription> {
        // The entry is removed first, because no lock may be held while the subscription is ended.
        let entry = self.feeds.lock().remove(&id)?;
        entry.feed.end();
        entry.confirmed.map(|confirmed| confirmed.subscription)
    }
}

/// Arguments: id, topic, is it a pattern?, maxPending, maxPendingBytes. Answers when the server has confirmed the subscription.
pub(super) fn subscribe(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let id = call.id(0)?;
        let is_pattern = call.at(2) == Arg::Bool(true);
        let name = topic(call, 1, if is_pattern { "pattern" } else { "topic" })?;
        let bounds = read_bounds(call, 3)?;
        let (kind, name) = if is_pattern {
            if bus.sharded {
                return Err(Error::config(
                    "MessageBus.psubscribe: expected a bus whose option sharded is false: a sharded topic has no patterns",
                ));
            }
            (ChannelKind::Pattern, bus.namespace.pattern(name))
        } else {
            (bus.kind(), bus.namespace.key(name))
        };
        let feed = Feed::new(id, is_pattern.then(|| bus.namespace.clone()), &bus.live, bounds);
        bus.live.feeds.lock().insert(id, FeedEntry { feed: Arc::clone(&feed), confirmed: None });
        let confirmed = bus.manager.subscribe(Channel { kind, name }, feed);
        let live = Arc::clone(&bus.live);
        Ok(async move {
            match confirmed.await {
                Ok(subscription) => live.confirmed(id, subscription),
                Err(error) => {
                    drop(live.remove(id));
                    return Err(error);
                }
            }
            Ok(Outcome::Nothing)
        })
    });
}

/// Arguments: id. Answers when the server has confirmed the end.
pub(super) fn unsubscribe(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        // The feed ends at once, even if the server does not confirm.
        let ended = bus.live.remove(call.id(0)?).map(Subscription::end);
        Ok(async move {
            if let Some(ended) = ended {
                ended.await?;
            }
            Ok(Outcome::Nothing)
        })
    });
}

/// Arguments: id, maxPending, maxPendingBytes: the largest bounds of the feed's subscribers.
pub(super) fn bound(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        let bounds = read_bounds(call, 1)?;
        if let Some(feed) = bus.live.feed(call.id(0)?) {
            let mut state = feed.state.lock();
            state.bounds = bounds;
            // Queued messages may fit now.
            feed.send(&mut state);
        }
        Ok(Outcome::Nothing)
    });
}

/// Arguments: id, how many messages JavaScript has taken.
pub(super) fn took(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        let count = call.id(1)?;
        if let Some(feed) = bus.live.feed(call.id(0)?) {
            feed.took(count);
        }
        Ok(Outcome::Nothing)
    });
}

fn read_bounds(args: &Arguments<'_>, place: usize) -> Result<Bounds> {
    let read = |place, name| Ok(usize::try_from(args.count(place, name)?).unwrap_or(usize::MAX));
    Ok(Bounds { messages: read(place, "maxPending")?, bytes: read(place + 1, "maxPendingBytes")? })
}

/// The bounds of the queue of a feed.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    messages: usize,
    bytes: usize,
}

impl Bounds {
    fn window(self) -> usize {
        self.messages.min(WINDOW)
    }
}

/// The messages of one topic or pattern.
struct Feed {
    id: u64,
    /// For a pattern: the namespace to remove from the names of channels.
    strip: Option<Namespace>,
    outlet: Outlet,
    metrics: Arc<Metrics>,
    state: Mutex<FeedState>,
    this: Weak<Feed>,
}

struct FeedState {
    bounds: Bounds,
    queued: VecDeque<QueuedMessage>,
    queued_bytes: usize,
    /// The bytes of each message in flight.
    in_flight: VecDeque<usize>,
    in_flight_bytes: usize,
    /// Dropped messages that JavaScript does not know of yet.
    dropped: u64,
    /// Will queued messages be sent at the end of the batch?
    announced: bool,
    ended: bool,
}

struct QueuedMessage {
    /// For a pattern: the topic of the message.
    topic: Option<Bytes>,
    payload: Bytes,
}

impl QueuedMessage {
    fn size(&self) -> usize {
        self.payload.len() + self.topic.as_ref().map_or(0, Bytes::len)
    }

    /// Copies the message out of the read buffer.
    fn detach(&mut self) {
        self.payload = Bytes::copy_from_slice(&self.payload);
        self.topic = self.topic.as_deref().map(Bytes::copy_from_slice);
    }
}

impl Feed {
    fn new(id: u64, strip: Option<Namespace>, live: &Live, bounds: Bounds) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            id,
            strip,
            outlet: live.outlet.clone(),
            metrics: Arc::clone(&live.metrics),
            state: Mutex::new(FeedState {
                bounds,
                queued: VecDeque::new(),
                queued_bytes: 0,
                in_flight: VecDeque::new(),
                in_flight_bytes: 0,
                dropped: 0,
                announced: false,
                ended: false,
            }),
            this: this.clone(),
        })
    }

    fn took(&self, count: u64) {
        let mut state = self.state.lock();
        for _ in 0..count {
            let Some(size) = state.in_flight.pop_front() else { break };
            state.in_flight_bytes -= size;
        }
        self.send(&mut state);
    }

    /// Sends as many queued messages as the window has room for. The caller holds the lock, so that the order is kept.
    fn send(&self, state: &mut FeedState) {
        let ready = state.take();
        if ready.is_empty() {
            return;
        }
        let each = if self.strip.is_some() { 2 } else { 1 };
        let mut values = Vec::with_capacity(3 + ready.len() * each);
        values.push(number(self.id));
        values.push(number((1 + ready.len() * each) as u64));
        values.push(number(std::mem::take(&mut state.dropped)));
        for QueuedMessage { topic, payload } in ready {
            values.extend(topic.map(Outcome::Text));
            values.push(Outcome::Text(payload));
        }
        self.outlet.deliver(values);
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.queued = VecDeque::new();
        state.queued_bytes = 0;
    }
}

impl FeedState {
    /// Has the window room for one more message?
    fn has_room(&self) -> bool {
        self.in_flight.len() < self.bounds.window()
            && (self.in_flight.is_empty() || self.in_flight_bytes < WINDOW_BYTES)
    }

    /// Takes the messages that fit the window; they count as in flight.
    fn take(&mut self) -> Vec<QueuedMessage> {
        let mut ready = Vec::new();
        while self.has_room() {
            let Some(next) = self.queued.pop_front() else { break };
            let size = next.size();
            self.queued_bytes -= size;
            self.in_flight.push_back(size);
            self.in_flight_bytes += size;
            ready.push(next);
        }
        ready
    }

    /// Queues a message. Returns how many older messages were dropped.
    fn add(&mut self, mut next: QueuedMessage) -> u64 {
        let free = self.bounds.window().saturating_sub(self.in_flight.len());
        let free_bytes = WINDOW_BYTES.saturating_sub(self.in_flight_bytes);
        if self.queued.len() >= free || self.queued_bytes >= free_bytes {
            next.detach();
        }
        self.queued_bytes += next.size();
        self.queued.push_back(next);
        let mut dropped = 0;
        while self.queued.len() > self.bounds.messages.saturating_add(free)
            || (self.queued_bytes > self.bounds.bytes.saturating_add(free_bytes) && self.queued.len() > 1)
        {
            let Some(oldest) = self.queued.pop_front() else { break };
            self.queued_bytes -= oldest.size();
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }
}

impl Listener for Feed {
    fn message(&self, message: &ChannelMessage) {
        let topic = match &self.strip {
            None => None,
            Some(namespace) => match namespace.strip(&message.channel) {
                Some(topic) => Some(message.channel.slice_ref(topic)),
                // An internal channel of this package.
                None => return,
            },
        };
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let dropped = state.add(QueuedMessage { topic, payload: message.payload.clone() });
        if dropped > 0 {
            self.metrics.bus_dropped.add(dropped);
        }
        if !std::mem::replace(&mut state.announced, true) {
            let this = self.this.clone();
            at_end_of_batch(move || {
                if let Some(feed) = this.upgrade() {
                    let mut state = feed.state.lock();
                    state.announced = false;
                    feed.send(&mut state);
                }
            });
        }
    }

    fn missed(&self) {
        self.metrics.bus_dropped.add(1);
        self.outlet.emit(json!({ "event": "missed", "id": self.id }).to_string());
    }

    fn restored(&self, gap: Duration) {
        self.metrics.bus_gaps.add(1);
        self.outlet.emit(json!({ "event": "gap", "id": self.id, "durationMs": gap.as_millis() }).to_string());
    }

    fn ended(&self, error: &Error) {
        self.end();
        let event = json!({ "event": "ended", "id": self.id, "kind": error.kind().name(), "message": error.message() });
        self.outlet.emit(event.to_string());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number that JavaScript gave, or a count")]
fn number(number: u64) -> Outcome {
    Outcome::Number(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(messages: usize, bytes: usize) -> FeedState {
        FeedState {
            bounds: Bounds { messages, bytes },
            queued: VecDeque::new(),
            queued_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            dropped: 0,
            announced: false,
            ended: false,
        }
    }

    fn message(size: usize) -> QueuedMessage {
        QueuedMessage { topic: None, payload: Bytes::from(vec![b'x'; size]) }
    }

    #[test]
    fn beyond_the_bound_the_oldest_message_is_dropped_and_counted() {
        let mut state = state(3, 1 << 20);
        assert_eq!((1..=3).map(|size| state.add(message(size))).sum::<u64>(), 0);
        assert_eq!(state.take().len(), 3, "the window is as large as maxPending");
        let dropped: u64 = (1..=10).map(|size| state.add(message(size))).sum();
        assert_eq!((dropped, state.dropped, state.queued.len()), (7, 7, 3));
        assert_eq!(state.queued.front().map(QueuedMessage::size), Some(8));
        assert!(state.take().is_empty(), "the window is full until JavaScript takes a message");
        assert_eq!(state.queued_bytes, 8 + 9 + 10);
    }

    #[test]
    fn one_message_larger_than_every_bound_gets_through() {
        let mut state = state(10, 100);
        assert_eq!(state.add(message(WINDOW_BYTES * 3)), 0);
        assert_eq!(state.take().len(), 1);
        assert_eq!(state.add(message(200)), 0);
        assert_eq!(state.add(message(50)), 1, "the waiting bytes are bounded too");
        assert!(state.take().is_empty());
    }
}
