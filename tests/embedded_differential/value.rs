//! Replies, read without the package's own reader, so that a fault in the reader does not hide a fault in the engine.

/// A reply; the nulls of RESP2 have the kind of RESP3's and say in `text` which of the two they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) kind: u8,
    pub(crate) text: Vec<u8>,
    pub(crate) items: Vec<Value>,
}

impl Value {
    fn show(&self, out: &mut String) {
        out.push(char::from(self.kind));
        out.push_str(&self.text.escape_ascii().to_string());
        if matches!(self.kind, b'*' | b'%' | b'~' | b'>') {
            out.push('[');
            for item in &self.items {
                item.show(out);
                out.push(' ');
            }
            out.push(']');
        }
    }

    pub(crate) fn shown(&self) -> String {
        let mut out = String::new();
        self.show(&mut out);
        out
    }

    pub(crate) fn is_error(&self) -> bool {
        self.kind == b'-'
    }

    pub(crate) fn number(&self) -> Option<i64> {
        std::str::from_utf8(&self.text).ok()?.parse().ok()
    }

    pub(crate) fn sort(&mut self) {
        self.items.sort();
    }

    pub(crate) fn sort_pairs(&mut self) {
        let mut pairs: Vec<Vec<Value>> = self.items.chunks(2).map(<[Value]>::to_vec).collect();
        pairs.sort();
        self.items = pairs.concat();
    }

    /// In the replies of XINFO and XPENDING: what follows the name of a time, and the time of each pending entry.
    pub(crate) fn erase_times(&mut self) {
        const NAMES: [&[u8]; 6] =
            [b"idle", b"inactive", b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"];
        let kinds: Vec<u8> = self.items.iter().map(|item| item.kind).collect();
        match kinds[..] {
            // Id, consumer, time, deliveries; or without the consumer.
            [b'$', b'$', b':', b':'] => self.items[2].erase_numbers(),
            [b'$', b':', b':'] => self.items[1].erase_numbers(),
            _ => {}
        }
        let named = |item: &Value| item.kind == b'$' && NAMES.contains(&&item.text[..]);
        for at in 1..self.items.len() {
            if named(&self.items[at - 1]) {
                self.items[at].erase_numbers();
            }
        }
        self.items.iter_mut().for_each(Value::erase_times);
    }

    pub(crate) fn erase_numbers(&mut self) {
        if self.kind == b':' {
            self.text = b"#".to_vec();
        }
        self.items.iter_mut().for_each(Value::erase_numbers);
    }
}

/// Reads one reply. Returns the number of bytes used, or `None` if the reply is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let kind = bytes[0];
    let head = &bytes[1..end];
    let mut at = end + 2;
    let number = || std::str::from_utf8(head).unwrap().parse::<i64>().unwrap();
    let mut value = Value { kind, text: Vec::new(), items: Vec::new() };
    match kind {
        b'$' | b'=' if number() >= 0 => {
            let len = usize::try_from(number()).unwrap();
            value.text = bytes.get(at..at + len)?.to_vec();
            at += len + 2;
            if at > bytes.len() {
                return None;
            }
        }
        b'*' | b'~' | b'>' | b'%' if number() >= 0 => {
            let n = usize::try_from(number()).unwrap() * if kind == b'%' { 2 } else { 1 };
            for _ in 0..n {
                let (item, used) = parse(&bytes[at..])?;
                value.items.push(item);
                at += used;
            }
        }
        b'$' | b'*' => value = Value { kind: b'_', text: bytes[..end].to_vec(), items: Vec::new() },
        _ => value.text = head.to_vec(),
    }
    Some((value, at))
}
