//! Jobs as they are sent to be added, and jobs with children: a tree becomes a row, parents first.
//!
//! Children in the same queue are added in the same script. Those of another queue may be of another slot, so they
//! are left in the outbox together with their parent and delivered from there; adding one twice changes nothing.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Core;
use super::options::{Child, Dedupe, JobOptions};
use super::record::Stored;
use crate::error::{Error, Result};

/// A job on its way to `add.lua`.
#[derive(Debug)]
pub(super) struct NewJob {
    pub(super) id: Bytes,
    /// See [`Stored::body`].
    pub(super) body: Bytes,
    /// What `add.lua` must know of it; empty for a job without options.
    extra: Map<String, Value>,
}

/// Who waits for a job: a job of the same queue, or of another one.
struct Parent {
    queue: Option<String>,
    id: String,
    /// What the parent calls this child.
    name: String,
}

impl NewJob {
    /// A job without options.
    pub(super) fn plain(core: &Core, name: &[u8], data: &[u8]) -> Self {
        let body = Stored::body(name, b"", b"", data, b"");
        Self { id: core.fresh_id().into(), body: body.into(), extra: Map::new() }
    }

    /// The same job in a script where `by` others come first.
    pub(super) fn moved(mut self, by: usize) -> Self {
        if let Some(parent) = self.extra.get_mut("i") {
            *parent = json!(parent.as_u64().unwrap_or(0) + by as u64);
        }
        self
    }

    /// Has it no options?
    pub(super) fn is_plain(&self) -> bool {
        self.extra.is_empty()
    }

    pub(super) fn extra(&self) -> String {
        if self.extra.is_empty() { String::new() } else { Value::Object(self.extra.clone()).to_string() }
    }

    pub(super) fn has_messages(&self) -> bool {
        self.extra.contains_key("m")
    }
}

/// The job, and after it its children in this queue, their children and so on.
pub(super) fn flatten(core: &Core, name: &str, data: &[u8], options: JobOptions) -> Result<Vec<NewJob>> {
    let mut row = Vec::new();
    let id = options.id.clone();
    let made = id.clone().unwrap_or_else(|| core.fresh_id());
    put(core, &mut row, &made, name, data, options, None, None)?;
    Ok(row)
}

/// One job of a schedule, under the id of its tick.
pub(super) fn of_schedule(core: &Core, id: &str, name: &str, data: &[u8], options: JobOptions) -> Result<NewJob> {
    let mut row = Vec::new();
    put(core, &mut row, id, name, data, options, None, None)?;
    row.into_iter().next().ok_or_else(|| Error::config("TaskQueue.schedule: job: expected a job, got none"))
}

#[expect(clippy::too_many_arguments, reason = "a node of a tree, and where it hangs")]
fn put(
    core: &Core,
    row: &mut Vec<NewJob>,
    id: &str,
    name: &str,
    data: &[u8],
    options: JobOptions,
    parent: Option<&Parent>,
    place: Option<usize>,
) -> Result<()> {
    let mut extra = extra_of(core, &options);
    let parent_text = parent.map_or_else(String::new, |parent| match &parent.queue {
        None => json!([parent.id, parent.name]).to_string(),
        Some(queue) => json!([queue, parent.id, parent.name]).to_string(),
    });
    if let Some(place) = place {
        extra.insert("i".into(), json!(place));
    }
    let group = options.group.clone().unwrap_or_default();
    let body = Stored::body(name.as_bytes(), options.text.as_bytes(), parent_text.as_bytes(), data, group.as_bytes());
    let own = row.len();
    let children = options.children;
    if !children.is_empty() {
        let end = ending(core, options.dedupe.as_ref().filter(|dedupe| dedupe.ttl_ms.is_none()), &parent_text);
        extra.insert("a".into(), json!(Value::Object(end).to_string()));
    }
    row.push(NewJob { id: id.to_owned().into(), body: body.into(), extra });
    let mut names = Vec::with_capacity(children.len());
    let mut messages = Map::new();
    for child in children {
        let Child { queue, name, data, options } = child;
        let child_id = options.id.clone().unwrap_or_else(|| core.fresh_id());
        match queue.filter(|queue| *queue != core.name) {
            None => {
                names.push(json!(child_id));
                let parent = Parent { queue: None, id: id.to_owned(), name: child_id.clone() };
                put(core, row, &child_id, &name, data.as_bytes(), options, Some(&parent), Some(own))?;
            }
            Some(queue) => {
                let called = [&queue[..], &child_id].join(":");
                names.push(json!(called));
                let parent = Parent { queue: Some(core.name.clone()), id: id.to_owned(), name: called.clone() };
                let mut there = Vec::new();
                put(&core.beside(&queue), &mut there, &child_id, &name, data.as_bytes(), options, Some(&parent), None)?;
                let jobs: Vec<_> = there.iter().map(NewJob::message).collect::<Option<_>>().unwrap_or_default();
                messages
                    .insert(format!("a{called}"), json!(json!({ "t": "add", "q": queue, "jobs": jobs }).to_string()));
            }
        }
    }
    if !names.is_empty() {
        row[own].extra.insert("c".into(), json!(names));
    }
    if !messages.is_empty() {
        row[own].extra.insert("m".into(), Value::Object(messages));
    }
    Ok(())
}

impl NewJob {
    /// As it lies in an outbox.
    fn message(&self) -> Option<Value> {
        let (id, body) = (std::str::from_utf8(&self.id).ok()?, std::str::from_utf8(&self.body).ok()?);
        // Delivered twice it must be found.
        let mut extra = self.extra.clone();
        extra.insert("u".into(), json!(true));
        Some(json!([id, body, Value::Object(extra).to_string()]))
    }
}

fn extra_of(core: &Core, options: &JobOptions) -> Map<String, Value> {
    let mut extra = Map::new();
    if options.id.is_some() {
        extra.insert("u".into(), json!(true));
    }
    if let Some(dedupe) = &options.dedupe {
        extra.insert("o".into(), json!(text_of(&core.keys.once(dedupe.id.as_bytes()))));
        extra.insert("t".into(), json!(dedupe.ttl_ms.unwrap_or(0)));
        if dedupe.replace {
            extra.insert("r".into(), json!(true));
        }
    }
    if let Some(delay) = options.delay_ms {
        extra.insert("d".into(), json!(delay));
    }
    if options.priority > 0 {
        extra.insert("n".into(), json!(options.priority));
    }
    if let Some(group) = &options.group {
        extra.insert("g".into(), json!(group));
    }
    if options.lifo {
        extra.insert("l".into(), json!(true));
    }
    extra
}

/// What the end of a job means beyond itself, for `part/kin.lua`.
pub(super) fn ending(core: &Core, dedupe: Option<&Dedupe>, parent: &str) -> Map<String, Value> {
    let mut end = Map::new();
    if let Some(dedupe) = dedupe {
        end.insert("o".into(), json!(text_of(&core.keys.once(dedupe.id.as_bytes()))));
    }
    if let Ok(Value::Array(parent)) = serde_json::from_str(parent)
        && parent.iter().all(Value::is_string)
    {
        end.insert(if parent.len() == 2 { "p" } else { "x" }.into(), Value::Array(parent));
    }
    end
}

/// Keys are made of texts.
pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
