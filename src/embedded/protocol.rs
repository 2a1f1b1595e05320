//! The request parser: RESP arrays of bulk strings, and inline commands.
//!
//! The parser remembers its position in an incomplete command. So a command that arrives in a thousand pieces is not read a
//! thousand times. No memory is reserved for bytes that were only announced.

const MAX_INLINE: usize = 64 * 1024;
const MAX_BULK: i64 = 512 * 1024 * 1024;
const MAX_ARGS: i64 = i32::MAX as i64;
/// Up to this many arguments are passed on without an allocation.
const FEW: usize = 8;

/// The result of parsing the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// One whole command of this many bytes. [`Parser::with_args`] gives its arguments.
    Command(usize),
    /// No command in this many bytes: an empty line or an empty array.
    Nothing(usize),
    /// More bytes are needed.
    Incomplete,
    /// A violation of the protocol: the text after `-ERR `. The connection is closed after this reply.
    Broken(String),
}

/// The state of one connection's parser. Positions count from the start of the command.
#[derive(Debug, Default)]
pub(super) struct Parser {
    at: usize,
    /// How many arguments are still to come; `None` before the `*` line was read.
    missing: Option<usize>,
    /// The announced length of the argument being read.
    bulk: Option<usize>,
    ranges: Vec<(usize, usize)>,
    /// The words of an inline command. With quotes they differ from the bytes of the line.
    inline: Option<Vec<Vec<u8>>>,
}

impl Parser {
    /// Continues to parse `bytes`, which must start where the current command starts.
    pub(super) fn parse(&mut self, bytes: &[u8]) -> Parsed {
        if self.missing.is_none() {
            self.reset();
            match bytes.first() {
                None => return Parsed::Incomplete,
                Some(b'*') => {
                    let line = match line(bytes, 0, "too big mbulk count string") {
                        Ok(Some(line)) => line,
                        Ok(None) => return Parsed::Incomplete,
                        Err(text) => return Parsed::Broken(text.clone()),
                    };
                    let count = match super::number::integer(&bytes[1..line]) {
                        Some(n) if n <= MAX_ARGS => n,
                        _ => {
                            return Parsed::Broken("Protocol error: invalid multibulk length".to_owned());
                        }
                    };
                    self.at = line + 2;
                    match usize::try_from(count) {
                        Ok(count) if count > 0 => self.missing = Some(count),
                        _ => return Parsed::Nothing(self.at),
                    }
                }
                Some(_) => return self.parse_inline(bytes),
            }
        }
        self.parse_bulks(bytes)
    }

    fn parse_bulks(&mut self, bytes: &[u8]) -> Parsed {
        while let Some(missing) = self.missing.filter(|&n| n > 0) {
            let len = match self.bulk {
                Some(len) => len,
                None => match self.bulk_length(bytes) {
                    Ok(Some(len)) => len,
                    Ok(None) => return Parsed::Incomplete,
                    Err(text) => return Parsed::Broken(text),
                },
            };
            if bytes.len() < self.at + len + 2 {
                self.bulk = Some(len);
                return Parsed::Incomplete;
            }
            self.ranges.push((self.at, self.at + len));
            self.at += len + 2;
            self.bulk = None;
            self.missing = Some(missing - 1);
        }
        self.missing = None;
        Parsed::Command(self.at)
    }

    fn bulk_length(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let Some(end) = line(bytes, self.at, "too big bulk count string")? else {
            return Ok(None);
        };
        if bytes[self.at] != b'$' {
            return Err(format!("Protocol error: expected '$', got '{}'", char::from(bytes[self.at])));
        }
        let len = super::number::integer(&bytes[self.at + 1..end])
            .filter(|n| (0..=MAX_BULK).contains(n))
            .and_then(|n| usize::try_from(n).ok())
            .ok_or("Protocol error: invalid bulk length")?;
        self.at = end + 2;
        Ok(Some(len))
    }

    fn parse_inline(&mut self, bytes: &[u8]) -> Parsed {
        let Some(end) = bytes.iter().take(MAX_INLINE + 1).position(|&b| b == b'\n') else {
            return if bytes.len() > MAX_INLINE {
                Parsed::Broken("Protocol error: too big inline request".to_owned())
            } else {
                Parsed::Incomplete
            };
        };
        let text = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        match words(text) {
            None => Parsed::Broken("Protocol error: unbalanced quotes in request".to_owned()),
            Some(words) if words.is_empty() => Parsed::Nothing(end + 1),
            Some(words) => {
                self.inline = Some(words);
                Parsed::Command(end + 1)
            }
        }
    }

