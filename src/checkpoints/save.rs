//! Saves a checkpoint, a copy of a checkpoint in another thread, and the pending writes of tasks.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::call::{self, ScriptCall};
use super::part::Part;
use super::{Checkpoints, Inner, read, scripts};
use crate::arguments::Arguments;
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// The condition on the parent of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parent {
    /// The parent is the latest checkpoint of the scope.
    Any,
    /// The scope must be empty.
    None,
    /// The latest checkpoint of the scope must have this id.
    Is(String),
    /// The id is stored as given, whether it exists or not; empty for none.
    As(String),
}

/// A checkpoint to be saved.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    scope: String,
    id: String,
    parent: Parent,
    branch: bool,
    fence: String,
    needs: bool,
    lenient: bool,
    pub(super) meta: Bytes,
    pub(super) parts: Vec<Part>,
}

/// The owner of a thread that saves.
#[derive(Clone, Debug)]
pub(super) struct Right {
    /// The name of this save, the same in each repetition.
    pub(super) ask: String,
    pub(super) text: String,
    pub(super) lease: u64,
}

impl Draft {
    /// A save of the owner. Only the owner may write, so the latest checkpoint is the owner's.
    pub(super) fn of_owner(fence: i64, meta: Bytes, parts: Vec<Part>) -> Self {
        Self { fence: fence.to_string(), meta, parts, ..Self::copy(String::new(), String::new()) }
    }

    fn copy(scope: String, id: String) -> Self {
        Self {
            scope,
            id,
            parent: Parent::Any,
            branch: false,
            fence: String::new(),
            needs: false,
            lenient: false,
            meta: Bytes::from_static(b"{}"),
            parts: Vec::new(),
        }
    }

    /// Also reads whether the call is sent again if its answer is lost.
    fn read(call: &Arguments<'_>) -> Result<(Self, bool)> {
        let mut options = call::options(call, 1)?;
        let mut draft = Self::copy(call::scope_option(&mut options)?, String::new());
        draft.id = call::name_option(&mut options, "id")?.unwrap_or_default();
        draft.parent = match options.take("parent") {
            None => Parent::Any,
            Some(Value::Null) => Parent::None,
            Some(Value::String(id)) if id == "any" => Parent::Any,
            Some(Value::String(id)) if !id.is_empty() => Parent::Is(id),
            Some(other) => return Err(options.wrong("parent", "an id, null or 'any'", &other)),
        };
        match options.take("parentAs") {
            None => {}
            Some(Value::Null) => draft.parent = Parent::As(String::new()),
            Some(Value::String(id)) if call::is_name(&id) => draft.parent = Parent::As(id),
            Some(other) => return Err(options.wrong("parentAs", "an id or null", &other)),
        }
        draft.branch = options.flag("branch")?.unwrap_or(false);
        draft.fence = call::fence_option(&mut options)?;
        draft.needs = options.flag("needsParent")?.unwrap_or(false);
        draft.lenient = options.flag("lenient")?.unwrap_or(false);
        let repeatable = options.flag("repeatable")?.unwrap_or(false);
        options.stays("meta");
        options.finish()?;
        draft.meta = Bytes::copy_from_slice(call.text(2, "meta")?);
        draft.parts = parts(call, 3)?;
        Ok((draft, repeatable))
    }

    /// The number of bytes of the values and the metadata.
    fn size(&self) -> u64 {
        let values = self.parts.iter().filter_map(|part| part.value.as_ref());
        values.chain([&self.meta]).map(|value| value.len() as u64).sum()
    }

    /// Refuses a save of more than `maxBytes`.
    pub(super) fn check(&self, inner: &Inner, owner: &str) -> Result<()> {
        let (size, most) = (self.size(), inner.settings.max_bytes);
        if size > most {
            return Err(Error::config(format!(
                "{owner}: state: expected at most maxBytes, {most} bytes, got {size} bytes"
            )));
        }
        Ok(())
    }

