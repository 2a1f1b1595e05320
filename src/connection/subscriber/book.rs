//! The subscriptions of one connection: which channels have listeners, which the server has confirmed, and which commands bring
//! the two together.
//!
//! A pure unit: it neither sends nor waits. The states of a channel:
//!
//! ```text
//! absent ─ first listener ─► wanted ─ questions() ─► asked ─ confirmed ─► confirmed
//!   ▲                          ▲                       │                      │
//!   │                          └─────── refused ───────┤                      │
//!   │                          └─────── lost ──────────┴──────────────────────┤
//!   └─ end confirmed ◄─ end asked ◄─ questions() ◄─ last listener removed ◄───┘
//! ```
//!
//! The server answers in the order of the questions, so each answer is for the oldest question. A refusal names no channel, and
//! is for the oldest question too.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Listener;
use crate::error::{Error, Result};

/// What the name of a subscription stands for.
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
    /// The listeners, shared without a copy; nothing after the listeners have changed.
    shared: Option<Listeners>,
    /// Callers that wait for the confirmation.
    waiting: Vec<oneshot::Sender<Result<()>>>,
    /// Callers that wait for the end. Dropped when the server has confirmed the end, or has nothing to end.
    ending: Vec<oneshot::Sender<()>>,
    /// How many questions about the channel are not answered yet.
    unanswered: u32,
    /// Was the last question a subscription, and not the end of one?
    asked: bool,
    confirmed: bool,
    /// Since when the listeners may have missed messages.
    missing_since: Option<Instant>,
}

impl Entry {
    fn has_listeners(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Has the channel listeners, and no confirmation?
    fn is_open(&self) -> bool {
        self.has_listeners() && !self.confirmed
    }
}

/// A command that the connection sends, and that the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Subscribes to the channel (`true`), or ends the subscription (`false`).
    Subscription(Channel, bool),
    /// Asks for a sign of life.
    Ping,
}

/// What an answer changes for the listeners.
pub(super) enum Change {
    /// The subscription is confirmed again. The listeners may have missed messages for this long.
    Restored(Listeners, Duration),
    /// The server refused a channel that it had confirmed for some of the listeners. The subscription must be asked for again later.
    Refused(Error),
    Nothing,
}

/// A channel that moves to another connection, with its listeners and waiting callers.
pub(super) struct Moved(Channel, Entry);

/// The subscriptions of one connection.
#[derive(Default)]
pub(super) struct Book {
    entries: HashMap<Channel, Entry>,
    /// How many channels have listeners and no confirmation. [`Book::change`] keeps the count.
    open: usize,
    /// Channels that may need a question.
    changed: HashSet<Channel>,
    /// The questions that are not answered yet, oldest first.
    asked: VecDeque<Question>,
}

impl Book {
    /// Has no channel a listener or an unanswered question?
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is every channel that has listeners confirmed?
    pub(super) fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// Changes an entry, and keeps the count of the open entries.
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

    /// Has the book an entry for `channel`?
    pub(super) fn has(&self, channel: &Channel) -> bool {
        self.entries.contains_key(channel)
    }

