//! What is subscribed by one topic or one pattern, and what of it waits for JavaScript.
//!
//! A feed sends messages ahead until a window of them is on its way; JavaScript says how many it has taken. What comes
//! meanwhile waits here, and past its bounds the oldest is dropped: the connection is read on whatever JavaScript does.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Bus, topic};
use crate::arguments::Arguments;
use crate::connection::{Channel, ChannelKind, Listener, Manager, Message, Subscription};
use crate::crossing::{Arg, Outcome, Outlet, at_end_of_batch};
use crate::error::{Error, Result};
use crate::keys::Namespace;
use crate::sync::Mutex;
use crate::telemetry::Metrics;
use crate::verb::Call;

/// Messages on their way to JavaScript at once, per feed.
const WINDOW: usize = 1024;
/// Bytes on their way to JavaScript at once, per feed; one message may be larger.
const WINDOW_BYTES: usize = 1 << 20;

/// The feeds of one bus.
pub(super) struct Live {
    outlet: Outlet,
    metrics: Arc<Metrics>,
    feeds: Mutex<HashMap<u64, Entry>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("feeds", &self.feeds.lock().len()).finish_non_exhaustive()
    }
}

struct Entry {
    feed: Arc<Feed>,
    /// Once it is confirmed.
    confirmed: Option<Confirmed>,
}

/// A subscription that is counted while it lasts.
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

    /// Gives the subscription that is to be ended, if it was confirmed.
    fn remove(&self, id: u64) -> Option<Subscription> {
        // Taken out first: the end of a subscription reaches into the connection, where nothing may be locked.
        let entry = self.feeds.lock().remove(&id)?;
        entry.feed.end();
        entry.confirmed.map(|confirmed| confirmed.subscription)
    }
}

/// Arguments: id, topic, is it a pattern?, maxPending, maxPendingBytes. Answers when the server has confirmed.
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
        bus.live.feeds.lock().insert(id, Entry { feed: Arc::clone(&feed), confirmed: None });
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

/// Arguments: id. Answers when the server has confirmed.
pub(super) fn unsubscribe(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        // At once, whatever becomes of the answer.
        let ended = bus.live.remove(call.id(0)?).map(Subscription::end);
        Ok(async move {
            if let Some(ended) = ended {
                ended.await?;
            }
            Ok(Outcome::Nothing)
        })
    });
}

/// Arguments: id, maxPending, maxPendingBytes, as the most patient subscriber of the feed has them.
pub(super) fn bound(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        let bounds = read_bounds(call, 1)?;
        if let Some(feed) = bus.live.feed(call.id(0)?) {
            let mut state = feed.state.lock();
            state.bounds = bounds;
            // There may be room now for what waits.
            feed.send(&mut state);
        }
        Ok(Outcome::Nothing)
    });
}

/// Arguments: id, how many messages were taken.
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

/// How much may wait.
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
    /// Of a pattern: the namespace that is taken off the channels.
    strip: Option<Namespace>,
    outlet: Outlet,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    this: Weak<Feed>,
}

struct State {
    bounds: Bounds,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// The bytes of each message that is on its way.
    flying: VecDeque<usize>,
    flying_bytes: usize,
    /// Not yet told.
    dropped: u64,
    /// Will what waits be looked at, at the end of the batch?
    announced: bool,
    ended: bool,
}

struct Waiting {
    /// Of a pattern: where it was published.
    topic: Option<Bytes>,
    payload: Bytes,
}

impl Waiting {
    fn size(&self) -> usize {
        self.payload.len() + self.topic.as_ref().map_or(0, Bytes::len)
    }

    /// Lets go of the read buffer it was a part of.
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
            state: Mutex::new(State {
                bounds,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                flying: VecDeque::new(),
                flying_bytes: 0,
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
            let Some(size) = state.flying.pop_front() else { break };
            state.flying_bytes -= size;
        }
        self.send(&mut state);
    }

    /// Sends as much of what waits as there is room for. Within the lock, so that the order is kept.
    fn send(&self, state: &mut State) {
        let ready = state.take();
        if ready.is_empty() {
            return;
        }
        let each = if self.strip.is_some() { 2 } else { 1 };
        let mut values = Vec::with_capacity(3 + ready.len() * each);
        values.push(number(self.id));
        values.push(number((1 + ready.len() * each) as u64));
        values.push(number(std::mem::take(&mut state.dropped)));
        for Waiting { topic, payload } in ready {
            values.extend(topic.map(Outcome::Text));
            values.push(Outcome::Text(payload));
        }
        self.outlet.deliver(values);
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.waiting = VecDeque::new();
        state.waiting_bytes = 0;
    }
}

