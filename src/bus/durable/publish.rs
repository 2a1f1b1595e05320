//! Appends messages to topics. One script appends all messages that one batch of calls publishes to a topic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::Durable;
use super::scripts::{self, operation};
use crate::bus::Bus;
use crate::connection::{Command, Manager, Packed, Sink};
use crate::crossing::{Answer, Arg, Outcome, at_end_of_batch, batch};
use crate::error::{Error, Result};
use crate::keys::TopicKeys;
use crate::lifecycle;
use crate::options::Options;
use crate::resp::{self, Reply};
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// The most that one script appends, because it delays all other clients.
const MOST: usize = 128;
const MOST_BYTES: usize = 256 * 1024;
/// A topic is trimmed after this many messages or bytes of this process, at most once in [`TRIM_EVERY`].
const TRIM_AFTER: usize = 100;
const TRIM_AFTER_BYTES: usize = 256 * 1024;
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// The most topics without waiting messages that are remembered.
const REMEMBERED: usize = 1024;
/// The longest key, in bytes. The TypeScript face allows 1 024 characters.
const MAX_KEY: usize = 4096;

/// How long the messages of a topic are kept after all groups have acknowledged them.
#[derive(Clone, Copy, Debug)]
pub(in crate::bus) struct Retention {
    length: u64,
    age: Duration,
    bytes: u64,
}

impl Retention {
    /// Options `maxLength`, `maxAgeMs` and `maxBytes` of `retention`.
    pub(in crate::bus) fn read(options: &mut Options) -> Result<Self> {
        let mut retention = Self { length: 100_000, age: Duration::from_hours(24), bytes: 1 << 30 };
        if let Some(mut nested) = options.nested("retention")? {
            retention.length = nested.whole("maxLength", 0..=1_000_000_000_000)?.unwrap_or(retention.length);
            retention.age = nested.millis("maxAgeMs", 0)?.unwrap_or(retention.age);
            retention.bytes = nested.whole("maxBytes", 0..=1_000_000_000_000_000)?.unwrap_or(retention.bytes);
            nested.finish()?;
        }
        Ok(retention)
    }

    /// Trims a topic. A failure does not matter: the next trim does the same.
    pub(super) fn trim(self, manager: &Manager, keys: &TopicKeys) {
        let (manager, keys) = (manager.clone(), [keys.stream(), keys.appended(), keys.sizes(), keys.rests()]);
        lifecycle::spawn(async move {
            let mut goes_on = false;
            while let Ok(Reply::Array(answer)) = manager.call(self.trimming(&keys, goes_on)).await
                && matches!(answer[..], [_, Reply::Int(1)])
            {
                goes_on = true;
            }
        });
    }

    fn trimming(self, keys: &[Bytes], goes_on: bool) -> Command {
        let packed = Packed::sized(512).script(&scripts::TRIM, keys.len(), 4);
        keys.iter()
            .fold(packed, |packed, key| packed.word(key))
            .number(self.length)
            .number(u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX))
            .number(self.bytes)
            .number(u64::from(goes_on))
            .runs(*operation::TRIM, &scripts::TRIM)
    }
}

/// Messages that wait for the end of the batch, by topic.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    topics: Mutex<HashMap<Bytes, Topic>>,
    /// How many topics have waiting messages. A live message checks this number first, because there are seldom any.
    waiting: AtomicUsize,
    /// Was the script loaded before its first call? A call that fails because the script is not loaded is sent again later, and
    /// live messages would overtake it.
    loaded: AtomicBool,
}

impl Publisher {
    fn topics(&self) -> MutexGuard<'_, HashMap<Bytes, Topic>> {
        self.topics.lock()
    }
}

#[derive(Debug)]
struct Topic {
    keys: TopicKeys,
    /// The messages and keys, packed.
    words: BytesMut,
    answers: Vec<Answer>,
    /// Set for a message with a dedupe window; it is sent alone.
    dedupe: Option<Dedupe>,
    untrimmed: usize,
    untrimmed_bytes: usize,
    trimmed: Instant,
}

/// The id of a message, and how long the same id is not appended again.
#[derive(Debug)]
struct Dedupe {
    id: Bytes,
    window: Duration,
}

/// Arguments: topic, the message as sent, its key or nothing, its id and dedupeMs or nothing. Returns how many live subscribers
/// received it; 0 where the id was appended before.
pub(in crate::bus) fn publish(bus: &Bus, call: Call<'_>) {
    let read = || -> Result<_> {
        let key = match call.at(2) {
            Arg::Absent => &b""[..],
            Arg::Text(key) if (1..=MAX_KEY).contains(&key.len()) => key.as_bytes(),
            other => return Err(call.wrong("key", "a string of 1 to 1024 characters", other)),
        };
        let dedupe = call
            .millis(4, "dedupeMs", 1.0)?
            .map(|window| -> Result<Dedupe> { Ok(Dedupe { id: Bytes::copy_from_slice(call.text(3, "id")?), window }) });
        Ok((crate::bus::topic(&call, 0, "topic")?, call.text(1, "message")?, key, dedupe.transpose()?))
    };
    match read() {
        Ok((topic, message, key, dedupe)) => {
            bus.durable.append(bus.sharded, topic, (message, key), dedupe, call.answer);
        }
        Err(error) => call.give(Err(error)),
    }
}

