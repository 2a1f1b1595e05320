//! The rest of a string that is skipped.

use bytes::{Buf, BytesMut};

use super::ProtocolError;

/// A buffer that held more skipped bytes than this is replaced.
const KEPT: usize = 1 << 20;

/// The rest of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    None,
    /// Up to the end of the line.
    Line,
    /// This many bytes and a CRLF.
    String(u64),
}

impl Tail {
    /// Removes its bytes from `buffer`. True when the string has ended.
    pub(super) fn advance(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        match self {
            Self::None => Ok(true),
            Self::Line => {
                let Some(at) = buffer.iter().position(|byte| *byte == b'\r') else {
                    drop(buffer.split());
                    return Ok(false);
                };
                buffer.advance(at);
                end(buffer, "a line without its end")
            }
            Self::String(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                buffer.advance(here);
                if here > KEPT {
                    part_with(buffer);
                }
                *left -= here as u64;
                if *left > 0 { Ok(false) } else { end(buffer, "a string without its end") }
            }
        }
    }
}

/// Removes the CRLF at the front of `buffer`. False until both bytes have arrived.
fn end(buffer: &mut BytesMut, otherwise: &'static str) -> Result<bool, ProtocolError> {
    match buffer[..] {
        [b'\r', b'\n', ..] => {
            buffer.advance(2);
            Ok(true)
        }
        [] | [b'\r'] => Ok(false),
        _ => Err(ProtocolError(otherwise)),
    }
}

/// Copies `buffer` into new memory, so that the memory of the large string before it can be freed.
pub(super) fn part_with(buffer: &mut BytesMut) {
    *buffer = BytesMut::from(&buffer[..]);
}
