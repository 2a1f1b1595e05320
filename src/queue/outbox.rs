//! Messages between queues, which may be in different cluster slots: children to add, and updates about children for their
//! parents.
//!
//! A script writes a message together with the change that needs it. The process that ran the script delivers the message at once
//! and then deletes it. After a crash the renewal of a worker finds the message. So a message may be delivered twice. The second
//! delivery of an update changes nothing. A child must not be added twice, because the first one may have finished and been
//! removed by then. So the script that adds the child also records the message in the receiving queue. That record lasts until
//! the message is deleted and no copy of it can still arrive.
//!
//! In one process one task delivers the messages of a queue, no matter how many callers ask for a delivery.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::Core;
use super::add_call::add_from_messages;
use super::flows::NewJob;
use super::scripts::{self, ScriptCall, array, bytes, integer, operation, plain};
use crate::connection::{Cursor, Packed};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::queue::Part;
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};

/// About how many messages are read at once.
const PAGE: u64 = 100;
/// The most updates that one script applies, and the most jobs that it adds unless one message has more.
const BATCH: usize = 100;
/// How long after it was read a message may be delivered. A process that was suspended for longer leaves it to the next read.
const MAX_READ_AGE: Duration = Duration::from_secs(30);
/// How long a deleted message is remembered. This is far longer than `MAX_READ_AGE`, after which no copy is delivered.
const REMEMBER_FOR: Duration = Duration::from_mins(5);

/// The address of a manager, and the key of an outbox.
type OutboxId = (usize, Bytes);

/// The outboxes that this process is delivering, and whether another delivery was requested meanwhile.
static DELIVERING: LazyLock<Mutex<HashMap<OutboxId, bool>>> = LazyLock::new(Mutex::default);

fn delivering() -> MutexGuard<'static, HashMap<OutboxId, bool>> {
    DELIVERING.lock()
}

/// Delivers all messages in a new task.
pub(super) fn spawn_delivery(core: Arc<Core>) {
    spawn_delivery_reporting(core, |_| ());
}

/// Delivers messages in a new task, if a script wrote `left` of them to the outbox.
pub(super) fn deliver_messages(core: &Arc<Core>, new_messages: i64) {
    if new_messages > 0 {
        spawn_delivery(Arc::clone(core));
    }
}

/// As [`spawn_delivery`]; `refused` is called with the error of a message that the server refused.
pub(super) fn spawn_delivery_reporting(core: Arc<Core>, refused: impl Fn(&Error) + Send + 'static) {
    // The task keeps the manager alive, so no other manager can get the same address while it runs.
    let which = (Arc::as_ptr(core.manager.metrics()) as usize, core.key(Part::Outbox).clone());
    match delivering().entry(which.clone()) {
        Entry::Occupied(mut again) => {
            again.insert(true);
            return;
        }
        Entry::Vacant(first) => first.insert(false),
    };
    lifecycle::spawn(async move {
        let mut end = RemoveOnDrop(Some(which.clone()));
        loop {
            // A message that cannot be delivered stays in the outbox. The next renewal of a worker finds it.
            let delivered = match deliver(&core).await {
                Ok(()) => true,
                Err(error) => {
                    if error.kind() == ErrorKind::Server {
                        refused(&error);
                    }
                    false
                }
            };
            let mut delivering = delivering();
            let again = delivering.get_mut(&which).is_some_and(std::mem::take);
            if !(delivered && again) {
                delivering.remove(&which);
                end.0 = None;
                return;
            }
        }
    });
}

/// Removes the outbox from the map, also if the task is dropped with its runtime.
struct RemoveOnDrop(Option<OutboxId>);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        if let Some(which) = &self.0 {
            delivering().remove(which);
        }
    }
}

/// Delivers all messages of the outbox.
///
/// # Errors
///
/// The last error of a delivery. The messages that could not be delivered stay in the outbox.
pub(super) async fn deliver(core: &Core) -> Result<()> {
    let key = core.key(Part::Outbox);
    let mut cursor = Cursor::default();
    loop {
        let scan = Packed::sized(key.len() + 20).begin(5, b"HSCAN").word(key).word(cursor.word());
        let scan = scan.word(b"COUNT").number(PAGE).reads(*operation::ADMIN);
        let (page, origin) = core.call_located(scan).await?;
        let mut parts = array(page).ok_or_else(Error::unexpected_reply)?.into_iter();
        let next = parts.next().and_then(bytes).ok_or_else(Error::unexpected_reply)?;
        let found = parts.next().and_then(array).ok_or_else(Error::unexpected_reply)?;
        let mut words = found.into_iter().filter_map(bytes);
        let mut page = Page::default();
        while let (Some(field), Some(message)) = (words.next(), words.next()) {
            page.add(field, &message);
        }
        page.deliver(core).await?;
        if !cursor.advance(origin, next) {
            return Ok(());
        }
    }
}

