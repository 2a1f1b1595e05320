//! What happens in the fleet: a bounded stream of events, told to this process in order.
//!
//! A message on a channel says that there is something; what, is read from the stream. So nothing is told twice, a
//! connection that was lost costs a delay, and what was trimmed before it was read is told as a gap. Who watches also looks by
//! itself once in an interval, and has the server do what is due.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::scripts;
use super::watching::Watching;
use super::worker::Row;
use super::{Inner, Registry, sweeper};
use crate::connection::{Channel, ChannelKind, Listener, Message, Packed, Subscription};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::registry::Part;
use crate::lifecycle;
use crate::resp::Reply;
use crate::verb::Call;

/// Events in one reply.
const BATCH: usize = 256;
/// Events that JavaScript may have before it and not have taken.
const CREDIT: u64 = 2_048;
const RETRY: Duration = Duration::from_millis(500);
const MAX_LIMIT: u64 = 10_000;

/// Notices that there is something to read.
#[derive(Debug, Default)]
struct Bell(Notify);

impl Listener for Bell {
    fn message(&self, _message: &Message) {
        self.0.notify_one();
    }

    fn restored(&self, _gap: Duration) {
        self.0.notify_one();
    }
}

/// Begins to watch, if it is not done: what happens after this call is told. Settles when it is certain that nothing will be
/// missed, or with why it is not yet; it is tried again by itself, and who calls again is told what comes of that.
pub(super) fn watch(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    let mut present = inner.watch.present();
    if let Some(watching) = &*present {
        return watching.ask(call.answer);
    }
    let watching = Arc::new(Watching::new(call.answer));
    *present = Some(Arc::clone(&watching));
    drop(present);
    inner.watch.untaken.store(0, Ordering::Release);
    // Asked here and now: it goes out before whatever the caller does next.
    let place = inner.last_place();
    lifecycle::spawn(async move {
        let bell = Arc::new(Bell::default());
        let closing = inner.manager.closing();
        let told = async {
            let (mut place, subscription) = begin(&inner, &bell, place, &watching).await;
            follow(&inner, &bell, &mut place).await;
            drop(subscription);
        };
        tokio::select! {
            biased;
            () = watching.stop.cancelled() => {}
            () = closing.cancelled() => {
                inner.watch.present().take_if(|present| Arc::ptr_eq(present, &watching));
                inner.outlet.tell(r#"{"event":"ended"}"#.to_owned());
            }
            () = inner.ended.cancelled() => {}
            () = told => {}
        }
    });
}

/// Tries until it is subscribed and knows from where to read.
async fn begin(
    inner: &Arc<Inner>,
    bell: &Arc<Bell>,
    place: impl Future<Output = Result<Place>>,
    watching: &Watching,
) -> (Place, Subscription) {
    let mut place = Some(place.await);
    loop {
        let channel = Channel { kind: ChannelKind::Exact, name: inner.keys.key(Part::Wake).clone() };
        let listener: Arc<dyn Listener> = Arc::clone(bell) as _;
        let subscribed = inner.manager.subscribe(channel, listener).await;
        let known = match place.take() {
            Some(Ok(place)) => Ok(place),
            _ => inner.last_place().await,
        };
        let error = match (subscribed, known) {
            (Ok(subscription), Ok(place)) => {
                watching.begun();
                return (place, subscription);
            }
            (Ok(_), Err(error)) => error,
            (Err(error), known) => {
                place = known.ok().map(Ok);
                error
            }
        };
        watching.failed(&error);
        sleep(RETRY).await;
    }
}

async fn follow(inner: &Arc<Inner>, bell: &Bell, place: &mut Place) {
    loop {
        // Also at once: what happened before the subscription was there rang for nobody.
        while let Ok(true) = read_on(inner, place).await {}
        let look = inner.settings.interval.mul_f64(1.0 - fastrand::f64() / 10.0);
        tokio::select! {
            () = bell.0.notified() => {}
            () = sleep(look) => {
                // What is due is done by somebody else if not now, and what cannot be read now is read later.
                let _ = sweeper::sweep(inner).await;
                let _ = rewind(inner, place).await;
            }
        }
    }
}

/// Where one is in the events.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    id: Bytes,
    /// The number of the last event that was told.
    number: u64,
}

impl Place {
    /// How many events were never told that lie between this place and `next`; nothing where none do.
    fn missed_until(&self, next: &Self) -> Option<u64> {
        let missed = next.number.checked_sub(self.number)?.checked_sub(1)?;
        (missed > 0 && self.number > 0).then_some(missed)
    }
}

