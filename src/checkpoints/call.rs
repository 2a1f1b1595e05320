//! One script call on a thread: its arguments and its answer.

use bytes::Bytes;

use super::Inner;
use crate::arguments::Arguments;
use crate::connection::{Command, Packed, Script};
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::keys::ThreadKeys;
use crate::options::Options;
use crate::resp::Reply;

/// The longest name of a thread, a scope, an id, a task or a part, in bytes.
const MAX_NAME: usize = 1_024;
const NAME: &str = "a string of 1 to 1024 bytes without the character U+0000";

pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.contains('\0')
}

/// Reads a name of a thread, an id or a task.
pub(super) fn name<'a>(call: &Arguments<'a>, place: usize, what: &str) -> Result<&'a str> {
    match call.at(place) {
        Arg::Text(text) if is_name(text) => Ok(text),
        other => Err(call.wrong(what, NAME, other)),
    }
}

/// Reads a name that is an option.
pub(super) fn name_option(options: &mut Options, name: &'static str) -> Result<Option<String>> {
    match options.take(name) {
        None => Ok(None),
        Some(serde_json::Value::String(text)) if is_name(&text) => Ok(Some(text)),
        Some(other) => Err(options.wrong(name, NAME, &other)),
    }
}

/// Reads the scope, which may be empty; empty if it is not given.
pub(super) fn scope_option(options: &mut Options) -> Result<String> {
    match options.take("scope") {
        None => Ok(String::new()),
        Some(serde_json::Value::String(text)) if text.is_empty() || is_name(&text) => Ok(text),
        Some(other) => {
            Err(options.wrong("scope", "a string of at most 1024 bytes without the character U+0000", &other))
        }
    }
}

/// Reads the options of a call; no options if the argument is absent.
pub(super) fn options(call: &Arguments<'_>, place: usize) -> Result<Options> {
    match call.at(place) {
        Arg::Absent => Options::parse(call.owner(), "{}"),
        _ => call.options(place),
    }
}

/// A fencing token as scripts take it; empty for none.
pub(super) fn fence_option(options: &mut Options) -> Result<String> {
    let fence = options.whole("fence", 1..=9_007_199_254_740_991)?;
    Ok(fence.map(|fence| fence.to_string()).unwrap_or_default())
}

/// One call of a script on a thread.
#[derive(Debug)]
pub(super) struct ScriptCall {
    script: &'static Script,
    keys: ThreadKeys,
    args: Vec<Bytes>,
}

impl ScriptCall {
    pub(super) fn of(script: &'static Script, inner: &Inner, thread: &str) -> Self {
        let keys = inner.namespace.thread(thread.as_bytes());
        Self { script, keys, args: vec![Bytes::copy_from_slice(thread.as_bytes())] }
    }

    pub(super) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(Bytes::copy_from_slice(arg.as_ref()));
        self
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.arg(number.to_string())
    }

    pub(super) fn flag(self, flag: bool) -> Self {
        self.arg(if flag { "1" } else { "0" })
    }

    fn packed(&self) -> Packed {
        let size = self.args.iter().map(|arg| arg.len() + 16).sum::<usize>();
        let keys = self.keys.all();
        let packed = Packed::sized(size + keys.iter().map(|key| key.len() + 16).sum::<usize>()).script(
            self.script,
            keys.len(),
            self.args.len(),
        );
        packed.words(keys.iter().chain(&self.args).map(|word| &word[..]))
    }

    /// The call, which may write. If its answer is lost, the call is sent again, provided that a repetition gives the same answer.
    pub(super) fn command(&self, operation: crate::telemetry::Operation, repeatable: bool) -> Command {
        if repeatable { self.reads(operation) } else { self.writes(operation) }
    }

    /// The call, which may write.
    pub(super) fn writes(&self, operation: crate::telemetry::Operation) -> Command {
        self.packed().runs(operation, self.script)
    }

    /// The call, which only reads. If its answer is lost, the call is sent again.
    pub(super) fn reads(&self, operation: crate::telemetry::Operation) -> Command {
        self.packed().runs_repeatable(operation, self.script)
    }
}

