//! The verbs that can be called, each declared once: a row of [`verbs!`] gives its name, the method that its errors name, the operation
//! that is measured, and its function. A class of targets implements [`Class`]; bindings know only [`Target`]s.

use std::any::Any;
use std::future::Future;
use std::ops::Deref;

use crate::arguments::Arguments;
use crate::connection::{Command, Decode, Manager, Sink};
use crate::crossing::{Answer, Arg, Outcome, Outlet};
use crate::error::Result;
use crate::lifecycle;
use crate::telemetry::Operation;

/// A verb of the targets `T`.
#[derive(Debug)]
pub struct Verb<T: 'static> {
    /// Its name across the boundary, such as `kv.getSet`.
    pub name: &'static str,
    /// The public method that its errors name, such as `KVStore.getSet`.
    pub owner: &'static str,
    /// What is measured, interned at its first use.
    pub operation: fn() -> Operation,
    pub run: fn(&T, Call<'_>),
}

impl<T> Verb<T> {
    pub fn call(&self, target: &T, args: &[Arg<'_>], answer: Answer) {
        (self.run)(target, Call { args: Arguments::of(self.owner, args), answer, operation: self.operation });
    }
}

/// One call of a verb. Its arguments are read as those of [`Arguments`].
#[derive(Debug)]
pub struct Call<'a> {
    pub args: Arguments<'a>,
    pub answer: Answer,
    operation: fn() -> Operation,
}

impl<'a> Deref for Call<'a> {
    type Target = Arguments<'a>;

    fn deref(&self) -> &Arguments<'a> {
        &self.args
    }
}

impl Call<'_> {
    /// The operation under which its commands are measured.
    #[must_use]
    pub fn operation(&self) -> Operation {
        (self.operation)()
    }

    /// Gives the outcome.
    pub fn give(self, outcome: Result<Outcome>) {
        self.answer.give(outcome);
    }

    /// Does `act` here and now; its outcome is the answer.
    pub fn at_once(self, act: impl FnOnce(&Self) -> Result<Outcome>) {
        let outcome = act(&self);
        self.answer.give(outcome);
    }

    /// Sends the command that `pack` gives; its reply becomes the answer.
    pub fn send(self, manager: &Manager, decode: Decode, pack: impl FnOnce(&Self) -> Result<Command>) {
        match pack(&self) {
            Ok(command) => manager.submit(command, Sink::Answer(self.answer, decode)),
            Err(error) => self.answer.give(Err(error)),
        }
    }

    /// Runs the steps that `prepare` gives on the I/O thread; their outcome is the answer.
    pub fn run<F>(self, prepare: impl FnOnce(&Self) -> Result<F>)
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        match prepare(&self) {
            Ok(steps) => {
                let (answer, operation) = (self.answer, self.operation);
                lifecycle::spawn(async move {
                    let outcome = steps.await;
                    answer.give(
                        outcome.map_err(|error| error.to_command(|| format!("a command of {}", operation().name()))),
                    );
                });
            }
            Err(error) => self.answer.give(Err(error)),
        }
    }
}

/// The rows of a class: `"name" => function`. Its errors name the class and `name` unless the row says `as "Owner.method"`; its
/// operation is the space and `name` unless the row says `in "operation"`.
macro_rules! verbs {
    ($space:literal $class:literal { $($name:literal $(as $owner:literal)? $(in $operation:literal)? => $run:expr;)* }) => {
        &[$($crate::verb::Verb {
            name: concat!($space, ".", $name),
            owner: $crate::verb::verbs!(@or concat!($class, ".", $name) $(, $owner)?),
            operation: || {
                static OPERATION: std::sync::LazyLock<$crate::telemetry::Operation> = std::sync::LazyLock::new(|| {
                    let name = $crate::verb::verbs!(@or concat!($space, ".", $name) $(, $operation)?);
                    $crate::telemetry::Operation::named(name)
                });
                *OPERATION
            },
            run: $run,
        },)*]
    };
    (@or $default:expr) => { $default };
    (@or $default:expr, $given:literal) => { $given };
}

pub(crate) use verbs;

