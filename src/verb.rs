//! The verbs that a binding can call. Each verb is declared once, in a row of [`verbs!`]: its name, the public method that its
//! errors name, the operation under which it is measured, and its function. Each class implements [`Class`]; bindings know only
//! [`Target`]s.

use std::any::Any;
use std::future::Future;
use std::ops::Deref;

use crate::arguments::Arguments;
use crate::connection::{Command, Decode, Manager, Sink};
use crate::crossing::{Answer, Arg, Outcome, Outlet};
use crate::error::Result;
use crate::lifecycle;
use crate::telemetry::Operation;

/// A verb of the class `T`.
#[derive(Debug)]
pub struct Verb<T: 'static> {
    /// The name by which the binding calls it, such as `kv.getSet`.
    pub name: &'static str,
    /// The public method that its errors name, such as `KVStore.getSet`.
    pub owner: &'static str,
    /// The operation under which it is measured, registered at its first use.
    pub operation: fn() -> Operation,
    pub run: fn(&T, Call<'_>),
}

impl<T> Verb<T> {
    pub fn call(&self, target: &T, args: &[Arg<'_>], answer: Answer) {
        (self.run)(target, Call { args: Arguments::of(self.owner, args), answer, operation: self.operation });
    }
}

/// One call of a verb. Its arguments are read by the methods of [`Arguments`].
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
    /// The operation under which the commands of the call are measured.
    #[must_use]
    pub fn operation(&self) -> Operation {
        (self.operation)()
    }

    /// Answers the caller.
    pub fn give(self, outcome: Result<Outcome>) {
        self.answer.give(outcome);
    }

    /// Runs `act` on this thread before returning; its outcome is the answer.
    pub fn at_once(self, act: impl FnOnce(&Self) -> Result<Outcome>) {
        let outcome = act(&self);
        self.answer.give(outcome);
    }

    /// Sends the command that `pack` returns; the decoded reply is the answer.
    pub fn send(self, manager: &Manager, decode: Decode, pack: impl FnOnce(&Self) -> Result<Command>) {
        match pack(&self) {
            Ok(command) => manager.submit(command, Sink::Answer(self.answer, decode)),
            Err(error) => self.answer.give(Err(error)),
        }
    }

    /// Runs the future that `prepare` returns on the I/O thread; its outcome is the answer.
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

/// The verbs of a class, one row each: `"name" => function`. Errors name the class and `name` unless the row says `as
/// "Owner.method"`. The operation is the space and `name` unless the row says `in "operation"`.
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

/// A class of objects that a binding can open and call.
pub trait Class: Sized + 'static {
    /// The name by which an object is opened. It is also the prefix of the names of the verbs.
    const NAME: &'static str;
    const VERBS: &'static [Verb<Self>];
    /// The class of the object on which this one is opened.
    type Parent: Parent;

    /// Opens an object with options as JSON. Its deliveries and events go to `outlet`.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    fn open(parent: &Self::Parent, options: &str, outlet: Outlet) -> Result<Self>;

    /// The object on which other objects are opened when a caller opens them on this one.
    fn parent(&self) -> &dyn Any {
        self
    }
}

/// An object on which other objects are opened.
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

/// The parent of a class that is opened on no object.
impl Parent for () {
    const CALLED: &'static str = "process";

    fn of(_target: Option<&dyn Any>) -> Option<&Self> {
        Some(&())
    }
}

/// An open object of any class.
pub trait Target: Any {
    /// Calls the verb with this index in the class' table.
    ///
    /// # Errors
    ///
    /// `answer`, not yet answered, if there is no such verb.
    fn call(&self, index: usize, args: &[Arg<'_>], answer: Answer) -> Result<(), Answer>;

    /// The object on which other objects are opened when a caller opens them on this one.
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
    fn a_row_declares_the_name_the_public_method_and_the_operation() {
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
    fn an_unknown_verb_gives_the_answer_back() {
        let target: Box<dyn Target> = Box::new(Toy);
        for (place, is_there) in [(0, true), (1, true), (3, false), (0_usize.wrapping_sub(1), false)] {
            assert_eq!(target.call(place, &[], Answer::to_nobody()).is_ok(), is_there, "{place}");
        }
    }

    #[test]
    fn an_unexpected_reply_is_an_error_that_names_the_verb() {
        lifecycle::start().unwrap();
        let (answer, outcomes) = HandedOn::answer();
        let target: Box<dyn Target> = Box::new(Toy);
        target.call(2, &[], answer).unwrap();
        let error = outcomes.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
        assert_eq!(error.message(), "unexpected reply to a command of toy.spin");
    }

    #[test]
    fn a_target_of_another_class_is_not_accepted_as_a_parent() {
        let target: Box<dyn Target> = Box::new(Toy);
        assert!(Manager::of(Some(target.parent())).is_none() && Manager::of(None).is_none());
        assert!(<()>::of(None).is_some());
    }
}
