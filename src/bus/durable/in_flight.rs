//! The messages in flight of a consumer: the messages that JavaScript has, and the messages that are queued behind them by key.
//!
//! JavaScript has one message of each key at a time; later messages of the key are queued here. If the running message must be
//! retried later, the queued messages go back to the group, because another consumer may retry it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A message as the server returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its id in the stream.
    pub(super) id: Bytes,
    pub(super) key: Option<Bytes>,
    /// How often it was delivered, including this time.
    pub(super) deliveries: u64,
    /// Attempts before it became a dead letter and was redriven.
    pub(super) earlier_attempts: u64,
    pub(super) last_error: Option<Bytes>,
    /// The message itself; nothing where the entry has no `data`.
    pub(super) data: Option<Bytes>,
}

impl Message {
    /// The attempts before this one.
    pub(super) fn attempts_before(&self) -> u64 {
        self.earlier_attempts + self.deliveries.saturating_sub(1)
    }

    /// The settlement of a message that no handler tried: this delivery does not count.
    pub(super) fn given_back(self) -> Settlement {
        let action = Action::Return(self.deliveries.saturating_sub(1));
        Settlement { noted: self.deliveries > 1, id: self.id, key: self.key, action }
    }
}

/// What became of a message that JavaScript had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HandlerOutcome {
    Done,
    Failed(Bytes),
    /// The message cannot be given to a handler.
    Refused(Bytes),
    /// The message was not given to a handler.
    Untried,
}

/// How a message is settled on the server, with the next poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) id: Bytes,
    pub(super) key: Option<Bytes>,
    /// May the group hold a note of its last error?
    pub(super) noted: bool,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Acknowledge,
    /// Retry after this many ms, with the error.
    Retry(u64, Bytes),
    /// Given back, with the number of deliveries that count.
    Return(u64),
    /// A dead letter, with the number of attempts and the last error.
    DeadLetter(u64, Bytes),
}

/// A message that JavaScript has.
#[derive(Debug)]
struct Running {
    message: Message,
    since: Instant,
}

/// The retry policy.
pub(super) trait Retries {
    /// Milliseconds until the next attempt after `attempts`; `None` if there is none.
    fn after(&self, attempts: u64) -> Option<u64>;
}

#[derive(Debug, Default)]
pub(super) struct InFlight {
    last: u64,
    /// By number, which is also the order in time.
    running: BTreeMap<u64, Running>,
    queues: HashMap<Bytes, VecDeque<Message>>,
    queued: usize,
    /// Messages that JavaScript still works on though the consumer has lost them.
    lost: BTreeMap<u64, (Bytes, Instant)>,
    /// Messages up to this number were reported if overdue.
    overdue_up_to: u64,
}

impl InFlight {
    /// How many messages JavaScript has, including lost ones.
    pub(super) fn running(&self) -> usize {
        self.running.len() + self.lost.len()
    }

    /// The messages that JavaScript has, except those of `numbers`.
    pub(super) fn running_except(&self, numbers: &HashSet<u64>) -> Vec<u64> {
        self.running.keys().filter(|number| !numbers.contains(number)).copied().collect()
    }

