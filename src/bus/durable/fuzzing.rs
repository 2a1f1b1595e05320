//! For fuzzing: how a durable consumer reads replies and stream entries.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use bytes::Bytes;

use super::consumer::put;
use super::dead_letters::{RedrivePage, dead_letter};
use super::in_flight::{Action, HandlerOutcome, InFlight, Message, Retries, Settlement, last_of_key};
use super::protocol::{PollReply, read_audit, read_maintain, read_poll};
use crate::crossing::Outcome;
use crate::resp::Reply;

/// Reads `reply` as the reply of each group script, and as an entry of the dead letters.
///
/// # Panics
///
/// If a value for JavaScript is invalid.
pub fn answer(reply: Reply) {
    let (tended, audited, redriven) =
        (read_maintain(reply.clone()), read_audit(reply.clone()), RedrivePage::of(reply.clone()));
    drop((tended, audited, redriven));
    if let Some(Outcome::List(values)) = dead_letter(reply.clone()) {
        assert_eq!(values.len(), 7, "a dead letter has the number of values that the face reads");
        check(&values[..5]);
    }
    if let Ok(PollReply::Given { messages, notices, .. }) = read_poll(reply) {
        for message in messages {
            let mut delivery = Vec::new();
            put(&mut delivery, 1, &message);
            // The message itself may be any text; the face parses it.
            check(&delivery[..5]);
        }
        for new in notices.dead_letters {
            check(&[Outcome::Number(new.attempts as f64), Outcome::Text(new.error)]);
        }
    }
}

fn check(values: &[Outcome]) {
    for value in values {
        match value {
            Outcome::Text(text) => assert!(std::str::from_utf8(text).is_ok(), "a text is UTF-8: {text:?}"),
            Outcome::Number(number) => assert!(*number >= 0.0, "a count is not negative: {number}"),
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

/// Adds messages and settles them as `steps` say.
///
/// # Panics
///
/// If a message is lost or settled twice, or two messages of one key are running.
pub fn in_flight(steps: &[u8]) {
    let now = Instant::now();
    let (mut in_flight, mut last) = (InFlight::default(), 0u64);
    // The running messages by number, with their keys; and the ids in flight.
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
                let message = Message { id, key, deliveries, earlier_attempts: 0, last_error: None, data: None };
                next = in_flight.take(message, now).map(|(number, message)| (number, message.key.clone()));
            }
            7 if *step == 255 => {
                let upto = in_flight.lose();
                assert!(out.keys().all(|number| *number <= upto));
                out.clear();
                here.clear();
            }
            7 => in_flight.give_back_queued(&mut settlements),
            way => {
                let mut numbers: Vec<u64> = out.keys().copied().collect();
                numbers.sort_unstable();
                let Some(number) = numbers.get(usize::from(step & 31) % numbers.len().max(1)) else { continue };
                let outcome = match way {
                    4 => HandlerOutcome::Done,
                    5 => HandlerOutcome::Failed(Bytes::from_static(b"no")),
                    _ if step & 1 == 0 => HandlerOutcome::Refused(Bytes::new()),
                    _ => HandlerOutcome::Untried,
                };
                out.remove(number);
                next = in_flight
                    .settle(*number, outcome, &Thrice, now, &mut settlements)
                    .map(|(number, message)| (number, message.key.clone()));
            }
        }
        for settlement in &settlements {
            assert!(here.remove(&settlement.id), "a message in flight is settled once: {settlement:?}");
            assert!(!matches!(settlement.action, Action::Return(count) if count > 4), "a delivery counts at most once");
        }
        if let Some((number, key)) = next {
            let is_alone = key.is_none() || out.values().all(|other| *other != key);
            assert!(is_alone, "one message of a key runs at a time");
            assert!(out.insert(number, key).is_none(), "a number is used once");
        }
        assert_eq!(in_flight.messages().count(), here.len(), "no message is lost");
        assert_eq!(in_flight.queued() + out.len(), here.len(), "a message runs or is queued");
        assert_eq!(last_of_key(&settlements, &in_flight).len(), settlements.len());
    }
}