    /// Calls `act` with the arguments of the command that was just parsed. Commands with few arguments need no allocation.
    pub(super) fn with_args<T>(&self, bytes: &[u8], act: impl FnOnce(&[&[u8]]) -> T) -> T {
        let slice = |&(from, to): &(usize, usize)| &bytes[from..to];
        match &self.inline {
            Some(words) => act(&words.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            None if self.ranges.len() <= FEW => {
                let mut few = [&[][..]; FEW];
                for (arg, range) in few.iter_mut().zip(&self.ranges) {
                    *arg = slice(range);
                }
                act(&few[..self.ranges.len()])
            }
            None => act(&self.ranges.iter().map(slice).collect::<Vec<_>>()),
        }
    }

    /// Forgets the current command.
    pub(super) fn reset(&mut self) {
        self.at = 0;
        self.missing = None;
        self.bulk = None;
        self.ranges.clear();
        self.inline = None;
    }
}

/// The position of the CR that ends the line starting at `from`.
fn line(bytes: &[u8], from: usize, too_big: &str) -> Result<Option<usize>, String> {
    let rest = bytes.get(from..).unwrap_or_default();
    match rest.iter().take(MAX_INLINE + 1).position(|&b| b == b'\r') {
        Some(at) if from + at + 1 < bytes.len() => Ok(Some(from + at)),
        None if rest.len() > MAX_INLINE => Err(format!("Protocol error: {too_big}")),
        _ => Ok(None),
    }
}

/// Splits a line into words with Redis' quoting rules; `None` when a quote does not close.
fn words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while text.get(at).is_some_and(|&b| blank(b)) {
            at += 1;
        }
        if at >= text.len() || text[at] == 0 {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            match text.get(at) {
                None | Some(0) => break,
                Some(&b) if blank(b) => break,
                Some(&quote @ (b'"' | b'\'')) => {
                    at = quoted(text, at + 1, quote, &mut word)?;
                    if text.get(at).is_some_and(|&b| !blank(b) && b != 0) {
                        return None;
                    }
                    break;
                }
                Some(&b) => {
                    word.push(b);
                    at += 1;
                }
            }
        }
        words.push(word);
    }
}

fn blank(b: u8) -> bool {
    b.is_ascii_whitespace() || b == 0x0b
}

/// Reads to the closing quote; the position after it.
fn quoted(text: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        let b = *text.get(at)?;
        if b == quote {
            return Some(at + 1);
        }
        if b == b'\\' && quote == b'"' {
            let hex = |i: usize| text.get(i).and_then(|&b| char::from(b).to_digit(16));
            if text.get(at + 1) == Some(&b'x')
                && let (Some(high), Some(low)) = (hex(at + 2), hex(at + 3))
            {
                word.push(u8::try_from(high * 16 + low).unwrap_or(0));
                at += 4;
                continue;
            }
            word.push(match *text.get(at + 1)? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => other,
            });
            at += 2;
        } else if b == b'\\' && text.get(at + 1) == Some(&b'\'') {
            word.push(b'\'');
            at += 2;
        } else {
            word.push(b);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All results of a parser that gets the given pieces.
    fn read(pieces: &[&[u8]]) -> Vec<Result<Vec<Vec<u8>>, String>> {
        let mut parser = Parser::default();
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match parser.parse(&buffer) {
                    Parsed::Command(used) => {
                        found.push(Ok(parser.with_args(&buffer, |args| args.iter().map(|arg| arg.to_vec()).collect())));
                        parser.reset();
                        buffer.drain(..used);
                    }
                    Parsed::Nothing(used) => {
                        parser.reset();
                        buffer.drain(..used);
                    }
                    Parsed::Incomplete => break,
                    Parsed::Broken(text) => {
                        found.push(Err(text));
                        return found;
                    }
                }
            }
        }
        found
    }

    #[test]
    fn inline_commands_and_arrays_are_read() {
        let found = read(&[b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nping \"a\\x41\" 'b c'\r\n\r\n*0\r\n*-1\r\n"]);
        assert_eq!(
            found,
            vec![Ok(vec![b"GET".to_vec(), b"a".to_vec()]), Ok(vec![b"ping".to_vec(), b"aA".to_vec(), b"b c".to_vec()])]
        );
    }

    #[test]
    fn violations_of_the_protocol_get_the_errors_of_redis() {
        for (bytes, text) in [
            (&b"*x\r\n"[..], "Protocol error: invalid multibulk length"),
            (b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
            (b"get \"a\r\n", "Protocol error: unbalanced quotes in request"),
        ] {
            assert_eq!(read(&[bytes]), vec![Err(text.to_owned())]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_split_anywhere_read_the_same(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                proptest::collection::vec(proptest::sample::select(b"*$123-\r\n\"'\\ax \0".to_vec()), 0..200),
            ],
        ) {
            let whole = read(&[&bytes]);
            for at in 0..=bytes.len() {
                prop_assert_eq!(&read(&[&bytes[..at], &bytes[at..]]), &whole);
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&read(&single), &whole);
        }
    }
}