    /// How many messages are queued behind a running one.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.queued == 0
    }

    /// Adds a message. Returns it with its number if JavaScript gets it now.
    pub(super) fn take(&mut self, message: Message, now: Instant) -> Option<(u64, &Message)> {
        if let Some(key) = &message.key {
            if let Some(following) = self.queues.get_mut(key) {
                following.push_back(message);
                self.queued += 1;
                return None;
            }
            self.queues.insert(key.clone(), VecDeque::new());
        }
        Some(self.give(message, now))
    }

    fn give(&mut self, message: Message, since: Instant) -> (u64, &Message) {
        self.last += 1;
        let given = self.running.entry(self.last).or_insert(Running { message, since });
        (self.last, &given.message)
    }

    /// Settles message `number`, adding to `settlements`. Returns the next message for JavaScript, if one was queued behind it.
    pub(super) fn settle(
        &mut self,
        number: u64,
        outcome: HandlerOutcome,
        retries: &impl Retries,
        now: Instant,
        settlements: &mut Vec<Settlement>,
    ) -> Option<(u64, &Message)> {
        let Some(Running { message, .. }) = self.running.remove(&number) else {
            // A handled message is acknowledged, even if another consumer has it now.
            if let (Some((id, _)), HandlerOutcome::Done) = (self.lost.remove(&number), outcome) {
                settlements.push(Settlement { id, key: None, noted: true, action: Action::Acknowledge });
            }
            return None;
        };
        let attempts = message.deliveries;
        let action = match outcome {
            HandlerOutcome::Done => Action::Acknowledge,
            HandlerOutcome::Failed(error) => match retries.after(attempts) {
                Some(delay) => Action::Retry(delay, error),
                None => Action::DeadLetter(message.earlier_attempts + attempts, error),
            },
            HandlerOutcome::Refused(error) => Action::DeadLetter(message.attempts_before(), error),
            HandlerOutcome::Untried => Action::Return(attempts.saturating_sub(1)),
        };
        let goes_on = matches!(action, Action::Acknowledge | Action::DeadLetter(..));
        let key = message.key.clone();
        settlements.push(Settlement { id: message.id, key: message.key, noted: attempts > 1, action });
        let key = key?;
        if goes_on {
            if let Some(next) = self.queues.get_mut(&key).and_then(VecDeque::pop_front) {
                self.queued -= 1;
                return Some(self.give(next, now));
            }
            self.queues.remove(&key);
        } else {
            self.give_back_queue(&key, settlements);
        }
        None
    }

    fn give_back_queue(&mut self, key: &Bytes, settlements: &mut Vec<Settlement>) {
        for message in self.queues.remove(key).unwrap_or_default() {
            self.queued -= 1;
            settlements.push(message.given_back());
        }
    }

    /// Gives back all messages that JavaScript does not have.
    pub(super) fn give_back_queued(&mut self, settlements: &mut Vec<Settlement>) {
        let keys: Vec<Bytes> = self.queues.keys().cloned().collect();
        for key in keys {
            for message in self.queues.get_mut(&key).map(std::mem::take).unwrap_or_default() {
                self.queued -= 1;
                settlements.push(message.given_back());
            }
        }
    }

    /// Is a message of `key` in flight?
    pub(super) fn has_key(&self, key: &Bytes) -> bool {
        self.queues.contains_key(key)
    }

    /// Id and key of every message in flight.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let given = self.running.values().map(|given| &given.message);
        given.chain(self.queues.values().flatten()).map(|message| (&message.id, message.key.as_ref()))
    }

    /// The consumer has lost all its messages. Returns the last number that is lost.
    pub(super) fn lose(&mut self) -> u64 {
        let given = std::mem::take(&mut self.running);
        self.lost.extend(given.into_iter().map(|(number, given)| (number, (given.message.id, given.since))));
        self.queues.clear();
        self.queued = 0;
        self.last
    }

    /// The number and the start of each message that JavaScript has and that was not reported as overdue, the oldest first.
    fn not_overdue(&self) -> impl Iterator<Item = (u64, Instant)> {
        let from = self.overdue_up_to + 1;
        let lost = self.lost.range(from..).map(|(number, (_, since))| (*number, *since));
        lost.chain(self.running.range(from..).map(|(number, given)| (*number, given.since)))
    }

    /// When the next message becomes overdue.
    pub(super) fn next_overdue(&self, timeout: Duration) -> Option<Instant> {
        self.not_overdue().next().map(|(_, since)| since + timeout)
    }

    /// The messages that JavaScript has had for `timeout`; each is returned once.
    pub(super) fn overdue(&mut self, now: Instant, timeout: Duration) -> Vec<u64> {
        let overdue: Vec<u64> =
            self.not_overdue().take_while(|(_, since)| *since + timeout <= now).map(|(number, _)| number).collect();
        self.overdue_up_to = overdue.last().copied().unwrap_or(self.overdue_up_to);
        overdue
    }
}

