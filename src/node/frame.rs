//! Decodes calls: words in one typed array, bytes in another, many calls at once.
//!
//! A call is `[verb, target, number, argument count, argument…]`. An argument is `kind << KIND_SHIFT | length`. The `length` bytes of
//! an argument follow the bytes of the argument before, in the byte array. The encoder is `src/js/port.ts`.

use crate::crossing::Arg;
use crate::crossing::codes::{ArgumentKind, KIND_SHIFT, MAX_BYTES};

/// One call.
#[derive(Debug)]
pub(super) struct RawCall<'a> {
    pub(super) verb: u32,
    pub(super) target: u32,
    pub(super) number: u32,
    pub(super) args: Vec<Arg<'a>>,
}

/// The calls of one submission.
pub(super) struct Calls<'a> {
    words: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> Calls<'a> {
    pub(super) fn new(words: &'a [u32], bytes: &'a [u8]) -> Self {
        Self { words, bytes }
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = RawCall<'a>;

    fn next(&mut self) -> Option<RawCall<'a>> {
        let (head, rest) = self.words.split_at_checked(4)?;
        let (lengths, rest) = rest.split_at_checked(head[3] as usize)?;
        self.words = rest;
        let mut args = Vec::with_capacity(lengths.len());
        for word in lengths {
            let (bytes, rest) = self.bytes.split_at_checked((word & MAX_BYTES) as usize)?;
            self.bytes = rest;
            args.push(argument(word >> KIND_SHIFT, bytes));
        }
        Some(RawCall { verb: head[0], target: head[1], number: head[2], args })
    }
}

fn argument(kind: u32, bytes: &[u8]) -> Arg<'_> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or("a text that is not UTF-8");
    match ArgumentKind::of(kind) {
        Some(ArgumentKind::Absent) => Arg::Absent,
        Some(ArgumentKind::Null) => Arg::Null,
        Some(ArgumentKind::False) => Arg::Bool(false),
        Some(ArgumentKind::True) => Arg::Bool(true),
        Some(ArgumentKind::Number) => {
            bytes.try_into().map_or(Arg::Other("a malformed number"), |bytes| Arg::Number(f64::from_le_bytes(bytes)))
        }
        Some(ArgumentKind::Text) => {
            std::str::from_utf8(bytes).map_or(Arg::Other("a text that is not UTF-8"), Arg::Text)
        }
        Some(ArgumentKind::Bytes) => Arg::Bytes(bytes),
        Some(ArgumentKind::Other) | None => Arg::Other(text(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_decoded_as_they_were_encoded() {
        let words = [7, 1, 42, 3, 5 << 29 | 3, 4 << 29 | 8, 0, 8, 1, 43, 1, 6 << 29 | 2];
        let mut bytes = b"key".to_vec();
        bytes.extend(1.5f64.to_le_bytes());
        bytes.extend([0xff, 0x00]);
        let calls: Vec<_> = Calls::new(&words, &bytes).collect();
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].verb, calls[0].target, calls[0].number), (7, 1, 42));
        assert_eq!(calls[0].args, [Arg::Text("key"), Arg::Number(1.5), Arg::Absent]);
        assert_eq!(calls[1].args, [Arg::Bytes(&[0xff, 0x00])]);
    }

    #[test]
    fn a_truncated_submission_ends_the_calls() {
        assert_eq!(Calls::new(&[1, 1, 1, 1, 6 << 29 | 9], b"short").count(), 0);
        assert_eq!(Calls::new(&[1, 1], b"").count(), 0);
    }
}
