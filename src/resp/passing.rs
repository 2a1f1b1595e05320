//! What is read past: an attribute, an unwanted push, a reply that nobody waits for or that takes more than its bound. Nothing of
//! it is kept, and all that is known of its structure is one number.

use bytes::{Bytes, BytesMut};

use super::element::{Element, Elements, Kind};
use super::tail::Tail;
use super::{Passed, ProtocolError};

/// What was read past when it has ended.
#[derive(Debug)]
pub(super) enum Passing {
    Attribute,
    Whole(Passed),
    /// The rest of an error of which this is kept.
    Error(Bytes),
}

/// Something that is being read past.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) what: Passing,
    /// Elements that are still to come, at whatever depth.
    missing: u64,
    tail: Tail,
}

impl Past {
    pub(super) fn new(what: Passing, missing: u64, tail: Tail) -> Self {
        Self { what, missing, tail }
    }

    /// Takes from `buffer` what belongs to it. True when it has ended.
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
                // It precedes an element, and is none.
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
