//! Requests: published on a topic, answered on this process' one reply channel.
//!
//! A reply names its request in its member `re`. This file reads nothing else of the reply.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;

use super::{Bus, publish, topic};
use crate::connection::{Channel, ChannelMessage, Listener, Subscription, Target};
use crate::crossing::Outcome;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::{Metrics, Operation};
use crate::verb::Call;

/// The name of this process' reply channel.
static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());

/// The timeout of a request that sets none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest name of a reply channel.
const MAX_PROCESS: usize = 64;

/// The requests of one bus.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Arc<OpenRequests>,
    /// The reply channel, from the first request on.
    replies: AsyncMutex<Option<Replies>>,
}

#[derive(Debug)]
struct Replies {
    _subscription: Subscription,
    channel: Arc<ReplyChannel>,
}

/// Open requests, by the ids of their envelopes.
#[derive(Debug, Default)]
struct OpenRequests(Mutex<HashMap<Bytes, oneshot::Sender<Result<Bytes>>>>);

impl OpenRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, oneshot::Sender<Result<Bytes>>>> {
        self.0.lock()
    }

    /// Settles one request. An unknown id belongs to a request whose caller has stopped waiting.
    fn settle(&self, id: &[u8], outcome: Result<Bytes>) {
        let waiting = self.lock().remove(id);
        if let Some(waiting) = waiting {
            // The deadline may just have passed.
            let _ = waiting.send(outcome);
        }
    }

    fn fail_all(&self, error: &Error) {
        let waiting = std::mem::take(&mut *self.lock());
        for (_, waiting) in waiting {
            let _ = waiting.send(Err(error.clone()));
        }
    }
}

/// An entry of [`OpenRequests`]. The drop removes it.
struct Ticket {
    open: Arc<OpenRequests>,
    id: Bytes,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.lock().remove(&self.id);
    }
}

/// Receives the replies.
#[derive(Debug)]
struct ReplyChannel {
    open: Arc<OpenRequests>,
    metrics: Arc<Metrics>,
    /// Is the connection being restored?
    lost: AtomicBool,
    /// Has the subscription ended?
    ended: AtomicBool,
}

impl Listener for ReplyChannel {
    fn message(&self, message: &ChannelMessage) {
        match request_of(&message.payload) {
            Some(id) => self.open.settle(&id, Ok(message.payload.clone())),
            None => self.metrics.bus_malformed.add(1),
        }
    }

    fn lost(&self, error: &Error) {
        self.lost.store(true, Ordering::Release);
        let error = Error::new(ErrorKind::Connection, "request: the connection was lost before the reply came")
            .with_delivery(Delivery::MaybeExecuted)
            .caused_by(error.clone());
        self.open.fail_all(&error);
    }

    fn restored(&self, _gap: Duration) {
        self.lost.store(false, Ordering::Release);
    }

    fn ended(&self, error: &Error) {
        self.ended.store(true, Ordering::Release);
        self.open.fail_all(&error.clone().with_delivery(Delivery::MaybeExecuted));
    }
}

/// The part of a reply that is read.
#[derive(Deserialize)]
struct ReplyHead {
    re: String,
}

/// The id of the request that a reply is for.
pub(super) fn request_of(reply: &Bytes) -> Option<Bytes> {
    // Replies of this package start like this; their ids are UUIDs.
    if let Some(rest) = reply.strip_prefix(b"{\"re\":\"") {
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if rest[end] == b'"' {
            return Some(reply.slice_ref(&rest[..end]));
        }
    }
    serde_json::from_slice::<ReplyHead>(reply).ok().map(|head| head.re.into())
}

/// Arguments: topic, id of the envelope, message (a JSON object), timeoutMs. Returns the reply, a text.
pub(super) fn request(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|call| {
        let topic = topic(call, 0, "topic")?;
        let id = Bytes::copy_from_slice(call.text(1, "id")?);
        let message = call.text(2, "message")?;
        let limit = call.millis(3, "timeoutMs", 1.0)?.unwrap_or(DEFAULT_TIMEOUT);
        let message = [b"{\"reply\":\"", PROCESS.as_bytes(), b"\",", message.get(1..).unwrap_or_default()].concat();
        let channel = bus.namespace.key(topic);
        let (settle, mut settled) = oneshot::channel();
        let open = Arc::clone(&bus.requests.open);
        open.lock().insert(id.clone(), settle);
        let (ticket, operation) = (Ticket { open, id }, call.operation());
        Ok(async move {
            let _ticket = ticket;
            let mut delivery = Delivery::NotSent;
            let steps = async {
                tokio::select! {
                    biased;
                    settled = &mut settled => return outcome(settled),
                    published = send(&bus, operation, &channel, &message, &mut delivery) => published?,
                }
                outcome(settled.await)
            };
            let outcome = timeout(limit, steps).await;
            outcome.unwrap_or_else(|_| {
                let message = format!("request: no reply within timeoutMs, {} ms", limit.as_millis());
                Err(Error::new(ErrorKind::Timeout, message).with_delivery(delivery))
            })
        })
    });
}

