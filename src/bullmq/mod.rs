//! `BullMQ` on a manager's connections: what its client interface needs beyond plain commands.
//!
//! # Promises
//!
//! - Replies have the shapes of RESP2, whatever the server speaks: that is what `BullMQ` reads.
//! - A script is sent by its digest and loaded where the server does not know it; in a transaction its text goes along, so that no
//!   part of one can fail for want of it.
//! - The blocking commands of one bridge share one connection, which is restored when it is lost, and bears the name that
//!   `BullMQ` looks for in `CLIENT LIST`.
//! - No key is changed: `BullMQ` has a prefix of its own, and the manager's namespace is not put before it.
//!
//! | file | what |
//! |---|---|
//! | `scripts` | calls of scripts, and transactions with them |
//! | `shape` | RESP3 replies as RESP2 would have them |
//! | `options` | the configuration of a manager as options of ioredis |

mod options;
mod scripts;
mod shape;

use serde_json::json;

use crate::arguments::Arguments;
use crate::connection::command::Way;
use crate::connection::{Command, Manager, Notice, Reserved, Script, Sink, State, Tries};
use crate::crossing::{Answer, Arg, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::options::Options;
use crate::sync::RwLock;

pub use options::ioredis_options;

/// A client of `BullMQ`, as the native side sees it.
#[derive(Debug)]
pub struct Bridge {
    manager: Manager,
    /// By the number that the face gave them.
    scripts: RwLock<Vec<Option<Script>>>,
    /// For blocking commands, where it has a connection of its own for them.
    reserved: Option<Reserved>,
}

/// What a call of a verb does.
pub type Call = fn(&Bridge, &[Arg<'_>], Answer);

/// The verbs.
pub const CALLS: &[(&str, Call)] = &[
    ("bullmq.connect", connect),
    ("bullmq.command", command),
    ("bullmq.define", scripts::define),
    ("bullmq.run", scripts::run),
    ("bullmq.transaction", scripts::transaction),
    ("bullmq.open", open),
    ("bullmq.block", block),
    ("bullmq.name", name),
    ("bullmq.close", close),
];

impl Bridge {
    /// On `manager`; with `blocking` in the options it has a connection for blocking commands, called `connectionName`, whose
    /// notices go to `outlet`.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options, outlet: Outlet) -> Result<Self> {
        let blocking = options.flag("blocking")?.unwrap_or(false);
        let name = options.text("connectionName")?.filter(|name| !name.is_empty());
        options.finish()?;
        let reserved = blocking.then(|| Reserved::on(&manager, name, move |notice| outlet.tell(event(&notice))));
        Ok(Self { manager, scripts: RwLock::default(), reserved })
    }

    /// The connection for blocking commands.
    fn reserved(&self) -> Result<&Reserved> {
        self.reserved.as_ref().ok_or_else(|| Error::config("bullmq: expected a duplicate, got the client it is one of"))
    }
}

fn event(notice: &Notice) -> String {
    match notice {
        Notice::Ready => json!({ "event": "ready" }),
        Notice::Lost => json!({ "event": "lost" }),
        Notice::Failed(error) => json!({ "event": "failed", "message": error.message() }),
        Notice::Ended => json!({ "event": "ended" }),
    }
    .to_string()
}

/// Waits until the manager is connected, however many attempts that takes: `BullMQ` asks once and never again.
fn connect(bridge: &Bridge, _args: &[Arg<'_>], answer: Answer) {
    let manager = bridge.manager.clone();
    lifecycle::spawn(async move {
        let mut failures = 0;
        let outcome = loop {
            // Only the user opens again what the user has closed.
            if matches!(manager.state(), State::Closing | State::Closed) {
                break Err(Error::new(ErrorKind::Closed, "the connection manager is closed"));
            }
            match manager.connect().await {
                Err(error) if error.retryable() => {
                    let ended = manager.closing();
                    tokio::select! {
                        () = tokio::time::sleep(manager.config().reconnect.delay(failures)) => {}
                        () = ended.cancelled() => {}
                    }
                    failures = failures.saturating_add(1);
                }
                outcome => break outcome,
            }
        };
        answer.give(outcome.map(|()| Outcome::Nothing));
    });
}

/// The words of a command that does not block, or does so on a connection that is opened for it.
fn command(bridge: &Bridge, args: &[Arg<'_>], answer: Answer) {
    let prepared = words("command", args).and_then(|words| bridge.manager.prepare(&words));
    let sink = Sink::Answer(answer, shape::resp2);
    match prepared {
        Ok((command, Way::Shared)) => bridge.manager.submit(command, sink),
        Ok((command, Way::Own(time))) => bridge.manager.submit_blocking(command, sink, time),
        Err(error) => sink.settle(Err(error), bridge.manager.metrics()),
    }
}

/// The words of a command for the connection of blocking commands.
fn block(bridge: &Bridge, args: &[Arg<'_>], answer: Answer) {
    let prepared = || -> Result<(&Reserved, Command, Way)> {
        let words = words("block", args)?;
        let (mut command, way) = bridge.manager.prepare(&words)?;
        // It takes nothing away, so it may be asked again.
        command.safe |= words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"XREAD"));
        Ok((bridge.reserved()?, command, way))
    };
    let sink = Sink::Answer(answer, shape::resp2);
    match prepared() {
        Ok((reserved, command, Way::Own(time))) => reserved.submit(command, sink, time),
        Ok((_, command, Way::Shared)) => bridge.manager.submit(command, sink),
        Err(error) => sink.settle(Err(error), bridge.manager.metrics()),
    }
}

/// Whether to try once only.
fn open(bridge: &Bridge, args: &[Arg<'_>], answer: Answer) {
    let tries = if args.first() == Some(&Arg::Bool(true)) { Tries::One } else { Tries::Endless };
    match bridge.reserved() {
        Ok(reserved) => give(answer, reserved.open(tries)),
        Err(error) => answer.give(Err(error)),
    }
}

fn name(bridge: &Bridge, args: &[Arg<'_>], answer: Answer) {
    let name =
        Arguments::of("clientSetName", args).text(0, "name").map(|name| String::from_utf8_lossy(name).into_owned());
    match bridge.reserved().and_then(|reserved| Ok((reserved, name?))) {
        Ok((reserved, name)) => give(answer, reserved.rename(name)),
        Err(error) => answer.give(Err(error)),
    }
}

fn close(bridge: &Bridge, _args: &[Arg<'_>], answer: Answer) {
    match bridge.reserved() {
        Ok(reserved) => {
            let closed = reserved.close();
            give(answer, async move {
                closed.await;
                Ok(())
            });
        }
        Err(error) => answer.give(Err(error)),
    }
}

fn give(answer: Answer, outcome: impl Future<Output = Result<()>> + Send + 'static) {
    lifecycle::spawn(async move { answer.give(outcome.await.map(|()| Outcome::Nothing)) });
}

/// What the face has made words of.
fn words<'a>(what: &str, args: &[Arg<'a>]) -> Result<Vec<&'a [u8]>> {
    args.iter()
        .map(|arg| match arg {
            Arg::Text(text) => Ok(text.as_bytes()),
            Arg::Bytes(bytes) => Ok(*bytes),
            other => Err(Error::config(format!("{what}: expected strings, numbers and Buffers, got {other}"))),
        })
        .collect()
}
