//! Jobs as they are sent to be added, and jobs with children: a tree becomes a row, parents first.
//!
//! Children in the same queue are added in the same script. Those of another queue may be of another slot, so they
//! are left in the outbox together with their parent and delivered from there, once: see [`super::outbox`].

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Core;
use super::options::{Child, Dedupe, JobOptions};
use super::record::Stored;
use crate::error::{Error, Result};

/// Queues after one another that the children of a job may be in: a message lies within the message before it.
const MAX_QUEUES: usize = 16;

/// A job on its way to `add.lua`.
#[derive(Clone, Debug)]
pub(super) struct NewJob {
    pub(super) id: Bytes,
    /// See [`Stored::body`].
    pub(super) body: Bytes,
    /// What `add.lua` must know of it; empty for a job without options.
    extra: Map<String, Value>,
}

/// Who waits for a job: a job of the same queue, or of another one.
struct Parent<'a> {
    queue: &'a str,
    id: &'a str,
    dedupe: Option<&'a str>,
    /// What the parent calls this child.
    name: String,
    /// How many queues there are above the child.
    depth: usize,
    above: Option<&'a Parent<'a>>,
}

impl Parent<'_> {
    /// Would a child of that queue, id and dedupe id be this job, or one that waits for it? It would wait for itself.
    fn is(&self, queue: &str, id: &str, dedupe: Option<&str>) -> bool {
        self.queue == queue && (self.id == id || dedupe.is_some() && self.dedupe == dedupe)
            || self.above.is_some_and(|above| above.is(queue, id, dedupe))
    }
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
            *parent = json!(parent.as_u64().unwrap_or(0).saturating_add(by as u64));
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
    parent: Option<&Parent<'_>>,
    place: Option<usize>,
) -> Result<()> {
    let mut extra = extra_of(core, &options);
    let parent_text = parent.map_or_else(String::new, |parent| {
        if parent.queue == core.name {
            json!([parent.id, parent.name]).to_string()
        } else {
            json!([parent.queue, parent.id, parent.name]).to_string()
        }
    });
    if let Some(place) = place {
        extra.insert("i".into(), json!(place));
    }
    let group = options.group.clone().unwrap_or_default();
    let body = Stored::body(name.as_bytes(), options.text.as_bytes(), parent_text.as_bytes(), data, group.as_bytes());
    let own = row.len();
    let dedupe = options.dedupe.as_ref().map(|dedupe| dedupe.id.clone());
    let children = options.children;
    if !children.is_empty() {
        extra.insert("a".into(), Value::Object(ending(core, options.dedupe.as_ref(), None, &parent_text)));
    }
    row.push(NewJob { id: id.to_owned().into(), body: body.into(), extra });
    let depth = parent.map_or(0, |parent| parent.depth);
    let mut names = HashSet::with_capacity(children.len());
    let mut messages = Map::new();
    for child in children {
        let Child { queue, name, data, options } = child;
        let child_id = options.id.clone().unwrap_or_else(|| core.fresh_id());
        let queue = queue.filter(|queue| *queue != core.name);
        let called = queue.as_ref().map_or_else(|| child_id.clone(), |queue| [&queue[..], &child_id].join(":"));
        let parent = Parent {
            queue: &core.name,
            id,
            dedupe: dedupe.as_deref(),
            name: called.clone(),
            depth: depth + usize::from(queue.is_some()),
            above: parent,
        };
        let wanted = options.dedupe.as_ref().map(|dedupe| &dedupe.id[..]);
        if parent.is(queue.as_deref().unwrap_or(&core.name), &child_id, wanted) {
            return Err(Error::config(
                "JobOptions.children: options: expected another id and dedupe.id than those of the jobs that wait for the child, got the same",
            ));
        }
        names.insert(called);
        match queue {
            None => {
                put(core, row, &child_id, &name, data.as_bytes(), options, Some(&parent), Some(own))?;
            }
            Some(_) if depth == MAX_QUEUES => {
                return Err(Error::config(format!(
                    "JobOptions.children: queue: expected children in at most {MAX_QUEUES} queues after one another, got more"
                )));
            }
            Some(queue) => {
                let mut there = Vec::new();
                put(&core.beside(&queue), &mut there, &child_id, &name, data.as_bytes(), options, Some(&parent), None)?;
                let jobs: Vec<_> = there.into_iter().map(NewJob::into_message).collect();
                messages.insert(format!("a{}", core.fresh_id()), json!({ "t": "add", "q": queue, "jobs": jobs }));
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
    fn into_message(self) -> Value {
        json!([text_of(&self.id), text_of(&self.body), self.extra])
    }

    /// Out of an outbox; `None` where it is none.
    pub(super) fn from_message(message: Value) -> Option<Self> {
        let Value::Array(parts) = message else { return None };
        match <[Value; 3]>::try_from(parts).ok()? {
            [Value::String(id), Value::String(body), Value::Object(extra)] => {
                Some(Self { id: id.into(), body: body.into(), extra })
            }
            _ => None,
        }
    }

    /// As the first of those that came with a message.
    pub(super) fn of_message(mut self, message: &str) -> Self {
        self.extra.insert("s".into(), json!(message));
        self
    }
}

fn extra_of(core: &Core, options: &JobOptions) -> Map<String, Value> {
    let mut extra = Map::new();
    if options.id.is_some() {
        extra.insert("u".into(), json!(true));
    }
    if let Some(dedupe) = &options.dedupe {
        extra.insert("o".into(), json!(text_of(&core.keys.once(dedupe.id.as_bytes()))));
        if let Some(ttl) = dedupe.ttl_ms {
            extra.insert("t".into(), json!(ttl));
        }
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

/// What the end of a job means beyond itself, for `part/kin.lua`; `added`: when it was added, where that is known.
pub(super) fn ending(core: &Core, dedupe: Option<&Dedupe>, added: Option<u64>, parent: &str) -> Map<String, Value> {
    let mut end = Map::new();
    if let Some(dedupe) = dedupe {
        end.insert("o".into(), json!(text_of(&core.keys.once(dedupe.id.as_bytes()))));
        if let (Some(ttl), Some(added)) = (dedupe.ttl_ms, added) {
            end.insert("u".into(), json!(added + ttl));
        }
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