    /// A digest of all that is saved.
    fn digest(&self) -> [u8; 20] {
        let mut sha = sha1_smol::Sha1::new();
        let mut add = |bytes: &[u8]| {
            sha.update(&(bytes.len() as u64).to_be_bytes());
            sha.update(bytes);
        };
        add(&self.meta);
        for part in &self.parts {
            add(&part.name);
            add(&part.version);
            if let Some(value) = &part.value {
                add(value);
            }
        }
        sha.digest().bytes()
    }

    pub(super) fn script(&self, inner: &Inner, thread: &str, right: Option<&Right>) -> ScriptCall {
        let (mode, parent) = match &self.parent {
            Parent::Any => ("any", ""),
            Parent::None => ("none", ""),
            Parent::Is(id) => ("is", id.as_str()),
            Parent::As(id) => ("as", id.as_str()),
        };
        let settings = &inner.settings;
        let call = ScriptCall::of(&scripts::SAVE, inner, thread)
            .arg(&self.scope)
            .arg(&self.id)
            .arg(right.map_or("", |right| &right.ask))
            .arg(mode)
            .arg(parent)
            .flag(self.branch)
            .arg(&self.fence)
            .arg(right.map_or("", |right| &right.text))
            .number(right.map_or(0, |right| right.lease))
            .arg(&self.meta)
            .arg(self.digest())
            .number(settings.ttl)
            .number(settings.max_thread_bytes)
            .number(settings.keep.last)
            .number(settings.keep.age)
            .flag(self.needs)
            .flag(self.lenient);
        self.parts.iter().fold(call, |call, part| {
            let value = part.value.as_ref();
            call.arg(&part.name).arg(&part.version).flag(value.is_some()).arg(value.map_or(&b""[..], |value| value))
        })
    }

    /// Reads the answer of the server.
    pub(super) fn saved(&self, inner: &Inner, owner: &str, reply: Reply) -> Result<Outcome> {
        let (word, mut rest) = call::tagged(reply)?;
        if &word[..] != b"saved" {
            return Err(call::refused(inner, owner, &word, rest));
        }
        let metrics = inner.manager.metrics();
        metrics.checkpoint_saves.add(1);
        metrics.checkpoint_bytes.add(self.size());
        call::info(rest.next().unwrap_or(Reply::Nil))
    }
}

/// Reads the parts from argument `place` on: name, version, value (text, bytes, or null if the version exists).
pub(super) fn parts(call: &Arguments<'_>, place: usize) -> Result<Vec<Part>> {
    let text = |arg: &Arg<'_>, what: &str| match arg {
        Arg::Text(text) if !text.contains('\0') => Ok(Bytes::copy_from_slice(text.as_bytes())),
        other => Err(call.wrong(what, "a string without the character U+0000", *other)),
    };
    call.from(place)
        .chunks(3)
        .map(|part| match part {
            [name, version, value] => Ok(Part {
                name: text(name, "part")?,
                version: text(version, "version")?,
                value: match value {
                    Arg::Text(value) => Some(Bytes::copy_from_slice(value.as_bytes())),
                    Arg::Bytes(value) => Some(Bytes::copy_from_slice(value)),
                    Arg::Null => None,
                    other => return Err(call.wrong("value", "text, bytes or null", *other)),
                },
            }),
            _ => Err(call.wrong("parts", "name, version and value of each", Arg::Absent)),
        })
        .collect()
}

/// Arguments: thread, options as JSON, metadata as JSON, then name, version and value of each part.
pub(super) fn save(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let thread = call::name(call, 0, "thread")?.to_owned();
        let (draft, repeatable) = Draft::read(call)?;
        let (owner, operation) = (call.owner(), call.operation());
        draft.check(&inner, owner)?;
        // The manager accepts the command in this call, so that saves are made in the order of the calls.
        let command = draft.script(&inner, &thread, None).command(operation, repeatable);
        let reply = inner.manager.call(command);
        Ok(async move { draft.saved(&inner, owner, reply.await?) })
    });
}

