//! The reply to a command, and its encoding in RESP2 and RESP3.
//!
//! A reply is built as a value, because it has three kinds of readers: RESP2 clients, RESP3 clients and Lua scripts.

use std::borrow::Cow;
use std::cell::Cell;

use super::number;

/// How many bytes one command may copy into its reply. A command that names the same value a thousand times would otherwise need
/// a thousand times the value's memory.
const MOST_COPIED: usize = 640 * 1024 * 1024;
const TOO_LARGE: &str = "ERR the reply is larger than the engine allows";

thread_local! {
    /// The bytes that the running command has copied into replies.
    static COPIED: Cell<usize> = const { Cell::new(0) };
}

/// A reply, or the absence of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Status(Cow<'static, [u8]>),
    /// The text after `-`.
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Array(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
    Set(Vec<Reply>),
    Double(f64),
    /// A double as text.
    Decimal(Vec<u8>),
    Bool(bool),
    Verbatim(Vec<u8>),
    BigNumber(Vec<u8>),
    Push(Vec<Reply>),
    /// Several replies to one command, as for SUBSCRIBE.
    Many(Vec<Reply>),
    /// No reply is sent.
    Silent,
    /// The client waits; the reply is sent later.
    Block(Box<Wait>),
}

/// The wait of a blocking command.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wait {
    pub(super) keys: Vec<Vec<u8>>,
    /// Engine time in milliseconds; `None`: no deadline.
    pub(super) deadline: Option<i64>,
    /// The reply at the deadline.
    pub(super) empty: Reply,
    /// The command to run again.
    pub(super) args: Vec<Vec<u8>>,
}

/// An error reply, as the error of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) Cow<'static, [u8]>);

pub(super) type Outcome = Result<Reply, Fault>;

impl Fault {
    pub(super) const SYNTAX: Fault = Fault::of("ERR syntax error");
    pub(super) const WRONG_TYPE: Fault = Fault::of("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub(super) const NOT_INTEGER: Fault = Fault::of("ERR value is not an integer or out of range");
    pub(super) const NOT_FLOAT: Fault = Fault::of("ERR value is not a valid float");
    pub(super) const NO_KEY: Fault = Fault::of("ERR no such key");
    pub(super) const INDEX: Fault = Fault::of("ERR index out of range");
    pub(super) const NESTED: Fault = Fault::of("ERR Command not allowed inside a transaction");

    pub(super) const fn of(text: &'static str) -> Self {
        Fault(Cow::Borrowed(text.as_bytes()))
    }

    pub(super) fn new(text: impl Into<Vec<u8>>) -> Self {
        Fault(Cow::Owned(text.into()))
    }

    pub(super) fn arity(command: &str) -> Self {
        Fault::new(format!("ERR wrong number of arguments for '{command}' command"))
    }
}

/// The bytes that C's `%s` prints. Redis writes many names into its errors in this way.
pub(super) fn c_text(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&b| b == 0).map_or(bytes, |at| &bytes[..at])
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        Reply::Error(fault.0.into_owned())
    }
}

impl Reply {
    pub(super) const OK: Reply = Reply::status("OK");
    pub(super) const QUEUED: Reply = Reply::status("QUEUED");

    pub(super) const fn status(text: &'static str) -> Reply {
        Reply::Status(Cow::Borrowed(text.as_bytes()))
    }

