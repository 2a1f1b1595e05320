//! Records of schedules from any writer, and their cron lines: no schedule ticks too early, or without end.
//!
//! The first byte of an input chooses the form, the next eight are the time; the rest is in parts.
#![no_main]

mod common;

use std::sync::LazyLock;

use common::parts;
use libfuzzer_sys::fuzz_target;
use redis_backplane::queue::fuzzing::{Reading, schedules};

static READING: LazyLock<Reading> = LazyLock::new(|| Reading::with(common::MANAGER.clone()));

fuzz_target!(|input: &[u8]| {
    let [choice, a, b, c, d, e, f, g, h, bytes @ ..] = input else {
        return;
    };
    let now = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) >> 1;
    match choice % 4 {
        0 => {
            let [id, text, counted] = parts(bytes);
            schedules::record(&READING, id, text, counted, now ^ u64::from(*choice), now);
        }
        1 => common::replies(bytes).into_iter().for_each(schedules::scores),
        2 => {
            let [line, zone] = parts(bytes).map(String::from_utf8_lossy);
            let text = serde_json::json!({ "cron": line, "tz": zone }).to_string();
            let _ = schedules::when(&text, now >> 16, None);
        }
        _ => {
            let _ = schedules::when(&String::from_utf8_lossy(bytes), now, (choice & 4 == 0).then_some(now >> 1));
        }
    }
});
