//! What is subscribed: what is wanted, what was asked for and what is confirmed, and how the difference is repaired.
//!
//! A pure unit: it neither sends nor waits. For each channel:
//!
//! ```text
//! absent ──want──► wanted ──repairs()──► asked ──confirmed──► confirmed
//!    ▲                ▲                    │                       │
//!    │                └──── refused ───────┤                       │
//!    │                └──── lost ──────────┴───────────────────────┤
//!    └── confirmed off ◄── asked off ◄── repairs() ◄── last unwant ┘
//! ```
//!
//! Answers come in the order in which was asked, so the oldest question is the one that an answer is for. That holds for
//! refusals too, which name no channel.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Listener;
use crate::error::{Error, Result};

/// What a subscription is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// A channel of that name.
    Exact,
    /// All channels that match a glob pattern.
    Pattern,
    /// A channel of that name in the slot that its name hashes to; Redis 7 and later.
    Sharded,
}

/// A channel, or a pattern of channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    pub kind: ChannelKind,
    pub name: Bytes,
}

/// The listeners of one channel, by number.
pub(super) type Listeners = Arc<[(u64, Arc<dyn Listener>)]>;

#[derive(Default)]
struct Entry {
    listeners: Vec<(u64, Arc<dyn Listener>)>,
    /// The same, to be shared without a copy.
    shared: Option<Listeners>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
    /// Dropped when the server has confirmed the end, or has nothing to end.
    ending: Vec<oneshot::Sender<()>>,
    /// Questions about it that are not answered.
    unanswered: u32,
    /// Was a subscription asked for last, and not the end of one?
    asked: bool,
    confirmed: bool,
    /// Since when messages may have been missed.
    missing_since: Option<Instant>,
}

impl Entry {
    fn wanted(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Is it wanted, and not confirmed?
    fn is_open(&self) -> bool {
        self.wanted() && !self.confirmed
    }
}

/// A question on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// To subscribe, or to end that.
    Subscription(Channel, bool),
    /// For a sign of life.
    Ping,
}

/// What changed for the listeners.
pub(super) enum Change {
    /// Confirmed again; messages may have been missed for this long.
    Restored(Listeners, Duration),
    /// Refused although some listeners have it already: it must be asked for again, later.
    Refused(Error),
    Nothing,
}

/// A channel on its way to another connection, with all that is known of it.
pub(super) struct Moved(Channel, Entry);

/// The subscriptions of one connection.
#[derive(Default)]
pub(super) struct Book {
    entries: HashMap<Channel, Entry>,
    /// How many are wanted and not confirmed. Question for with each change, so that it is counted.
    open: usize,
    /// Where something may be to repair.
    changed: HashSet<Channel>,
    asked: VecDeque<Question>,
}

impl Book {
    /// Is nothing wanted, and nothing awaited?
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is all that is wanted confirmed?
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Does something with an entry, and counts what that makes of it.
    fn change<T>(open: &mut usize, entry: &mut Entry, act: impl FnOnce(&mut Entry) -> T) -> T {
        let before = entry.is_open();
        let outcome = act(entry);
        *open = *open + usize::from(entry.is_open()) - usize::from(before);
        outcome
    }

    fn remove(&mut self, channel: &Channel) -> Option<Entry> {
        let entry = self.entries.remove(channel)?;
        self.open -= usize::from(entry.is_open());
        self.changed.remove(channel);
        Some(entry)
    }

    /// Is something known of `channel`?
    pub(super) fn has(&self, channel: &Channel) -> bool {
        self.entries.contains_key(channel)
    }