/// Messages of one page, grouped by the queue that receives them.
#[derive(Debug)]
struct Page {
    read: Instant,
    by_queue: HashMap<String, QueueMessages>,
    /// Fields of messages to the queue itself: jobs with more parents than one script updates.
    remaining: Vec<Bytes>,
    /// Fields of damaged messages, which are deleted.
    damaged: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct QueueMessages {
    /// The field of each message, and the jobs to add.
    jobs: Vec<(Bytes, Vec<NewJob>)>,
    /// The field of each message, and the update of a parent.
    updates: Vec<(Bytes, [String; 5])>,
}

impl Default for Page {
    fn default() -> Self {
        Self { read: Instant::now(), by_queue: HashMap::new(), remaining: Vec::new(), damaged: Vec::new() }
    }
}

/// For fuzzing: reads one message.
#[cfg(fuzzing)]
pub(super) fn read(field: &[u8], message: &[u8]) {
    let mut page = Page::default();
    page.add(Bytes::copy_from_slice(field), message);
    let mut read = page.damaged.len();
    for messages in page.by_queue.into_values() {
        read += messages.jobs.len() + messages.updates.len();
        messages.jobs.into_iter().flat_map(|(_, jobs)| jobs).for_each(|job| drop(job.moved(7).extra()));
    }
    assert_eq!(read, 1, "a message is of exactly one kind, or damaged");
}

impl Page {
    fn add(&mut self, field: Bytes, message: &[u8]) {
        let mut message: Value = serde_json::from_str(&String::from_utf8_lossy(message)).unwrap_or_default();
        if message["t"] == "rest" {
            return self.remaining.push(field);
        }
        let Some(queue) = message["q"].as_str().map(str::to_owned) else { return self.damaged.push(field) };
        let messages = self.by_queue.entry(queue).or_default();
        if message["t"] == "child" {
            let parts = ["id", "name", "how", "value", "n"];
            return messages
                .updates
                .push((field, parts.map(|part| message[part].as_str().unwrap_or_default().to_owned())));
        }
        let jobs = if let Value::Array(jobs) = message["jobs"].take() { jobs } else { Vec::new() };
        let mut jobs = jobs.into_iter().filter_map(NewJob::from_message);
        // The script skips the other jobs of a message if it skips the first.
        match jobs.next() {
            Some(first) => {
                let first = first.of_message(&String::from_utf8_lossy(&field));
                messages.jobs.push((field, std::iter::once(first).chain(jobs).collect()));
            }
            None => self.damaged.push(field),
        }
    }

