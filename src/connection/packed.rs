//! Commands, packed word by word into one buffer.

use bytes::BytesMut;

use super::command::Command;
use super::script::Script;
use crate::keys::Namespace;
use crate::resp;
use crate::telemetry::Operation;

/// A command, or several in a row, being packed.
#[derive(Debug)]
pub struct Packed {
    out: BytesMut,
    commands: u32,
}

impl Packed {
    /// Room for `size` bytes of keys and values.
    #[must_use]
    pub fn sized(size: usize) -> Self {
        Self { out: BytesMut::with_capacity(size + 96), commands: 0 }
    }

    /// Begins a command of `words` words; `name` is the first of them.
    #[must_use]
    pub fn begin(mut self, words: usize, name: &[u8]) -> Self {
        resp::begin(&mut self.out, words);
        self.commands += 1;
        self.word(name)
    }

    /// Begins a call of `script` with `keys` keys and `args` arguments.
    #[must_use]
    pub fn script(self, script: &Script, keys: usize, args: usize) -> Self {
        self.begin(3 + keys + args, b"EVALSHA").word(script.digest().as_bytes()).number(keys as u64)
    }

    #[must_use]
    pub fn word(mut self, word: &[u8]) -> Self {
        resp::push(&mut self.out, word);
        self
    }

    /// Any number of words.
    #[must_use]
    pub fn words<'a>(self, words: impl IntoIterator<Item = &'a [u8]>) -> Self {
        words.into_iter().fold(self, Self::word)
    }

    #[must_use]
    pub fn key(mut self, namespace: &Namespace, key: &[u8]) -> Self {
        resp::push_joined(&mut self.out, namespace.prefix(), key);
        self
    }

    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut left = number;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
            if left == 0 {
                break;
            }
        }
        resp::push(&mut self.out, &digits[at..]);
        self
    }

    #[must_use]
    pub fn signed(self, number: i64) -> Self {
        match u64::try_from(number) {
            Ok(number) => self.number(number),
            Err(_) => self.word(number.to_string().as_bytes()),
        }
    }

    /// A command that only reads.
    #[must_use]
    pub fn reads(self, operation: Operation) -> Command {
        self.command(operation, true, None)
    }

    /// A command that may write.
    #[must_use]
    pub fn writes(self, operation: Operation) -> Command {
        self.command(operation, false, None)
    }

    /// A call of `script` that may write.
    #[must_use]
    pub fn runs(self, operation: Operation, script: &Script) -> Command {
        self.command(operation, false, Some(script.clone()))
    }

    /// A call of `script` that may be sent twice: the script only reads, or a repetition gives the same answer.
    #[must_use]
    pub fn runs_repeatable(self, operation: Operation, script: &Script) -> Command {
        self.command(operation, true, Some(script.clone()))
    }

    fn command(self, operation: Operation, safe: bool, script: Option<Script>) -> Command {
        Command { payload: self.out.freeze(), replies: self.commands, safe, operation, script }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keys_and_numbers_are_packed_as_redis_reads_them() {
        let packed = Packed::sized(0)
            .begin(5, b"SET")
            .key(&Namespace::NONE.join("app"), b"k")
            .word(b"\r\n")
            .number(1_203)
            .signed(-7);
        let command = packed.writes(Operation::named("test"));
        assert_eq!(&command.payload[..], b"*5\r\n$3\r\nSET\r\n$5\r\napp:k\r\n$2\r\n\r\n\r\n$4\r\n1203\r\n$2\r\n-7\r\n");
        assert_eq!((command.replies, command.safe), (1, false));
    }
}
