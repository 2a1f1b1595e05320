//! The reply reader with arbitrary bytes: it never panics, and the replies do not depend on how the bytes arrive.
//!
//! The first two bytes of an input are the size of the pieces, and the limit of a reply.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use redis_backplane::resp::{ProtocolError, Read, Reader};

/// The replies in `pieces`, and the error at the end.
fn read<'a>(limit: usize, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Read>, Option<ProtocolError>) {
    let (mut reader, mut buffer, mut replies) = (Reader::new(limit), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match reader.next(&mut buffer) {
                Ok(Some(read)) => replies.push(read),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

fuzz_target!(|input: &[u8]| {
    let [size, limit, bytes @ ..] = input else {
        return;
    };
    let limit = usize::from(*limit) * 8;
    let whole = read(limit, std::iter::once(bytes));
    let pieces = read(limit, bytes.chunks(usize::from(*size).max(1)));
    // NaN is not equal to itself.
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
});
