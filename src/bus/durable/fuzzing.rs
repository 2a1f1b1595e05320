//! For fuzzing: what a durable consumer makes of answers and of the entries of a stream.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;

use super::consumer::put;
use super::hands::{Hands, Message, Retries, Settlement, Verdict, What, last_of_key};
use super::letters::{Redriven, letter};
use super::turn::{Turn, audited_of, tended_of, turn_of};
use crate::crossing::Outcome;
use crate::resp::Reply;

/// Reads an answer as that of every script of a group, and an entry as a dead letter.
///
/// # Panics
///
/// Where what JavaScript would be given is none.
pub fn answer(reply: Reply) {
    let (tended, audited, redriven) =
        (tended_of(reply.clone()), audited_of(reply.clone()), Redriven::of(reply.clone()));
    drop((tended, audited, redriven));
    if let Some(Outcome::List(values)) = letter(reply.clone()) {
        assert_eq!(values.len(), 7, "a dead letter has as many values as the face reads");
        check(&values[..5]);
    }
    if let Ok(Turn::Given { messages, news, .. }) = turn_of(reply) {
        for message in messages {
            let mut delivery = Vec::new();
            put(&mut delivery, 1, &message);
            // The message itself may be anything: the face reads it.
            check(&delivery[..5]);
        }
        for buried in news.buried {
            check(&[Outcome::Number(buried.attempts as f64), Outcome::Text(buried.error)]);
        }
    }
}

fn check(values: &[Outcome]) {
    for value in values {
        match value {
            Outcome::Text(text) => assert!(std::str::from_utf8(text).is_ok(), "a text is one: {text:?}"),
            Outcome::Number(number) => assert!(*number >= 0.0, "a count is none: {number}"),
            _ => {}
        }
    }
}

/// Tried three times.
struct Thrice;

impl Retries for Thrice {
    fn after(&self, attempts: u64) -> Option<u64> {
        (attempts < 3).then_some(1)
    }
}

/// Takes messages and settles them as `steps` say.
///
/// # Panics
///
/// Where a message is lost or settled twice, or two of one key are out at once.
pub fn hands(steps: &[u8]) {
    let now = Instant::now();
    let (mut hands, mut last) = (Hands::default(), 0u64);
    // By number what is out, and its key; the ids that are here at all.
    let (mut out, mut here) = (HashMap::<u64, Option<Bytes>>::new(), HashSet::<Bytes>::new());
    for step in steps {
        let mut settlements: Vec<Settlement> = Vec::new();
        let mut next = None;
        match step >> 5 {
            0..=3 => {
                last += 1;
                let key = (step & 3 != 0).then(|| Bytes::from(format!("{}", step & 3)));
                let id = Bytes::from(format!("{last}-0"));
                here.insert(id.clone());
                let deliveries = u64::from(step >> 2 & 3) + 1;
                let message = Message { id, key, deliveries, earlier: 0, last_error: None, data: None };
                next = hands.take(message, now).map(|(number, message)| (number, message.key.clone()));
            }
            7 if *step == 255 => {
                let upto = hands.lose();
                assert!(out.keys().all(|number| *number <= upto));
                out.clear();
                here.clear();
            }
            7 => hands.give_back_followers(&mut settlements),
            way => {
                let mut numbers: Vec<u64> = out.keys().copied().collect();
                numbers.sort_unstable();
                let Some(number) = numbers.get(usize::from(step & 31) % numbers.len().max(1)) else { continue };
                let verdict = match way {
                    4 => Verdict::Done,
                    5 => Verdict::Failed(Bytes::from_static(b"no")),
                    _ if step & 1 == 0 => Verdict::Refused(Bytes::new()),
                    _ => Verdict::Untried,
                };
                out.remove(number);
                next = hands
                    .settle(*number, verdict, &Thrice, now, &mut settlements)
                    .map(|(number, message)| (number, message.key.clone()));
            }
        }
        for settlement in &settlements {
            assert!(here.remove(&settlement.id), "what is here is settled once: {settlement:?}");
            assert!(!matches!(settlement.what, What::Return(count) if count > 4), "a delivery counts at most once");
        }
        if let Some((number, key)) = next {
            let is_alone = key.is_none() || out.values().all(|other| *other != key);
            assert!(is_alone, "of each key one message is out");
            assert!(out.insert(number, key).is_none(), "a number is given once");
        }
        assert_eq!(hands.known().count(), here.len(), "nothing is lost");
        assert_eq!(hands.followers() + out.len(), here.len(), "what is not out follows");
        assert_eq!(last_of_key(&settlements, &hands).len(), settlements.len());
    }
}
