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

    /// As a child of the queue of `core` keeps it: the queue is named where it is another one.
    fn text(&self, core: &Core) -> String {
        if self.queue == core.name {
            json!([self.id, self.name]).to_string()
        } else {
            json!([self.queue, self.id, self.name]).to_string()
        }
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
    let id = options.id.clone().unwrap_or_else(|| core.fresh_id());
    Node::root(&id, name, data, options).put(core, &mut row)?;
    Ok(row)
}

/// One job of a schedule, under the id of its tick.
pub(super) fn of_schedule(core: &Core, id: &str, name: &str, data: &[u8], options: JobOptions) -> Result<NewJob> {
    let mut row = Vec::new();
    Node::root(id, name, data, options).put(core, &mut row)?;
    row.into_iter().next().ok_or_else(|| Error::config("TaskQueue.schedule: job: expected a job, got none"))
}

/// A node of the tree, of the queue that the row is of.
struct Node<'a> {
    id: String,
    name: &'a str,
    data: &'a [u8],
    options: JobOptions,
    /// Who waits for it.
    parent: Option<&'a Parent<'a>>,
    /// Where the parent is in the same row.
    place: Option<usize>,
}

impl<'a> Node<'a> {
    fn root(id: &str, name: &'a str, data: &'a [u8], options: JobOptions) -> Self {
        Self { id: id.to_owned(), name, data, options, parent: None, place: None }
    }

    /// Puts the job into the row, and all its children after it.
    fn put(self, core: &Core, row: &mut Vec<NewJob>) -> Result<()> {
        let Self { id, name, data, mut options, parent, place } = self;
        let children = std::mem::take(&mut options.children);
        let mut extra = extra_of(core, &options);
        let parent_text = parent.map_or_else(String::new, |parent| parent.text(core));
        if let Some(place) = place {
            extra.insert("i".into(), json!(place));
        }
        if !children.is_empty() {
            extra.insert("a".into(), Value::Object(ending(core, options.dedupe.as_ref(), None, &parent_text)));
        }
        let group = options.group.unwrap_or_default();
        let body =
            Stored::body(name.as_bytes(), options.text.as_bytes(), parent_text.as_bytes(), data, group.as_bytes());
        let own = row.len();
        row.push(NewJob { id: id.clone().into(), body: body.into(), extra });
        let dedupe = options.dedupe.map(|dedupe| dedupe.id);
        Family { core, id: &id, dedupe: dedupe.as_deref(), above: parent, own }.put(row, children)
    }
}

/// A job that is in a row, whose children follow.
struct Family<'a> {
    core: &'a Core,
    id: &'a str,
    dedupe: Option<&'a str>,
    /// Who waits for the job itself.
    above: Option<&'a Parent<'a>>,
    /// Where the job is in the row.
    own: usize,
}

impl Family<'_> {
    /// Puts the children into the row, or into messages where they are of other queues.
    fn put(&self, row: &mut Vec<NewJob>, children: Vec<Child>) -> Result<()> {
        let mut names = HashSet::with_capacity(children.len());
        let mut messages = Map::new();
        for child in children {
            let Child { queue, name, data, options } = child;
            let id = options.id.clone().unwrap_or_else(|| self.core.fresh_id());
            let queue = queue.filter(|queue| *queue != self.core.name);
            let parent = self.parent_of(queue.as_deref(), &id, options.dedupe.as_ref())?;
            names.insert(parent.name.clone());
            let node = Node { id, name: &name, data: data.as_bytes(), options, parent: Some(&parent), place: None };
            match queue {
                None => Node { place: Some(self.own), ..node }.put(self.core, row)?,
                Some(queue) => {
                    messages.insert(format!("a{}", self.core.fresh_id()), message_to(self.core, &queue, node)?);
                }
            }
        }
        let extra = &mut row[self.own].extra;
        if !names.is_empty() {
            extra.insert("c".into(), json!(names));
        }
        if !messages.is_empty() {
            extra.insert("m".into(), Value::Object(messages));
        }
        Ok(())
    }

    /// This job as the parent of a child of that other queue, or of its own.
    fn parent_of(&self, queue: Option<&str>, id: &str, dedupe: Option<&Dedupe>) -> Result<Parent<'_>> {
        let depth = self.above.map_or(0, |above| above.depth);
        let parent = Parent {
            queue: &self.core.name,
            id: self.id,
            dedupe: self.dedupe,
            name: queue.map_or_else(|| id.to_owned(), |queue| [queue, id].join(":")),
            depth: depth + usize::from(queue.is_some()),
            above: self.above,
        };
        if parent.is(queue.unwrap_or(&self.core.name), id, dedupe.map(|dedupe| &dedupe.id[..])) {
            return Err(Error::config(
                "JobOptions.children: options: expected another id and dedupe.id than those of the jobs that wait for the child, got the same",
            ));
        }
        if parent.depth > MAX_QUEUES {
            return Err(Error::config(format!(
                "JobOptions.children: queue: expected children in at most {MAX_QUEUES} queues after one another, got more"
            )));
        }
        Ok(parent)
    }
}

/// What has the job and all its children added to another queue.
fn message_to(core: &Core, queue: &str, node: Node<'_>) -> Result<Value> {
    let mut there = Vec::new();
    node.put(&core.beside(queue), &mut there)?;
    let jobs: Vec<_> = there.into_iter().map(NewJob::into_message).collect();
    Ok(json!({ "t": "add", "q": queue, "jobs": jobs }))
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

/// What the end of a job means beyond itself, for `part/parents.lua`; `added`: when it was added, where that is known.
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
