//! Jobs in the form in which scripts add them. A job with children is a tree, which becomes a flat list with parents first.
//!
//! One script adds a job and its children in the same queue. Children in other queues may be in other cluster slots. The script
//! writes them to the outbox, in the same step as their parent. The outbox delivers each of them once: see [`super::outbox`].

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Core;
use super::options::{Child, Dedupe, JobOptions};
use super::record::JobRecord;
use crate::error::{Error, Result};

/// How many times a path from a job down to a descendant may enter another queue: each message contains the next one.
const MAX_QUEUES: usize = 16;

/// A job as `add.lua` takes it.
#[derive(Clone, Debug)]
pub(super) struct NewJob {
    pub(super) id: Bytes,
    /// See [`JobRecord::body`].
    pub(super) body: Bytes,
    /// The options that `add.lua` reads; empty for a job without options.
    extra: Map<String, Value>,
}

/// A job that waits for a child, in the child's queue or in another queue.
struct Parent<'a> {
    queue: &'a str,
    id: &'a str,
    dedupe: Option<&'a str>,
    /// The child's name in the parent's record.
    name: String,
    /// How many times the path from the root to the child enters another queue.
    depth: usize,
    above: Option<&'a Parent<'a>>,
}

impl Parent<'_> {
    /// True if a child with this queue, id and dedupe id is this job or one of its ancestors. Such a job would wait for itself.
    fn is(&self, queue: &str, id: &str, dedupe: Option<&str>) -> bool {
        self.queue == queue && (self.id == id || dedupe.is_some() && self.dedupe == dedupe)
            || self.above.is_some_and(|above| above.is(queue, id, dedupe))
    }

    /// The text in the record of a child in the queue of `core`. It names the parent's queue only if that is another queue.
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
        let body = JobRecord::body(name, b"", b"", data, b"");
        Self { id: core.fresh_id().into(), body: body.into(), extra: Map::new() }
    }

    /// The same job in a script in which `by` other jobs come before the list.
    pub(super) fn moved(mut self, by: usize) -> Self {
        if let Some(parent) = self.extra.get_mut("i") {
            *parent = json!(parent.as_u64().unwrap_or(0).saturating_add(by as u64));
        }
        self
    }

    /// True if the job has no options.
    pub(super) fn is_plain(&self) -> bool {
        self.extra.is_empty()
    }

    pub(super) fn extra(&self) -> String {
        if self.extra.is_empty() { String::new() } else { Value::Object(self.extra.clone()).to_string() }
    }
}

/// The job, followed by its descendants in this queue.
pub(super) fn flatten(core: &Core, name: &str, data: &[u8], options: JobOptions) -> Result<Vec<NewJob>> {
    let mut list = Vec::new();
    let id = options.id.clone().unwrap_or_else(|| core.fresh_id());
    Node::root(&id, name, data, options).put(core, &mut list)?;
    Ok(list)
}

/// The job of one tick of a schedule; `id` is the id of the tick.
pub(super) fn of_schedule(core: &Core, id: &str, name: &str, data: &[u8], options: JobOptions) -> Result<NewJob> {
    let mut list = Vec::new();
    Node::root(id, name, data, options).put(core, &mut list)?;
    list.into_iter().next().ok_or_else(|| Error::config("TaskQueue.schedule: job: expected a job, got none"))
}

/// A node of the tree. Its job is in the queue of the list.
struct Node<'a> {
    id: String,
    name: &'a str,
    data: &'a [u8],
    options: JobOptions,
    parent: Option<&'a Parent<'a>>,
    /// The parent's index in the same list.
    parent_index: Option<usize>,
}

impl<'a> Node<'a> {
    fn root(id: &str, name: &'a str, data: &'a [u8], options: JobOptions) -> Self {
        Self { id: id.to_owned(), name, data, options, parent: None, parent_index: None }
    }

