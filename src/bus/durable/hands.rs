//! What a consumer has in hand: messages that JavaScript was given, and those that follow by key.
//!
//! Of each key JavaScript has one message at a time; those that came behind it wait here until it is done. When it is to be
//! tried again later they go back to the group, for another consumer may be the one that tries.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A message as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its id in the stream.
    pub(super) id: Bytes,
    pub(super) key: Option<Bytes>,
    /// How often it was delivered, this time included.
    pub(super) deliveries: u64,
    /// Attempts of an earlier life: it was a dead letter.
    pub(super) earlier: u64,
    pub(super) last_error: Option<Bytes>,
    /// The message itself; nothing where the entry has none.
    pub(super) data: Option<Bytes>,
}

impl Message {
    /// The attempts before this one.
    pub(super) fn prior(&self) -> u64 {
        self.earlier + self.deliveries.saturating_sub(1)
    }

    /// That nobody tried it: this delivery does not count.
    pub(super) fn given_back(self) -> Settlement {
        let what = What::Return(self.deliveries.saturating_sub(1));
        Settlement { noted: self.deliveries > 1, id: self.id, key: self.key, what }
    }
}

/// What became of a message that JavaScript was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Failed(Bytes),
    /// No handler can be given it.
    Refused(Bytes),
    /// No handler was given it.
    Untried,
}

/// What the server is to be told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) id: Bytes,
    pub(super) key: Option<Bytes>,
    /// May the group have a note of its last error?
    pub(super) noted: bool,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Acknowledge,
    /// To be tried again in so many milliseconds.
    Retry(u64, Bytes),
    /// Given back; so many deliveries count.
    Return(u64),
    /// A dead letter after so many attempts.
    Bury(u64, Bytes),
}

/// What JavaScript has of one message.
#[derive(Debug)]
struct Given {
    message: Message,
    since: Instant,
}

/// How often a message may be tried, and how long it waits before the next time.
pub(super) trait Retries {
    /// Milliseconds until the next attempt after `attempts`; `None`: there is none.
    fn after(&self, attempts: u64) -> Option<u64>;
}

#[derive(Debug, Default)]
pub(super) struct Hands {
    last: u64,
    /// By number, and so by the time since when.
    given: BTreeMap<u64, Given>,
    following: HashMap<Bytes, VecDeque<Message>>,
    followers: usize,
    /// What JavaScript still works on though it is not this consumer's any more.
    lost: BTreeMap<u64, (Bytes, Instant)>,
    /// Up to this number it was said what is overdue.
    said: u64,
}

impl Hands {
    /// How many messages JavaScript has, also those that are not this consumer's any more.
    pub(super) fn given(&self) -> usize {
        self.given.len() + self.lost.len()
    }

    /// The messages that JavaScript has, but for these.
    pub(super) fn given_beside(&self, numbers: &HashSet<u64>) -> Vec<u64> {
        self.given.keys().filter(|number| !numbers.contains(number)).copied().collect()
    }

    /// How many follow one that JavaScript has.
    pub(super) fn followers(&self) -> usize {
        self.followers
    }

