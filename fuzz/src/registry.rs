//! Records and events of a registry from any writer: the JSON of a worker has each name once, and agrees with the record.
//!
//! The first byte of an input chooses the form: rows and entries as a server's replies, or the seven parts of a row.
#![no_main]

mod common;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use redis_backplane::registry::fuzzing;
use redis_backplane::resp::Reply;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 3 {
        0 => common::replies(bytes).into_iter().for_each(|reply| fuzzing::row(reply, 1_000.0)),
        1 => fuzzing::entries(&common::replies(bytes)),
        _ => {
            let parts = common::parts::<7>(bytes).map(|part| Reply::Bulk(Bytes::copy_from_slice(part)));
            fuzzing::row(Reply::Array(parts.into()), f64::from(*choice) * 1e3);
        }
    }
});
