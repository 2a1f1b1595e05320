//! Records of a queue from any writer: jobs, their progress, messages of an outbox.
//!
//! An encoded record is decoded to the same record. A record that cannot be read is reported as damaged. The first byte of an input
//! chooses the record; the rest is in parts.
#![no_main]

mod common;

use std::sync::LazyLock;

use bytes::Bytes;
use common::parts;
use libfuzzer_sys::fuzz_target;
use redis_backplane::queue::fuzzing::{Reading, put_together};

static READING: LazyLock<Reading> = LazyLock::new(|| Reading::with(common::MANAGER.clone()));

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    match choice % 3 {
        0 => {
            let [stored, progressed] = parts(bytes);
            READING.job(&Bytes::copy_from_slice(stored), &Bytes::copy_from_slice(progressed));
        }
        1 => {
            let [added, texts @ ..] = parts::<6>(bytes);
            let added = added.iter().fold(0, |added: u64, byte| added << 8 | u64::from(*byte));
            let texts = texts.map(String::from_utf8_lossy);
            put_together(added, [&texts[0], &texts[1], &texts[2], &texts[3], &texts[4]]);
        }
        _ => {
            let [field, message] = parts(bytes);
            READING.message(field, message);
        }
    }
});