    pub(super) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.followers == 0
    }

    /// Takes a message in. Gives its number if JavaScript is to have it now.
    pub(super) fn take(&mut self, message: Message, now: Instant) -> Option<(u64, &Message)> {
        if let Some(key) = &message.key {
            if let Some(following) = self.following.get_mut(key) {
                following.push_back(message);
                self.followers += 1;
                return None;
            }
            self.following.insert(key.clone(), VecDeque::new());
        }
        Some(self.give(message, now))
    }

    fn give(&mut self, message: Message, since: Instant) -> (u64, &Message) {
        self.last += 1;
        let given = self.given.entry(self.last).or_insert(Given { message, since });
        (self.last, &given.message)
    }

    /// Takes note of what became of message `number`, adding to `settlements`. Gives the message that JavaScript is to have next
    /// in its place.
    pub(super) fn settle(
        &mut self,
        number: u64,
        verdict: Verdict,
        retries: &impl Retries,
        now: Instant,
        settlements: &mut Vec<Settlement>,
    ) -> Option<(u64, &Message)> {
        let Some(Given { message, .. }) = self.given.remove(&number) else {
            // Handled is handled, whoever has it now.
            if let (Some((id, _)), Verdict::Done) = (self.lost.remove(&number), verdict) {
                settlements.push(Settlement { id, key: None, noted: true, what: What::Acknowledge });
            }
            return None;
        };
        let attempts = message.deliveries;
        let what = match verdict {
            Verdict::Done => What::Acknowledge,
            Verdict::Failed(error) => match retries.after(attempts) {
                Some(delay) => What::Retry(delay, error),
                None => What::Bury(message.earlier + attempts, error),
            },
            Verdict::Refused(error) => What::Bury(message.prior(), error),
            Verdict::Untried => What::Return(attempts.saturating_sub(1)),
        };
        let goes_on = matches!(what, What::Acknowledge | What::Bury(..));
        let key = message.key.clone();
        settlements.push(Settlement { id: message.id, key: message.key, noted: attempts > 1, what });
        let key = key?;
        if goes_on {
            if let Some(next) = self.following.get_mut(&key).and_then(VecDeque::pop_front) {
                self.followers -= 1;
                return Some(self.give(next, now));
            }
            self.following.remove(&key);
        } else {
            self.give_back_following(&key, settlements);
        }
        None
    }

    fn give_back_following(&mut self, key: &Bytes, settlements: &mut Vec<Settlement>) {
        for message in self.following.remove(key).unwrap_or_default() {
            self.followers -= 1;
            settlements.push(message.given_back());
        }
    }

    /// Gives back everything that JavaScript was not given.
    pub(super) fn give_back_followers(&mut self, settlements: &mut Vec<Settlement>) {
        let keys: Vec<Bytes> = self.following.keys().cloned().collect();
        for key in keys {
            for message in self.following.get_mut(&key).map(std::mem::take).unwrap_or_default() {
                self.followers -= 1;
                settlements.push(message.given_back());
            }
        }
    }

    /// Is a message of `key` here?
    pub(super) fn has(&self, key: &Bytes) -> bool {
        self.following.contains_key(key)
    }

    /// Id and key of everything here.
    pub(super) fn known(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let given = self.given.values().map(|given| &given.message);
        given.chain(self.following.values().flatten()).map(|message| (&message.id, message.key.as_ref()))
    }

    /// Nothing here is this consumer's any more. Gives the number up to which that is so.
    pub(super) fn lose(&mut self) -> u64 {
        let given = std::mem::take(&mut self.given);
        self.lost.extend(given.into_iter().map(|(number, given)| (number, (given.message.id, given.since))));
        self.following.clear();
        self.followers = 0;
        self.last
    }

    /// What JavaScript has and was not said to be overdue, the oldest first: number and since when.
    fn unsaid(&self) -> impl Iterator<Item = (u64, Instant)> {
        let from = self.said + 1;
        let lost = self.lost.range(from..).map(|(number, (_, since))| (*number, *since));
        lost.chain(self.given.range(from..).map(|(number, given)| (*number, given.since)))
    }

    /// When the next message will have been with JavaScript for `timeout`.
    pub(super) fn next_overdue(&self, timeout: Duration) -> Option<Instant> {
        self.unsaid().next().map(|(_, since)| since + timeout)
    }

    /// The messages that JavaScript has had for `timeout`; each is said once.
    pub(super) fn overdue(&mut self, now: Instant, timeout: Duration) -> Vec<u64> {
        let overdue: Vec<u64> =
            self.unsaid().take_while(|(_, since)| *since + timeout <= now).map(|(number, _)| number).collect();
        self.said = overdue.last().copied().unwrap_or(self.said);
        overdue
    }
}