/// For each settlement: has the consumer no other message of its key?
pub(super) fn last_of_key(settlements: &[Settlement], in_flight: &InFlight) -> Vec<bool> {
    let mut later = HashSet::new();
    let mut last: Vec<bool> = settlements
        .iter()
        .rev()
        .map(|settlement| settlement.key.as_ref().is_some_and(|key| !in_flight.has_key(key) && later.insert(key)))
        .collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Twice;

    impl Retries for Twice {
        fn after(&self, attempts: u64) -> Option<u64> {
            (attempts < 2).then_some(100)
        }
    }

    fn message(id: &'static str, key: Option<&'static str>, deliveries: u64) -> Message {
        Message {
            id: Bytes::from_static(id.as_bytes()),
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            deliveries,
            earlier_attempts: 0,
            last_error: None,
            data: None,
        }
    }

    fn take(in_flight: &mut InFlight, id: &'static str, key: Option<&'static str>, deliveries: u64) -> Option<u64> {
        in_flight.take(message(id, key, deliveries), Instant::now()).map(|(number, _)| number)
    }

    fn settle(in_flight: &mut InFlight, number: u64, outcome: HandlerOutcome) -> (Option<Bytes>, Vec<(Bytes, Action)>) {
        let mut settlements = Vec::new();
        let next =
            in_flight.settle(number, outcome, &Twice, Instant::now(), &mut settlements).map(|(_, m)| m.id.clone());
        (next, settlements.into_iter().map(|settlement| (settlement.id, settlement.action)).collect())
    }

    #[test]
    fn javascript_has_one_message_of_a_key_at_a_time() {
        let mut in_flight = InFlight::default();
        let first = take(&mut in_flight, "1-0", Some("k"), 1).unwrap();
        assert_eq!(take(&mut in_flight, "2-0", Some("k"), 1), None);
        assert!(
            take(&mut in_flight, "3-0", Some("other"), 1).is_some() && take(&mut in_flight, "4-0", None, 1).is_some()
        );
        assert_eq!((in_flight.running(), in_flight.queued()), (3, 1));
        let (next, settled) = settle(&mut in_flight, first, HandlerOutcome::Done);
        assert_eq!((next, settled), (Some("2-0".into()), vec![("1-0".into(), Action::Acknowledge)]));
        assert_eq!((in_flight.running(), in_flight.queued()), (3, 0));
    }

    #[test]
    fn after_a_failure_the_queued_messages_of_the_key_are_given_back() {
        let mut in_flight = InFlight::default();
        let first = take(&mut in_flight, "1-0", Some("k"), 1).unwrap();
        take(&mut in_flight, "2-0", Some("k"), 1);
        let (next, settled) = settle(&mut in_flight, first, HandlerOutcome::Failed("no".into()));
        assert_eq!(next, None);
        assert_eq!(settled, [("1-0".into(), Action::Retry(100, "no".into())), ("2-0".into(), Action::Return(0))]);
        assert!(in_flight.is_empty() && !in_flight.has_key(&"k".into()));
    }

    #[test]
    fn the_last_failure_makes_a_dead_letter_and_the_next_message_of_the_key_runs() {
        let mut in_flight = InFlight::default();
        let first = take(&mut in_flight, "1-0", Some("k"), 2).unwrap();
        take(&mut in_flight, "2-0", Some("k"), 1);
        let (next, settled) = settle(&mut in_flight, first, HandlerOutcome::Failed("no".into()));
        assert_eq!((next, settled), (Some("2-0".into()), vec![("1-0".into(), Action::DeadLetter(2, "no".into()))]));
    }

    #[test]
    fn a_lost_message_can_only_be_acknowledged() {
        let mut in_flight = InFlight::default();
        let first = take(&mut in_flight, "1-0", None, 1).unwrap();
        let second = take(&mut in_flight, "2-0", None, 1).unwrap();
        assert_eq!(in_flight.lose(), second);
        assert_eq!(settle(&mut in_flight, first, HandlerOutcome::Failed("no".into())), (None, vec![]));
        assert_eq!(
            settle(&mut in_flight, second, HandlerOutcome::Done),
            (None, vec![("2-0".into(), Action::Acknowledge)])
        );
    }

    #[test]
    fn an_overdue_message_is_reported_once_with_lost_messages_first() {
        let mut in_flight = InFlight::default();
        let (begin, timeout) = (Instant::now(), Duration::from_secs(1));
        let at = |ms| begin + Duration::from_millis(ms);
        for ms in [0, 10] {
            in_flight.take(message("1-0", None, 1), at(ms));
        }
        in_flight.lose();
        in_flight.take(message("2-0", None, 1), at(20));
        assert_eq!((in_flight.next_overdue(timeout), in_flight.overdue(at(999), timeout)), (Some(at(1_000)), vec![]));
        assert_eq!(in_flight.overdue(at(1_010), timeout), [1, 2]);
        assert_eq!((in_flight.next_overdue(timeout), in_flight.overdue(at(1_019), timeout)), (Some(at(1_020)), vec![]));
        assert_eq!((in_flight.overdue(at(1_020), timeout), in_flight.next_overdue(timeout)), (vec![3], None));
    }

    #[test]
    fn a_settlement_is_the_last_of_its_key_only_if_no_message_of_the_key_is_in_flight() {
        let mut in_flight = InFlight::default();
        let numbers: Vec<_> = ["a", "b"].map(|key| take(&mut in_flight, "1-0", Some(key), 1).unwrap()).into();
        take(&mut in_flight, "2-0", Some("a"), 1);
        take(&mut in_flight, "2-0", Some("b"), 1);
        let mut settlements = Vec::new();
        let next =
            in_flight.settle(numbers[0], HandlerOutcome::Done, &Twice, Instant::now(), &mut settlements).unwrap().0;
        in_flight.settle(numbers[1], HandlerOutcome::Done, &Twice, Instant::now(), &mut settlements);
        in_flight.settle(next, HandlerOutcome::Done, &Twice, Instant::now(), &mut settlements);
        assert_eq!(last_of_key(&settlements, &in_flight), [false, false, true]);
    }
}
