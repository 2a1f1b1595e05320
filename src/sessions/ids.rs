//! Ids of sessions and tokens of calls: 128 random bits each, from the operating system.

use uuid::Uuid;

use crate::keys::sessions::share_of;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The length of a token, which the scripts rely on.
pub(super) const TOKEN: usize = 22;

/// A unique token for a call.
pub(super) fn token() -> String {
    // 122 random bits; the other six are the version.
    let mut bits = Uuid::new_v4().as_u128();
    let mut text = String::with_capacity(TOKEN);
    for _ in 0..TOKEN {
        text.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
    text
}

/// A new id: 22 random characters and two more. With `beside` the last two are chosen so that the id is in the share of `beside`.
pub(super) fn id(beside: Option<&[u8]>) -> String {
    let share = beside.map(share_of);
    loop {
        let random = token();
        for (first, last) in LETTERS.iter().flat_map(|first| LETTERS.iter().map(move |last| (*first, *last))) {
            let id = format!("{random}{}{}", char::from(first), char::from(last));
            if share.is_none_or(|share| share_of(id.as_bytes()) == share) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_in_the_share_of_the_old_id_and_differs_from_it() {
        let mut seen = std::collections::HashSet::new();
        for old in ["a", "", "of-a-user", "€"] {
            for _ in 0..100 {
                let new = id(Some(old.as_bytes()));
                assert_eq!(share_of(new.as_bytes()), share_of(old.as_bytes()));
                assert!(new.len() == TOKEN + 2 && seen.insert(new));
            }
        }
    }

    #[test]
    fn a_token_has_the_length_that_the_scripts_rely_on() {
        assert!((0..100).all(|_| token().len() == TOKEN));
    }
}