    /// Appends the job to the list, and then all its children.
    fn put(self, core: &Core, list: &mut Vec<NewJob>) -> Result<()> {
        let Self { id, name, data, mut options, parent, parent_index } = self;
        let children = std::mem::take(&mut options.children);
        let mut extra = extra_of(core, &options);
        let parent_text = parent.map_or_else(String::new, |parent| parent.text(core));
        if let Some(parent_index) = parent_index {
            extra.insert("i".into(), json!(parent_index));
        }
        if !children.is_empty() {
            extra.insert("a".into(), Value::Object(ending(core, options.dedupe.as_ref(), None, &parent_text)));
        }
        let group = options.group.unwrap_or_default();
        let body =
            JobRecord::body(name.as_bytes(), options.text.as_bytes(), parent_text.as_bytes(), data, group.as_bytes());
        let index = list.len();
        list.push(NewJob { id: id.clone().into(), body: body.into(), extra });
        let dedupe = options.dedupe.map(|dedupe| dedupe.id);
        PlacedJob { core, id: &id, dedupe: dedupe.as_deref(), above: parent, index }.put(list, children)
    }
}

/// A job that is in the list and whose children are appended next.
struct PlacedJob<'a> {
    core: &'a Core,
    id: &'a str,
    dedupe: Option<&'a str>,
    /// The parent of the job itself.
    above: Option<&'a Parent<'a>>,
    /// The job's index in the list.
    index: usize,
}

impl PlacedJob<'_> {
    /// Appends children in this queue to the list. Children in other queues become messages.
    fn put(&self, list: &mut Vec<NewJob>, children: Vec<Child>) -> Result<()> {
        let mut names = HashSet::with_capacity(children.len());
        let mut messages = Map::new();
        for child in children {
            let Child { queue, name, data, options } = child;
            let id = options.id.clone().unwrap_or_else(|| self.core.fresh_id());
            let queue = queue.filter(|queue| *queue != self.core.name);
            let parent = self.parent_of(queue.as_deref(), &id, options.dedupe.as_ref())?;
            names.insert(parent.name.clone());
            let node =
                Node { id, name: &name, data: data.as_bytes(), options, parent: Some(&parent), parent_index: None };
            match queue {
                None => Node { parent_index: Some(self.index), ..node }.put(self.core, list)?,
                Some(queue) => {
                    messages.insert(format!("a{}", self.core.fresh_id()), message_to(self.core, &queue, node)?);
                }
            }
        }
        let extra = &mut list[self.index].extra;
        if !names.is_empty() {
            extra.insert("c".into(), json!(names));
        }
        if !messages.is_empty() {
            extra.insert("m".into(), Value::Object(messages));
        }
        Ok(())
    }

    /// This job as the parent of a child. `queue` is the child's queue, or `None` for the job's own queue.
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
                "JobOptions.children: options: expected an id and a dedupe.id that differ from those of the jobs that wait for the child, got the same",
            ));
        }
        if parent.depth > MAX_QUEUES {
            return Err(Error::config(format!(
                "JobOptions.children: queue: expected children nested in at most {MAX_QUEUES} other queues, got more"
            )));
        }
        Ok(parent)
    }
}

/// The message by which another queue gets the job and all its children.
fn message_to(core: &Core, queue: &str, node: Node<'_>) -> Result<Value> {
    let mut list = Vec::new();
    node.put(&core.sibling(queue), &mut list)?;
    let jobs: Vec<_> = list.into_iter().map(NewJob::into_message).collect();
    Ok(json!({ "t": "add", "q": queue, "jobs": jobs }))
}

impl NewJob {
    /// The form of the job in a message.
    fn into_message(self) -> Value {
        json!([text_of(&self.id), text_of(&self.body), self.extra])
    }

    /// Reads the form that [`NewJob::into_message`] writes; `None` for anything else.
    pub(super) fn from_message(message: Value) -> Option<Self> {
        let Value::Array(parts) = message else { return None };
        match <[Value; 3]>::try_from(parts).ok()? {
            [Value::String(id), Value::String(body), Value::Object(extra)] => {
                Some(Self { id: id.into(), body: body.into(), extra })
            }
            _ => None,
        }
    }

    /// Marks the job as the first of a message. The script remembers the message with this job.
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

/// What `part/parents.lua` changes outside the job when the job ends: its dedupe key and its parent. `added` is when the job was
/// added, if known.
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

/// Bytes as text; invalid UTF-8 is replaced.
pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
