//! The handshake with a hostile server: `HELLO`, `AUTH`, `CLIENT`, `SELECT`, `PING`, `INFO`, `ROLE`.
//!
//! The outcome does not depend on how the bytes arrive. No error has the password, even if the server quotes it. The server's description
//! has the password only where it is the server's own name. The first byte of an input chooses the configuration, and the second byte is
//! the size of the pieces.
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
    let told = |piece: usize| {
        if choice & 4 == 0 { fuzzing::greeted(&config, bytes, piece) } else { fuzzing::role(&config, bytes, piece) }
    };
    let whole = told(usize::MAX);
    assert_eq!(whole, told(usize::from(*size)), "the result does not depend on how the bytes arrive");
    let has_password = matches!(choice % 4, 1 | 2);
    let is_repeated = |said: &str| has_password && said.contains(common::SECRET);
    match whole {
        Err(error) => assert!(!is_repeated(&error), "a password is repeated: {error}"),
        Ok(server) => assert!(
            !is_repeated(&server) || is_repeated(&String::from_utf8_lossy(bytes)),
            "a password is shown: {server}"
        ),
    }
});