/// A server that lost its data and whose clock went back starts again before the place.
async fn rewind(inner: &Arc<Inner>, place: &mut Place) -> Result<()> {
    let last = inner.last_place().await?;
    if order(&last.id) < order(&place.id) {
        *place = Place { id: Bytes::from_static(b"0-0"), number: 0 };
    }
    Ok(())
}

fn order(id: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(id);
    let (ms, n) = text.split_once('-').unwrap_or((&text, "0"));
    (ms.parse().unwrap_or(0), n.parse().unwrap_or(0))
}

/// Tells the next events. Says whether there may be more; one that could not be read whole is told next time.
async fn read_on(inner: &Arc<Inner>, place: &mut Place) -> Result<bool> {
    let entries = inner.events_after(&place.id, BATCH as u64).await?;
    let mut outcome = Ok(entries.len() == BATCH);
    let mut told = Vec::with_capacity(entries.len());
    for Entry { id, event } in entries {
        let Some(event) = event else {
            inner.tell_damage("event", &id);
            place.id = id;
            continue;
        };
        let next = Place { id, number: event.number };
        let json = match event.json(&next.id, inner).await {
            Ok(json) => json,
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        if let Some(missed) = place.missed_until(&next) {
            inner.outlet.tell(format!(r#"{{"event":"gap","missed":{missed}}}"#));
        }
        *place = next;
        told.push(Outcome::Json(json.into()));
    }
    if !told.is_empty() {
        inner.watch.untaken.fetch_add(told.len() as u64, Ordering::AcqRel);
        inner.outlet.deliver(told);
    }
    while inner.watch.untaken.load(Ordering::Acquire) > CREDIT {
        inner.watch.taken.notified().await;
    }
    outcome
}

/// Ends watching.
pub(super) fn unwatch(registry: &Registry, call: Call<'_>) {
    if let Some(watching) = registry.0.watch.present().take() {
        watching.stop.cancel();
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

/// Arguments: position, limit. Gives events after that position, the position after them, and whether none is missing.
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
            let mut told = Vec::with_capacity(entries.len());
            for Entry { id, event } in entries {
                match event {
                    Some(event) => told.push(event.json(&id, &inner).await?),
                    None => inner.tell_damage("event", &id),
                }
            }
            let position = String::from_utf8_lossy(&position);
            Ok(Outcome::Json(
                format!(r#"{{"events":[{}],"position":"{position}","complete":{complete}}}"#, told.join(",")).into(),
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

/// An entry of the stream. What is in it, unless it can be read, was not written by this package.
struct Entry {
    id: Bytes,
    event: Option<Event>,
}

struct Event {
    number: u64,
    kind: &'static str,
    row: Row,
    last_heartbeat: f64,
    /// Its metadata were too large to be repeated.
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
            let packed = inner.begin(&scripts::READ, &[], 1, self.row.id.len()).word(&self.row.id);
            let (_, now) = inner.one_row(&inner.ask(&scripts::READ, packed).await?).await?;
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

/// For fuzzing: what is told of entries, one after the other.
#[cfg(fuzzing)]
pub(super) fn told(replies: &[Reply]) -> Vec<String> {
    let mut place = Place { id: Bytes::from_static(b"0-0"), number: 0 };
    let events = replies.iter().filter_map(|reply| Entry::parse(reply).ok()).filter_map(|entry| {
        let event = entry.event?;
        let next = Place { id: entry.id, number: event.number };
        let missed = place.missed_until(&next);
        place = next;
        Some(format!(
            r#"{{"missed":{},"worker":{}}}"#,
            missed.unwrap_or(0),
            event.row.json_of_event(event.last_heartbeat)
        ))
    });
    events.collect()
}

impl Inner {
    /// Where the events end now.
    fn last_place(self: &Arc<Self>) -> impl Future<Output = Result<Place>> + Send + use<> {
        let read = self.read_stream(b"XREVRANGE", b"+", b"-", 1);
        async move {
            Ok(read.await?.pop().map_or(Place { id: Bytes::from_static(b"0-0"), number: 0 }, |entry| Place {
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
                // The sweep takes away what is no stream.
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
    fn a_gap_is_what_lies_between_two_events_whatever_their_numbers() {
        let place = |number| Place { id: Bytes::from_static(b"1-0"), number };
        for (last, next, missed) in [(0, 9, None), (4, 5, None), (4, 7, Some(2)), (7, 4, None), (5, 5, None)] {
            assert_eq!(place(last).missed_until(&place(next)), missed, "{last} {next}");
        }
        assert_eq!(place(u64::MAX).missed_until(&place(3)), None);
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
