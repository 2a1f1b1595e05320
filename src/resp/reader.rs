//! Assembles whole replies from the bytes that have arrived.
//!
//! The reader keeps the open aggregates, so it examines each byte once even if a reply arrives in a thousand reads. It allocates
//! memory for bytes that have arrived, never for an announced length. Bulk strings are slices of the read buffer, so a reply
//! costs no copy. The memory of a reply is limited; a reply that exceeds the limit is skipped.

use bytes::{Bytes, BytesMut};

use super::element::{Element, Elements, Kind};
use super::passing::{Passing, Past};
use super::tail::Tail;
use super::{MAX_DEPTH, Passed, ProtocolError, Read, Reply, Why};

/// How much memory an element needs besides its bytes.
const ELEMENT: usize = size_of::<Reply>();
/// How many elements of a push over the limit are kept: its kind, and the pattern and the channel of a message.
const HEAD: usize = 3;
/// Replaces a text that an error must not repeat.
const HIDDEN: &[u8] = b"[redacted]";

/// Assembles replies from the bytes that have arrived.
#[derive(Debug)]
pub struct Reader {
    /// The memory limit of one reply, in bytes.
    limit: usize,
    keeps_pushes: bool,
    /// A text that is removed from errors.
    hidden: Option<Bytes>,
    elements: Elements,
    open: Vec<Aggregate>,
    /// The memory of `open`, in bytes.
    held: usize,
    /// True if nobody waits for the reply that is being read, or for the next reply if none is being read.
    unwanted: bool,
    past: Option<Past>,
    /// How many times data was skipped to its end.
    passed: u64,
}

#[derive(Debug)]
struct Aggregate {
    kind: Kind,
    /// How many elements are still to come.
    missing: u64,
    items: Vec<Reply>,
}

/// The result of one attempt to skip data.
enum Step {
    Ends(Read),
    /// More bytes must come.
    Waits,
    Again,
    /// The next data is not to be skipped.
    Wanted,
}

