//! The classes that can be opened, and the numbers of their verbs. The TypeScript face calls verbs by number only.

use super::manager::ManagerTarget;
use super::port::{Opened, Port};
use crate::bullmq::Bridge;
use crate::bus::Bus;
use crate::checkpoints::Checkpoints;
use crate::crossing::{Answer, Arg, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::kv::Kv;
use crate::queue::{Queue, Worker};
use crate::registry::Registry;
use crate::sessions::Sessions;
use crate::verb::{Class, Parent, Target};

/// Opens a target on the parent with this handle.
type Open = fn(&Port, u32, &str, Outlet) -> Result<Box<dyn Target>>;

/// A class that the face can open.
struct Known {
    name: &'static str,
    verbs: fn() -> Vec<&'static str>,
    open: Open,
}

/// Every class. The numbers of its verbs follow those of the class before it.
static CLASSES: &[Known] = &[
    known::<ManagerTarget>(),
    known::<Kv>(),
    known::<Bus>(),
    known::<Registry>(),
    known::<Queue>(),
    known::<Worker>(),
    known::<Bridge>(),
    known::<Sessions>(),
    known::<Checkpoints>(),
];

const fn known<T: Class>() -> Known {
    Known { name: T::NAME, verbs: || T::VERBS.iter().map(|verb| verb.name).collect(), open: open_one::<T> }
}

fn open_one<T: Class>(port: &Port, parent: u32, options: &str, outlet: Outlet) -> Result<Box<dyn Target>> {
    let parent = T::Parent::of(port.opened(parent).map(|opened| opened.target.parent()));
    let released = || Error::new(ErrorKind::Closed, format!("the {} has been released", T::Parent::CALLED));
    Ok(Box::new(T::open(parent.ok_or_else(released)?, options, outlet)?))
}

/// The names of all verbs, in the order of their numbers.
pub(super) fn names() -> Vec<&'static str> {
    CLASSES.iter().flat_map(|class| (class.verbs)()).collect()
}

/// Opens a target of the class `name` on the parent with this handle.
pub(super) fn open(port: &Port, name: &str, parent: u32, options: &str, outlet: Outlet) -> Result<Opened> {
    let Some(at) = CLASSES.iter().position(|class| class.name == name) else {
        return Err(Error::config(format!("open: expected a known kind, got {name}")));
    };
    let first = CLASSES[..at].iter().map(|class| (class.verbs)().len()).sum();
    Ok(Opened { target: (CLASSES[at].open)(port, parent, options, outlet)?, first })
}

/// Calls verb number `verb` on the target with this handle.
pub(super) fn call(port: &Port, handle: u32, verb: u32, args: &[Arg<'_>], answer: Answer) {
    let number = verb as usize;
    let opened = port.opened(handle);
    let called = match opened {
        // A verb of an earlier class wraps around to a number that no class has.
        Some(opened) => opened.target.call(number.wrapping_sub(opened.first), args, answer),
        None => Err(answer),
    };
    let Err(answer) = called else { return };
    answer.give(Err(if number >= names().len() {
        Error::config(format!("verb: expected a known one, got number {verb}"))
    } else if opened.is_some() {
        Error::config("target: expected an object that has the verb, got another object")
    } else {
        Error::new(ErrorKind::Closed, "the called object has been released")
    }));
}
