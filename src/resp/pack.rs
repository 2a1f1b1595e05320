//! The encoding of commands: arrays of bulk strings.

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

/// Appends one word of a command that is given in two parts.
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

/// The words of the first packed command, and the bytes after it. `None` if there is no whole command.
#[must_use]
pub fn unpack(packed: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (count, mut rest) = counted(packed, b'*')?;
    let mut words = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        let (length, after) = counted(rest, b'$')?;
        words.push(after.get(..length)?);
        rest = after.get(length.checked_add(2)?..)?;
    }
    (!words.is_empty()).then_some((words, rest))
}

fn counted(bytes: &[u8], sigil: u8) -> Option<(usize, &[u8])> {
    let rest = bytes.strip_prefix(&[sigil])?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((number, rest.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn commands_are_packed_as_by_the_redis_crate(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..6)) {
            let mut out = BytesMut::new();
            pack(&mut out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut cmd = redis::Cmd::new();
            args.iter().for_each(|arg| { cmd.arg(&arg[..]); });
            prop_assert_eq!(&out[..], &cmd.get_packed_command()[..]);
        }

        #[test]
        fn packed_commands_are_read_back(words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6)) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let mut packed = BytesMut::new();
            pack(&mut packed, &words);
            let (read, rest) = unpack(&packed).unwrap();
            prop_assert_eq!(read, words);
            prop_assert!(rest.is_empty());
        }
    }
}