impl State {
    /// May one more be on its way?
    fn has_room(&self) -> bool {
        self.flying.len() < self.bounds.window() && (self.flying.is_empty() || self.flying_bytes < WINDOW_BYTES)
    }

    /// What can go now; it counts as on its way from here on.
    fn take(&mut self) -> Vec<Waiting> {
        let mut ready = Vec::new();
        while self.has_room() {
            let Some(next) = self.waiting.pop_front() else { break };
            let size = next.size();
            self.waiting_bytes -= size;
            self.flying.push_back(size);
            self.flying_bytes += size;
            ready.push(next);
        }
        ready
    }

    /// Adds a message. Gives how many older ones had to go for it.
    fn add(&mut self, mut next: Waiting) -> u64 {
        let free = self.bounds.window().saturating_sub(self.flying.len());
        let free_bytes = WINDOW_BYTES.saturating_sub(self.flying_bytes);
        if self.waiting.len() >= free || self.waiting_bytes >= free_bytes {
            next.detach();
        }
        self.waiting_bytes += next.size();
        self.waiting.push_back(next);
        let mut dropped = 0;
        while self.waiting.len() > self.bounds.messages.saturating_add(free)
            || (self.waiting_bytes > self.bounds.bytes.saturating_add(free_bytes) && self.waiting.len() > 1)
        {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.size();
            dropped += 1;
        }
        self.dropped += dropped;
        dropped
    }
}

impl Listener for Feed {
    fn message(&self, message: &Message) {
        let topic = match &self.strip {
            None => None,
            Some(namespace) => match namespace.strip(&message.channel) {
                Some(topic) => Some(message.channel.slice_ref(topic)),
                // A channel of ours, not of a user.
                None => return,
            },
        };
        let mut state = self.state.lock();
        if state.ended {
            return;
        }
        let dropped = state.add(Waiting { topic, payload: message.payload.clone() });
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
        self.outlet.tell(json!({ "event": "missed", "id": self.id }).to_string());
    }

    fn restored(&self, gap: Duration) {
        self.metrics.bus_gaps.add(1);
        self.outlet.tell(json!({ "event": "gap", "id": self.id, "durationMs": gap.as_millis() }).to_string());
    }

    fn ended(&self, error: &Error) {
        self.end();
        let event = json!({ "event": "ended", "id": self.id, "kind": error.kind().name(), "message": error.message() });
        self.outlet.tell(event.to_string());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number that JavaScript gave, or a count")]
fn number(number: u64) -> Outcome {
    Outcome::Number(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(messages: usize, bytes: usize) -> State {
        State {
            bounds: Bounds { messages, bytes },
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            flying: VecDeque::new(),
            flying_bytes: 0,
            dropped: 0,
            announced: false,
            ended: false,
        }
    }

    fn message(size: usize) -> Waiting {
        Waiting { topic: None, payload: Bytes::from(vec![b'x'; size]) }
    }

    #[test]
    fn past_the_bound_the_oldest_is_dropped_and_counted() {
        let mut state = state(3, 1 << 20);
        assert_eq!((1..=3).map(|size| state.add(message(size))).sum::<u64>(), 0);
        assert_eq!(state.take().len(), 3, "as many are sent ahead as may wait");
        let dropped: u64 = (1..=10).map(|size| state.add(message(size))).sum();
        assert_eq!((dropped, state.dropped, state.waiting.len()), (7, 7, 3));
        assert_eq!(state.waiting.front().map(Waiting::size), Some(8));
        assert!(state.take().is_empty(), "nothing goes until something was taken");
        assert_eq!(state.waiting_bytes, 8 + 9 + 10);
    }

    #[test]
    fn one_message_larger_than_every_bound_gets_through() {
        let mut state = state(10, 100);
        assert_eq!(state.add(message(WINDOW_BYTES * 3)), 0);
        assert_eq!(state.take().len(), 1);
        assert_eq!(state.add(message(200)), 0);
        assert_eq!(state.add(message(50)), 1, "the bytes that wait are bounded too");
        assert!(state.take().is_empty());
    }
}
