//! The wire: RESP2 and RESP3 replies read incrementally, commands packed.
//!
//! [`Reader`] keeps the aggregates it is inside of, so a reply of a million elements that arrives in
//! a thousand reads is looked at once. It allocates for bytes that have arrived, never for a length
//! somebody announced. Bulk strings are slices of the read buffer: a reply costs no copy.
//!
//! Specification: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest bulk string a reply may announce: twice Redis' default `proto-max-bulk-len`.
const MAX_BULK: usize = 1 << 30;
/// The longest line that is a number or a length; a status and an error may be as long as a bulk string.
const MAX_LINE: usize = 64 * 1024;
/// The deepest nesting of aggregates.
const MAX_DEPTH: usize = 256;

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A bulk or verbatim string.
    Bulk(Bytes),
    /// A status such as `OK`.
    Simple(Bytes),
    /// An integer that may not fit 64 bits, in decimal.
    BigNumber(Bytes),
    /// An error reply, without its leading `-`.
    Error(Bytes),
    Array(Vec<Reply>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    /// Out of band: no answer to any request.
    Push(Vec<Reply>),
}

/// The stream is not RESP; nothing after this point can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not the Redis protocol: {0}")]
pub struct ProtocolError(&'static str);

/// Reads replies out of whatever bytes have arrived.
#[derive(Debug, Default)]
pub struct Reader {
    open: Vec<Aggregate>,
    /// Bytes at the beginning of the buffer that are known to hold no end of a line.
    scanned: usize,
}

#[derive(Debug)]
struct Aggregate {
    kind: Kind,
    /// Elements still to come (for a map: keys and values).
    missing: usize,
    items: Vec<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    Map,
    Set,
    Push,
    /// Metadata that precedes a reply; read and forgotten.
    Attribute,
}

enum Element {
    Whole(Reply),
    Opens(Kind, usize),
}

impl Reader {
    /// The next whole reply of `buffer`, or `None` until more bytes arrive. Takes from `buffer` what it has understood.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, ProtocolError> {
        loop {
            let Some(end) = self.line_end(buffer)? else {
                return Ok(None);
            };
            let Some(element) = read_element(buffer, end)? else {
                return Ok(None);
            };
            let mut reply = match element {
                Element::Whole(reply) => reply,
                Element::Opens(Kind::Attribute, 0) => continue,
                Element::Opens(kind, 0) => kind.close(Vec::new()),
                Element::Opens(kind, missing) => {
                    if self.open.len() == MAX_DEPTH {
                        return Err(ProtocolError("nested too deep"));
                    }
                    self.open.push(Aggregate { kind, missing, items: Vec::with_capacity(missing.min(1024)) });
                    continue;
                }
            };
            loop {
                let Some(top) = self.open.last_mut() else {
                    return Ok(Some(reply));
                };
                top.items.push(reply);
                top.missing -= 1;
                if top.missing > 0 {
                    break;
                }
                let Some(Aggregate { kind, items, .. }) = self.open.pop() else {
                    break;
                };
                if kind == Kind::Attribute {
                    break;
                }
                reply = kind.close(items);
            }
        }
    }

    /// Where the first line ends (the index of its CR), if all of it is there. Looks at each byte of a line once, in however many
    /// pieces it comes.
    fn line_end(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let longest = if matches!(buffer.first(), Some(b'+' | b'-' | b'(')) { MAX_BULK } else { MAX_LINE };
        let from = std::mem::take(&mut self.scanned).min(buffer.len());
        let Some(at) = buffer[from..].iter().position(|byte| *byte == b'\r').map(|at| from + at) else {
            if buffer.len() >= longest {
                return Err(ProtocolError("a line too long"));
            }
            self.scanned = buffer.len();
            return Ok(None);
        };
        match buffer.get(at + 1) {
            _ if at == 0 => Err(ProtocolError("an empty line")),
            _ if at >= longest => Err(ProtocolError("a line too long")),
            Some(b'\n') => Ok(Some(at)),
            Some(_) => Err(ProtocolError("a line without its end")),
            None => Ok(None),
        }
    }
}

impl Kind {
    fn close(self, items: Vec<Reply>) -> Reply {
        match self {
            Self::Array | Self::Attribute => Reply::Array(items),
            Self::Set => Reply::Set(items),
            Self::Push => Reply::Push(items),
            Self::Map => {
                let mut pairs = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }
        }
    }
}