/// Arguments: thread, id, the other thread, options as JSON. Copies a checkpoint, under its id.
pub(super) fn fork(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (thread, id) = (call::name(call, 0, "thread")?.to_owned(), call::name(call, 1, "id")?.to_owned());
        let into = call::name(call, 2, "into")?.to_owned();
        let mut options = call::options(call, 3)?;
        let scope = call::scope_option(&mut options)?;
        options.finish()?;
        let (owner, operation) = (call.owner(), call.operation());
        let read = ScriptCall::of(&scripts::LOAD, &inner, &thread).arg(&scope).arg(&id).reads(operation);
        Ok(async move {
            let Some(found) = read::Loaded::read(inner.manager.call(read).await?)? else {
                return Err(Error::config(format!(
                    "{owner}: id: expected the id of a checkpoint of the thread, got another id"
                )));
            };
            let draft = Draft { meta: found.meta()?, parts: found.parts(), lenient: true, ..Draft::copy(scope, id) };
            copied(&inner, owner, operation, &into, draft).await
        })
    });
}

async fn copied(inner: &Inner, owner: &str, operation: Operation, into: &str, draft: Draft) -> Result<Outcome> {
    let reply = inner.manager.call(draft.script(inner, into, None).writes(operation)).await?;
    draft.saved(inner, owner, reply)
}

/// Arguments: thread, id, task, options as JSON, then place, whether to replace, name and value of each write.
pub(super) fn add_pending(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (thread, id) = (call::name(call, 0, "thread")?, call::name(call, 1, "id")?);
        let task = call::name(call, 2, "task")?;
        let mut options = call::options(call, 3)?;
        let scope = call::scope_option(&mut options)?;
        let fence = call::fence_option(&mut options)?;
        let repeatable = options.flag("repeatable")?.unwrap_or(false);
        options.finish()?;
        let script = ScriptCall::of(&scripts::PENDING, &inner, thread)
            .arg(&scope)
            .arg(id)
            .arg(task)
            .arg(&fence)
            .number(inner.settings.ttl)
            .number(inner.settings.max_thread_bytes);
        let (script, size) = writes(call, script)?;
        let (owner, most) = (call.owner(), inner.settings.max_bytes);
        if size > most {
            let message = format!("{owner}: writes: expected at most maxBytes, {most} bytes, got {size} bytes");
            return Err(Error::config(message));
        }
        let reply = inner.manager.call(script.command(call.operation(), repeatable));
        Ok(async move {
            let (word, rest) = call::tagged(reply.await?)?;
            match &word[..] {
                b"saved" => Ok(Outcome::Nothing),
                _ => Err(call::refused(&inner, owner, &word, rest)),
            }
        })
    });
}

/// Adds the writes to the call. Returns their number of bytes.
fn writes(call: &Arguments<'_>, mut script: ScriptCall) -> Result<(ScriptCall, u64)> {
    /// Added to each place, so that places below 0, which have a special meaning, come first.
    const BEFORE: f64 = 1_000.0;
    let mut size = 0;
    for write in call.from(4).chunks(4) {
        let [Arg::Number(place), Arg::Bool(replace), Arg::Text(name), value] = write else {
            return Err(call.wrong("writes", "pairs of name and value", write.first().copied().unwrap_or(Arg::Absent)));
        };
        let value: &[u8] = match value {
            Arg::Text(text) => text.as_bytes(),
            Arg::Bytes(bytes) => bytes,
            other => return Err(call.wrong("value", "text or bytes", *other)),
        };
        size += (name.len() + value.len()) as u64;
        script = script.arg(format!("{:08}", place + BEFORE)).flag(*replace).arg(name).arg(value);
    }
    Ok((script, size))
}
