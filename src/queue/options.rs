//! The options of jobs and workers.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::options::{Options, describe};

/// The most bytes of JSON in the data or the result of one job.
pub const MAX_DATA: usize = 16 << 20;
/// The longest id, name, group or dedupe id, in bytes.
pub(super) const MAX_NAME: usize = 512;
pub(super) const MAX_PRIORITY: u64 = 2_097_151;
/// The longest delay: 100 years.
pub(super) const MAX_DELAY_MS: u64 = 3_155_760_000_000;
const MAX_CHILDREN: usize = 10_000;

/// How many finished jobs are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Keep {
    pub(super) count: Option<u64>,
    pub(super) age_ms: Option<u64>,
}

impl Keep {
    const NONE: Self = Self { count: Some(0), age_ms: None };
    const COMPLETED: Self = Self { count: Some(1_000), age_ms: None };
    const FAILED: Self = Self { count: Some(10_000), age_ms: None };

    pub(super) fn is_none(self) -> bool {
        self.count == Some(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Backoff {
    exponential: bool,
    delay_ms: u64,
    max_delay_ms: Option<u64>,
    jitter: f64,
}

impl Backoff {
    /// The delay after `failures` failed attempts; the first failure is 1.
    pub(super) fn delay_ms(&self, failures: u64) -> u64 {
        let factor = if self.exponential { 2f64.powf((failures.max(1) - 1).min(1_000) as f64) } else { 1.0 };
        let max = self.max_delay_ms.unwrap_or(MAX_DELAY_MS) as f64;
        let delay = (self.delay_ms as f64 * factor).min(max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^53")]
        {
            (delay * (1.0 - self.jitter * fastrand::f64())) as u64
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dedupe {
    pub(super) id: String,
    pub(super) ttl_ms: Option<u64>,
    pub(super) replace: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Child {
    pub(super) queue: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
    pub(super) options: JobOptions,
}

/// `JobOptions` as the caller gave them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobOptions {
    /// The JSON of the options without children; empty if no options were given.
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) delay_ms: Option<u64>,
    pub(super) priority: u64,
    pub(super) lifo: bool,
    pub(super) attempts: u64,
    pub(super) backoff: Option<Backoff>,
    pub(super) timeout: Option<Duration>,
    pub(super) keep_completed: Keep,
    pub(super) keep_failed: Keep,
    pub(super) dedupe: Option<Dedupe>,
    pub(super) group: Option<String>,
    pub(super) children: Vec<Child>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            text: String::new(),
            id: None,
            delay_ms: None,
            priority: 0,
            lifo: false,
            attempts: 1,
            backoff: None,
            timeout: None,
            keep_completed: Keep::COMPLETED,
            keep_failed: Keep::FAILED,
            dedupe: None,
            group: None,
            children: Vec::new(),
        }
    }
}

impl JobOptions {
    pub(super) const fn default_keep_completed() -> Keep {
        Keep::COMPLETED
    }

    pub(super) const fn default_keep_failed() -> Keep {
        Keep::FAILED
    }

    /// Reads the JSON that TypeScript made; an empty text means no options.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let value =
            serde_json::from_str(text).map_err(|e| Error::config(format!("JobOptions: expected options, got {e}")))?;
        let mut options = Self::read("JobOptions", value)?;
        if options.children.is_empty() {
            text.clone_into(&mut options.text);
        }
        Ok(options)
    }

    /// Refuses options that no job may be added with.
    pub(super) fn check(owner: &str, value: Value) -> Result<()> {
        Self::read(owner, value).map(drop)
    }

    fn read(owner: &str, value: Value) -> Result<Self> {
        let mut text = value.clone();
        if let Value::Object(fields) = &mut text {
            fields.remove("children");
        }
        let text = if text == Value::Null { String::new() } else { text.to_string() };
        let mut options = Options::from_value(owner, value)?;
        let read = Self {
            text,
            id: name(&mut options, "id")?,
            delay_ms: options.whole("delayMs", 0..=MAX_DELAY_MS)?.filter(|ms| *ms > 0),
            priority: options.whole("priority", 0..=MAX_PRIORITY)?.unwrap_or(0),
            lifo: options.flag("lifo")?.unwrap_or(false),
            attempts: options.whole("attempts", 1..=1_000_000)?.unwrap_or(1),
            backoff: options.nested("backoff")?.map(backoff).transpose()?,
            timeout: options.millis("timeoutMs", 1)?,
            keep_completed: keep(owner, &mut options, "keepCompleted")?.unwrap_or(Keep::COMPLETED),
            keep_failed: keep(owner, &mut options, "keepFailed")?.unwrap_or(Keep::FAILED),
            dedupe: options.nested("dedupe")?.map(dedupe).transpose()?,
            group: name(&mut options, "group")?,
            children: children(owner, &mut options)?,
        };
        name(&mut options, "corrId")?;
        options.finish()?;
        let contradiction = |one: &str, other: &str| {
            Err(Error::config(format!(
                "{owner}.{one}: expected it without {owner}.{other}, which contradicts it, got both"
            )))
        };
        if read.lifo && read.priority > 0 {
            return contradiction("lifo", "priority");
        }
        if read.delay_ms.is_some() && !read.children.is_empty() {
            return contradiction("delayMs", "children");
        }
        if read.lifo && !read.children.is_empty() {
            return contradiction("lifo", "children");
        }
        Ok(read)
    }
}

/// An option whose text becomes part of a key or of a record.
fn name(options: &mut Options, name: &'static str) -> Result<Option<String>> {
    match options.text(name)? {
        Some(text) if !is_name(&text) => {
            Err(options.wrong(name, "a string of 1 to 512 bytes without control characters", &Value::String(text)))
        }
        text => Ok(text),
    }
}

/// True for 1 to 512 bytes without control characters.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME && !text.contains(|c: char| c.is_control())
}

fn backoff(mut options: Options) -> Result<Backoff> {
    let exponential = match options.take("type") {
        Some(Value::String(kind)) if kind == "fixed" => false,
        Some(Value::String(kind)) if kind == "exponential" => true,
        other => return Err(options.wrong("type", "'fixed' or 'exponential'", &other.unwrap_or(Value::Null))),
    };
    let Some(delay_ms) = options.whole("delayMs", 0..=MAX_DELAY_MS)? else {
        return Err(options.wrong("delayMs", "a number of milliseconds", &Value::Null));
    };
    let max_delay_ms = options.whole("maxDelayMs", 0..=MAX_DELAY_MS)?;
    let jitter = match options.take("jitter") {
        None => 0.0,
        Some(value) => value
            .as_f64()
            .filter(|jitter| (0.0..=1.0).contains(jitter))
            .ok_or_else(|| options.wrong("jitter", "a number from 0 to 1", &value))?,
    };
    options.finish()?;
    Ok(Backoff { exponential, delay_ms, max_delay_ms, jitter })
}

fn dedupe(mut options: Options) -> Result<Dedupe> {
    let Some(id) = name(&mut options, "id")? else {
        return Err(options.wrong("id", "a string of 1 to 512 bytes without control characters", &Value::Null));
    };
    let ttl_ms = options.whole("ttlMs", 1..=MAX_DELAY_MS)?;
    let replace = options.flag("replace")?.unwrap_or(false);
    options.finish()?;
    Ok(Dedupe { id, ttl_ms, replace })
}

fn keep(owner: &str, options: &mut Options, name: &'static str) -> Result<Option<Keep>> {
    match options.take(name) {
        None => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(Keep { count: None, age_ms: None })),
        Some(Value::Bool(false)) => Ok(Some(Keep::NONE)),
        Some(value @ Value::Object(_)) => {
            let mut rule = Options::from_value(&format!("{owner}.{name}"), value)?;
            let count = rule.whole("count", 0..=1_000_000_000)?;
            let age_ms = rule.whole("ageMs", 0..=MAX_DELAY_MS)?;
            rule.finish()?;
            Ok(Some(Keep { count, age_ms }))
        }
        Some(other) => Err(options.wrong(name, "true, false or { count?, ageMs? }", &other)),
    }
}

fn children(owner: &str, options: &mut Options) -> Result<Vec<Child>> {
    match options.take("children") {
        None => Ok(Vec::new()),
        Some(Value::Array(children)) if children.len() <= MAX_CHILDREN => children
            .into_iter()
            .enumerate()
            .map(|(at, child)| one_child(&format!("{owner}.children[{at}]"), child))
            .collect(),
        Some(other) => Err(options.wrong("children", "an array of at most 10000 jobs", &other)),
    }
}

fn one_child(owner: &str, value: Value) -> Result<Child> {
    let mut options = Options::from_value(owner, value)?;
    let queue = options.text("queue")?;
    if let Some(name) = &queue {
        check_queue_name(&format!("{owner}.queue"), name)?;
    }
    let missing = |options: &Options, name: &'static str| Err(options.wrong(name, "a string", &Value::Null));
    let Some(name) = name(&mut options, "name")? else { return missing(&options, "name") };
    let Some(data) = options.text("data")? else { return missing(&options, "data") };
    check_data(&format!("{owner}.data"), data.as_bytes())?;
    let inner = options.take("options").unwrap_or(Value::Null);
    let inner = JobOptions::read(&format!("{owner}.options"), inner)?;
    options.finish()?;
    Ok(Child { queue, name, data, options: inner })
}

/// The name of a queue is part of a hash tag, so braces are refused.
pub(super) fn check_queue_name(owner: &str, name: &str) -> Result<()> {
    if is_name(name) && !name.contains(['{', '}']) {
        return Ok(());
    }
    Err(Error::config(format!(
        "{owner}: expected a string of 1 to 512 bytes without control characters and braces, got {}",
        describe(&Value::String(name.to_owned()))
    )))
}

pub(super) fn check_data(owner: &str, data: &[u8]) -> Result<()> {
    if data.len() <= MAX_DATA {
        return Ok(());
    }
    Err(Error::config(format!("{owner}: expected at most {MAX_DATA} bytes of JSON, got {}", data.len())))
}

/// The `WorkerOptions` that Rust reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkerOptions {
    pub(super) concurrency: usize,
    pub(super) lease: Duration,
    pub(super) max_stalls: u64,
    /// The most starts of jobs, and the milliseconds in which they may happen, in the whole fleet.
    pub(super) rate: Option<(u64, u64)>,
    pub(super) group_concurrency: Option<u64>,
}

