//! A job in flight, and its outcome.

use std::time::Instant;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::queue::Core;
use crate::queue::flows::{ending, text_of};
use crate::queue::options::{JobOptions, Keep, MAX_DATA};
use crate::queue::record::{JobRecord, RunRecord};

/// The longest reason and the longest stack of a failure that are stored, in bytes.
const MAX_REASON: usize = 64 * 1024;
const MAX_STACK: usize = 8 * 1024;

/// A job that a worker holds.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) id: Bytes,
    /// The lease under which the job was claimed.
    pub(super) lease: Bytes,
    pub(super) attempts: u64,
    stalls: u64,
    added: u64,
    started: u64,
    priority: u64,
    parent: Bytes,
    /// `None` if the job was added without options.
    options: Option<Box<JobOptions>>,
    /// When the attempt fails for its timeout.
    pub(super) deadline: Option<Instant>,
    /// The reason of a cancellation. A cancelled job is not retried.
    pub(super) cancelled: Option<String>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ending {
    Completed(Bytes),
    Failed {
        reason: String,
        stack: Option<String>,
        for_good: bool,
    },
    /// The job is delayed for this many milliseconds. The attempt does not count.
    Delayed(u64),
    HandedBack,
    /// The worker's lease has ended. The number is how often a job may stall.
    Stalled(u64),
}

/// The outcome of a job, as `part/settle.lua` reads it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: Bytes,
    /// The letter of the outcome.
    pub(super) kind: &'static str,
    /// The start of the run record that the job must still have.
    pub(super) fence: String,
    /// The new run record up to the time at which the job finished, which the script inserts.
    pub(super) before: String,
    /// The new run record after that time.
    pub(super) after: Bytes,
    /// JSON with further fields for the script.
    pub(super) extra: String,
    /// The list of finished jobs that the job goes to, and how many of them are kept.
    pub(super) keep: Option<(&'static str, Keep)>,
}

impl Slot {
    /// The slot of a claimed job.
    ///
    /// # Errors
    ///
    /// `serialization` if the stored options are damaged. The job can still be settled: [`Slot::damaged`].
    pub(super) fn new(id: Bytes, lease: Bytes, stored: &JobRecord, run: &RunRecord) -> Result<Self> {
        let options = if stored.options.is_empty() {
            None
        } else {
            let text = std::str::from_utf8(&stored.options).unwrap_or_default();
            Some(Box::new(JobOptions::parse(text)?))
        };
        let priority = run.priority.or(options.as_ref().map(|options| options.priority)).unwrap_or(0);
        let deadline = options.as_ref().and_then(|options| options.timeout).map(|timeout| Instant::now() + timeout);
        Ok(Self {
            id,
            lease,
            attempts: run.attempts,
            stalls: run.stalls,
            added: stored.added,
            started: run.started,
            priority,
            parent: stored.parent.clone(),
            options,
            deadline,
            cancelled: None,
        })
    }

    /// The slot of a job with a damaged job record.
    pub(super) fn damaged(id: Bytes, lease: Bytes, run: &RunRecord) -> Self {
        Self {
            id,
            lease,
            attempts: run.attempts,
            stalls: run.stalls,
            added: 0,
            started: run.started,
            priority: 0,
            parent: Bytes::new(),
            options: None,
            deadline: None,
            cancelled: None,
        }
    }

    /// The start of the job's run record while this worker holds the job.
    pub(super) fn fence(&self) -> String {
        format!("a|{}|", String::from_utf8_lossy(&self.lease))
    }

    /// The outcome to send for this ending.
    pub(super) fn end(&self, core: &Core, ending: Ending) -> Outgoing {
        match ending {
            Ending::Completed(result) if result.len() > MAX_DATA => self.end(
                core,
                Ending::Failed {
                    reason: format!("the result: expected at most {MAX_DATA} bytes of JSON, got {}", result.len()),
                    stack: None,
                    for_good: false,
                },
            ),
            Ending::Completed(result) => self.completed(core, &result),
            Ending::Failed { reason, stack, for_good } => self.failed(core, &reason, stack.as_deref(), for_good),
            Ending::Delayed(delay) => self.delayed(delay, self.attempts, "delayed by its processor", None),
            Ending::HandedBack => self.waiting_again("h", self.attempts, self.stalls, Map::new()),
            Ending::Stalled(most) if self.stalls >= most => {
                let reason = format!("the job stalled more often than maxStalls, {most}");
                core.manager.metrics().queue_failed.add(1);
                // An attempt that stalled does not count as an attempt, but as a stall.
                Self { stalls: self.stalls + 1, ..self.clone() }.failed_for_good(core, self.attempts, &reason, None)
            }
            Ending::Stalled(_) => self.waiting_again("s", self.attempts, self.stalls + 1, Map::new()),
        }
    }

    fn completed(&self, core: &Core, result: &[u8]) -> Outgoing {
        let keep = self.options.as_ref().map_or(JobOptions::default_keep_completed(), |options| options.keep_completed);
        let kind = if keep.is_none() { "C" } else { "c" };
        self.finished(core, (kind, "c"), self.attempts + 1, keep, self.placement(), result)
    }

    fn failed(&self, core: &Core, reason: &str, stack: Option<&str>, for_good: bool) -> Outgoing {
        core.manager.metrics().queue_failed.add(1);
        let failures = self.attempts + 1;
        let allowed = self.options.as_ref().map_or(1, |options| options.attempts);
        let (reason, stack) = (shortened(reason, MAX_REASON), stack.map(|stack| shortened(stack, MAX_STACK)));
        if !for_good && failures < allowed {
            let delay = self
                .options
                .as_ref()
                .and_then(|options| options.backoff)
                .map_or(0, |backoff| backoff.delay_ms(failures));
            return self.delayed(delay, failures, reason, stack);
        }
        self.failed_for_good(core, failures, reason, stack)
    }

