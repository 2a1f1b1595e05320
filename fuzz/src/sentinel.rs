//! The answers of a hostile sentinel: the handshake, `+switch-master`, the master's address and epoch, other sentinels.
//!
//! The learnt addresses do not depend on how the bytes arrive, are valid, and are bounded in number. No error quotes the password. The
//! first byte of an input chooses the configuration, and the second byte is the size of the pieces.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use redis_backplane::connection::{Config, fuzzing};

const CONFIGS: [&str; 2] = [
    r#"{"url":"redis+sentinel://s:1,t:2/main"}"#,
    r#"{"url":"redis+sentinel://s:1/main","sentinelUsername":"u","sentinelPassword":"hunter2"}"#,
];

fuzz_target!(|input: &[u8]| {
    let [choice, size, bytes @ ..] = input else {
        return;
    };
    let (config, _) = Config::parse(CONFIGS[usize::from(*choice) % CONFIGS.len()]).expect("a configuration");
    let (whole, addresses) = fuzzing::listened(&config, bytes, usize::MAX);
    let (pieces, _) = fuzzing::listened(&config, bytes, usize::from(*size));
    assert_eq!(whole, pieces, "the result does not depend on how the bytes arrive");
    common::check(&addresses);
    if choice % 2 == 1 {
        assert!(!whole.contains(common::SECRET), "a password is repeated: {whole}");
    }
});
