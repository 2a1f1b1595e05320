//! The first words with a hostile server: `HELLO`, `AUTH`, `CLIENT`, `SELECT`, `PING`, `INFO`, `ROLE`.
//!
//! What comes of them does not depend on how the bytes arrive, and never holds the password, whatever the server repeats.
//! The first byte of an input chooses what the client has to say, the second one how large the pieces are.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use redis_backplane::connection::{Config, fuzzing};

const CONFIGS: [&str; 4] = [
    r#"{"maxReplyBytes":65536}"#,
    r#"{"password":"hunter2"}"#,
    r#"{"username":"u","password":"hunter2","db":3}"#,
    r#"{"db":1}"#,
];

fuzz_target!(|input: &[u8]| {
    let [choice, size, bytes @ ..] = input else {
        return;
    };
    let (config, _) = Config::parse(CONFIGS[usize::from(*choice) % CONFIGS.len()]).expect("a configuration");
    if choice & 4 != 0 {
        // One answer: what comes behind it is for the next question.
        let end = bytes.iter().position(|byte| *byte == 0xff).unwrap_or(bytes.len());
        let bytes = &bytes[..end];
        if common::replies(bytes).len() <= 1 {
            assert_eq!(fuzzing::role(bytes, usize::MAX), fuzzing::role(bytes, usize::from(*size)));
        }
        return;
    }
    let whole = fuzzing::greeted(&config, bytes, usize::MAX);
    let pieces = fuzzing::greeted(&config, bytes, usize::from(*size));
    assert_eq!(whole, pieces, "how bytes arrive changes nothing");
    if choice % 4 == 1 || choice % 4 == 2 {
        assert!(!whole.contains(common::SECRET), "a password is repeated: {whole}");
    }
});
