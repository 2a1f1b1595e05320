//! Events of the fleet: a bounded stream, delivered to this process in order.
//!
//! A message on a channel says that there is a new event; the event itself is read from the stream. So no event is delivered
//! twice, a lost connection only delays events, and events that were trimmed before they were read are reported as a gap. A
//! watching registry also reads once in every interval, and sweeps then.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::scripts;
use super::watch::WatchSession;
use super::worker::Row;
use super::{Inner, Registry, sweeper};
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Packed, Subscription};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::registry::Part;
use crate::lifecycle;
use crate::resp::Reply;
use crate::verb::Call;

/// Events in one reply.
const BATCH: usize = 256;
/// Events that JavaScript may have received and not yet taken.
const MOST_UNTAKEN: u64 = 2_048;
const RETRY: Duration = Duration::from_millis(500);
const MAX_LIMIT: u64 = 10_000;

/// Wakes the reader when there is something to read.
#[derive(Debug, Default)]
struct WakeUp(Notify);

impl Listener for WakeUp {
    fn message(&self, _message: &ChannelMessage) {
        self.0.notify_one();
    }

    fn restored(&self, _gap: Duration) {
        self.0.notify_one();
    }
}

/// Starts to watch, unless the registry watches already. Events after this call are delivered. Settles when no event can be
/// missed, or with why not yet. The attempt is repeated by itself; another call gets the result of the next attempt.
pub(super) fn watch(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    let mut current = inner.watch.current();
    if let Some(session) = &*current {
        return session.wait(call.answer);
    }
    let session = Arc::new(WatchSession::new(call.answer));
    *current = Some(Arc::clone(&session));
    drop(current);
    inner.watch.untaken.store(0, Ordering::Release);
    // Sent here and now: before any later call of the caller.
    let position = inner.last_position();
    lifecycle::spawn(async move {
        let wake_up = Arc::new(WakeUp::default());
        let closing = inner.manager.closing();
        let events = async {
            let (mut position, subscription) = start(&inner, &wake_up, position, &session).await;
            follow(&inner, &wake_up, &mut position).await;
            drop(subscription);
        };
        tokio::select! {
            biased;
            () = session.stop.cancelled() => {}
            () = closing.cancelled() => {
                inner.watch.current().take_if(|current| Arc::ptr_eq(current, &session));
                inner.outlet.emit(r#"{"event":"ended"}"#.to_owned());
            }
            () = inner.ended.cancelled() => {}
            () = events => {}
        }
    });
}

/// Tries until the channel is subscribed and the position to read from is known.
async fn start(
    inner: &Arc<Inner>,
    wake_up: &Arc<WakeUp>,
    position: impl Future<Output = Result<Position>>,
    session: &WatchSession,
) -> (Position, Subscription) {
    let mut position = Some(position.await);
    loop {
        let channel = Channel { kind: ChannelKind::Exact, name: inner.keys.key(Part::Wake).clone() };
        let listener: Arc<dyn Listener> = Arc::clone(wake_up) as _;
        let subscribed = inner.manager.subscribe(channel, listener).await;
        let known = match position.take() {
            Some(Ok(position)) => Ok(position),
            _ => inner.last_position().await,
        };
        let error = match (subscribed, known) {
            (Ok(subscription), Ok(position)) => {
                session.started();
                return (position, subscription);
            }
            (Ok(_), Err(error)) => error,
            (Err(error), known) => {
                position = known.ok().map(Ok);
                error
            }
        };
        session.failed(&error);
        sleep(RETRY).await;
    }
}

async fn follow(inner: &Arc<Inner>, wake_up: &WakeUp, position: &mut Position) {
    loop {
        // The first read comes at once, because events before the subscription caused no wake-up.
        while let Ok(true) = read_on(inner, position).await {}
        let look = inner.settings.interval.mul_f64(1.0 - fastrand::f64() / 10.0);
        tokio::select! {
            () = wake_up.0.notified() => {}
            () = sleep(look) => {
                // A failure costs nothing: another process sweeps, and the next read finds the events.
                let _ = sweeper::sweep(inner).await;
                let _ = rewind(inner, position).await;
            }
        }
    }
}

/// A position in the stream of events.
#[derive(Clone, Debug, PartialEq)]
struct Position {
    id: Bytes,
    /// The number of the last delivered event.
    number: u64,
}

impl Position {
    /// How many events between this position and `next` were never delivered; nothing where none were missed.
    fn missed_until(&self, next: &Self) -> Option<u64> {
        let missed = next.number.checked_sub(self.number)?.checked_sub(1)?;
        (missed > 0 && self.number > 0).then_some(missed)
    }
}

/// Starts from the beginning where the stream ends before `position`: the server lost its data and its clock went back.
async fn rewind(inner: &Arc<Inner>, position: &mut Position) -> Result<()> {
    let last = inner.last_position().await?;
    if order(&last.id) < order(&position.id) {
        *position = Position { id: Bytes::from_static(b"0-0"), number: 0 };
    }
    Ok(())
}

fn order(id: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(id);
    let (ms, n) = text.split_once('-').unwrap_or((&text, "0"));
    (ms.parse().unwrap_or(0), n.parse().unwrap_or(0))
}

/// Delivers the next events. Returns whether there may be more. An event whose metadata could not be read is left for the next
/// call.
async fn read_on(inner: &Arc<Inner>, position: &mut Position) -> Result<bool> {
    let entries = inner.events_after(&position.id, BATCH as u64).await?;
    let mut outcome = Ok(entries.len() == BATCH);
    let mut events = Vec::with_capacity(entries.len());
    for Entry { id, event } in entries {
        let Some(event) = event else {
            inner.report_damaged("event", &id);
            position.id = id;
            continue;
        };
        let next = Position { id, number: event.number };
        let json = match event.json(&next.id, inner).await {
            Ok(json) => json,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        if let Some(missed) = position.missed_until(&next) {
            inner.outlet.emit(format!(r#"{{"event":"gap","missed":{missed}}}"#));
        }
        *position = next;
        events.push(Outcome::Json(json.into()));
    }
    if !events.is_empty() {
        inner.watch.untaken.fetch_add(events.len() as u64, Ordering::AcqRel);
        inner.outlet.deliver(events);
    }
    while inner.watch.untaken.load(Ordering::Acquire) > MOST_UNTAKEN {
        inner.watch.taken.notified().await;
    }
    outcome
}

/// Stops watching.
pub(super) fn unwatch(registry: &Registry, call: Call<'_>) {
    if let Some(session) = registry.0.watch.current().take() {
        session.stop.cancel();
    }
    call.give(Ok(Outcome::Nothing));
}

/// Argument: how many events JavaScript has taken.
pub(super) fn taken(registry: &Registry, call: Call<'_>) {
    call.at_once(|call| {
        let count = call.id(0)?;
        let watch = &registry.0.watch;
        let _ = watch
            .untaken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |untaken| Some(untaken.saturating_sub(count)));
        watch.taken.notify_one();
        Ok(Outcome::Nothing)
    });
}

/// Arguments: position, limit. Returns events after the position, the position after them, and whether none is missing.
pub(super) fn read(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let position = match call.at(0) {
            Arg::Text(text) if is_position(text) => Bytes::copy_from_slice(text.as_bytes()),
            other => return Err(call.wrong("position", "a position such as 0-0", other)),
        };
        let limit = call.count(1, "limit")?;
        if limit > MAX_LIMIT {
            return Err(call.wrong("limit", &format!("a whole number from 1 to {MAX_LIMIT}"), call.at(1)));
        }
        Ok(async move {
            let first = inner.read_stream(b"XRANGE", b"-", b"+", 1).await?;
            let complete = first.first().is_none_or(|entry| {
                entry.event.as_ref().is_some_and(|event| event.number == 1) || order(&entry.id) <= order(&position)
            });
            let entries = inner.events_after(&position, limit).await?;
            let position = entries.last().map_or(position, |entry| entry.id.clone());
            let mut events = Vec::with_capacity(entries.len());
            for Entry { id, event } in entries {
                match event {
                    Some(event) => events.push(event.json(&id, &inner).await?),
                    None => inner.report_damaged("event", &id),
                }
            }
            let position = String::from_utf8_lossy(&position);
            Ok(Outcome::Json(
                format!(r#"{{"events":[{}],"position":"{position}","complete":{complete}}}"#, events.join(",")).into(),
            ))
        })
    });
}

fn is_position(text: &str) -> bool {
    let whole = |part: &str| !part.is_empty() && part.len() <= 20 && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(ms, n)| whole(ms) && whole(n))
}

/// What happened to a worker, as events name it.
const KINDS: [&str; 6] = ["joined", "left", "status", "degraded", "recovered", "crashed"];

/// An entry of the stream. An entry that cannot be read was not written by this package.
struct Entry {
    id: Bytes,
    event: Option<Event>,
}

struct Event {
    number: u64,
    kind: &'static str,
    row: Row,
    last_heartbeat: f64,
    /// The metadata were too large for the event.
    bare: bool,
}

impl Entry {
    fn parse(entry: &Reply) -> Result<Self> {
        let Reply::Array(parts) = entry else { return Err(Error::unexpected_reply()) };
        let [Reply::Bulk(id), Reply::Array(fields)] = &parts[..] else { return Err(Error::unexpected_reply()) };
        Ok(Self { id: id.clone(), event: Event::parse(fields) })
    }
}

impl Event {
    fn parse(fields: &[Reply]) -> Option<Self> {
        let field = |name: &[u8]| {
            fields.chunks_exact(2).find_map(|pair| match pair {
                [Reply::Bulk(known), Reply::Bulk(value)] if &known[..] == name => Some(value.clone()),
                _ => None,
            })
        };
        let number = |name: &[u8]| std::str::from_utf8(&field(name)?).ok()?.parse::<u64>().ok();
        let kind = field(b"kind")?;
        let kind = KINDS.into_iter().find(|known| known.as_bytes() == &kind[..])?;
        let metadata = field(b"metadata")?;
        let bare = metadata.is_empty();
        let metadata = if bare { Bytes::from_static(b"{}") } else { metadata };
        Some(Self {
            number: number(b"n")?,
            kind,
            bare,
            row: Row::of_event(field(b"id")?, &field(b"state")?, field(b"definition")?, metadata).ok()?,
            last_heartbeat: number(b"last")? as f64,
        })
    }

    async fn json(mut self, position: &[u8], inner: &Arc<Inner>) -> Result<String> {
        if self.bare {
            let packed = inner.begin(&scripts::GET, &[], 1, self.row.id.len()).word(&self.row.id);
            let (_, now) = inner.one_row(&inner.call(&scripts::GET, packed).await?).await?;
            if let Some(now) = now.filter(|now| now.state.epoch == self.row.state.epoch) {
                self.row.take_metadata(now);
            }
        }
        Ok(format!(
            r#"{{"event":"{}","position":"{}","at":{},"worker":{}}}"#,
            self.kind,
            String::from_utf8_lossy(position),
            order(position).0,
            self.row.json_of_event(self.last_heartbeat),
        ))
    }
}

/// For fuzzing: the JSON of entries, one after the other.
#[cfg(fuzzing)]
pub(super) fn json_of(replies: &[Reply]) -> Vec<String> {
    let mut position = Position { id: Bytes::from_static(b"0-0"), number: 0 };
    let events = replies.iter().filter_map(|reply| Entry::parse(reply).ok()).filter_map(|entry| {
        let event = entry.event?;
        let next = Position { id: entry.id, number: event.number };
        let missed = position.missed_until(&next);
        position = next;
        Some(format!(
            r#"{{"missed":{},"worker":{}}}"#,
            missed.unwrap_or(0),
            event.row.json_of_event(event.last_heartbeat)
        ))
    });
    events.collect()
}

impl Inner {
    /// The position of the last event.
    fn last_position(self: &Arc<Self>) -> impl Future<Output = Result<Position>> + Send + use<> {
        let read = self.read_stream(b"XREVRANGE", b"+", b"-", 1);
        async move {
            Ok(read.await?.pop().map_or(Position { id: Bytes::from_static(b"0-0"), number: 0 }, |entry| Position {
                number: entry.event.map_or(0, |event| event.number),
                id: entry.id,
            }))
        }
    }

    async fn events_after(self: &Arc<Self>, id: &[u8], count: u64) -> Result<Vec<Entry>> {
        let after = [b"(", id].concat();
        self.read_stream(b"XRANGE", &after, b"+", count).await
    }

    fn read_stream(
        self: &Arc<Self>,
        name: &[u8],
        from: &[u8],
        to: &[u8],
        count: u64,
    ) -> impl Future<Output = Result<Vec<Entry>>> + Send + use<> {
        let command = Packed::sized(128)
            .begin(6, name)
            .word(self.keys.key(Part::Events))
            .word(from)
            .word(to)
            .word(b"COUNT")
            .number(count)
            .reads(*scripts::EVENTS);
        let answer = self.manager.call(command.clone());
        let inner = Arc::clone(self);
        async move {
            let mut reply = answer.await;
            if reply.as_ref().is_err_and(|error| error.message().starts_with("WRONGTYPE")) {
                // The sweep removes a key that is no stream.
                sweeper::sweep(&inner).await?;
                reply = inner.manager.call(command).await;
            }
            let Reply::Array(entries) = reply? else { return Err(Error::unexpected_reply()) };
            entries.iter().map(Entry::parse).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_as_numbers() {
        assert!(order(b"999-5") < order(b"1000-0") && order(b"5-9") < order(b"5-10"));
    }

    #[test]
    fn a_gap_is_the_number_of_events_between_two_events() {
        let position = |number| Position { id: Bytes::from_static(b"1-0"), number };
        for (last, next, missed) in [(0, 9, None), (4, 5, None), (4, 7, Some(2)), (7, 4, None), (5, 5, None)] {
            assert_eq!(position(last).missed_until(&position(next)), missed, "{last} {next}");
        }
        assert_eq!(position(u64::MAX).missed_until(&position(3)), None);
    }

    #[test]
    fn a_position_is_two_whole_numbers() {
        for text in ["0-0", "1763721000000-12"] {
            assert!(is_position(text));
        }
        for text in ["", "-", "1", "1-", "-1", "+", "1-x", "(1-1", "1-1-1", "111111111111111111111-0"] {
            assert!(!is_position(text), "{text}");
        }
    }
}
