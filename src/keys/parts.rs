//! Parts of keys as an enum, so that code names a key by its content and not by its place in a list.

use bytes::{Bytes, BytesMut};

/// Declares an enum of the parts in their order, with `ALL` parts, and the `text` of each.
macro_rules! parts {
    ($(#[$meta:meta])* $name:ident { $($part:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($part,)+
        }

        impl $name {
            /// Every part, in order.
            pub const ALL: &'static [Self] = &[$(Self::$part,)+];

            /// How the part is spelt in a key.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$part => $text,)+
                }
            }
        }
    };
}

pub(super) use parts;

/// The key of `start`, `part` and `rest`.
pub(super) fn join(start: &[u8], part: &str, rest: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(start.len() + part.len() + rest.len());
    key.extend_from_slice(start);
    key.extend_from_slice(part.as_bytes());
    key.extend_from_slice(rest);
    key.freeze()
}

/// Reads the names that a script gives to its keys and arguments, so that a test can compare them with an enum of parts.
#[cfg(test)]
pub(crate) mod lua {
    /// The names in `local a, b = KEYS[1], KEYS[2]` or `local t = { a = KEYS[1] }`, by place. `list` is `KEYS` or `ARGV`.
    pub(crate) fn names<'a>(script: &'a str, list: &str) -> Vec<(usize, &'a str)> {
        let mut names = Vec::new();
        for line in script.lines().filter(|line| line.starts_with("local ") && line.contains(&format!("= {list}["))) {
            let (left, right) = line["local ".len()..].split_once(" = ").unwrap();
            if right.starts_with('{') {
                for field in right.trim_matches(['{', '}', ' ']).split(", ") {
                    let (name, value) = field.split_once(" = ").unwrap();
                    names.push((place(value, list), name));
                }
            } else {
                assert_eq!(left.split(", ").count(), right.split(", ").count(), "{line}");
                names.extend(left.split(", ").zip(right.split(", ")).map(|(name, value)| (place(value, list), name)));
            }
        }
        names
    }

    fn place(value: &str, list: &str) -> usize {
        value.strip_prefix(list).unwrap().trim_matches(['[', ']']).parse().unwrap()
    }

    /// The lines `-- KEYS[1]  sorted set  leases: …` of a header, without places: type and name.
    pub(crate) fn header(script: &str) -> Vec<(&str, &str)> {
        let lines = script.lines().filter_map(|line| line.strip_prefix("-- KEYS["));
        lines
            .map(|line| {
                let mut columns =
                    line.split_once(']').unwrap().1.split("  ").map(str::trim).filter(|text| !text.is_empty());
                let (kind, what) = (columns.next().unwrap(), columns.next().unwrap());
                (kind, what.split(':').next().unwrap())
            })
            .collect()
    }
}