/// Which settlements are the last that this consumer has of their key.
pub(super) fn last_of_key(settlements: &[Settlement], hands: &Hands) -> Vec<bool> {
    let mut later = HashSet::new();
    let mut last: Vec<bool> = settlements
        .iter()
        .rev()
        .map(|settlement| settlement.key.as_ref().is_some_and(|key| !hands.has(key) && later.insert(key)))
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
            earlier: 0,
            last_error: None,
            data: None,
        }
    }

    fn take(hands: &mut Hands, id: &'static str, key: Option<&'static str>, deliveries: u64) -> Option<u64> {
        hands.take(message(id, key, deliveries), Instant::now()).map(|(number, _)| number)
    }

    fn settle(hands: &mut Hands, number: u64, verdict: Verdict) -> (Option<Bytes>, Vec<(Bytes, What)>) {
        let mut settlements = Vec::new();
        let next = hands.settle(number, verdict, &Twice, Instant::now(), &mut settlements).map(|(_, m)| m.id.clone());
        (next, settlements.into_iter().map(|settlement| (settlement.id, settlement.what)).collect())
    }

    #[test]
    fn a_key_goes_out_one_message_at_a_time() {
        let mut hands = Hands::default();
        let first = take(&mut hands, "1-0", Some("k"), 1).unwrap();
        assert_eq!(take(&mut hands, "2-0", Some("k"), 1), None);
        assert!(take(&mut hands, "3-0", Some("other"), 1).is_some() && take(&mut hands, "4-0", None, 1).is_some());
        assert_eq!((hands.given(), hands.followers()), (3, 1));
        let (next, told) = settle(&mut hands, first, Verdict::Done);
        assert_eq!((next, told), (Some("2-0".into()), vec![("1-0".into(), What::Acknowledge)]));
        assert_eq!((hands.given(), hands.followers()), (3, 0));
    }

    #[test]
    fn what_follows_a_failure_goes_back() {
        let mut hands = Hands::default();
        let first = take(&mut hands, "1-0", Some("k"), 1).unwrap();
        take(&mut hands, "2-0", Some("k"), 1);
        let (next, told) = settle(&mut hands, first, Verdict::Failed("no".into()));
        assert_eq!(next, None);
        assert_eq!(told, [("1-0".into(), What::Retry(100, "no".into())), ("2-0".into(), What::Return(0))]);
        assert!(hands.is_empty() && !hands.has(&"k".into()));
    }

    #[test]
    fn the_last_failure_makes_a_dead_letter_and_the_key_goes_on() {
        let mut hands = Hands::default();
        let first = take(&mut hands, "1-0", Some("k"), 2).unwrap();
        take(&mut hands, "2-0", Some("k"), 1);
        let (next, told) = settle(&mut hands, first, Verdict::Failed("no".into()));
        assert_eq!((next, told), (Some("2-0".into()), vec![("1-0".into(), What::Bury(2, "no".into()))]));
    }

    #[test]
    fn what_was_lost_can_only_be_acknowledged() {
        let mut hands = Hands::default();
        let first = take(&mut hands, "1-0", None, 1).unwrap();
        let second = take(&mut hands, "2-0", None, 1).unwrap();
        assert_eq!(hands.lose(), second);
        assert_eq!(settle(&mut hands, first, Verdict::Failed("no".into())), (None, vec![]));
        assert_eq!(settle(&mut hands, second, Verdict::Done), (None, vec![("2-0".into(), What::Acknowledge)]));
    }

    #[test]
    fn what_is_overdue_is_said_once_the_lost_before_the_given() {
        let mut hands = Hands::default();
        let (begin, timeout) = (Instant::now(), Duration::from_secs(1));
        let at = |ms| begin + Duration::from_millis(ms);
        for ms in [0, 10] {
            hands.take(message("1-0", None, 1), at(ms));
        }
        hands.lose();
        hands.take(message("2-0", None, 1), at(20));
        assert_eq!((hands.next_overdue(timeout), hands.overdue(at(999), timeout)), (Some(at(1_000)), vec![]));
        assert_eq!(hands.overdue(at(1_010), timeout), [1, 2]);
        assert_eq!((hands.next_overdue(timeout), hands.overdue(at(1_019), timeout)), (Some(at(1_020)), vec![]));
        assert_eq!((hands.overdue(at(1_020), timeout), hands.next_overdue(timeout)), (vec![3], None));
    }

    #[test]
    fn only_the_last_settlement_of_a_key_that_is_not_here_any_more_is_its_last() {
        let mut hands = Hands::default();
        let numbers: Vec<_> = ["a", "b"].map(|key| take(&mut hands, "1-0", Some(key), 1).unwrap()).into();
        take(&mut hands, "2-0", Some("a"), 1);
        take(&mut hands, "2-0", Some("b"), 1);
        let mut settlements = Vec::new();
        let next = hands.settle(numbers[0], Verdict::Done, &Twice, Instant::now(), &mut settlements).unwrap().0;
        hands.settle(numbers[1], Verdict::Done, &Twice, Instant::now(), &mut settlements);
        hands.settle(next, Verdict::Done, &Twice, Instant::now(), &mut settlements);
        assert_eq!(last_of_key(&settlements, &hands), [false, false, true]);
    }
}
