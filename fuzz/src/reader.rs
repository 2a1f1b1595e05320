//! The reply reader on arbitrary bytes: it never panics, and what it reads does not depend on how the bytes arrive.
//!
//! The first byte of an input says how large the pieces are.
#![no_main]
#![allow(dead_code, reason = "the module's other half packs commands")]

#[path = "../../src/resp.rs"]
mod resp;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use resp::{ProtocolError, Reader, Reply};

/// Everything read of `pieces`, and the error it ended with.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ProtocolError>) {
    let (mut reader, mut buffer, mut replies) = (Reader::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match reader.next(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    let whole = read(std::iter::once(bytes));
    let pieces = read(bytes.chunks(usize::from(*size).max(1)));
    // NaN is not equal to itself.
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
});