/// Something that can be opened, and has verbs.
pub trait Class: Sized + 'static {
    /// The name by which it is opened, before those of its verbs.
    const NAME: &'static str;
    const VERBS: &'static [Verb<Self>];
    /// What it is opened on.
    type Parent: Parent;

    /// With options as JSON; deliveries and events go to `outlet`.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    fn open(parent: &Self::Parent, options: &str, outlet: Outlet) -> Result<Self>;

    /// The object on which others are opened when they are opened on this target.
    fn parent(&self) -> &dyn Any {
        self
    }
}

/// A parent: something on which targets are opened.
pub trait Parent: Sized + 'static {
    /// Its name in errors.
    const CALLED: &'static str;

    /// `target`, if it is a parent of this kind.
    #[must_use]
    fn of(target: Option<&dyn Any>) -> Option<&Self> {
        target?.downcast_ref()
    }
}

impl Parent for Manager {
    const CALLED: &'static str = "connection manager";
}

/// Nothing at all.
impl Parent for () {
    const CALLED: &'static str = "process";

    fn of(_target: Option<&dyn Any>) -> Option<&Self> {
        Some(&())
    }
}

/// Something that was opened, of any class.
pub trait Target: Any {
    /// Calls the verb of that place in the class' table; gives the answer back where there is none.
    ///
    /// # Errors
    ///
    /// The answer, unanswered.
    fn call(&self, index: usize, args: &[Arg<'_>], answer: Answer) -> Result<(), Answer>;

    /// The object on which others are opened when they are opened on this target.
    fn parent(&self) -> &dyn Any;
}

impl<T: Class> Target for T {
    fn call(&self, index: usize, args: &[Arg<'_>], answer: Answer) -> Result<(), Answer> {
        let Some(verb) = T::VERBS.get(index) else { return Err(answer) };
        verb.call(self, args, answer);
        Ok(())
    }

    fn parent(&self) -> &dyn Any {
        Class::parent(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::crossing::HandedOn;
    use crate::error::Error;

    struct Toy;

    impl Class for Toy {
        const NAME: &'static str = "toy";
        const VERBS: &'static [Verb<Self>] = verbs! { "toy" "ToyBox" {
            "wind" => |_, call| call.at_once(|call| call.id(0).map(|_| Outcome::Nothing));
            "wound" as "ToyBox.wind" in "toy.wind" => |_, call| call.give(Ok(Outcome::Nothing));
            "spin" => |_, call| call.run(|_| Ok(std::future::ready(Err(Error::unexpected_reply()))));
        } };
        type Parent = ();

        fn open((): &(), _options: &str, _outlet: Outlet) -> Result<Self> {
            Ok(Self)
        }
    }

    #[test]
    fn a_row_says_who_is_named_and_what_is_measured() {
        let rows: Vec<_> = Toy::VERBS.iter().map(|verb| (verb.name, verb.owner, (verb.operation)().name())).collect();
        assert_eq!(
            rows,
            [
                ("toy.wind", "ToyBox.wind", "toy.wind"),
                ("toy.wound", "ToyBox.wind", "toy.wind"),
                ("toy.spin", "ToyBox.spin", "toy.spin")
            ]
        );
    }

    #[test]
    fn a_verb_that_a_class_has_not_is_not_called() {
        let target: Box<dyn Target> = Box::new(Toy);
        for (place, is_there) in [(0, true), (1, true), (3, false), (0_usize.wrapping_sub(1), false)] {
            assert_eq!(target.call(place, &[], Answer::to_nobody()).is_ok(), is_there, "{place}");
        }
    }

    #[test]
    fn a_reply_that_steps_cannot_decode_is_an_error_that_names_their_verb() {
        lifecycle::start().unwrap();
        let (answer, outcomes) = HandedOn::answer();
        let target: Box<dyn Target> = Box::new(Toy);
        target.call(2, &[], answer).unwrap();
        let error = outcomes.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
        assert_eq!(error.message(), "unexpected reply to a command of toy.spin");
    }

    #[test]
    fn nothing_is_opened_on_what_it_does_not_stand_on() {
        let target: Box<dyn Target> = Box::new(Toy);
        assert!(Manager::of(Some(target.parent())).is_none() && Manager::of(None).is_none());
        assert!(<()>::of(None).is_some());
    }
}
