//! What a hostile node of a cluster says: `CLUSTER SLOTS`, `CLUSTER INFO`, redirections.
//!
//! What is learnt does not depend on how the bytes arrive, agrees with itself, and can be connected to.
//! The first byte of an input says how large the pieces are; 0: it is a redirection.
#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use redis_backplane::connection::fuzzing;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    if *size == 0 {
        let address = fuzzing::redirected(bytes);
        return common::check(address.as_slice());
    }
    let (whole, addresses) = fuzzing::mapped(bytes, usize::MAX);
    let (pieces, _) = fuzzing::mapped(bytes, usize::from(*size));
    assert_eq!(whole, pieces, "how bytes arrive changes nothing");
    common::check(&addresses);
});