    /// Adds listener number `number`. Unless the channel is confirmed, gives what will say when it is.
    pub(super) fn want(
        &mut self,
        channel: &Channel,
        number: u64,
        listener: Arc<dyn Listener>,
    ) -> Option<oneshot::Receiver<Result<()>>> {
        let entry = self.entries.entry(channel.clone()).or_default();
        Self::change(&mut self.open, entry, |entry| entry.listeners.push((number, listener)));
        entry.shared = None;
        if entry.asked {
            // The end was not asked for yet, and is not to be: whoever waits for it has nothing to wait for.
            entry.ending.clear();
        }
        if entry.confirmed && entry.asked {
            return None;
        }
        self.changed.insert(channel.clone());
        let (confirm, confirmed) = oneshot::channel();
        entry.waiting.push(confirm);
        Some(confirmed)
    }

    /// Takes out what the oldest question is about, to be wanted in another book, where that is a sharded channel.
    pub(super) fn take_refused(&mut self) -> Option<Moved> {
        let Question::Subscription(channel, true) = self.asked.front()? else {
            return None;
        };
        if channel.kind != ChannelKind::Sharded || self.entries.get(channel).is_none_or(|entry| entry.unanswered != 1) {
            return None;
        }
        let Question::Subscription(channel, _) = self.asked.pop_front()? else {
            return None;
        };
        let mut entry = self.remove(&channel)?;
        (entry.asked, entry.unanswered) = (false, 0);
        Some(Moved(channel, entry))
    }

    /// Takes everything out, to be wanted in another book. The connection must be gone.
    pub(super) fn take_all(&mut self) -> Vec<Moved> {
        self.changed.clear();
        self.open = 0;
        self.entries.drain().map(|(channel, entry)| Moved(channel, entry)).collect()
    }

    /// Takes in what comes from another book.
    pub(super) fn put(&mut self, Moved(channel, mut moved): Moved) {
        let entry = self.entries.entry(channel.clone()).or_default();
        Self::change(&mut self.open, entry, |entry| entry.listeners.append(&mut moved.listeners));
        entry.waiting.append(&mut moved.waiting);
        entry.ending.append(&mut moved.ending);
        entry.shared = None;
        entry.missing_since = entry.missing_since.or(moved.missing_since);
        self.changed.insert(channel);
    }

    /// Removes a listener, and gives it: letting it go may end other subscriptions. Gives also, where the subscription must be ended on the
    /// server, what is closed when that is confirmed.
    #[expect(clippy::type_complexity, reason = "used once; the parts are named above")]
    pub(super) fn unwant(
        &mut self,
        channel: &Channel,
        number: u64,
    ) -> Option<(Arc<dyn Listener>, Option<oneshot::Receiver<()>>)> {
        let entry = self.entries.get_mut(channel)?;
        let at = entry.listeners.iter().position(|(own, _)| *own == number)?;
        let (_, listener) = Self::change(&mut self.open, entry, |entry| entry.listeners.remove(at));
        entry.shared = None;
        if entry.wanted() {
            return Some((listener, None));
        }
        let (end, ended) = oneshot::channel();
        entry.ending.push(end);
        self.changed.insert(channel.clone());
        self.forget(channel);
        Some((listener, Some(ended)))
    }

    /// Lets go of what is neither wanted nor known to the server.
    fn forget(&mut self, channel: &Channel) {
        if let Some(entry) = self.entries.get(channel)
            && !entry.wanted()
            && !entry.asked
            && entry.unanswered == 0
        {
            self.remove(channel);
        }
    }

