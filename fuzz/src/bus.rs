//! Live and durable messages of the bus from any writer, and the messages in flight of a consumer.
//!
//! The first byte of an input chooses the reader.
#![no_main]

mod common;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use redis_backplane::bus::fuzzing;
use redis_backplane::connection;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 3 {
        0 => {
            for reply in common::replies(bytes) {
                fuzzing::answer(reply.clone());
                if let Some(payload) = connection::fuzzing::heard(reply) {
                    request_of(payload);
                }
            }
        }
        1 => request_of(Bytes::copy_from_slice(bytes)),
        _ => fuzzing::in_flight(bytes),
    }
});

/// The id of a request is the one that a JSON parser finds.
fn request_of(reply: Bytes) {
    let found = fuzzing::request_of(&reply);
    if let (Some(id), Ok(Value::Object(whole))) = (found, serde_json::from_slice(&reply)) {
        let is_again = String::from_utf8_lossy(&reply).matches("\"re\"").count() > 1 || reply.contains(&b'\\');
        assert!(is_again || whole["re"].as_str().map(str::as_bytes) == Some(&id[..]), "{id:?} in {reply:?}");
    }
}