    async fn deliver(self, core: &Core) -> Result<()> {
        let Self { read, by_queue, remaining, damaged } = self;
        delete(core, &damaged).await?;
        for field in &remaining {
            update_remaining_parents(core, field).await?;
        }
        let mut outcome = Ok(());
        for (queue, messages) in by_queue {
            // An empty name means this queue.
            let queue = if queue.is_empty() { &core.name } else { &queue };
            // A message that one queue refuses does not hold up the others.
            if let Err(error) = messages.deliver(core, queue, read).await {
                outcome = Err(error);
            }
        }
        outcome
    }
}

impl QueueMessages {
    async fn deliver(self, core: &Core, queue: &str, read: Instant) -> Result<()> {
        let receiver = Arc::new(core.sibling(queue));
        let mut new_messages = 0;
        let mut outcome = Ok(());
        let mut rest = self.jobs.into_iter().peekable();
        while rest.peek().is_some() {
            if read.elapsed() > MAX_READ_AGE {
                // Another process may have delivered the message, and the receiving queue may have forgotten it. The next read
                // finds the messages that are left.
                return Ok(());
            }
            let mut size = 0;
            let mut fits = |(_, jobs): &(Bytes, Vec<NewJob>)| {
                size += jobs.len();
                size <= BATCH || size == jobs.len()
            };
            let batch: Vec<_> = std::iter::from_fn(|| rest.next_if(&mut fits)).collect();
            match add(core, &receiver, &batch).await {
                Ok(messages) => new_messages += messages,
                Err(error) if batch.len() > 1 && error.kind() == ErrorKind::Server => {
                    // One message that cannot be added must not hold up the others.
                    for one in batch.chunks(1) {
                        match add(core, &receiver, one).await {
                            Ok(messages) => new_messages += messages,
                            Err(error) => outcome = Err(error),
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Server => outcome = Err(error),
                // The server cannot be reached. The next read finds the messages that are left.
                Err(error) => return Err(error),
            }
        }
        if !self.updates.is_empty() {
            let mut updates = self.updates;
            while !updates.is_empty() {
                let batch = updates.split_off(updates.len().saturating_sub(BATCH));
                let (fields, batch): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                new_messages += apply_updates(&receiver, batch).await?;
                delete(core, &fields).await?;
            }
        }
        if new_messages > 0 {
            // The script may have written messages to add children of children, or updates about parents that failed.
            spawn_delivery(receiver);
        }
        outcome
    }
}

/// Adds the jobs of messages to the queue `there`. Gives how many messages its script wrote to that queue's outbox.
async fn add(core: &Core, receiver: &Core, batch: &[(Bytes, Vec<NewJob>)]) -> Result<i64> {
    let mut all = Vec::new();
    for (_, jobs) in batch {
        let place = all.len();
        all.extend(jobs.iter().cloned().map(|job| job.moved(place)));
    }
    let new_messages = add_from_messages(receiver, &all).await?;
    let fields: Vec<_> = batch.iter().map(|(field, _)| field.clone()).collect();
    delete(core, &fields).await?;
    remember(receiver, &fields).await?;
    Ok(new_messages)
}

async fn delete(core: &Core, fields: &[Bytes]) -> Result<()> {
    if fields.is_empty() {
        return Ok(());
    }
    let key = core.key(Part::Outbox);
    let size = fields.iter().map(|field| field.len() + 16).sum::<usize>() + key.len();
    let mut packed = Packed::sized(size).begin(2 + fields.len(), b"HDEL").word(key);
    for field in fields {
        packed = packed.word(field);
    }
    core.call(packed.writes(*operation::ADMIN)).await.map(drop)
}

/// Lets the receiving queue forget these messages after `REMEMBER_FOR`.
async fn remember(core: &Core, messages: &[Bytes]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let kept = REMEMBER_FOR.as_millis().to_string();
    let args: Vec<&[u8]> = std::iter::once(kept.as_bytes()).chain(messages.iter().map(|field| &field[..])).collect();
    let packed = plain(&scripts::DELIVERED, &[core.key(Part::Inbox)], &args);
    core.call(packed.runs(*operation::ADMIN, &scripts::DELIVERED)).await.map(drop)
}

/// Updates all remaining parents of a job, a page at a time.
async fn update_remaining_parents(core: &Core, field: &Bytes) -> Result<()> {
    loop {
        let call = ScriptCall::of(core, &scripts::REMAINING_PARENTS).arg(field.clone());
        let reply = array(core.call(call.writes(*operation::CHANGE)).await?).ok_or_else(Error::unexpected_reply)?;
        let [more, new_messages] = <[Reply; 2]>::try_from(reply).map_err(|_| Error::unexpected_reply())?;
        deliver_messages(&Arc::new(core.sibling(&core.name)), integer(&new_messages).unwrap_or_default());
        if integer(&more) != Some(1) {
            return Ok(());
        }
    }
}

/// Updates parents in this queue about children in other queues. Gives how many messages the script wrote to the outbox.
async fn apply_updates(core: &Core, updates: Vec<[String; 5]>) -> Result<i64> {
    let mut call = ScriptCall::of(core, &scripts::CHILD_UPDATES).number(updates.len() as u64);
    for part in updates.into_iter().flatten() {
        call.add(part);
    }
    integer(&core.call(call.writes(*operation::CHANGE)).await?).ok_or_else(Error::unexpected_reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_messages_are_set_apart_and_the_others_are_read() {
        let mut page = Page::default();
        for message in [
            "",
            "5",
            r#"{"t":"add","jobs":[]}"#,
            r#"{"q":"o","jobs":5}"#,
            r#"{"q":"o","jobs":["x",[],["id"],["id","body"],["id","body",5],["id","body",{},1]]}"#,
        ] {
            page.add(Bytes::from_static(message.as_bytes()), message.as_bytes());
        }
        assert_eq!(page.damaged.len(), 5);
        page.add(Bytes::from_static(b"good"), br#"{"q":"o","jobs":[["id"],["id","body",{"i":18446744073709551615}]]}"#);
        let jobs = &page.by_queue["o"].jobs[0].1;
        assert_eq!((&jobs[0].id[..], &jobs[0].body[..]), (&b"id"[..], &b"body"[..]));
        assert!(jobs[0].clone().moved(5).extra().contains("18446744073709551615"));
    }
}
