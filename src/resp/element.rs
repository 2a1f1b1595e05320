//! One element of a reply: a value, or the head of an aggregate.

use bytes::{Buf, Bytes, BytesMut};

use super::tail::{Tail, part_with};
use super::{ProtocolError, Reply};

/// The longest line that is a number or a length.
const MAX_LINE: usize = 64 * 1024;
/// How many bytes are kept of the text of an error.
const MAX_ERROR: usize = 64 * 1024;
/// The most elements that an aggregate may announce.
const MAX_COUNT: u64 = 1 << 30;
/// A string longer than this does not share its memory with the bytes after it.
const SHARED: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Array,
    Map,
    Set,
    Push,
    /// Metadata that precedes a reply.
    Attribute,
}

pub(super) enum Element {
    /// More bytes must come.
    Incomplete,
    Whole(Reply),
    /// An aggregate of this many elements (for a map: keys and values).
    Opens(Kind, u64),
    /// A string that exceeds the room that is left. All its bytes are still to be skipped.
    Excess(Tail),
    /// An error whose text is too long. [`Elements::head`] has the start of the text; the rest is still to be skipped.
    Cut(Tail),
}

/// Reads elements. Each byte of a line is examined once, even if the line arrives in many pieces.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// How many bytes at the front of the buffer were already searched for the end of a line.
    scanned: usize,
    /// The start of an error that was cut.
    pub(super) head: Bytes,
}

enum Line {
    /// The line is complete, and its CR is at this index.
    Ends(usize),
    Incomplete,
    TooLong,
}

impl Elements {
    /// Reads the element at the front of `buffer`, which may have at most `room` bytes.
    #[expect(clippy::inline_always, reason = "the hottest loop there is; measured")]
    #[inline(always)]
    pub(super) fn next(&mut self, buffer: &mut BytesMut, room: usize) -> Result<Element, ProtocolError> {
        let Some(sigil) = buffer.first().copied() else {
            return Ok(Element::Incomplete);
        };
        let longest = match sigil {
            b'-' => MAX_ERROR,
            b'+' | b'(' => room,
            _ => MAX_LINE,
        };
        match self.line(buffer, longest)? {
            Line::Ends(end) => self.read(buffer, end, room),
            Line::Incomplete => Ok(Element::Incomplete),
            Line::TooLong => match sigil {
                b'-' => Ok(self.cut(buffer, 1, Tail::Line)),
                b'+' | b'(' => Ok(Element::Excess(Tail::Line)),
                _ => Err(ProtocolError("a line too long")),
            },
        }
    }

    /// Reads the head of the element at the front of `buffer`, which is to be skipped.
    pub(super) fn pass(&mut self, buffer: &mut BytesMut) -> Result<Element, ProtocolError> {
        match buffer.first() {
            None => Ok(Element::Incomplete),
            Some(b'-' | b'+' | b'(') => {
                self.scanned = 0;
                Ok(Element::Excess(Tail::Line))
            }
            Some(_) => self.next(buffer, 0),
        }
    }

    #[expect(clippy::inline_always, reason = "the hottest loop there is; measured")]
    #[inline(always)]
    fn line(&mut self, buffer: &[u8], longest: usize) -> Result<Line, ProtocolError> {
        let from = std::mem::take(&mut self.scanned).min(buffer.len());
        let Some(at) = buffer[from..].iter().position(|byte| *byte == b'\r').map(|at| from + at) else {
            // The sigil does not count as part of the line.
            if buffer.len() > longest.saturating_add(1) {
                return Ok(Line::TooLong);
            }
            self.scanned = buffer.len();
            return Ok(Line::Incomplete);
        };
        match buffer.get(at + 1) {
            _ if at == 0 => Err(ProtocolError("an empty line")),
            _ if at - 1 > longest => Ok(Line::TooLong),
            Some(b'\n') => Ok(Line::Ends(at)),
            Some(_) => Err(ProtocolError("a line without its end")),
            None => Ok(Line::Incomplete),
        }
    }