    /// What must be asked to have confirmed what is wanted. It counts as asked from now on.
    pub(super) fn repairs(&mut self) -> Vec<Question> {
        let mut repairs = Vec::new();
        for channel in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&channel) else {
                continue;
            };
            if entry.wanted() != entry.asked {
                entry.asked = !entry.asked;
                entry.unanswered += 1;
                repairs.push(Question::Subscription(channel, entry.asked));
            }
        }
        self.asked.extend(repairs.iter().cloned());
        repairs
    }

    /// A sign of life was asked for.
    pub(super) fn pinged(&mut self) {
        self.asked.push_back(Question::Ping);
    }

    /// The server answered a `PING`. False where none was asked.
    pub(super) fn ponged(&mut self) -> bool {
        self.asked.pop_front_if(|asked| *asked == Question::Ping).is_some()
    }

    /// The server says that `channel` is (not) subscribed. `None` where that answers nothing that was asked.
    pub(super) fn confirmed(&mut self, channel: &Channel, on: bool, now: Instant) -> Option<Change> {
        let answers =
            matches!(self.asked.front(), Some(Question::Subscription(asked, was)) if asked == channel && *was == on);
        if !answers {
            // A sharded channel whose slot went elsewhere is ended without having been asked.
            if on {
                return None;
            }
            let entry = self.entries.get_mut(channel)?;
            Self::change(&mut self.open, entry, |entry| entry.confirmed = false);
            entry.asked = false;
            entry.missing_since.get_or_insert(now);
            self.changed.insert(channel.clone());
            return Some(Change::Nothing);
        }
        self.asked.pop_front();
        let entry = self.entries.get_mut(channel)?;
        entry.unanswered -= 1;
        let mut change = Change::Nothing;
        // An older answer than the last question says nothing of how it is now.
        if entry.unanswered == 0 {
            Self::change(&mut self.open, entry, |entry| entry.confirmed = on);
            // Where it is wanted again by now, the end of it was asked for before and is not awaited.
            entry.ending.clear();
            if on {
                // Who waits no longer needs no answer.
                entry.waiting.drain(..).for_each(|waiting| drop(waiting.send(Ok(()))));
                if let Some(since) = entry.missing_since.take() {
                    change = Change::Restored(shared(entry), now.saturating_duration_since(since));
                }
            }
        }
        self.forget(channel);
        Some(change)
    }

    /// The server refused the oldest question. `None` where nothing was asked.
    pub(super) fn refused(&mut self, error: &Error) -> Option<Change> {
        let Question::Subscription(channel, on) = self.asked.pop_front()? else {
            return Some(Change::Nothing);
        };
        let entry = self.entries.get_mut(&channel)?;
        entry.unanswered -= 1;
        if entry.unanswered == 0 {
            entry.ending.clear();
        }
        if on && entry.unanswered == 0 {
            entry.asked = false;
            let waiting = std::mem::take(&mut entry.waiting);
            let had_it = waiting.len() < entry.listeners.len();
            for waiting in waiting {
                let _ = waiting.send(Err(error.clone()));
            }
            if had_it {
                return Some(Change::Refused(error.clone()));
            }
        }
        self.forget(&channel);
        Some(Change::Nothing)
    }

    /// What is wanted but was refused is asked for again.
    pub(super) fn retry(&mut self) {
        self.changed.extend(
            self.entries.iter().filter(|(_, entry)| entry.wanted() && !entry.asked).map(|(channel, _)| channel.clone()),
        );
    }

    /// The connection is gone. Gives those whose subscriptions were confirmed.
    pub(super) fn lost(&mut self, now: Instant) -> Vec<Listeners> {
        self.asked.clear();
        self.entries.retain(|_, entry| entry.wanted());
        self.open = self.entries.len();
        let mut confirmed = Vec::new();
        for (channel, entry) in &mut self.entries {
            entry.unanswered = 0;
            entry.asked = false;
            entry.ending.clear();
            if std::mem::take(&mut entry.confirmed) {
                entry.missing_since.get_or_insert(now);
                confirmed.push(shared(entry));
            }
            self.changed.insert(channel.clone());
        }
        confirmed
    }

    /// Answers those who wait for their first confirmation.
    pub(super) fn refuse_waiting(&mut self, error: &Error) {
        for waiting in self.entries.values_mut().flat_map(|entry| entry.waiting.drain(..)) {
            let _ = waiting.send(Err(error.clone()));
        }
    }

    /// It is all over: forgets everything. Gives whoever listened.
    pub(super) fn end(&mut self, error: &Error) -> Vec<Listeners> {
        self.refuse_waiting(error);
        self.asked.clear();
        self.changed.clear();
        self.open = 0;
        self.entries.drain().map(|(_, mut entry)| shared(&mut entry)).collect()
    }

    /// The listeners of `channel`.
    pub(super) fn listeners(&mut self, channel: &Channel) -> Option<Listeners> {
        self.entries.get_mut(channel).map(shared)
    }
}