fn read_element(buffer: &mut BytesMut, end: usize) -> Result<Option<Element>, ProtocolError> {
    let line = &buffer[1..end];
    let next = end + 2;
    let whole = |reply| Ok(Some(Element::Whole(reply)));
    match buffer[0] {
        b'$' | b'=' | b'!' => {
            let kind = buffer[0];
            let Some(length) = length(line)? else {
                buffer.advance(next);
                return whole(Reply::Nil);
            };
            if length > MAX_BULK {
                return Err(ProtocolError("a string too long"));
            }
            let total = next + length + 2;
            if buffer.len() < total {
                // Grows with what arrives: an announced gigabyte is not allocated before its bytes come.
                buffer.reserve((total - buffer.len()).min(buffer.len().max(64 * 1024)));
                return Ok(None);
            }
            if buffer[total - 2..total] != *b"\r\n" {
                return Err(ProtocolError("a string without its end"));
            }
            buffer.advance(next);
            let mut bytes = buffer.split_to(length).freeze();
            buffer.advance(2);
            match kind {
                b'!' => whole(Reply::Error(bytes)),
                b'=' => {
                    if bytes.len() < 4 {
                        return Err(ProtocolError("a verbatim string without its format"));
                    }
                    bytes.advance(4);
                    whole(Reply::Bulk(bytes))
                }
                _ => whole(Reply::Bulk(bytes)),
            }
        }
        b'+' => whole(Reply::Simple(take_line(buffer, end))),
        b'-' => whole(Reply::Error(take_line(buffer, end))),
        b'(' => whole(Reply::BigNumber(take_line(buffer, end))),
        b':' => {
            let int = integer(line)?;
            buffer.advance(next);
            whole(Reply::Int(int))
        }
        b',' => {
            let double = double(line)?;
            buffer.advance(next);
            whole(Reply::Double(double))
        }
        b'#' => {
            let bool = match line {
                b"t" => true,
                b"f" => false,
                _ => return Err(ProtocolError("neither true nor false")),
            };
            buffer.advance(next);
            whole(Reply::Bool(bool))
        }
        b'_' => {
            buffer.advance(next);
            whole(Reply::Nil)
        }
        kind @ (b'*' | b'%' | b'~' | b'>' | b'|') => {
            let count = length(line)?;
            buffer.advance(next);
            let Some(count) = count else {
                return whole(Reply::Nil);
            };
            if count > MAX_BULK {
                return Err(ProtocolError("an aggregate too long"));
            }
            let (kind, elements) = match kind {
                b'*' => (Kind::Array, count),
                b'~' => (Kind::Set, count),
                b'>' => (Kind::Push, count),
                b'%' => (Kind::Map, count * 2),
                _ => (Kind::Attribute, count * 2),
            };
            Ok(Some(Element::Opens(kind, elements)))
        }
        _ => Err(ProtocolError("an unknown type")),
    }
}

fn take_line(buffer: &mut BytesMut, end: usize) -> Bytes {
    buffer.advance(1);
    let line = buffer.split_to(end - 1).freeze();
    buffer.advance(2);
    line
}

fn length(line: &[u8]) -> Result<Option<usize>, ProtocolError> {
    match integer(line)? {
        -1 => Ok(None),
        n => usize::try_from(n).map(Some).map_err(|_| ProtocolError("a negative length")),
    }
}

fn integer(line: &[u8]) -> Result<i64, ProtocolError> {
    const BAD: ProtocolError = ProtocolError("a malformed number");
    let (negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(BAD);
    }
    digits
        .iter()
        .try_fold(0i64, |sum, digit| {
            let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
            let sum = sum.checked_mul(10)?;
            if negative { sum.checked_sub(i64::from(digit)) } else { sum.checked_add(i64::from(digit)) }
        })
        .ok_or(BAD)
}

