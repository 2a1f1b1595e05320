//! Commands as they are written: arrays of bulk strings.

use bytes::{BufMut, BytesMut};

/// Appends one command to `out`.
pub fn pack(out: &mut BytesMut, args: &[&[u8]]) {
    begin(out, args.len());
    for arg in args {
        push(out, arg);
    }
}

/// Appends the head of a command of `count` words; exactly that many [`push`]es must follow.
pub fn begin(out: &mut BytesMut, count: usize) {
    head(out, b'*', count);
}

/// Appends one word of a command.
pub fn push(out: &mut BytesMut, arg: &[u8]) {
    out.reserve(arg.len() + 32);
    head(out, b'$', arg.len());
    out.put_slice(arg);
    out.put_slice(b"\r\n");
}

/// Appends one word of a command that stands in two parts.
pub fn push_joined(out: &mut BytesMut, first: &[u8], second: &[u8]) {
    out.reserve(first.len() + second.len() + 32);
    head(out, b'$', first.len() + second.len());
    out.put_slice(first);
    out.put_slice(second);
    out.put_slice(b"\r\n");
}

fn head(out: &mut BytesMut, sigil: u8, mut number: usize) {
    let mut digits = [0u8; 24];
    digits[22..].copy_from_slice(b"\r\n");
    let mut at = 22;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    at -= 1;
    digits[at] = sigil;
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_is_what_the_redis_crate_packs(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..6)) {
            let mut out = BytesMut::new();
            pack(&mut out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut cmd = redis::Cmd::new();
            args.iter().for_each(|arg| { cmd.arg(&arg[..]); });
            prop_assert_eq!(&out[..], &cmd.get_packed_command()[..]);
        }
    }
}