    #[expect(clippy::inline_always, reason = "the hottest loop there is; measured")]
    #[inline(always)]
    fn read(&mut self, buffer: &mut BytesMut, end: usize, room: usize) -> Result<Element, ProtocolError> {
        let line = &buffer[1..end];
        let next = end + 2;
        let whole = |reply| Ok(Element::Whole(reply));
        match buffer[0] {
            b'$' | b'=' | b'!' => self.read_string(buffer, end, room),
            b'+' => whole(Reply::Simple(take_line(buffer, end))),
            b'-' => whole(Reply::Error(take_line(buffer, end))),
            b'(' => whole(Reply::BigNumber(take_line(buffer, end))),
            b':' => {
                let int = integer(line)?;
                buffer.advance(next);
                whole(Reply::Int(int))
            }
            b',' => {
                let double = double(line)?;
                buffer.advance(next);
                whole(Reply::Double(double))
            }
            b'#' => {
                let bool = match line {
                    b"t" => true,
                    b"f" => false,
                    _ => return Err(ProtocolError("neither true nor false")),
                };
                buffer.advance(next);
                whole(Reply::Bool(bool))
            }
            b'_' => {
                buffer.advance(next);
                whole(Reply::Nil)
            }
            kind @ (b'*' | b'%' | b'~' | b'>' | b'|') => {
                let count = length(line)?;
                buffer.advance(next);
                let Some(count) = count else {
                    return if matches!(kind, b'>' | b'|') {
                        Err(ProtocolError("a negative length"))
                    } else {
                        whole(Reply::Nil)
                    };
                };
                if count > MAX_COUNT {
                    return Err(ProtocolError("an aggregate too long"));
                }
                let (kind, elements) = match kind {
                    b'*' => (Kind::Array, count),
                    b'~' => (Kind::Set, count),
                    b'>' => (Kind::Push, count),
                    b'%' => (Kind::Map, count * 2),
                    _ => (Kind::Attribute, count * 2),
                };
                Ok(Element::Opens(kind, elements))
            }
            _ => Err(ProtocolError("an unknown type")),
        }
    }

    /// Reads a string whose length was announced in the line that ends at `end`.
    #[expect(clippy::inline_always, reason = "the hottest loop there is; measured")]
    #[inline(always)]
    fn read_string(&mut self, buffer: &mut BytesMut, end: usize, room: usize) -> Result<Element, ProtocolError> {
        let (kind, next) = (buffer[0], end + 2);
        let Some(announced) = length(&buffer[1..end])? else {
            buffer.advance(next);
            return Ok(Element::Whole(Reply::Nil));
        };
        let length = match usize::try_from(announced) {
            Ok(length) if length <= if kind == b'!' { room.min(MAX_ERROR) } else { room } => length,
            _ if kind == b'!' && room >= MAX_ERROR => {
                if buffer.len() < next + MAX_ERROR {
                    return Ok(Element::Incomplete);
                }
                return Ok(self.cut(buffer, next, Tail::String(announced - MAX_ERROR as u64)));
            }
            _ => {
                buffer.advance(next);
                return Ok(Element::Excess(Tail::String(announced)));
            }
        };
        let total = next + length + 2;
        if buffer.len() < total {
            // The buffer grows with the bytes that arrive. An announced gigabyte is not allocated in advance.
            buffer.reserve((total - buffer.len()).min(buffer.len().max(64 * 1024)));
            return Ok(Element::Incomplete);
        }
        if buffer[total - 2..total] != *b"\r\n" {
            return Err(ProtocolError("a string without its end"));
        }
        buffer.advance(next);
        let mut bytes = buffer.split_to(length).freeze();
        buffer.advance(2);
        if length > SHARED {
            part_with(buffer);
        }
        let reply = match kind {
            b'!' => Reply::Error(bytes),
            b'=' if bytes.len() < 4 => return Err(ProtocolError("a verbatim string without its format")),
            b'=' => {
                bytes.advance(4);
                Reply::Bulk(bytes)
            }
            _ => Reply::Bulk(bytes),
        };
        Ok(Element::Whole(reply))
    }

    /// Keeps the start of an error whose text starts at `from`.
    #[cold]
    fn cut(&mut self, buffer: &mut BytesMut, from: usize, tail: Tail) -> Element {
        buffer.advance(from);
        // A copy, because the error may be kept for long and the read buffer is large.
        self.head = Bytes::copy_from_slice(&buffer[..MAX_ERROR]);
        buffer.advance(MAX_ERROR);
        Element::Cut(tail)
    }
}

fn take_line(buffer: &mut BytesMut, end: usize) -> Bytes {
    buffer.advance(1);
    let line = buffer.split_to(end - 1).freeze();
    buffer.advance(2);
    line
}

fn length(line: &[u8]) -> Result<Option<u64>, ProtocolError> {
    match integer(line)? {
        -1 => Ok(None),
        n => u64::try_from(n).map(Some).map_err(|_| ProtocolError("a negative length")),
    }
}

fn integer(line: &[u8]) -> Result<i64, ProtocolError> {
    const BAD: ProtocolError = ProtocolError("a malformed number");
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(BAD);
    }
    digits
        .iter()
        .try_fold(0i64, |sum, digit| {
            let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
            let sum = sum.checked_mul(10)?;
            if negative { sum.checked_sub(i64::from(digit)) } else { sum.checked_add(i64::from(digit)) }
        })
        .ok_or(BAD)
}

fn double(line: &[u8]) -> Result<f64, ProtocolError> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError("a malformed number"))
}