    fn failed_for_good(&self, core: &Core, attempts: u64, reason: &str, stack: Option<&str>) -> Outgoing {
        let keep = self.options.as_ref().map_or(JobOptions::default_keep_failed(), |options| options.keep_failed);
        let mut extra = self.placement();
        extra.insert("e".into(), json!(json!({ "reason": reason }).to_string()));
        let kind = if keep.is_none() { "F" } else { "f" };
        if let Some(stack) = stack.filter(|_| kind == "f") {
            extra.insert("k".into(), json!(stack));
        }
        self.finished(core, (kind, "f"), attempts, keep, extra, reason.as_bytes())
    }

    /// The outcome of a job that is tried again after `delay` ms.
    fn delayed(&self, delay: u64, attempts: u64, reason: &str, stack: Option<&str>) -> Outgoing {
        let mut extra = Map::new();
        let told = json!({ "reason": reason, "delayMs": delay, "attemptsMade": attempts });
        extra.insert("e".into(), json!(told.to_string()));
        if let Some(stack) = stack {
            extra.insert("k".into(), json!(stack));
        }
        if delay == 0 {
            return self.waiting_again("r", attempts, self.stalls, extra);
        }
        extra.insert("d".into(), json!(delay));
        self.waiting_again("d", attempts, self.stalls, extra)
    }

    fn finished(
        &self,
        core: &Core,
        (kind, list): (&'static str, &'static str),
        attempts: u64,
        keep: Keep,
        mut extra: Map<String, Value>,
        rest: &[u8],
    ) -> Outgoing {
        let dedupe = self.options.as_ref().and_then(|options| options.dedupe.as_ref());
        let parent = std::str::from_utf8(&self.parent).unwrap_or_default();
        if dedupe.is_some() || !parent.is_empty() {
            extra.extend(ending(core, dedupe, Some(self.added), parent));
        }
        let bounded = keep.count.is_some() || keep.age_ms.is_some();
        Outgoing {
            id: self.id.clone(),
            kind,
            fence: self.fence(),
            before: format!("{list}||{attempts}|{}|{}|", self.stalls, self.started),
            after: self.after(rest),
            extra: text(extra),
            keep: (bounded && !keep.is_none()).then_some((list, keep)),
        }
    }

    /// The outcome of a job that waits again, or is delayed.
    fn waiting_again(&self, kind: &'static str, attempts: u64, stalls: u64, mut extra: Map<String, Value>) -> Outgoing {
        extra.extend(self.placement());
        let letter = if kind == "d" { "d" } else { "w" };
        Outgoing {
            id: self.id.clone(),
            kind,
            fence: self.fence(),
            before: format!("{letter}||{attempts}|{stalls}|{}|", self.started),
            after: self.after(b""),
            extra: text(extra),
            keep: None,
        }
    }

    /// The group and the priority, which decide where the job waits.
    fn placement(&self) -> Map<String, Value> {
        let mut extra = Map::new();
        if !self.group().is_empty() {
            extra.insert("g".into(), json!(self.group()));
        }
        if self.priority > 0 {
            extra.insert("n".into(), json!(self.priority));
        }
        extra
    }

    fn group(&self) -> &str {
        self.options.as_ref().and_then(|options| options.group.as_deref()).unwrap_or_default()
    }

    /// The end of the run record, after the time at which the job finished.
    fn after(&self, rest: &[u8]) -> Bytes {
        let group = self.group();
        let mut after = Vec::with_capacity(group.len() + rest.len() + 10);
        after.extend_from_slice(format!("|{}|{group}\n", self.priority).as_bytes());
        after.extend_from_slice(rest);
        after.into()
    }
}

/// For fuzzing: ends a job with each kind of ending.
#[cfg(fuzzing)]
pub(in crate::queue) fn end_in_every_way(core: &Core, stored: &JobRecord, run: &RunRecord) {
    let (id, lease) = (Bytes::from_static(b"id"), run.lease.clone());
    let slot = Slot::new(id.clone(), lease.clone(), stored, run).unwrap_or_else(|_| Slot::damaged(id, lease, run));
    let failed = |for_good| Ending::Failed { reason: "no".to_owned(), stack: Some("at".to_owned()), for_good };
    for ending in [
        Ending::Completed(Bytes::from_static(b"1")),
        failed(false),
        failed(true),
        Ending::Delayed(1),
        Ending::HandedBack,
        Ending::Stalled(0),
        Ending::Stalled(u64::MAX),
    ] {
        let Outgoing { before, extra, .. } = slot.end(core, ending);
        assert!(extra.is_empty() || serde_json::from_str::<Map<String, Value>>(&extra).is_ok(), "{extra}");
        let record = Bytes::from([before.as_bytes(), b"1", &slot.after(b"x")[..]].concat());
        // A record whose numbers are already the largest allowed cannot count another attempt.
        let is_readable = RunRecord::read(Some(&record)).is_ok();
        assert!(is_readable || slot.attempts.max(slot.stalls) >= 1 << 53, "{record:?}");
    }
}

fn text(extra: Map<String, Value>) -> String {
    if extra.is_empty() { String::new() } else { Value::Object(extra).to_string() }
}

/// At most `most` bytes of `text`, whole characters.
fn shortened(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The id as text.
pub(super) fn id_text(id: &Bytes) -> String {
    text_of(id)
}
