use super::*;
use proptest::prelude::*;

const ANY: usize = usize::MAX;

fn read_with(reader: &mut Reader, bytes: &[u8], piece: usize) -> Result<Vec<Read>, ProtocolError> {
    let (mut buffer, mut all) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some(read) = reader.next(&mut buffer)? {
            all.push(read);
        }
    }
    Ok(all)
}

/// The replies that a reader gives which keeps pushes and has no limit.
fn read_all(bytes: &[u8]) -> Result<Vec<Reply>, ProtocolError> {
    let all = read_with(&mut Reader::new(ANY).keeping_pushes(), bytes, usize::MAX)?;
    Ok(all.into_iter().filter_map(|read| if let Read::Reply(reply) = read { Some(reply) } else { None }).collect())
}

fn passed(why: Why) -> Read {
    Read::Passed(Passed { why, is_push: false, head: Vec::new() })
}

fn int(n: i64) -> Read {
    Read::Reply(Reply::Int(n))
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
fn a_long_status_is_read_a_long_error_is_cut_and_a_long_number_is_refused() {
    let long = "x".repeat(3 * 64 * 1024);
    let kept = Bytes::from(long[..64 * 1024].to_owned());
    for piece in [1000, 1 << 20] {
        let of = |wire: String| read_with(&mut Reader::new(ANY), wire.as_bytes(), piece);
        let simple = Read::Reply(Reply::Simple(long.clone().into()));
        assert_eq!(of(format!("+{long}\r\n:1\r\n")), Ok(vec![simple, int(1)]));
        let error = Read::Reply(Reply::Error(kept.clone()));
        assert_eq!(of(format!("-{long}\r\n:1\r\n")), Ok(vec![error.clone(), int(1)]));
        assert_eq!(of(format!("!{}\r\n{long}\r\n:1\r\n", long.len())), Ok(vec![error, int(1)]));
        let inside = Read::Reply(Reply::Array(vec![Reply::Error(kept.clone()), Reply::Int(2)]));
        assert_eq!(of(format!("*2\r\n-{long}\r\n:2\r\n:1\r\n")), Ok(vec![inside, int(1)]));
        assert_eq!(of(format!(":{long}\r\n")), Err(ProtocolError("a line too long")));
    }
}

#[test]
fn a_reply_over_the_limit_is_skipped_and_the_next_one_is_read() {
    let long = "x".repeat(5000);
    let elements = ":1\r\n".repeat(100);
    for wire in [
        format!("$5000\r\n{long}\r\n"),
        format!("=5000\r\n{long}\r\n"),
        format!("+{long}\r\n"),
        format!("({}\r\n", "1".repeat(5000)),
        format!("*3\r\n:1\r\n$5000\r\n{long}\r\n*1\r\n:2\r\n"),
        format!("*2\r\n-{long}\r\n-{long}\r\n"),
        // Few bytes on the wire, but the memory of each element counts.
        format!("*100\r\n{elements}"),
        format!("%50\r\n{elements}"),
        format!("*2\r\n*50\r\n{}~50\r\n{}", &elements[..200], &elements[..200]),
        // An attribute counts as part of the reply that contains it.
        format!("*3\r\n:1\r\n|1\r\n+a\r\n$5000\r\n{long}\r\n:2\r\n:3\r\n"),
    ] {
        for piece in [1, 7, 1 << 20] {
            let all = read_with(&mut Reader::new(2000), format!("{wire}:7\r\n").as_bytes(), piece);
            assert_eq!(all, Ok(vec![passed(Why::TooLong), int(7)]), "{wire:.40}");
        }
    }
}

#[test]
fn skipped_data_holds_no_memory() {
    let mut reader = Reader::new(1 << 20);
    for head in [&b"|100000000\r\n"[..], b">100000000\r\n", b"*100000000\r\n", b"$4000000000\r\n"] {
        let mut buffer = BytesMut::from(head);
        for _ in 0..200 {
            assert_eq!(reader.next(&mut buffer), Ok(None));
            buffer.extend_from_slice(&b":1\r\n".repeat(16 * 1024));
        }
        assert!(reader.open.is_empty() && buffer.capacity() < 1 << 20, "{head:?}");
        assert!(reader.passing().is_some());
        reader = Reader::new(1 << 20);
    }
}

#[test]
fn a_reply_nested_too_deep_is_skipped_and_the_next_one_is_read() {
    for depth in [257, 258, 1000, 100_000] {
        let wire = format!("{}:1\r\n:7\r\n", "*1\r\n".repeat(depth));
        assert_eq!(read_with(&mut Reader::new(ANY), wire.as_bytes(), 999), Ok(vec![passed(Why::TooDeep), int(7)]));
    }
    let wire = format!("{}:1\r\n", "*1\r\n".repeat(256));
    assert!(matches!(read_all(wire.as_bytes()).unwrap()[..], [Reply::Array(_)]));
}

#[test]
fn the_channel_of_a_push_over_the_limit_is_kept() {
    let wire = format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5000\r\n{}\r\n:7\r\n", "x".repeat(5000));
    let head = vec![Reply::Bulk("message".into()), Reply::Bulk("a".into())];
    let push = Read::Passed(Passed { why: Why::TooLong, is_push: true, head });
    assert_eq!(read_with(&mut Reader::new(2000).keeping_pushes(), wire.as_bytes(), 9), Ok(vec![push, int(7)]));
}

#[test]
fn unwanted_pushes_do_not_count_as_replies() {
    let push = Read::Passed(Passed { why: Why::Unwanted, is_push: true, head: Vec::new() });
    let mut reader = Reader::new(ANY);
    reader.pass_one();
    let all = read_with(&mut reader, b">2\r\n+invalidate\r\n*1\r\n+k\r\n>0\r\n:1\r\n:2\r\n", 3);
    assert_eq!(all, Ok(vec![push.clone(), push, passed(Why::Unwanted), int(2)]));
}

#[test]
fn a_hidden_text_is_removed_from_errors() {
    let mut reader = Reader::new(ANY).hiding(Some("hunter2".into()));
    let wire = b"-ERR hunter2 is not hunter2!\r\n*1\r\n-hunter2\r\n$7\r\nhunter2\r\n";
    let error = |text: &'static str| Reply::Error(text.into());
    assert_eq!(
        read_with(&mut reader, wire, usize::MAX),
        Ok(vec![
            Read::Reply(error("ERR [redacted] is not [redacted]!")),
            Read::Reply(Reply::Array(vec![error("[redacted]")])),
            Read::Reply(Reply::Bulk("hunter2".into())),
        ])
    );
}

proptest! {
    #[test]
    fn replies_are_the_same_wherever_the_bytes_are_split(replies in proptest::collection::vec(reply(), 1..4)) {
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| encode(reply, &mut bytes));
        for split in 0..=bytes.len() {
            let mut reader = Reader::new(ANY).keeping_pushes();
            let mut buffer = BytesMut::new();
            let mut got = Vec::new();
            for part in [&bytes[..split], &bytes[split..]] {
                buffer.extend_from_slice(part);
                while let Some(read) = reader.next(&mut buffer).unwrap() {
                    got.push(read);
                }
            }
            let expected: Vec<_> = replies.iter().cloned().map(Read::Reply).collect();
            prop_assert_eq!(&got, &expected);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn replies_after_a_skipped_reply_are_read(first in reply(), second in reply(), limit in 0usize..400, piece in 1usize..40, at in 0usize..400) {
        let mut bytes = Vec::new();
        encode(&first, &mut bytes);
        let middle = bytes.len();
        bytes.extend(b":77\r\n");
        encode(&second, &mut bytes);
        let (mut reader, mut buffer, mut all) = (Reader::new(limit), BytesMut::new(), Vec::new());
        let mut unwanted_at = (at < middle).then_some(at);
        for (number, part) in bytes.chunks(piece).enumerate() {
            // Only a reply that is still being read can become unwanted.
            if unwanted_at.is_some_and(|at| number * piece >= at) && number * piece < middle {
                unwanted_at = None;
                reader.pass_one();
            }
            buffer.extend_from_slice(part);
            while let Some(read) = reader.next(&mut buffer).unwrap() {
                all.push(read);
            }
        }
        if !matches!(first, Reply::Push(_)) {
            prop_assert_eq!(all.len(), 3);
            prop_assert_eq!(&all[1], &int(77));
        }
        prop_assert!(buffer.is_empty() && reader.open.is_empty() && reader.past.is_none());
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
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
}

#[test]
fn announced_lengths_are_not_allocated() {
    let mut buffer = BytesMut::from(&b"$1000000000\r\nabc"[..]);
    assert_eq!(Reader::new(ANY).next(&mut buffer), Ok(None));
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
fn malformed_input_is_refused() {
    for wire in [
        &b"\r\n"[..],
        b"?1\r\n",
        b":1x\r\n",
        b"$-2\r\n",
        b"$2\r\nabcd",
        b"#x\r\n",
        b">-1\r\n",
        b":9223372036854775808\r\n",
    ] {
        assert!(read_all(wire).is_err(), "{wire:?}");
    }
}
