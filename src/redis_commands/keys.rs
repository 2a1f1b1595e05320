//! Which words of a command are its keys.

/// Where the keys of a command are. Word 0 is its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Nowhere,
    /// First, last and step. A negative last is counted from the end.
    Range(u8, i8, u8),
    /// The word at this place is the number of keys; they follow it.
    Counted(u8),
    /// The third word is the number of keys; they follow it, and may be none.
    Script,
    /// The second word is a key. The third word is the number of further keys; they follow it.
    TargetAndCounted,
    /// The first half of the words after `STREAMS`.
    Streams,
    /// The fourth word, or all words after `KEYS`.
    Migrate,
    /// The second word, and the word after the last `STORE` or `STOREDIST` from this place on.
    Stored(u8),
    /// The server does not say. If there is a key, it is the third word.
    Unannounced,
}

impl Keys {
    /// The places of the keys with fixed places, as `COMMAND` gives them: first, last and step.
    #[must_use]
    pub const fn fixed(self) -> (u8, i8, u8) {
        match self {
            Self::Range(first, last, step) => (first, last, step),
            Self::TargetAndCounted | Self::Stored(_) => (1, 1, 1),
            Self::Migrate => (3, 3, 1),
            Self::Nowhere | Self::Counted(_) | Self::Script | Self::Streams | Self::Unannounced => (0, 0, 0),
        }
    }

    /// The keys among these words; `None` where they make no sense.
    #[must_use]
    pub fn among<'a>(self, words: &[&'a [u8]]) -> Option<Vec<&'a [u8]>> {
        match self {
            Self::Nowhere | Self::Unannounced => Some(Vec::new()),
            Self::Range(first, last, step) => {
                let end = if last < 0 {
                    (words.len() + 1).saturating_sub(usize::from(last.unsigned_abs()))
                } else {
                    usize::from(last.unsigned_abs()) + 1
                };
                Some(words.iter().take(end).skip(usize::from(first)).step_by(usize::from(step)).copied().collect())
            }
            Self::Counted(at) => counted(words, usize::from(at)),
            // Only a script may have no keys.
            Self::Script => words.get(2).map(|_| counted(words, 2).unwrap_or_default()),
            Self::TargetAndCounted => {
                let sources = counted(words, 2)?;
                Some([&words[1..=1], &sources].concat())
            }
            Self::Streams => {
                let from = behind(words, b"STREAMS")?;
                let pairs = words[from..].len();
                (pairs > 1).then(|| words[from..from + pairs / 2].to_vec())
            }
            Self::Migrate => match words.get(3) {
                Some(key) if !key.is_empty() => Some(vec![*key]),
                _ => Some(words[behind(words, b"KEYS")?..].to_vec()),
            },
            Self::Stored(from) => {
                let key = *words.get(1)?;
                Some(std::iter::once(key).chain(stored(words, usize::from(from))).collect())
            }
        }
    }
}

/// The keys after the word at `at`, which is their number. At least one.
fn counted<'a>(words: &[&'a [u8]], at: usize) -> Option<Vec<&'a [u8]>> {
    // As C's `atoi` reads the number; a negative number is 0.
    let number = words.get(at)?.trim_ascii_start();
    let digits = number.strip_prefix(b"+").unwrap_or(number).iter().take_while(|byte| byte.is_ascii_digit());
    let count = digits.fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    let keys = words.get(at + 1..at + 1 + count.min(words.len()))?;
    (!keys.is_empty()).then(|| keys.to_vec())
}

/// The place after `word`.
fn behind(words: &[&[u8]], word: &[u8]) -> Option<usize> {
    words.iter().position(|other| other.eq_ignore_ascii_case(word)).map(|at| at + 1)
}

/// The key after the last `STORE` or `STOREDIST`. As in the server, the values of `BY`, `GET` and `LIMIT` are skipped.
fn stored<'a>(words: &[&'a [u8]], from: usize) -> Option<&'a [u8]> {
    let mut found = None;
    let mut at = from;
    while let Some(word) = words.get(at) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        at += match () {
            () if is("STORE") || is("STOREDIST") => {
                found = words.get(at + 1).or(found.as_ref()).copied();
                1
            }
            () if is("BY") || is("GET") => 2,
            () if is("LIMIT") => 3,
            () => 1,
        };
    }
    found
}
