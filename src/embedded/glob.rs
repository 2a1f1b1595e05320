//! Redis' glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

/// Whether the whole `text` matches. It does not recurse, and a pattern of many stars does not take exponential time.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // The position of the last star, and the end of the text that it matches so far. Earlier stars never need to match more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = (p < pattern.len()).then(|| one(pattern, p, text[t])).flatten() {
            p = next;
            t += 1;
            continue;
        }
        match star {
            Some((after, from)) => {
                star = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            None => return false,
        }
    }
}

/// Matches one byte against the pattern element at `p`. Gives the position after the element if it matches.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    while let Some(&c) = pattern.get(p) {
        if c == b'\\' && p + 1 < pattern.len() {
            p += 1;
            found |= pattern[p] == byte;
        } else if c == b']' {
            p += 1;
            return (found != negated).then_some(p);
        } else if p + 2 < pattern.len() && pattern[p + 1] == b'-' {
            let (low, high) = (c.min(pattern[p + 2]), c.max(pattern[p + 2]));
            p += 2;
            found |= (low..=high).contains(&byte);
        } else {
            found |= c == byte;
        }
        p += 1;
    }
    // An unclosed class ends with the pattern.
    (found != negated).then_some(pattern.len())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[abc", "b", true),
            ("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("**x", "abcx", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