impl Durable {
    fn append(
        &self,
        sharded: bool,
        name: &[u8],
        (message, key): (&[u8], &[u8]),
        dedupe: Option<Dedupe>,
        answer: Answer,
    ) {
        let publisher = &self.shared.publisher;
        let mut topics = publisher.topics();
        if !topics.contains_key(name) {
            if topics.len() >= REMEMBERED {
                topics.retain(|_, topic| !topic.answers.is_empty());
            }
            let topic = Topic {
                keys: self.namespace.topic(name),
                words: BytesMut::new(),
                answers: Vec::new(),
                dedupe: None,
                untrimmed: 0,
                untrimmed_bytes: 0,
                trimmed: Instant::now(),
            };
            topics.insert(Bytes::copy_from_slice(name), topic);
        }
        let Some(topic) = topics.get_mut(name) else { return };
        if dedupe.is_some() {
            // A message with a dedupe window has a script call of its own.
            self.send(sharded, topic);
        }
        topic.dedupe = dedupe;
        resp::push(&mut topic.words, message);
        resp::push(&mut topic.words, key);
        if topic.answers.is_empty() {
            publisher.waiting.fetch_add(1, Ordering::Relaxed);
        }
        topic.answers.push(answer);
        if topic.dedupe.is_some() || topic.answers.len() >= MOST || topic.words.len() >= MOST_BYTES {
            self.send(sharded, topic);
        } else if topic.answers.len() == 1 {
            drop(topics);
            let (durable, name) = (self.clone(), Bytes::copy_from_slice(name));
            at_end_of_batch(move || durable.send_waiting(sharded, &name));
        }
    }

    /// Sends the waiting messages of topic `name`. Live messages are sent after them, in the order of the calls.
    pub(in crate::bus) fn send_waiting(&self, sharded: bool, name: &[u8]) {
        let publisher = &self.shared.publisher;
        if publisher.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(topic) = publisher.topics().get_mut(name) {
            self.send(sharded, topic);
        }
    }

    /// Sends the waiting messages of one topic.
    fn send(&self, sharded: bool, topic: &mut Topic) {
        let answers = std::mem::take(&mut topic.answers);
        if answers.is_empty() {
            return;
        }
        self.shared.publisher.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.shared.publisher.loaded.swap(true, Ordering::Relaxed) {
            self.manager.submit(load_command(), Sink::Ignored);
        }
        let command = append_command(sharded, &topic.keys, answers.len(), &topic.words, topic.dedupe.take());
        topic.untrimmed += answers.len();
        topic.untrimmed_bytes += topic.words.len();
        topic.words.clear();
        let outcome = self.manager.call(command);
        self.manager.keeps();
        let is_much = topic.untrimmed >= TRIM_AFTER || topic.untrimmed_bytes >= TRIM_AFTER_BYTES;
        if is_much && topic.trimmed.elapsed() >= TRIM_EVERY {
            (topic.untrimmed, topic.untrimmed_bytes) = (0, 0);
            topic.trimmed = Instant::now();
            self.retention.trim(&self.manager, &topic.keys);
        }
        let metrics = std::sync::Arc::clone(self.manager.metrics());
        lifecycle::spawn(async move {
            let outcome = outcome.await;
            if outcome.is_ok() {
                metrics.bus_published.add(answers.len() as u64);
            }
            batch(|| answer_all(outcome, answers));
        });
    }
}

fn load_command() -> Command {
    Command::raw(scripts::PUBLISH.load(), *operation::LOAD).reading()
}

fn append_command(sharded: bool, keys: &TopicKeys, count: usize, words: &[u8], dedupe: Option<Dedupe>) -> Command {
    let script = &*scripts::PUBLISH;
    let (stream, appended, sizes, wake) = (keys.stream(), keys.appended(), keys.sizes(), keys.wake());
    let named = stream.len() + appended.len() + sizes.len() + wake.len() + keys.live().len();
    let mut payload = BytesMut::with_capacity(words.len() + named + 192);
    let extra = if dedupe.is_some() { 3 } else { 0 };
    resp::begin(&mut payload, 3 + 3 + 3 + extra + 2 * count);
    let verb: &[u8] = if sharded { b"SPUBLISH" } else { b"PUBLISH" };
    let head: [&[u8]; 2] = [b"EVALSHA", script.digest().as_bytes()];
    head.into_iter().for_each(|word| resp::push(&mut payload, word));
    if let Some(Dedupe { id, window }) = dedupe {
        let window = window.as_millis().to_string();
        for word in
            [b"4", &stream[..], &appended, &sizes, &keys.seen(), verb, keys.live(), &wake, &id, window.as_bytes()]
        {
            resp::push(&mut payload, word);
        }
    } else {
        for word in [b"3", &stream[..], &appended, &sizes, verb, keys.live(), &wake] {
            resp::push(&mut payload, word);
        }
    }
    payload.extend_from_slice(words);
    Command::raw(payload.freeze(), *operation::PUBLISH).calling(script.clone())
}

fn answer_all(outcome: Result<Reply>, answers: Vec<Answer>) {
    match outcome {
        Ok(Reply::Array(receivers)) if receivers.len() == answers.len() => {
            for (answer, receivers) in answers.into_iter().zip(receivers) {
                answer.give(match receivers {
                    Reply::Int(receivers) => Ok(Outcome::Number(receivers as f64)),
                    _ => Err(Error::unexpected_reply()),
                });
            }
        }
        Ok(_) => answers.into_iter().for_each(|answer| answer.give(Err(Error::unexpected_reply()))),
        Err(error) => answers.into_iter().for_each(|answer| answer.give(Err(error.clone()))),
    }
}