fn double(line: &[u8]) -> Result<f64, ProtocolError> {
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError("a malformed number"))
}

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

    fn read_all(bytes: &[u8]) -> Result<Vec<Reply>, ProtocolError> {
        let mut buffer = BytesMut::from(bytes);
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        while let Some(reply) = reader.next(&mut buffer)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    fn encode(reply: &Reply, out: &mut Vec<u8>) {
        let many = |sigil: char, items: &[Reply], out: &mut Vec<u8>| {
            out.extend(format!("{sigil}{}\r\n", items.len()).bytes());
            items.iter().for_each(|item| encode(item, out));
        };
        match reply {
            Reply::Nil => out.extend(b"_\r\n"),
            Reply::Int(n) => out.extend(format!(":{n}\r\n").bytes()),
            Reply::Double(n) => out.extend(format!(",{n:?}\r\n").bytes()),
            Reply::Bool(b) => out.extend(format!("#{}\r\n", if *b { 't' } else { 'f' }).bytes()),
            Reply::Bulk(b) => {
                out.extend(format!("${}\r\n", b.len()).bytes());
                out.extend_from_slice(b);
                out.extend(b"\r\n");
            }
            Reply::Simple(b) => out.extend([b"+", &b[..], b"\r\n"].concat()),
            Reply::BigNumber(b) => out.extend([b"(", &b[..], b"\r\n"].concat()),
            Reply::Error(b) => out.extend([b"-", &b[..], b"\r\n"].concat()),
            Reply::Array(items) => many('*', items, out),
            Reply::Set(items) => many('~', items, out),
            Reply::Push(items) => many('>', items, out),
            Reply::Map(pairs) => {
                out.extend(format!("%{}\r\n", pairs.len()).bytes());
                for (key, value) in pairs {
                    encode(key, out);
                    encode(value, out);
                }
            }
        }
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let line = "[ -~]{0,12}".prop_map(|s| Bytes::from(s.into_bytes()));
        let leaf = prop_oneof![
            Just(Reply::Nil),
            any::<i64>().prop_map(Reply::Int),
            any::<bool>().prop_map(Reply::Bool),
            (-1e9f64..1e9).prop_map(Reply::Double),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| Reply::Bulk(b.into())),
            line.clone().prop_map(Reply::Simple),
            line.prop_map(Reply::Error),
            "-?[0-9]{1,30}".prop_map(|s| Reply::BigNumber(s.into_bytes().into())),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let many = proptest::collection::vec(inner.clone(), 0..6);
            prop_oneof![
                many.clone().prop_map(Reply::Array),
                many.clone().prop_map(Reply::Set),
                many.prop_map(Reply::Push),
                proptest::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
            ]
        })
    }

    #[test]
    fn a_long_status_or_error_is_a_reply_and_a_long_number_is_none() {
        let long = "x".repeat(3 * MAX_LINE);
        let of = |sigil: char| read_all(format!("{sigil}{long}\r\n:1\r\n").as_bytes());
        let line = Bytes::from(long.clone());
        assert_eq!(of('+'), Ok(vec![Reply::Simple(line.clone()), Reply::Int(1)]));
        assert_eq!(of('-'), Ok(vec![Reply::Error(line), Reply::Int(1)]));
        assert_eq!(of(':'), Err(ProtocolError("a line too long")));
        let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
        for piece in format!("-{long}").as_bytes().chunks(1000) {
            buffer.extend_from_slice(piece);
            assert_eq!(reader.next(&mut buffer), Ok(None));
        }
        buffer.extend_from_slice(b"\r");
        assert_eq!(reader.next(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"\n");
        assert_eq!(reader.next(&mut buffer), Ok(Some(Reply::Error(Bytes::from(long)))));
    }

    proptest! {
        #[test]
        fn replies_are_the_same_wherever_the_bytes_are_split(replies in proptest::collection::vec(reply(), 1..4)) {
            let mut bytes = Vec::new();
            replies.iter().for_each(|reply| encode(reply, &mut bytes));
            for split in 0..=bytes.len() {
                let mut reader = Reader::default();
                let mut buffer = BytesMut::new();
                let mut got = Vec::new();
                for part in [&bytes[..split], &bytes[split..]] {
                    buffer.extend_from_slice(part);
                    while let Some(reply) = reader.next(&mut buffer).unwrap() {
                        got.push(reply);
                    }
                }
                prop_assert_eq!(&got, &replies);
                prop_assert!(buffer.is_empty());
            }
        }

        #[test]
        fn any_bytes_at_all_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn the_reader_agrees_with_the_redis_crate(bytes in proptest::collection::vec(any::<u8>(), 0..60), n in any::<i64>()) {
            let mut wire = format!("*3\r\n:{n}\r\n${}\r\n", bytes.len()).into_bytes();
            wire.extend_from_slice(&bytes);
            wire.extend_from_slice(b"\r\n$-1\r\n");
            let theirs = redis::parse_redis_value(&wire).unwrap();
            prop_assert_eq!(theirs, redis::Value::Array(vec![redis::Value::Int(n), redis::Value::BulkString(bytes.clone()), redis::Value::Nil]));
            let ours = read_all(&wire).unwrap();
            prop_assert_eq!(ours, vec![Reply::Array(vec![Reply::Int(n), Reply::Bulk(bytes.into()), Reply::Nil])]);
        }

        #[test]
        fn packing_is_what_the_redis_crate_packs(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..30), 1..6)) {
            let mut out = BytesMut::new();
            pack(&mut out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let mut cmd = redis::Cmd::new();
            args.iter().for_each(|arg| { cmd.arg(&arg[..]); });
            prop_assert_eq!(&out[..], &cmd.get_packed_command()[..]);
        }
    }

    #[test]
    fn announced_lengths_are_not_allocated() {
        let mut buffer = BytesMut::from(&b"$1000000000\r\nabc"[..]);
        assert_eq!(Reader::default().next(&mut buffer), Ok(None));
        assert!(buffer.capacity() < 1 << 20);
        assert!(read_all(b"*1000000000\r\n:1\r\n").unwrap().is_empty());
    }

    #[test]
    fn attributes_are_skipped_and_nulls_of_resp2_are_nil() {
        assert_eq!(read_all(b"|1\r\n+ttl\r\n:3\r\n:7\r\n").unwrap(), [Reply::Int(7)]);
        assert_eq!(read_all(b"*-1\r\n$-1\r\n").unwrap(), [Reply::Nil, Reply::Nil]);
        assert_eq!(read_all(b"=7\r\ntxt:abc\r\n").unwrap(), [Reply::Bulk("abc".into())]);
    }

    #[test]
    fn nonsense_is_refused() {
        for wire in
            [&b"\r\n"[..], b"?1\r\n", b":1x\r\n", b"$-2\r\n", b"$2\r\nabcd", b"#x\r\n", b":9223372036854775808\r\n"]
        {
            assert!(read_all(wire).is_err(), "{wire:?}");
        }
        assert!(read_all(&b"*1\r\n".repeat(300)).is_err());
    }
}
