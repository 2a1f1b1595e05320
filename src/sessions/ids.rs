//! Ids of sessions and tokens of calls: 128 random bits each, of the operating system.

use uuid::Uuid;

use crate::keys::sessions::share_of;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How long a token is, as the scripts have it.
pub(super) const TOKEN: usize = 22;

/// A token that no other call has.
pub(super) fn token() -> String {
    // 122 random bits; the other six are the version's.
    let mut bits = Uuid::new_v4().as_u128();
    let mut text = String::with_capacity(TOKEN);
    for _ in 0..TOKEN {
        text.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
    text
}

/// A new id: 22 characters that nobody can guess and two more. In the share of `beside`, where one is given: the two are chosen so.
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
    fn a_new_id_is_in_the_share_of_the_old_one_and_is_another() {
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
    fn a_token_has_the_length_that_the_scripts_cut_it_by() {
        assert!((0..100).all(|_| token().len() == TOKEN));
    }
}
