//! Finding a command, and the keys among its arguments.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use super::table::{CONTAINER, Spec, TABLE};
use super::{Args, is};
use crate::embedded::reply::Fault;

fn index() -> &'static FxHashMap<&'static [u8], &'static Spec> {
    static INDEX: OnceLock<FxHashMap<&'static [u8], &'static Spec>> = OnceLock::new();
    INDEX.get_or_init(|| TABLE.iter().map(|spec| (spec.name.as_bytes(), spec)).collect())
}

/// The longest name with its subcommand fits well within this.
const LONGEST: usize = 40;

fn lookup(parts: [&[u8]; 2]) -> Option<&'static Spec> {
    let mut name = [0u8; LONGEST];
    let mut len = 0;
    for (i, part) in parts.into_iter().enumerate() {
        if i == 1 {
            if part.is_empty() {
                break;
            }
            *name.get_mut(len)? = b'|';
            len += 1;
        }
        let room = name.get_mut(len..len + part.len())?;
        room.copy_from_slice(part);
        room.make_ascii_lowercase();
        len += part.len();
    }
    index().get(&name[..len]).copied()
}

/// By name alone, for COMMAND INFO and its like: `get`, or `client|id`.
pub(in crate::embedded) fn by_name(name: &[u8]) -> Option<&'static Spec> {
    lookup([name, b""])
}

pub(in crate::embedded) fn all() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().filter(|spec| !spec.name.contains('|'))
}

/// The command these arguments name, if it exists and takes so many of them.
pub(in crate::embedded) fn find(args: Args<'_>) -> Result<&'static Spec, Fault> {
    let name = args[0];
    if name.contains(&b'|') {
        return Err(unknown(args));
    }
    let Some(mut spec) = lookup([name, b""]) else {
        return Err(unknown(args));
    };
    if spec.has(CONTAINER) && args.len() > 1 {
        let sub = if args[1].is_empty() { &b"|"[..] } else { args[1] };
        spec = lookup([name, sub]).ok_or_else(|| {
            let text = [b"ERR unknown subcommand '", visible(args[1], 128), b"'. Try "].concat();
            Fault::new([&text[..], name.to_ascii_uppercase().as_slice(), b" HELP."].concat())
        })?;
    }
    if spec.fits(args.len()) { Ok(spec) } else { Err(Fault::arity(spec.name)) }
}

/// What C's `%.<limit>s` shows of these bytes.
fn visible(bytes: &[u8], limit: usize) -> &[u8] {
    let shown = &bytes[..bytes.len().min(limit)];
    shown.iter().position(|&b| b == 0).map_or(shown, |at| &shown[..at])
}

fn unknown(args: Args<'_>) -> Fault {
    let mut shown = Vec::new();
    for arg in &args[1..] {
        if shown.len() >= 128 {
            break;
        }
        let part = visible(arg, 128 - shown.len());
        shown.extend_from_slice(&[b"'", part, b"' "].concat());
    }
    Fault::new([b"ERR unknown command '", visible(args[0], 128), b"', with args beginning with: ", &shown].concat())
}

/// Where commands say themselves how many keys follow: the command, keys before that number, the number's place.
const COUNTED: &[(&str, usize, usize)] = &[
    ("blmpop", 0, 2),
    ("bzmpop", 0, 2),
    ("eval", 0, 2),
    ("eval_ro", 0, 2),
    ("evalsha", 0, 2),
    ("evalsha_ro", 0, 2),
    ("lmpop", 0, 1),
    ("sintercard", 0, 1),
    ("zdiff", 0, 1),
    ("zdiffstore", 1, 2),
    ("zinter", 0, 1),
    ("zintercard", 0, 1),
    ("zinterstore", 1, 2),
    ("zmpop", 0, 1),
    ("zunion", 0, 1),
    ("zunionstore", 1, 2),
];

/// The keys among the arguments; `None` where these make no sense.
pub(in crate::embedded) fn keys<'a>(spec: &Spec, args: Args<'a>) -> Option<Vec<&'a [u8]>> {
    if let Some(&(_, before, at)) = COUNTED.iter().find(|counted| counted.0 == spec.name) {
        // As C's `atoi` reads it; less than none is none.
        let number = args.get(at)?.trim_ascii_start();
        let digits = number.strip_prefix(b"+").unwrap_or(number).iter().take_while(|b| b.is_ascii_digit());
        let count = digits.fold(0_usize, |n, digit| n.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
        return match args.get(at + 1..at + 1 + count.min(args.len())).filter(|keys| !keys.is_empty()) {
            Some(keys) => Some([&args[1..=before], keys].concat()),
            // Only a script may have none.
            None => spec.name.starts_with("eval").then(Vec::new),
        };
    }
    match spec.name {
        "xread" | "xreadgroup" => {
            let from = args.iter().position(|word| is(word, "streams"))? + 1;
            let pairs = args[from..].len();
            return (pairs > 1).then(|| args[from..from + pairs / 2].to_vec());
        }
        "sort" | "georadius" | "georadiusbymember" => {
            let named = |pair: &&[&'a [u8]]| is(pair[0], "store") || is(pair[0], "storedist");
            let stores = args.windows(2).rfind(named).map(|pair| pair[1]);
            return Some([args[1]].into_iter().chain(stores).collect());
        }
        _ => {}
    }
    let (first, last, step) = spec.keys;
    let (Ok(first), Ok(step)) = (usize::try_from(first), usize::try_from(step)) else {
        return Some(Vec::new());
    };
    if first == 0 {
        return Some(Vec::new());
    }
    let last = match usize::try_from(last) {
        Ok(last) => last + 1,
        Err(_) => args.len() + 1 - usize::from(last.unsigned_abs()),
    };
    Some(args.iter().take(last).skip(first).step_by(step).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        assert_eq!(index().len(), TABLE.len());
        assert!(TABLE.iter().all(|s| s.name == s.name.to_lowercase() && s.name.len() < LONGEST));
    }

    #[test]
    fn unknown_commands_get_redis_words() {
        let fault = find(&[b"FOO", b"a", b"b"]).unwrap_err();
        assert_eq!(&*fault.0, b"ERR unknown command 'FOO', with args beginning with: 'a' 'b' ");
    }
}
