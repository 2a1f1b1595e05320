//! New checkpoints of a thread, in the order of the saves, none left out. A message on the thread's channel says that there is a new
//! checkpoint. The checkpoints are then read from the thread itself. A page is read when the caller has taken the page before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::call::{self, ScriptCall};
use super::{Checkpoints, Inner, scripts};
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Subscription};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::checkpoints::Part;
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::telemetry::Operation;
use crate::verb::Call;

/// The largest number of checkpoints in one answer.
const PAGE: u64 = 100;
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };
/// The time between two reads without a message. A message may be lost when a server is replaced.
const LOOK: Duration = Duration::from_secs(15);

/// The readers of new checkpoints, by the number that TypeScript gave them.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<HashMap<u64, Arc<Reader>>>);

#[derive(Debug)]
struct Reader {
    thread: String,
    /// The creation of the thread, and the number of the last save that was read.
    place: Mutex<(Bytes, i64)>,
    listener: Arc<NewsListener>,
    _subscription: Subscription,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct NewsListener(Notify);

impl Listener for NewsListener {
    fn message(&self, _message: &ChannelMessage) {
        self.0.notify_one();
    }

    fn missed(&self) {
        self.0.notify_one();
    }

    fn restored(&self, _gap: Duration) {
        self.0.notify_one();
    }
}

/// A page: the creation of the thread, the number of the last save, and the information on each checkpoint.
struct Read {
    beginning: Bytes,
    number: i64,
    infos: Vec<Reply>,
}

async fn read(inner: &Inner, operation: Operation, thread: &str, place: (&[u8], &str), id: &str) -> Result<Read> {
    let script = ScriptCall::of(&scripts::NEWS, inner, thread).arg(place.0).arg(place.1).arg(id).number(PAGE);
    let [beginning, number, infos] =
        <[Reply; 3]>::try_from(call::array(inner.manager.call(script.reads(operation)).await?)?)
            .map_err(|_| Error::unexpected_reply())?;
    Ok(Read { beginning: call::bytes(beginning)?, number: call::integer(&number)?, infos: call::array(infos)? })
}

/// Arguments: id, thread, the id to start after; without an id it starts now. Answers once no new checkpoint can be missed.
pub(super) fn watch(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (id, thread) = (call.id(0)?, call::name(call, 1, "thread")?.to_owned());
        let after = match call.at(2) {
            Arg::Absent => None,
            _ => Some(call::name(call, 2, "after")?.to_owned()),
        };
        let operation = call.operation();
        let name = inner.namespace.thread(thread.as_bytes()).key(Part::News).clone();
        let listener = Arc::new(NewsListener::default());
        let subscribed =
            inner.manager.subscribe(Channel { kind: ChannelKind::Exact, name }, Arc::clone(&listener) as _);
        Ok(async move {
            let subscription = subscribed.await?;
            let place = match &after {
                None => {
                    let now = read(&inner, operation, &thread, (b"", "-"), "").await?;
                    (now.beginning, now.number)
                }
                Some(id) => place_of(&inner, operation, &thread, id).await?,
            };
            // Checkpoints that exist already are read at once.
            listener.0.notify_one();
            let place = Mutex::new(place);
            let reader =
                Reader { thread, place, listener, _subscription: subscription, ended: CancellationToken::new() };
            inner.readers.0.lock().insert(id, Arc::new(reader));
            Ok(Outcome::Nothing)
        })
    });
}

/// The place after the save with this id; the start of the thread if there is no such save.
async fn place_of(inner: &Inner, operation: Operation, thread: &str, id: &str) -> Result<(Bytes, i64)> {
    let script = ScriptCall::of(&scripts::NEWS, inner, thread).arg("").arg("0").arg(id).number(0);
    let [beginning, number, _] =
        <[Reply; 3]>::try_from(call::array(inner.manager.call(script.reads(operation)).await?)?)
            .map_err(|_| Error::unexpected_reply())?;
    Ok((call::bytes(beginning)?, call::integer(&number)?))
}

/// Argument: id. Gives the information on new checkpoints as soon as there are any; null when the reader has ended.
pub(super) fn news(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let reader = inner.readers.0.lock().get(&call.id(0)?).cloned();
        let (operation, closing) = (call.operation(), inner.manager.closing());
        Ok(async move {
            let Some(reader) = reader else { return Ok(Outcome::Null) };
            tokio::select! {
                biased;
                () = reader.ended.cancelled() => Ok(Outcome::Null),
                () = closing.cancelled() => {
                    Err(Error::new(ErrorKind::Closed, "CheckpointStore.watch: the connection manager was disconnected"))
                }
                outcome = hear(&inner, operation, &reader) => outcome,
            }
        })
    });
}

async fn hear(inner: &Inner, operation: Operation, reader: &Reader) -> Result<Outcome> {
    let mut failures = 0;
    loop {
        let (beginning, number) = reader.place.lock().clone();
        match read(inner, operation, &reader.thread, (&beginning, &number.to_string()), "").await {
            Ok(Read { beginning: now, number, infos }) => {
                failures = 0;
                if !infos.is_empty() {
                    let told = infos.into_iter().map(call::info).collect::<Result<_>>()?;
                    *reader.place.lock() = (now, number);
                    return Ok(Outcome::List(told));
                }
                // The thread is read after a message and after the end of the pause.
                let _ = tokio::time::timeout(LOOK, reader.listener.0.notified()).await;
            }
            Err(error) if error.retryable() => {
                failures += 1;
                tokio::time::sleep(BACKOFF.delay(failures)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Argument: id.
pub(super) fn unwatch(store: &Checkpoints, call: Call<'_>) {
    call.at_once(|call| {
        if let Some(reader) = store.0.readers.0.lock().remove(&call.id(0)?) {
            reader.ended.cancel();
        }
        Ok(Outcome::Nothing)
    });
}
