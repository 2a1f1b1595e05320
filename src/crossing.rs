//! The boundary between a binding and the features. Calls come in and outcomes go out; nothing here depends on Node.js.
//!
//! A call is a verb and its [`Arg`]s. The caller is represented by an [`Answer`], which gets exactly one [`Outcome`]. Features
//! decide what they return; the binding only converts it.

pub mod codes;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::error::{Delivery, Error, ErrorKind, Result, describe_text};
use crate::resp::Reply;

/// One argument of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg<'a> {
    /// Not given, or `undefined`.
    Absent,
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Anything else; the text describes it in errors.
    Other(&'a str),
}

impl fmt::Display for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&describe_text(text)),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// `undefined`.
    Nothing,
    Null,
    Bool(bool),
    Number(f64),
    /// A string.
    Text(Bytes),
    /// JSON text, to be parsed; text that is not JSON stays a string.
    Json(Bytes),
    /// A `Buffer`.
    Bytes(Bytes),
    List(Vec<Outcome>),
    /// A server's reply. A bulk string becomes a string if it is UTF-8, and a `Buffer` otherwise.
    Reply(Reply),
}

/// True if `JSON.parse` accepts the text, at any depth, with numbers of any size, and with unpaired surrogates.
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Takes outcomes by the number of the call; implemented by the binding.
pub trait Completions: Send + Sync {
    /// Takes an outcome. Returns whether [`Completions::wake`] must be called; one call for many outcomes is enough.
    fn complete(&self, number: u32, outcome: Result<Outcome>) -> bool;
    /// Takes values for the object behind `handle` that belong to no call. Returns the same as [`Completions::complete`].
    fn deliver(&self, handle: u32, values: Vec<Outcome>) -> bool;
    /// Takes an event, JSON, for the object behind `handle`. Returns the same as [`Completions::complete`].
    fn emit(&self, handle: u32, event: String) -> bool;
    /// Announces that there are outcomes to take out.
    fn wake(&self);
}

/// Sends values that belong to no call (messages, jobs, events) to one object of the binding. Cheap to clone.
///
/// An outlet has no limit: a sender that may deliver more than the receiver takes must limit itself.
#[derive(Clone)]
pub struct Outlet {
    completions: Arc<dyn Completions>,
    handle: u32,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outlet({})", self.handle)
    }
}

impl Outlet {
    #[must_use]
    pub fn to(completions: Arc<dyn Completions>, handle: u32) -> Self {
        Self { completions, handle }
    }

    /// Delivers values, in order with all other deliveries of this outlet.
    pub fn deliver(&self, values: Vec<Outcome>) {
        if self.completions.deliver(self.handle, values) {
            self.wake();
        }
    }

    /// Sends an event: a JSON object whose `event` names it. For rare events: each is parsed on its own.
    pub fn emit(&self, event: String) {
        if self.completions.emit(self.handle, event) {
            self.wake();
        }
    }

    fn wake(&self) {
        let completions = Arc::clone(&self.completions);
        at_end_of_batch(move || completions.wake());
    }
}

/// The caller of a call, if it waits for the outcome. Dropped without an outcome, it answers with kind `closed`.
pub struct Answer(Option<(Arc<dyn Completions>, u32)>);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({:?})", self.0.as_ref().map(|(_, number)| number))
    }
}

impl Answer {
    #[must_use]
    pub fn to(completions: Arc<dyn Completions>, number: u32) -> Self {
        Self(Some((completions, number)))
    }

    /// For a call without a waiting caller.
    #[must_use]
    pub fn to_nobody() -> Self {
        Self(None)
    }

    /// Answers the caller.
    pub fn give(mut self, outcome: Result<Outcome>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Result<Outcome>) {
        if let Some((completions, number)) = self.0.take()
            && completions.complete(number, outcome)
        {
            at_end_of_batch(move || completions.wake());
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.finish(Err(if std::thread::panicking() {
                let message = "a defect in redis-backplane ended the call; what it was is on stderr";
                Error::new(ErrorKind::Closed, message).with_delivery(Delivery::MaybeExecuted)
            } else {
                Error::new(ErrorKind::Closed, "the called object has ended")
            }));
        }
    }
}

/// The actions for the end of the open batch, if one is open.
type Afterwards = Option<Vec<Box<dyn FnOnce()>>>;

thread_local! {
    static AFTERWARDS: RefCell<Afterwards> = const { RefCell::new(None) };
}

/// Runs `work`. Wake-ups that it causes are collected until its end.
pub fn batch<T>(work: impl FnOnce() -> T) -> T {
    let outermost = AFTERWARDS.try_with(|list| {
        let mut list = list.borrow_mut();
        let outermost = list.is_none();
        list.get_or_insert_default();
        outermost
    });
    // A thread that is ending has no thread-local list. Each action then runs at once.
    let outermost = outermost.unwrap_or(false);
    // Dropped also when `work` panics, so that outcomes completed by then are announced.
    let _end = outermost.then_some(EndOfBatch);
    work()
}

struct EndOfBatch;

impl Drop for EndOfBatch {
    fn drop(&mut self) {
        let afterwards = AFTERWARDS.try_with(|list| list.borrow_mut().take()).ok().flatten().unwrap_or_default();
        for act in afterwards {
            act();
        }
    }
}

/// Runs `act` at the end of the open [`batch`], or at once if no batch is open or the thread is ending.
pub fn at_end_of_batch(act: impl FnOnce() + 'static) {
    let collects = AFTERWARDS.try_with(|list| list.borrow().is_some()).unwrap_or(false);
    if collects {
        AFTERWARDS.with(|list| list.borrow_mut().get_or_insert_default().push(Box::new(act)));
    } else {
        act();
    }
}

/// The binding of tests: passes on outcomes in the order in which they come.
#[cfg(test)]
pub(crate) struct HandedOn(std::sync::mpsc::Sender<Result<Outcome>>);

#[cfg(test)]
impl HandedOn {
    /// An answer, and the receiver of its outcome.
    pub(crate) fn answer() -> (Answer, std::sync::mpsc::Receiver<Result<Outcome>>) {
        let (sender, outcomes) = std::sync::mpsc::channel();
        (Answer::to(Arc::new(Self(sender)), 1), outcomes)
    }
}

#[cfg(test)]
impl Completions for HandedOn {
    fn complete(&self, _number: u32, outcome: Result<Outcome>) -> bool {
        self.0.send(outcome).is_ok()
    }

    fn deliver(&self, _handle: u32, _values: Vec<Outcome>) -> bool {
        false
    }

    fn emit(&self, _handle: u32, _event: String) -> bool {
        false
    }

    fn wake(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_a_panic_drops_says_that_the_call_may_have_been_executed() {
        let (answer, outcomes) = HandedOn::answer();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _answer = answer;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        let error = outcomes.try_recv().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::MaybeExecuted));
    }

    #[test]
    fn json_is_the_same_as_for_json_parse() {
        let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
        for text in [&deep, " null\n", "-1e3081", r#""\ud800""#, r#"{"\ud800":[1E-999]}"#] {
            assert!(is_json(text), "{}", &text[..20.min(text.len())]);
        }
        for text in ["", "[", "{} {}", "01", "1.", "NaN", "'a'", "\"a\n\"", r#""\x""#, "[1,]", "\u{feff}1"] {
            assert!(!is_json(text), "{text:?}");
        }
    }
}
