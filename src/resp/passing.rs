//! Skipping data: an attribute, an unwanted push, a reply that nobody waits for or that exceeds its limit. Nothing of the data is
//! kept. Only the number of elements that are still to come is counted.

use bytes::{Bytes, BytesMut};

use super::element::{Element, Elements, Kind};
use super::tail::Tail;
use super::{Passed, ProtocolError};

/// The kind of data that is skipped.
#[derive(Debug)]
pub(super) enum Passing {
    Attribute,
    Whole(Passed),
    /// The rest of an error; the start that is kept.
    Error(Bytes),
}

/// Data that is being skipped.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) what: Passing,
    /// How many elements are still to come, at any depth.
    missing: u64,
    tail: Tail,
}

impl Past {
    pub(super) fn new(what: Passing, missing: u64, tail: Tail) -> Self {
        Self { what, missing, tail }
    }

    /// Removes its bytes from `buffer`. True when the data has ended.
    pub(super) fn advance(&mut self, elements: &mut Elements, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        loop {
            if !self.tail.advance(buffer)? {
                return Ok(false);
            }
            self.tail = Tail::None;
            if self.missing == 0 {
                return Ok(true);
            }
            match elements.pass(buffer)? {
                Element::Incomplete => return Ok(false),
                // An attribute precedes an element, and does not count as one.
                Element::Opens(Kind::Attribute, count) => self.add(count)?,
                Element::Opens(_, count) => {
                    self.missing -= 1;
                    self.add(count)?;
                }
                Element::Whole(_) => self.missing -= 1,
                Element::Excess(tail) | Element::Cut(tail) => {
                    self.missing -= 1;
                    self.tail = tail;
                }
            }
        }
    }

    fn add(&mut self, count: u64) -> Result<(), ProtocolError> {
        self.missing = self.missing.checked_add(count).ok_or(ProtocolError("an aggregate too long"))?;
        Ok(())
    }
}