fn shared(entry: &mut Entry) -> Listeners {
    Arc::clone(entry.shared.get_or_insert_with(|| entry.listeners.iter().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;
    use crate::error::ErrorKind;

    struct Silent;

    impl Listener for Silent {
        fn message(&self, _message: &Message) {}
    }

    fn channel(name: &'static str) -> Channel {
        Channel { kind: ChannelKind::Exact, name: Bytes::from_static(name.as_bytes()) }
    }

    fn want(book: &mut Book, name: &'static str, number: u64) -> Option<oneshot::Receiver<Result<()>>> {
        book.want(&channel(name), number, Arc::new(Silent))
    }

    fn on(name: &'static str) -> Question {
        Question::Subscription(channel(name), true)
    }

    fn off(name: &'static str) -> Question {
        Question::Subscription(channel(name), false)
    }

    #[test]
    fn a_hundred_listeners_are_one_question() {
        let mut book = Book::default();
        let mut waits: Vec<_> = (0..100).map(|number| want(&mut book, "a", number).unwrap()).collect();
        assert_eq!(book.repairs(), [on("a")]);
        assert_eq!(book.repairs(), []);
        assert!(waits.iter_mut().all(|wait| wait.try_recv().is_err()));
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(waits.iter_mut().all(|wait| wait.try_recv().unwrap().is_ok()));
        assert!(want(&mut book, "a", 100).is_none());
        assert_eq!(book.listeners(&channel("a")).unwrap().len(), 101);
    }

    #[test]
    fn an_end_and_a_new_begin_before_any_answer_end_up_subscribed() {
        let mut book = Book::default();
        want(&mut book, "a", 1);
        assert_eq!(book.repairs(), [on("a")]);
        book.unwant(&channel("a"), 1);
        assert_eq!(book.repairs(), [off("a")]);
        let wait = want(&mut book, "a", 2);
        assert_eq!(book.repairs(), [on("a")]);
        let mut wait = wait.unwrap();
        let now = Instant::now();
        for answer in [true, false] {
            book.confirmed(&channel("a"), answer, now);
            assert!(wait.try_recv().is_err() && !book.is_settled());
        }
        book.confirmed(&channel("a"), true, now);
        assert!(wait.try_recv().unwrap().is_ok() && book.is_settled());
    }

    #[test]
    fn what_is_wanted_by_nobody_is_asked_to_end_and_forgotten() {
        let mut book = Book::default();
        want(&mut book, "a", 1);
        book.unwant(&channel("a"), 1);
        assert!(book.is_empty(), "it was never asked for");
        want(&mut book, "a", 1);
        book.repairs();
        book.confirmed(&channel("a"), true, Instant::now());
        book.unwant(&channel("a"), 1);
        assert_eq!(book.repairs(), [off("a")]);
        book.confirmed(&channel("a"), false, Instant::now());
        assert!(book.is_empty());
    }

    #[test]
    fn an_end_is_over_when_the_server_says_so_or_has_nothing_to_end() {
        let is_over =
            |ended: &mut oneshot::Receiver<()>| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        let mut book = Book::default();
        want(&mut book, "a", 1);
        let mut never_asked = book.unwant(&channel("a"), 1).unwrap().1.unwrap();
        assert!(is_over(&mut never_asked));

        want(&mut book, "a", 2);
        want(&mut book, "a", 3);
        book.repairs();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(book.unwant(&channel("a"), 2).unwrap().1.is_none(), "another one has it still");
        let mut ended = book.unwant(&channel("a"), 3).unwrap().1.unwrap();
        assert_eq!(book.repairs(), [off("a")]);
        assert!(!is_over(&mut ended));
        book.confirmed(&channel("a"), false, Instant::now());
        assert!(is_over(&mut ended));

        want(&mut book, "a", 4);
        book.repairs();
        book.confirmed(&channel("a"), true, Instant::now());
        let mut taken_back = book.unwant(&channel("a"), 4).unwrap().1.unwrap();
        assert!(!is_over(&mut taken_back));
        assert!(want(&mut book, "a", 5).is_none());
        assert!(is_over(&mut taken_back));
        assert_eq!(book.repairs(), []);
        book.lost(Instant::now());
        book.repairs();
        book.unwant(&channel("a"), 5);
        book.lost(Instant::now());
        assert!(book.is_empty());

        want(&mut book, "a", 4);
        book.repairs();
        let mut ended = book.unwant(&channel("a"), 4).unwrap().1.unwrap();
        book.repairs();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(!is_over(&mut ended), "that was the answer to the question before");
        book.lost(Instant::now());
        assert!(is_over(&mut ended) && book.is_empty());
    }

    #[test]
    fn after_a_loss_everything_is_asked_for_again_and_the_gap_is_known() {
        let mut book = Book::default();
        want(&mut book, "a", 1);
        book.repairs();
        let then = Instant::now();
        book.confirmed(&channel("a"), true, then);
        want(&mut book, "b", 2);
        book.repairs();
        assert_eq!(book.lost(then).len(), 1, "b was not confirmed");
        let mut again = book.repairs();
        again.sort_by_key(|asked| format!("{asked:?}"));
        assert_eq!(again, [on("a"), on("b")]);
        let later = then + Duration::from_secs(3);
        for asked in again {
            let Question::Subscription(channel, _) = asked else { unreachable!() };
            let first = book.asked.front().cloned();
            let told = match first {
                Some(Question::Subscription(front, _)) if front == channel => book.confirmed(&channel, true, later),
                Some(Question::Subscription(front, _)) => book.confirmed(&front, true, later),
                _ => None,
            };
            if let Some(Change::Restored(_, gap)) = told {
                assert_eq!(gap, Duration::from_secs(3));
            }
        }
        assert!(book.is_settled());
    }

    #[test]
    fn a_refusal_is_for_the_oldest_question_only() {
        let mut book = Book::default();
        let mut waits = ["a", "b"].map(|name| want(&mut book, name, 1).unwrap());
        let asked = book.repairs();
        let error = Error::new(ErrorKind::Server, "NOPERM");
        book.refused(&error);
        let refused = usize::from(asked[0] == on("b"));
        assert!(waits[refused].try_recv().unwrap().is_err());
        assert!(waits[1 - refused].try_recv().is_err());
    }

    #[test]
    fn a_channel_that_the_server_ended_by_itself_is_asked_for_again() {
        let mut book = Book::default();
        want(&mut book, "a", 1);
        book.repairs();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(book.confirmed(&channel("a"), false, Instant::now()).is_some());
        assert_eq!(book.repairs(), [on("a")]);
    }

    #[test]
    fn a_sharded_channel_goes_to_another_book_with_all_who_wait_for_it() {
        let sharded = Channel { kind: ChannelKind::Sharded, name: Bytes::from_static(b"a") };
        let (mut here, mut there) = (Book::default(), Book::default());
        let mut wait = here.want(&sharded, 1, Arc::new(Silent)).unwrap();
        want(&mut here, "b", 2);
        here.repairs();
        while here.asked.front() != Some(&Question::Subscription(sharded.clone(), true)) {
            assert!(here.take_refused().is_none(), "only a sharded channel moves");
            here.confirmed(&channel("b"), true, Instant::now());
        }
        there.put(here.take_refused().unwrap());
        assert!(!here.has(&sharded));
        assert_eq!(there.repairs(), [Question::Subscription(sharded.clone(), true)]);
        there.confirmed(&sharded, true, Instant::now());
        assert!(wait.try_recv().unwrap().is_ok());
    }
}