fn outcome(settled: Result<Result<Bytes>, oneshot::error::RecvError>) -> Result<Outcome> {
    match settled {
        Ok(reply) => reply.map(Outcome::Text),
        Err(_) => Err(Error::new(ErrorKind::Closed, "the bus has been closed")),
    }
}

/// Publishes a request after the subscription to the reply channel is confirmed.
async fn send(bus: &Bus, operation: Operation, channel: &Bytes, message: &[u8], delivery: &mut Delivery) -> Result<()> {
    subscribe_to_replies(bus).await?;
    *delivery = Delivery::MaybeExecuted;
    let sent = bus.manager.call(publish::on_channel(bus, channel, message, operation)).await;
    let receivers = publish::count(&sent.inspect_err(|error| *delivery = error.delivery())?)?;
    // A node of a cluster counts only its own subscribers, unless the channel is sharded.
    let counts_all = bus.sharded || !matches!(bus.manager.config().target, Target::Cluster(_));
    if receivers == Outcome::Number(0.0) && counts_all {
        return Err(Error::new(ErrorKind::Connection, "request: nobody responds on this topic")
            .with_delivery(Delivery::Rejected));
    }
    bus.manager.metrics().bus_published.add(1);
    Ok(())
}

/// Subscribes to the reply channel, unless it is subscribed.
fn subscribe_to_replies(bus: &Bus) -> impl Future<Output = Result<()>> + Send {
    let bus = bus.clone();
    async move {
        let mut replies = bus.requests.replies.lock().await;
        if let Some(replies) = &*replies
            && !replies.channel.ended.load(Ordering::Acquire)
        {
            if replies.channel.lost.load(Ordering::Acquire) {
                bus.manager.subscribed().await?;
            }
            return Ok(());
        }
        let channel = Arc::new(ReplyChannel {
            open: Arc::clone(&bus.requests.open),
            metrics: Arc::clone(bus.manager.metrics()),
            lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let name = Channel { kind: bus.kind(), name: bus.namespace.reply(PROCESS.as_bytes()) };
        let subscription = bus.manager.subscribe(name, Arc::clone(&channel) as Arc<dyn Listener>).await?;
        *replies = Some(Replies { _subscription: subscription, channel });
        Ok(())
    }
}

/// Arguments: id of the envelope. The request itself is answered with kind `cancelled`.
pub(super) fn cancel(bus: &Bus, call: Call<'_>) {
    call.at_once(|call| {
        let id = call.text(0, "id")?;
        bus.requests.open.settle(id, Err(Error::new(ErrorKind::Cancelled, "request: signal: aborted")));
        Ok(Outcome::Nothing)
    });
}

/// Settles all open requests with kind `closed`, and ends the reply channel.
pub(super) fn close(bus: &Bus, call: Call<'_>) {
    let bus = bus.clone();
    call.run(|_| {
        bus.requests.open.fail_all(
            &Error::new(ErrorKind::Closed, "request: the bus was closed").with_delivery(Delivery::MaybeExecuted),
        );
        Ok(async move {
            let replies = bus.requests.replies.lock().await.take();
            drop(replies);
            Ok(Outcome::Nothing)
        })
    });
}

/// Arguments: the requester's process, message. Returns how many received it.
pub(super) fn reply(bus: &Bus, call: Call<'_>) {
    call.send(
        &bus.manager,
        |reply, _| publish::count(&reply),
        |call| {
            let process = call.text(0, "reply")?;
            let is_name = (1..=MAX_PROCESS).contains(&process.len()) && process.iter().all(u8::is_ascii_alphanumeric);
            if !is_name {
                return Err(call.wrong("reply", "the name of a channel for replies", call.at(0)));
            }
            Ok(publish::on_channel(bus, &bus.namespace.reply(process), call.text(1, "message")?, call.operation()))
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<String> {
        request_of(&Bytes::copy_from_slice(text.as_bytes())).map(|id| String::from_utf8_lossy(&id).into_owned())
    }

    #[test]
    fn the_request_of_a_reply_is_found_at_any_place() {
        assert_eq!(id(r#"{"re":"a-1","msg":{}}"#).as_deref(), Some("a-1"));
        assert_eq!(id(r#" {"msg":{"re":"no"}, "re" : "a-2"}"#).as_deref(), Some("a-2"));
        assert_eq!(id(r#"{"re":"a\"3"}"#).as_deref(), Some("a\"3"));
        let deep = format!(r#"{{"msg":{}{},"re":"a-4"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(id(&deep).as_deref(), Some("a-4"));
    }

    #[test]
    fn a_reply_without_a_request_is_malformed() {
        for text in ["", "{", r#"{"re":"#, r#"{"re":"a"#, r#"{"re":5}"#, "[]", "null", r#"{"msg":1}"#] {
            assert_eq!(id(text), None, "{text}");
        }
    }
}
