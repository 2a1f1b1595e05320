//! The payload of DUMP and RESTORE: a value in the format of an RDB file, a version, a checksum.
//!
//! Each type is written in its simplest encoding, which every Redis reads. All encodings that Redis 7 writes are read, except
//! those of streams and modules. Older encodings are read unless they use ziplists.

use std::sync::LazyLock;

use super::list::List;
use super::number;
use super::value::{Hash, Set, Value};
use super::zset::Zset;

/// The version of RDB files of Redis 7.0. It is the newest version that is read.
const VERSION: u16 = 10;
const FOOTER: usize = 10;

static CRC: LazyLock<crc::Crc<u64>> = LazyLock::new(|| crc::Crc::<u64>::new(&crc::CRC_64_REDIS));

mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET: u8 = 5;
    pub(super) const INTSET: u8 = 11;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const QUICKLIST: u8 = 18;
    pub(super) const SET_LISTPACK: u8 = 20;
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    match u32::try_from(len) {
        Ok(short @ 0..64) => out.push(short.to_le_bytes()[0]),
        Ok(long) => {
            out.push(0x80);
            out.extend_from_slice(&long.to_be_bytes());
        }
        Err(_) => {
            out.push(0x81);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    put_len(text.len(), out);
    out.extend_from_slice(text);
}

/// A value's payload; `None` for a stream.
pub(super) fn write(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match value {
        Value::Str(s) => {
            out.push(kind::STRING);
            put_text(&s.bytes, &mut out);
        }
        Value::List(list) => {
            out.push(kind::LIST);
            put_len(list.len(), &mut out);
            list.iter().for_each(|item| put_text(item, &mut out));
        }
        Value::Set(set) => {
            out.push(kind::SET);
            put_len(set.len(), &mut out);
            set.members().iter().for_each(|member| put_text(member, &mut out));
        }
        Value::Hash(hash) => {
            out.push(kind::HASH);
            put_len(hash.fields.len(), &mut out);
            for (field, value) in &hash.fields {
                put_text(field, &mut out);
                put_text(value, &mut out);
            }
        }
        Value::Zset(zset) => {
            out.push(kind::ZSET);
            put_len(zset.len(), &mut out);
            for (member, score) in zset.iter() {
                put_text(member, &mut out);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Value::Stream(_) => return None,
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = CRC.checksum(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Some(out)
}

/// The part of a payload that holds the value, if its version and checksum are right.
pub(super) fn verified(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, checksum) = footer.split_first_chunk::<2>()?;
    let known = u16::from_le_bytes(*version) <= VERSION;
    let sound = CRC.checksum(&payload[..body.len() + 2]).to_le_bytes() == *checksum;
    (known && sound).then_some(body)
}

/// Reads the value; `None` if it is malformed or of a kind that is not supported.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    let mut from = Source { rest: body };
    let value = match from.byte()? {
        kind::STRING => Value::string(from.text()?),
        kind::LIST => Value::List(from.many(Source::text)?.into_iter().map(Into::into).collect()),
        kind::SET => set(&from.many(Source::text)?)?,
        kind::HASH => hash(&from.many(|s| Some((s.text()?, s.text()?)))?)?,
        kind::ZSET => zset(&from.many(|s| Some((s.text()?, f64::from_le_bytes(s.take()?))))?)?,
        kind::INTSET => set(&intset(&from.text()?)?)?,
        kind::HASH_LISTPACK => hash(&pairs(listpack(&from.text()?)?)?)?,
        kind::ZSET_LISTPACK => {
            let scored = |(member, score): (Vec<u8>, Vec<u8>)| Some((member, number::float(&score)?));
            zset(&pairs(listpack(&from.text()?)?)?.into_iter().map(scored).collect::<Option<Vec<_>>>()?)?
        }
        kind::QUICKLIST => {
            let nodes = from.many(|s| match s.len()? {
                1 => Some(vec![s.text()?]),
                2 => listpack(&s.text()?),
                _ => None,
            })?;
            Value::List(nodes.concat().into_iter().map(Into::into).collect::<List>())
        }
        kind::SET_LISTPACK => set(&listpack(&from.text()?)?)?,
        _ => return None,
    };
    (from.rest.is_empty() && !value.is_empty()).then_some(value)
}

fn set(members: &[Vec<u8>]) -> Option<Value> {
    let mut set = Set::default();
    members.iter().all(|member| set.insert(member)).then_some(Value::Set(set))
}

fn hash(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<Value> {
    let mut hash = Hash::default();
    fields.iter().all(|(field, value)| hash.set(field, value)).then_some(Value::Hash(hash))
}

fn zset(members: &[(Vec<u8>, f64)]) -> Option<Value> {
    let mut zset = Zset::default();
    members.iter().all(|(member, score)| !score.is_nan() && zset.insert(member, *score)).then_some(Value::Zset(zset))
}

fn pairs(items: Vec<Vec<u8>>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    if items.len() % 2 == 1 {
        return None;
    }
    let mut items = items.into_iter();
    Some(std::iter::from_fn(|| items.next().zip(items.next())).collect())
}

struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    /// The length whose first byte is `first`.
    fn len_after(&mut self, first: u8) -> Option<usize> {
        match (first >> 6, first) {
            (0, _) => Some(usize::from(first & 63)),
            (1, _) => Some(usize::from(u16::from_be_bytes([first & 63, self.byte()?]))),
            (_, 0x80) => usize::try_from(u32::from_be_bytes(self.take()?)).ok(),
            (_, 0x81) => usize::try_from(u64::from_be_bytes(self.take()?)).ok(),
            _ => None,
        }
    }

    fn len(&mut self) -> Option<usize> {
        let first = self.byte()?;
        self.len_after(first)
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let integer = |n: i64| Some(number::i64_bytes(n));
        match self.byte()? {
            0xc0 => integer(i8::from_le_bytes(self.take()?).into()),
            0xc1 => integer(i16::from_le_bytes(self.take()?).into()),
            0xc2 => integer(i32::from_le_bytes(self.take()?).into()),
            0xc3 => {
                let (packed, plain) = (self.len()?, self.len()?);
                unpack(self.bytes(packed)?, plain)
            }
            first => {
                let len = self.len_after(first)?;
                self.bytes(len).map(<[u8]>::to_vec)
            }
        }
    }

    /// Reads a count and that many items. No memory is reserved for the count alone.
    fn many<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.len()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }
}

/// Decompresses LZF: runs of literal bytes, and copies of bytes that were decompressed before.
fn unpack(packed: &[u8], plain: usize) -> Option<Vec<u8>> {
    let mut from = Source { rest: packed };
    let mut out = Vec::new();
    while !from.rest.is_empty() {
        let control = usize::from(from.byte()?);
        if control < 32 {
            out.extend_from_slice(from.bytes(control + 1)?);
        } else {
            let long = if control >> 5 == 7 { usize::from(from.byte()?) } else { 0 };
            let back = (control & 31) << 8 | usize::from(from.byte()?);
            let start = out.len().checked_sub(back + 1)?;
            for i in 0..(control >> 5) + long + 2 {
                out.push(out[start + i]);
            }
        }
        if out.len() > plain {
            return None;
        }
    }
    (out.len() == plain).then_some(out)
}

fn intset(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut from = Source { rest: bytes };
    let width = u32::from_le_bytes(from.take()?);
    let count = usize::try_from(u32::from_le_bytes(from.take()?)).ok()?;
    let mut members = Vec::new();
    for _ in 0..count {
        let member = match width {
            2 => i16::from_le_bytes(from.take()?).into(),
            4 => i32::from_le_bytes(from.take()?).into(),
            8 => i64::from_le_bytes(from.take()?),
            _ => return None,
        };
        members.push(number::i64_bytes(member));
    }
    Some(members)
}

fn listpack(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut from = Source { rest: bytes };
    let total = u32::from_le_bytes(from.take()?);
    let _count = from.bytes(2)?;
    if usize::try_from(total).ok()? != bytes.len() {
        return None;
    }
    let mut items = Vec::new();
    loop {
        let before = from.rest.len();
        let item = match from.byte()? {
            0xff => return from.rest.is_empty().then_some(items),
            b @ 0..0x80 => number::i64_bytes(b.into()),
            b @ 0x80..0xc0 => from.bytes(usize::from(b & 63))?.to_vec(),
            b @ 0xc0..0xe0 => {
                let bits = u16::from_be_bytes([b & 31, from.byte()?]).cast_signed();
                number::i64_bytes(i64::from(bits << 3 >> 3))
            }
            b @ 0xe0..0xf0 => {
                let len = u16::from_be_bytes([b & 15, from.byte()?]);
                from.bytes(usize::from(len))?.to_vec()
            }
            0xf0 => {
                let len = usize::try_from(u32::from_le_bytes(from.take()?)).ok()?;
                from.bytes(len)?.to_vec()
            }
            0xf1 => number::i64_bytes(i16::from_le_bytes(from.take()?).into()),
            0xf2 => {
                let [a, b, c] = from.take()?;
                number::i64_bytes(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
            }
            0xf3 => number::i64_bytes(i32::from_le_bytes(from.take()?).into()),
            0xf4 => number::i64_bytes(i64::from_le_bytes(from.take()?)),
            _ => return None,
        };
        items.push(item);
        // The length is repeated, for reading backwards.
        let back = match before - from.rest.len() {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        from.bytes(back)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_payload_is_read_as_it_was_written() {
        let mut zset = Zset::default();
        zset.insert(b"a", -1.5);
        let mut hash = Hash::default();
        hash.set(b"f", &[0xff; 70]);
        let list: List = [&b""[..], b"x\r\n"].into_iter().map(Into::into).collect();
        for value in [Value::string("text"), Value::List(list), Value::Zset(zset), Value::Hash(hash)] {
            let payload = write(&value).unwrap();
            let back = read(verified(&payload).unwrap()).unwrap();
            assert_eq!(write(&back), Some(payload));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0u8..24, bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = verified(&bytes);
            let _ = read(&[&[kind], &bytes[..]].concat());
        }
    }
}
