//! The answers of a hostile node of a cluster: `CLUSTER SLOTS`, `CLUSTER INFO`, redirections.
//!
//! The learnt slot map does not depend on how the bytes arrive, is consistent, and has valid addresses. The first byte of an input is the
//! size of the pieces; with 0 the input is a redirection.
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
    assert_eq!(whole, pieces, "the result does not depend on how the bytes arrive");
    common::check(&addresses);
});