    /// Adds the listener with this number. Returns the receiver of the confirmation, unless the channel is confirmed already.
    pub(super) fn add_listener(
        &mut self,
        channel: &Channel,
        number: u64,
        listener: Arc<dyn Listener>,
    ) -> Option<oneshot::Receiver<Result<()>>> {
        let entry = self.entries.entry(channel.clone()).or_default();
        Self::change(&mut self.open, entry, |entry| entry.listeners.push((number, listener)));
        entry.shared = None;
        if entry.asked {
            // The end was not sent yet, and will not be sent. Callers that wait for the end are released.
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

    /// Removes the channel of the oldest question, to be added to another book. Returns nothing where the channel is not sharded.
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

    /// Removes all channels, to be added to another book. The connection must be lost.
    pub(super) fn take_all(&mut self) -> Vec<Moved> {
        self.changed.clear();
        self.open = 0;
        self.entries.drain().map(|(channel, entry)| Moved(channel, entry)).collect()
    }

    /// Adds a channel that was removed from another book.
    pub(super) fn put(&mut self, Moved(channel, mut moved): Moved) {
        let entry = self.entries.entry(channel.clone()).or_default();
        Self::change(&mut self.open, entry, |entry| entry.listeners.append(&mut moved.listeners));
        entry.waiting.append(&mut moved.waiting);
        entry.ending.append(&mut moved.ending);
        entry.shared = None;
        entry.missing_since = entry.missing_since.or(moved.missing_since);
        self.changed.insert(channel);
    }

    /// Removes a listener and returns it, because dropping a listener may end other subscriptions. Where the server must end the
    /// subscription, also returns a receiver that is closed when the server has confirmed the end.
    #[expect(clippy::type_complexity, reason = "used once; the parts are named above")]
    pub(super) fn remove_listener(
        &mut self,
        channel: &Channel,
        number: u64,
    ) -> Option<(Arc<dyn Listener>, Option<oneshot::Receiver<()>>)> {
        let entry = self.entries.get_mut(channel)?;
        let at = entry.listeners.iter().position(|(own, _)| *own == number)?;
        let (_, listener) = Self::change(&mut self.open, entry, |entry| entry.listeners.remove(at));
        entry.shared = None;
        if entry.has_listeners() {
            return Some((listener, None));
        }
        let (end, ended) = oneshot::channel();
        entry.ending.push(end);
        self.changed.insert(channel.clone());
        self.forget(channel);
        Some((listener, Some(ended)))
    }

    /// Removes the entry of a channel that has no listeners and that the server does not know.
    fn forget(&mut self, channel: &Channel) {
        if let Some(entry) = self.entries.get(channel)
            && !entry.has_listeners()
            && !entry.asked
            && entry.unanswered == 0
        {
            self.remove(channel);
        }
    }

    /// The questions that bring the server's subscriptions in line with the listeners. The questions count as sent from this call on.
    pub(super) fn questions(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        for channel in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(&channel) else {
                continue;
            };
            if entry.has_listeners() != entry.asked {
                entry.asked = !entry.asked;
                entry.unanswered += 1;
                questions.push(Question::Subscription(channel, entry.asked));
            }
        }
        self.asked.extend(questions.iter().cloned());
        questions
    }

    /// Records that a `PING` was sent.
    pub(super) fn pinged(&mut self) {
        self.asked.push_back(Question::Ping);
    }

    /// The server answered a `PING`. False where the oldest question is none.
    pub(super) fn ponged(&mut self) -> bool {
        self.asked.pop_front_if(|asked| *asked == Question::Ping).is_some()
    }

    /// The server says that `channel` is subscribed (`on`), or no longer subscribed. `None` where this answers no question.
    pub(super) fn confirmed(&mut self, channel: &Channel, on: bool, now: Instant) -> Option<Change> {
        let answers =
            matches!(self.asked.front(), Some(Question::Subscription(asked, was)) if asked == channel && *was == on);
        if !answers {
            // The server itself ends the subscription of a sharded channel whose slot moves to another node.
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
        // Only the answer to the last question about the channel says what the server's state is now.
        if entry.unanswered == 0 {
            Self::change(&mut self.open, entry, |entry| entry.confirmed = on);
            // Callers that wait for the end are released, also where the channel has listeners again.
            entry.ending.clear();
            if on {
                // The send fails where a caller has stopped waiting.
                entry.waiting.drain(..).for_each(|waiting| drop(waiting.send(Ok(()))));
                if let Some(since) = entry.missing_since.take() {
                    change = Change::Restored(shared(entry), now.saturating_duration_since(since));
                }
            }
        }
        self.forget(channel);
        Some(change)
    }

    /// The server refused the oldest question. `None` where there is no question.
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

    /// Asks again for the subscriptions that the server refused.
    pub(super) fn retry(&mut self) {
        self.changed.extend(
            self.entries
                .iter()
                .filter(|(_, entry)| entry.has_listeners() && !entry.asked)
                .map(|(channel, _)| channel.clone()),
        );
    }

    /// The connection is lost. Returns the listeners of the subscriptions that were confirmed.
    pub(super) fn lost(&mut self, now: Instant) -> Vec<Listeners> {
        self.asked.clear();
        self.entries.retain(|_, entry| entry.has_listeners());
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

    /// Fails the callers that wait for a confirmation.
    pub(super) fn refuse_waiting(&mut self, error: &Error) {
        for waiting in self.entries.values_mut().flat_map(|entry| entry.waiting.drain(..)) {
            let _ = waiting.send(Err(error.clone()));
        }
    }

    /// Ends all subscriptions: removes every entry, and returns the listeners.
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
    use super::super::ChannelMessage;
    use super::*;
    use crate::error::ErrorKind;

    struct Silent;

    impl Listener for Silent {
        fn message(&self, _message: &ChannelMessage) {}
    }

    fn channel(name: &'static str) -> Channel {
        Channel { kind: ChannelKind::Exact, name: Bytes::from_static(name.as_bytes()) }
    }

    fn add_listener(book: &mut Book, name: &'static str, number: u64) -> Option<oneshot::Receiver<Result<()>>> {
        book.add_listener(&channel(name), number, Arc::new(Silent))
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
        let mut waits: Vec<_> = (0..100).map(|number| add_listener(&mut book, "a", number).unwrap()).collect();
        assert_eq!(book.questions(), [on("a")]);
        assert_eq!(book.questions(), []);
        assert!(waits.iter_mut().all(|wait| wait.try_recv().is_err()));
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(waits.iter_mut().all(|wait| wait.try_recv().unwrap().is_ok()));
        assert!(add_listener(&mut book, "a", 100).is_none());
        assert_eq!(book.listeners(&channel("a")).unwrap().len(), 101);
    }

    #[test]
    fn a_channel_that_is_ended_and_wanted_again_before_any_answer_is_subscribed() {
        let mut book = Book::default();
        add_listener(&mut book, "a", 1);
        assert_eq!(book.questions(), [on("a")]);
        book.remove_listener(&channel("a"), 1);
        assert_eq!(book.questions(), [off("a")]);
        let wait = add_listener(&mut book, "a", 2);
        assert_eq!(book.questions(), [on("a")]);
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
    fn a_channel_without_listeners_is_ended_and_forgotten() {
        let mut book = Book::default();
        add_listener(&mut book, "a", 1);
        book.remove_listener(&channel("a"), 1);
        assert!(book.is_empty(), "the subscription was never sent");
        add_listener(&mut book, "a", 1);
        book.questions();
        book.confirmed(&channel("a"), true, Instant::now());
        book.remove_listener(&channel("a"), 1);
        assert_eq!(book.questions(), [off("a")]);
        book.confirmed(&channel("a"), false, Instant::now());
        assert!(book.is_empty());
    }

    #[test]
    fn an_end_is_complete_when_the_server_confirms_it_or_has_nothing_to_end() {
        let is_over =
            |ended: &mut oneshot::Receiver<()>| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        let mut book = Book::default();
        add_listener(&mut book, "a", 1);
        let mut never_asked = book.remove_listener(&channel("a"), 1).unwrap().1.unwrap();
        assert!(is_over(&mut never_asked));

        add_listener(&mut book, "a", 2);
        add_listener(&mut book, "a", 3);
        book.questions();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(book.remove_listener(&channel("a"), 2).unwrap().1.is_none(), "listener 3 remains");
        let mut ended = book.remove_listener(&channel("a"), 3).unwrap().1.unwrap();
        assert_eq!(book.questions(), [off("a")]);
        assert!(!is_over(&mut ended));
        book.confirmed(&channel("a"), false, Instant::now());
        assert!(is_over(&mut ended));

        add_listener(&mut book, "a", 4);
        book.questions();
        book.confirmed(&channel("a"), true, Instant::now());
        let mut taken_back = book.remove_listener(&channel("a"), 4).unwrap().1.unwrap();
        assert!(!is_over(&mut taken_back));
        assert!(add_listener(&mut book, "a", 5).is_none());
        assert!(is_over(&mut taken_back));
        assert_eq!(book.questions(), []);
        book.lost(Instant::now());
        book.questions();
        book.remove_listener(&channel("a"), 5);
        book.lost(Instant::now());
        assert!(book.is_empty());

        add_listener(&mut book, "a", 4);
        book.questions();
        let mut ended = book.remove_listener(&channel("a"), 4).unwrap().1.unwrap();
        book.questions();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(!is_over(&mut ended), "the answer was for the question before");
        book.lost(Instant::now());
        assert!(is_over(&mut ended) && book.is_empty());
    }

    #[test]
    fn after_a_loss_every_subscription_is_asked_for_again_and_the_gap_is_known() {
        let mut book = Book::default();
        add_listener(&mut book, "a", 1);
        book.questions();
        let then = Instant::now();
        book.confirmed(&channel("a"), true, then);
        add_listener(&mut book, "b", 2);
        book.questions();
        assert_eq!(book.lost(then).len(), 1, "b was not confirmed");
        let mut again = book.questions();
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
        let mut waits = ["a", "b"].map(|name| add_listener(&mut book, name, 1).unwrap());
        let asked = book.questions();
        let error = Error::new(ErrorKind::Server, "NOPERM");
        book.refused(&error);
        let refused = usize::from(asked[0] == on("b"));
        assert!(waits[refused].try_recv().unwrap().is_err());
        assert!(waits[1 - refused].try_recv().is_err());
    }

    #[test]
    fn a_channel_that_the_server_ended_by_itself_is_asked_for_again() {
        let mut book = Book::default();
        add_listener(&mut book, "a", 1);
        book.questions();
        book.confirmed(&channel("a"), true, Instant::now());
        assert!(book.confirmed(&channel("a"), false, Instant::now()).is_some());
        assert_eq!(book.questions(), [on("a")]);
    }

    #[test]
    fn a_sharded_channel_moves_to_another_book_with_its_waiting_callers() {
        let sharded = Channel { kind: ChannelKind::Sharded, name: Bytes::from_static(b"a") };
        let (mut here, mut there) = (Book::default(), Book::default());
        let mut wait = here.add_listener(&sharded, 1, Arc::new(Silent)).unwrap();
        add_listener(&mut here, "b", 2);
        here.questions();
        while here.asked.front() != Some(&Question::Subscription(sharded.clone(), true)) {
            assert!(here.take_refused().is_none(), "only a sharded channel moves");
            here.confirmed(&channel("b"), true, Instant::now());
        }
        there.put(here.take_refused().unwrap());
        assert!(!here.has(&sharded));
        assert_eq!(there.questions(), [Question::Subscription(sharded.clone(), true)]);
        there.confirmed(&sharded, true, Instant::now());
        assert!(wait.try_recv().unwrap().is_ok());
    }
}