pub(super) fn array(reply: Reply) -> Result<Vec<Reply>> {
    match reply {
        Reply::Array(items) => Ok(items),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn bytes(reply: Reply) -> Result<Bytes> {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => Ok(bytes),
        Reply::Int(number) => Ok(number.to_string().into()),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn integer(reply: &Reply) -> Result<i64> {
    match reply {
        Reply::Int(number) => Ok(*number),
        Reply::Bulk(text) => {
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(Error::unexpected_reply)
        }
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) fn yes(reply: &Reply) -> Result<bool> {
    Ok(integer(reply)? != 0)
}

/// The answer of a script: a word, and the values that belong to it.
pub(super) fn tagged(reply: Reply) -> Result<(Bytes, std::vec::IntoIter<Reply>)> {
    let mut parts = array(reply)?.into_iter();
    let word = bytes(parts.next().unwrap_or(Reply::Nil))?;
    Ok((word, parts))
}

/// `{scope, id, parent, at, bytes, meta, pinned}`, as TypeScript reads it.
pub(super) fn info(reply: Reply) -> Result<Outcome> {
    let [scope, id, parent, at, size, meta, pinned] =
        <[Reply; 7]>::try_from(array(reply)?).map_err(|_| Error::unexpected_reply())?;
    let parent = bytes(parent)?;
    Ok(Outcome::List(vec![
        Outcome::Text(bytes(scope)?),
        Outcome::Text(bytes(id)?),
        if parent.is_empty() { Outcome::Null } else { Outcome::Text(parent) },
        Outcome::Number(integer(&at)? as f64),
        Outcome::Number(integer(&size)? as f64),
        Outcome::Json(bytes(meta)?),
        Outcome::Bool(yes(&pinned)?),
    ]))
}

/// The error of a refused write, by the word of the script's answer.
pub(super) fn refused(inner: &Inner, owner: &str, word: &[u8], mut rest: impl Iterator<Item = Reply>) -> Error {
    let metrics = inner.manager.metrics();
    let told = match rest.next() {
        Some(Reply::Bulk(text)) => String::from_utf8_lossy(&text).into_owned(),
        Some(Reply::Array(items)) => items
            .into_iter()
            .filter_map(|item| bytes(item).ok())
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .collect::<Vec<_>>()
            .join(", "),
        _ => String::new(),
    };
    let (kind, message) = match word {
        b"fenced" => {
            metrics.checkpoint_fenced.add(1);
            (ErrorKind::LeaseLost, format!("{owner}: the thread has another owner or a larger fencing token, {told}"))
        }
        b"conflict" => {
            metrics.checkpoint_conflicts.add(1);
            let latest = if told.is_empty() { "there is none".to_owned() } else { format!("the latest is {told}") };
            (ErrorKind::Conflict, format!("{owner}: somebody was faster: {latest}"))
        }
        b"order" => {
            metrics.checkpoint_conflicts.add(1);
            (ErrorKind::Conflict, format!("{owner}: the id is not greater than the latest, {told}"))
        }
        b"other" => {
            metrics.checkpoint_conflicts.add(1);
            (ErrorKind::Conflict, format!("{owner}: versions of these parts are there with other values: {told}"))
        }
        b"full" => (
            ErrorKind::Overloaded,
            format!(
                "{owner}: the thread would have {told} bytes, more than maxThreadBytes, {}",
                inner.settings.max_thread_bytes
            ),
        ),
        b"missing" => (ErrorKind::Serialization, format!("{owner}: versions of these parts are not there: {told}")),
        _ => return Error::unexpected_reply(),
    };
    Error::new(kind, message).with_delivery(Delivery::Rejected)
}
