//! `BullMQ` on a manager's connections: the parts of its client interface beyond plain commands.
//!
//! # Promises
//!
//! - Replies have the shapes of RESP2, which `BullMQ` reads, whatever protocol the server uses.
//! - A script is called by its digest, and loaded where the server does not know it. A transaction sends the text instead, so that no
//!   part of it can fail because the script is unknown.
//! - The blocking commands of one bridge share one connection. It is restored when it is lost, and has the name that `BullMQ` looks
//!   for in `CLIENT LIST`.
//! - No key is changed: `BullMQ` has its own prefix, and the manager's namespace is not added.
//!
//! | file | what |
//! |---|---|
//! | `scripts` | calls of scripts, and transactions with them |
//! | `shape` | converts RESP3 replies to the shapes of RESP2 |
//! | `options` | the configuration of a manager as options of ioredis |

mod options;
mod scripts;
mod shape;

use serde_json::json;

use crate::arguments::Arguments;
use crate::connection::command::Dispatch;
use crate::connection::{Command, Manager, Notice, Reserved, Script, Sink, Tries};
use crate::crossing::{Arg, Outcome, Outlet};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::sync::RwLock;
use crate::verb::{Call, Class, Verb, verbs};

pub use options::ioredis_options;

/// The native part of a client for `BullMQ`.
#[derive(Debug)]
pub struct Bridge {
    manager: Manager,
    /// The scripts, by the number that the face gave them.
    scripts: RwLock<Vec<Option<Script>>>,
    /// The connection for blocking commands, if the client has one.
    reserved: Option<Reserved>,
}

impl Class for Bridge {
    const NAME: &'static str = "bullmq";
    const VERBS: &'static [Verb<Self>] = verbs! { "bullmq" "bullmqConnection" {
        "connect" => connect;
        "command" as "command" => command;
        "define" as "defineCommand" => scripts::define;
        "run" as "runCommand" in "script" => scripts::run;
        "transaction" as "transaction" in "transaction" => scripts::transaction;
        "open" => open;
        "block" as "block" => block;
        "name" as "clientSetName" => name;
        "close" => close;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("bullmqConnection", options)?, outlet)
    }
}

impl Bridge {
    /// A client on `manager`. With the option `blocking` it has a connection for blocking commands with the name `connectionName`, and
    /// the events of this connection go to `outlet`.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, mut options: Options, outlet: Outlet) -> Result<Self> {
        let blocking = options.flag("blocking")?.unwrap_or(false);
        let name = options.text("connectionName")?.filter(|name| !name.is_empty());
        options.finish()?;
        let reserved = blocking.then(|| Reserved::on(&manager, name, move |notice| outlet.emit(event(&notice))));
        Ok(Self { manager, scripts: RwLock::default(), reserved })
    }

    /// The connection for blocking commands.
    fn reserved(&self) -> Result<&Reserved> {
        self.reserved.as_ref().ok_or_else(|| Error::config("bullmq: expected a duplicate, got the original client"))
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

/// Waits until the manager is connected. It repeats the attempt without end, because `BullMQ` calls it only once.
fn connect(bridge: &Bridge, call: Call<'_>) {
    let manager = bridge.manager.clone();
    call.run(|_| {
        Ok(async move {
            let mut failures = 0;
            loop {
                match manager.connect_unless_closed().await {
                    Err(error) if error.retryable() => {
                        let ended = manager.closing();
                        tokio::select! {
                            () = tokio::time::sleep(manager.config().reconnect.delay(failures)) => {}
                            () = ended.cancelled() => {}
                        }
                        failures = failures.saturating_add(1);
                    }
                    outcome => return outcome.map(|()| Outcome::Nothing),
                }
            }
        })
    });
}

/// Arguments: the words of a command. A blocking command gets a new connection of its own.
fn command(bridge: &Bridge, call: Call<'_>) {
    match words(&call, 0).and_then(|words| bridge.manager.prepare(&words)) {
        Ok((command, Dispatch::Shared)) => bridge.manager.submit(command, Sink::Answer(call.answer, shape::resp2)),
        Ok((command, Dispatch::Own(time))) => {
            bridge.manager.submit_blocking(command, Sink::Answer(call.answer, shape::resp2), time);
        }
        Err(error) => call.give(Err(error)),
    }
}

/// Arguments: the words of a command for the connection of blocking commands.
fn block(bridge: &Bridge, call: Call<'_>) {
    let prepare = || -> Result<(&Reserved, Command, Dispatch)> {
        let words = words(&call, 0)?;
        let (mut command, way) = bridge.manager.prepare(&words)?;
        // `XREAD` removes nothing, so it may be sent again.
        command.safe |= words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"XREAD"));
        Ok((bridge.reserved()?, command, way))
    };
    match prepare() {
        Ok((reserved, command, Dispatch::Own(time))) => {
            reserved.submit(command, Sink::Answer(call.answer, shape::resp2), time);
        }
        Ok((_, command, Dispatch::Shared)) => bridge.manager.submit(command, Sink::Answer(call.answer, shape::resp2)),
        Err(error) => call.give(Err(error)),
    }
}

/// Argument: whether to make only one attempt.
fn open(bridge: &Bridge, call: Call<'_>) {
    call.run(|call| {
        let tries = if call.at(0) == Arg::Bool(true) { Tries::One } else { Tries::Endless };
        let opened = bridge.reserved()?.open(tries);
        Ok(async move { opened.await.map(|()| Outcome::Nothing) })
    });
}

fn name(bridge: &Bridge, call: Call<'_>) {
    call.run(|call| {
        let reserved = bridge.reserved()?;
        let renamed = reserved.rename(String::from_utf8_lossy(call.text(0, "name")?).into_owned());
        Ok(async move { renamed.await.map(|()| Outcome::Nothing) })
    });
}

fn close(bridge: &Bridge, call: Call<'_>) {
    call.run(|_| {
        let closed = bridge.reserved()?.close();
        Ok(async move {
            closed.await;
            Ok(Outcome::Nothing)
        })
    });
}

/// The words of a command, from argument `from` on.
fn words<'a>(args: &Arguments<'a>, from: usize) -> Result<Vec<&'a [u8]>> {
    args.from(from)
        .iter()
        .map(|arg| match arg {
            Arg::Text(text) => Ok(text.as_bytes()),
            Arg::Bytes(bytes) => Ok(*bytes),
            other => {
                let owner = args.owner();
                Err(Error::config(format!("{owner}: expected strings, numbers and Buffers, got {other}")))
            }
        })
        .collect()
}