impl Reader {
    /// A reader of replies of at most `limit` bytes each. The bytes on the wire count, and [`ELEMENT`] for each element of an
    /// aggregate.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            keeps_pushes: false,
            hidden: None,
            elements: Elements::default(),
            open: Vec::new(),
            held: 0,
            unwanted: false,
            past: None,
            passed: 0,
        }
    }

    /// The same reader, but pushes are kept.
    #[must_use]
    pub fn keeping_pushes(mut self) -> Self {
        self.keeps_pushes = true;
        self
    }

    /// The same reader, but `text` is removed from errors.
    #[must_use]
    pub fn hiding(mut self, text: Option<Bytes>) -> Self {
        self.hidden = text.filter(|text| !text.is_empty());
        self
    }

    /// Skips the reply that is being read, or the next reply if none is being read.
    pub fn pass_one(&mut self) {
        self.unwanted = true;
    }

    /// A number that identifies the data that is being skipped, if there is any.
    #[must_use]
    pub fn passing(&self) -> Option<u64> {
        self.past.as_ref().map(|_| self.passed)
    }

    /// Gives the next complete reply, or `None` if more bytes must arrive first. Removes the bytes that were read from `buffer`.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Read>, ProtocolError> {
        loop {
            if self.past.is_some() || self.unwanted {
                match self.pass(buffer)? {
                    Step::Ends(read) => return Ok(Some(read)),
                    Step::Waits => return Ok(None),
                    Step::Again => continue,
                    Step::Wanted => {}
                }
            }
            let before = buffer.len();
            let element = match self.elements.next(buffer, self.limit - self.held)? {
                Element::Incomplete => return Ok(None),
                // Most replies are one value, and are returned at once.
                Element::Whole(reply) if self.open.is_empty() && !matches!(reply, Reply::Error(_)) => {
                    return Ok(Some(Read::Reply(reply)));
                }
                element => element,
            };
            if let Some(reply) = self.put(element, before - buffer.len()) {
                return Ok(Some(Read::Reply(reply)));
            }
        }
    }

    /// Adds an element, which had `size` bytes, to the reply that is being read. Gives the reply if it is complete now.
    fn put(&mut self, element: Element, size: usize) -> Option<Reply> {
        if !self.open.is_empty() {
            self.held += size + ELEMENT;
            if self.held > self.limit {
                self.give_up(Why::TooLong, &element);
                return None;
            }
        }
        match element {
            Element::Incomplete => return None,
            Element::Whole(reply) => return self.take(reply),
            Element::Opens(kind, count) => return self.begin(kind, count),
            Element::Cut(tail) => {
                let head = std::mem::take(&mut self.elements.head);
                self.past = Some(Past::new(Passing::Error(head), 0, tail));
            }
            Element::Excess(_) => self.give_up(Why::TooLong, &element),
        }
        None
    }

    /// Skips the data that is to be skipped.
    #[cold]
    fn pass(&mut self, buffer: &mut BytesMut) -> Result<Step, ProtocolError> {
        if self.past.is_none() {
            if self.open.is_empty() && matches!(buffer.first(), None | Some(b'>' | b'|')) {
                // Only a reply is to be skipped, not a push or an attribute.
                return Ok(Step::Wanted);
            }
            let missing = self.missing();
            self.give_up_with(Why::Unwanted, missing, Tail::None);
        }
        let Some(past) = &mut self.past else { return Ok(Step::Wanted) };
        let before = buffer.len();
        let has_ended = past.advance(&mut self.elements, buffer)?;
        if !self.open.is_empty() {
            // An attribute is not kept, but the values around it keep the read buffer that contains it.
            self.held = self.held.saturating_add(before - buffer.len()).min(self.limit);
        }
        if !has_ended {
            return Ok(Step::Waits);
        }
        self.passed += 1;
        Ok(match self.past.take().map(|past| past.what) {
            Some(Passing::Whole(passed)) => {
                self.unwanted &= passed.is_push;
                Step::Ends(Read::Passed(passed))
            }
            Some(Passing::Error(head)) => {
                self.take(Reply::Error(head)).map_or(Step::Again, |reply| Step::Ends(Read::Reply(reply)))
            }
            Some(Passing::Attribute) | None => Step::Again,
        })
    }

    /// Opens an aggregate. Gives the reply if it is complete now.
    #[inline]
    fn begin(&mut self, kind: Kind, count: u64) -> Option<Reply> {
        match (kind, count) {
            (Kind::Attribute, _) => self.past = Some(Past::new(Passing::Attribute, count, Tail::None)),
            (Kind::Push, _) if self.open.is_empty() && !self.keeps_pushes => {
                let passed = Passed { why: Why::Unwanted, is_push: true, head: Vec::new() };
                self.past = Some(Past::new(Passing::Whole(passed), count, Tail::None));
            }
            _ if self.open.len() == MAX_DEPTH => self.give_up(Why::TooDeep, &Element::Opens(kind, count)),
            (_, 0) => return self.take(kind.close(Vec::new())),
            (_, missing) => {
                let items = Vec::with_capacity(usize::try_from(missing).unwrap_or(usize::MAX).min(1024));
                self.open.push(Aggregate { kind, missing, items });
            }
        }
        None
    }

    /// Adds a value to the reply that is being read. Gives the reply if it is complete now.
    #[inline]
    fn take(&mut self, mut reply: Reply) -> Option<Reply> {
        if let (Reply::Error(line), Some(text)) = (&mut reply, &self.hidden) {
            *line = without(std::mem::take(line), text);
        }
        while let Some(top) = self.open.last_mut() {
            top.items.push(reply);
            top.missing -= 1;
            if top.missing > 0 {
                return None;
            }
            let Aggregate { kind, items, .. } = self.open.pop()?;
            reply = kind.close(items);
        }
        self.held = 0;
        self.unwanted = false;
        Some(reply)
    }

    /// How many elements of the open reply are still to come; 1 if no reply is open.
    fn missing(&self) -> u64 {
        let inner: u64 = self.open.iter().map(|aggregate| aggregate.missing - 1).sum();
        inner + 1
    }

    /// Discards the open reply and skips the rest of it. `element` was just read.
    #[cold]
    fn give_up(&mut self, why: Why, element: &Element) {
        let missing = self.missing();
        match *element {
            Element::Whole(_) | Element::Incomplete => self.give_up_with(why, missing - 1, Tail::None),
            Element::Opens(Kind::Attribute, count) => self.give_up_with(why, missing + count, Tail::None),
            Element::Opens(_, count) => self.give_up_with(why, missing - 1 + count, Tail::None),
            Element::Cut(tail) | Element::Excess(tail) => self.give_up_with(why, missing - 1, tail),
        }
    }

    fn give_up_with(&mut self, why: Why, missing: u64, tail: Tail) {
        let mut open = std::mem::take(&mut self.open);
        self.held = 0;
        let is_push = open.first().is_some_and(|bottom| bottom.kind == Kind::Push);
        let mut head = if self.keeps_pushes && open.len() == 1 { open.remove(0).items } else { Vec::new() };
        head.truncate(HEAD);
        let passed = Passed { why, is_push, head };
        self.past = Some(Past::new(Passing::Whole(passed), missing, tail));
    }
}

impl Kind {
    fn close(self, items: Vec<Reply>) -> Reply {
        match self {
            Self::Array | Self::Attribute => Reply::Array(items),
            Self::Set => Reply::Set(items),
            Self::Push => Reply::Push(items),
            Self::Map => {
                let mut pairs = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }
        }
    }
}

/// `line` with [`HIDDEN`] in place of `text`.
fn without(line: Bytes, text: &[u8]) -> Bytes {
    let mut clean: Option<Vec<u8>> = None;
    let mut rest = &line[..];
    while let Some(at) = rest.windows(text.len()).position(|part| part == text) {
        let clean = clean.get_or_insert_default();
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(HIDDEN);
        rest = &rest[at + text.len()..];
    }
    match clean {
        None => line,
        Some(mut clean) => {
            clean.extend_from_slice(rest);
            clean.into()
        }
    }
}

#[cfg(test)]
mod tests;