impl WorkerOptions {
    /// # Errors
    ///
    /// `config`, naming the option.
    pub(super) fn read(mut options: Options) -> Result<Self> {
        let concurrency = options.whole("concurrency", 1..=10_000)?.unwrap_or(1);
        let lease = options.millis("leaseMs", 1_000)?.unwrap_or(Duration::from_secs(30));
        let max_stalls = options.whole("maxStalls", 0..=1_000)?.unwrap_or(1);
        let rate = options.nested("rateLimit")?.map(rate).transpose()?;
        let group_concurrency = options.whole("groupConcurrency", 1..=1_000_000)?;
        options.finish()?;
        Ok(Self { concurrency: usize::try_from(concurrency).unwrap_or(1), lease, max_stalls, rate, group_concurrency })
    }
}

fn rate(mut options: Options) -> Result<(u64, u64)> {
    let max = options.whole("max", 1..=1_000_000_000)?;
    let window = options.whole("perMs", 1..=MAX_DELAY_MS)?;
    let wanted = |options: &Options, name: &'static str| options.wrong(name, "a whole number from 1", &Value::Null);
    let max = max.ok_or_else(|| wanted(&options, "max"))?;
    let window = window.ok_or_else(|| wanted(&options, "perMs"))?;
    options.finish()?;
    Ok((max, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_and_bad_values_are_refused_by_name() {
        for (text, expected) in [
            (r#"{"lifo":true,"priority":1}"#, "JobOptions.lifo: expected it without JobOptions.priority"),
            (r#"{"delayMs":-1}"#, "JobOptions.delayMs: expected a whole number from 0"),
            (r#"{"delayMs":{"$":"NaN"}}"#, "got NaN"),
            (r#"{"priority":2097152}"#, "JobOptions.priority: expected"),
            (r#"{"backoff":{"type":"linear","delayMs":1}}"#, "JobOptions.backoff.type: expected 'fixed' or"),
            (r#"{"keepFailed":5}"#, "JobOptions.keepFailed: expected true, false or"),
            (r#"{"id":""}"#, "JobOptions.id: expected a string of 1 to 512 bytes"),
            (r#"{"atempts":1}"#, "JobOptions.atempts: expected one of the options"),
            (
                r#"{"children":[{"name":"a","data":"1","options":{"attempts":0}}]}"#,
                "JobOptions.children[0].options.attempts",
            ),
            (r#"{"children":[{"name":"a","data":"1"}],"delayMs":1}"#, "JobOptions.delayMs: expected it without"),
        ] {
            let error = JobOptions::parse(text).unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_backoff_grows_to_its_bound() {
        let options =
            JobOptions::parse(r#"{"backoff":{"type":"exponential","delayMs":100,"maxDelayMs":1000}}"#).unwrap();
        let delays: Vec<_> = (1..6).map(|n| options.backoff.unwrap().delay_ms(n)).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000]);
        assert_eq!(options.backoff.unwrap().delay_ms(u64::MAX), 1_000);
    }
}