    /// A copy of the bytes. If the replies are too large, the copy is empty, and [`Reply::bounded`] refuses the reply.
    pub(super) fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        let bytes = bytes.as_ref();
        let copied = COPIED.get().saturating_add(bytes.len());
        COPIED.set(copied);
        if copied > MOST_COPIED { Reply::Bulk(Vec::new()) } else { Reply::Bulk(bytes.to_vec()) }
    }

    /// The elements of a reply. They end early if [`Reply::bounded`] will refuse the reply.
    pub(super) fn while_bounded(items: impl Iterator<Item = Reply>) -> Vec<Reply> {
        items.take_while(|_| COPIED.get() <= MOST_COPIED).collect()
    }

    /// Makes a reply. It is replaced by an error if all kept replies together are too large.
    pub(super) fn bounded(make: impl FnOnce() -> Reply) -> Reply {
        let before = COPIED.get();
        let reply = make();
        if COPIED.get() <= MOST_COPIED {
            return reply;
        }
        COPIED.set(before);
        Reply::Error(TOO_LARGE.as_bytes().to_vec())
    }

    /// Runs `act`, which keeps none of the replies that it makes, so they do not count.
    pub(super) fn unkept<T>(act: impl FnOnce() -> T) -> T {
        let before = COPIED.get();
        let outcome = act();
        COPIED.set(before);
        outcome
    }

    pub(super) fn bulk_or_null(bytes: Option<impl AsRef<[u8]>>) -> Reply {
        bytes.map_or(Reply::Null, Reply::bulk)
    }

    /// A length. No collection has nearly `i64::MAX` elements.
    pub(super) fn len(n: usize) -> Reply {
        Reply::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    pub(super) fn flag(yes: bool) -> Reply {
        Reply::Int(i64::from(yes))
    }

    pub(super) fn bulks<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Reply {
        Reply::Array(Reply::while_bounded(items.into_iter().map(Reply::bulk)))
    }

    /// Appends the encoded reply.
    pub(super) fn encode(&self, resp3: bool, out: &mut Vec<u8>) {
        match self {
            Reply::Status(text) => line(b'+', text, out),
            Reply::Error(text) => {
                out.push(b'-');
                out.extend(text.iter().map(|&b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
                out.extend_from_slice(b"\r\n");
            }
            Reply::Int(n) => head(b':', *n, out),
            Reply::Bulk(bytes) => bulk(bytes, out),
            Reply::Null => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Reply::NullArray => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
            Reply::Array(items) => aggregate(b'*', items.len(), items, resp3, out),
            Reply::Map(items) if resp3 => aggregate(b'%', items.len() / 2, items, resp3, out),
            Reply::Set(items) if resp3 => aggregate(b'~', items.len(), items, resp3, out),
            Reply::Push(items) if resp3 => aggregate(b'>', items.len(), items, resp3, out),
            Reply::Map(items) | Reply::Set(items) | Reply::Push(items) => {
                aggregate(b'*', items.len(), items, resp3, out);
            }
            Reply::Double(n) if resp3 => line(b',', number::double(*n).as_bytes(), out),
            Reply::Double(n) => bulk(number::double(*n).as_bytes(), out),
            Reply::Decimal(text) if resp3 => line(b',', text, out),
            Reply::Decimal(text) => bulk(text, out),
            Reply::Bool(yes) if resp3 => {
                out.extend_from_slice(if *yes { b"#t\r\n" } else { b"#f\r\n" });
            }
            Reply::Bool(yes) => head(b':', i64::from(*yes), out),
            Reply::Verbatim(text) if resp3 => {
                head(b'=', i64::try_from(text.len() + 4).unwrap_or(i64::MAX), out);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Reply::Verbatim(text) => bulk(text, out),
            Reply::BigNumber(digits) if resp3 => line(b'(', digits, out),
            Reply::BigNumber(digits) => bulk(digits, out),
            Reply::Many(replies) => replies.iter().for_each(|r| r.encode(resp3, out)),
            Reply::Silent | Reply::Block(_) => {}
        }
    }
}

fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn head(kind: u8, n: i64, out: &mut Vec<u8>) {
    out.push(kind);
    number::push_i64(n, out);
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    head(b'$', i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn aggregate(kind: u8, len: usize, items: &[Reply], resp3: bool, out: &mut Vec<u8>) {
    head(kind, i64::try_from(len).unwrap_or(i64::MAX), out);
    for item in items {
        item.encode(resp3, out);
    }
}
