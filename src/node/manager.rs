//! The verbs of a connection manager, its events, and its password callback.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::port::{self, Target};
use crate::connection::command::Way;
use crate::connection::secret::{Password, PasswordSource, Secret};
use crate::connection::{AskPassword, Command, Config, Event, Manager, Observer, Script, Sink};
use crate::crossing::{Answer, Arg, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::telemetry::{Metrics, Operation};

/// A manager, as a port holds it.
pub(super) struct ManagerTarget {
    pub(super) manager: Manager,
    passwords: Arc<Passwords>,
}

impl Drop for ManagerTarget {
    fn drop(&mut self) {
        self.manager.forsake();
    }
}

/// Opens a manager whose events go to `outlet`.
pub(super) fn open(outlet: Outlet, options: &str) -> Result<ManagerTarget> {
    let (mut config, ask) = Config::parse(options)?;
    let passwords = Arc::new(Passwords { outlet: outlet.clone(), asked: Mutex::default(), last: AtomicU32::new(0) });
    if ask == AskPassword::Yes {
        config.password = Password::Asked(passwords.clone());
    }
    let manager = Manager::new(config, Arc::new(Events(outlet)))?;
    Ok(ManagerTarget { manager, passwords })
}

/// Where a manager leads, as the face shows it.
pub(super) fn server(manager: &Manager) -> Value {
    let config = manager.config();
    let (address, port) = config.target.shown();
    json!({ "address": address, "port": port, "db": config.db, "isCluster": config.target.is_cluster() })
}

/// Does `act` with a manager, if both it and its port are there.
pub(super) fn with<T>(port: u32, handle: u32, act: impl FnOnce(&ManagerTarget) -> T) -> Option<T> {
    port::with(port, |port| match port.targets.get(&handle) {
        Some(Target::Manager(manager)) => Some(act(manager)),
        _ => None,
    })
    .flatten()
}

struct Events(Outlet);

impl Observer for Events {
    fn event(&self, event: Event) {
        let json = match event {
            Event::State { from, to } => json!({ "event": "state", "from": from.name(), "to": to.name() }),
            Event::Ready => json!({ "event": "ready" }),
            Event::Reconnecting { attempt, delay } => {
                json!({ "event": "reconnecting", "attempt": attempt, "delayMs": delay.as_secs_f64() * 1e3 })
            }
            Event::Error(error) => json!({ "event": "error", "error": Failure::from(&error) }),
            Event::Evicts { policy } => json!({ "event": "evicts", "policy": policy }),
            Event::End => json!({ "event": "end" }),
        };
        self.0.tell(json.to_string());
    }
}

/// Asks the user's function for a password, each time under another number.
struct Passwords {
    outlet: Outlet,
    asked: Mutex<HashMap<u32, oneshot::Sender<Result<Secret>>>>,
    last: AtomicU32,
}

impl PasswordSource for Passwords {
    fn password(&self) -> Pin<Box<dyn Future<Output = Result<Secret>> + Send>> {
        let (give, get) = oneshot::channel();
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        {
            let mut asked = self.asked.lock();
            // Whoever asked before and gave up waits no more.
            asked.retain(|_, waiting| !waiting.is_closed());
            asked.insert(number, give);
        }
        self.outlet.tell(json!({ "event": "password", "number": number }).to_string());
        Box::pin(async move {
            get.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Auth, "RedisConfig.password gave no answer")))
        })
    }
}

type Call = fn(&ManagerTarget, &[Arg<'_>], Answer);

/// The verbs of a manager.
pub(super) const CALLS: &[(&str, Call)] = &[
    ("manager.connect", connect),
    ("manager.disconnect", disconnect),
    ("manager.ping", ping),
    ("manager.health", health),
    ("manager.password", password),
    ("manager.command", command),
    ("manager.transaction", transaction),
    ("manager.script", script),
];

fn connect(target: &ManagerTarget, _args: &[Arg<'_>], answer: Answer) {
    // Called here and now, so that connects and disconnects keep the order of their calls.
    let connected = target.manager.connect();
    lifecycle::spawn(async move { answer.give(connected.await.map(|()| Outcome::Nothing)) });
}

fn disconnect(target: &ManagerTarget, _args: &[Arg<'_>], answer: Answer) {
    let disconnected = target.manager.disconnect();
    lifecycle::spawn(async move {
        disconnected.await;
        answer.give(Ok(Outcome::Nothing));
    });
}

fn ping(target: &ManagerTarget, _args: &[Arg<'_>], answer: Answer) {
    let manager = target.manager.clone();
    lifecycle::spawn(async move {
        answer.give(manager.ping().await.map(|took| Outcome::Number(took.as_secs_f64() * 1e3)));
    });
}

fn health(target: &ManagerTarget, _args: &[Arg<'_>], answer: Answer) {
    let manager = target.manager.clone();
    lifecycle::spawn(async move {
        let health = manager.health().await;
        let mut report = json!({
            "ok": health.outcome.is_ok(),
            "writable": health.writable.is_ok(),
            "state": health.state.name(),
            "latencyMs": health.latency.map(|took| took.as_secs_f64() * 1e3),
        });
        if let Some(server) = health.server {
            report["server"] = json!({ "kind": server.kind, "version": server.version, "role": server.role });
        }
        if let Some(cluster) = health.cluster {
            let state = if cluster.is_ok { "ok" } else { "fail" };
            report["cluster"] =
                json!({ "state": state, "slotsServed": cluster.slots_served, "slotsTotal": cluster.slots_total });
        }
        if let Err(error) = health.outcome.and(health.writable) {
            report["error"] = json!(error.message());
        }
        answer.give(Ok(Outcome::Json(report.to_string().into())));
    });
}

/// Takes the answer of the user's function: its number, and a text or what went wrong.
fn password(target: &ManagerTarget, args: &[Arg<'_>], answer: Answer) {
    if let [Arg::Number(number), given, ..] = args {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number this side gave out")]
        let number = *number as u32;
        let waiting = target.passwords.asked.lock().remove(&number);
        let password = match given {
            Arg::Text(text) => Ok(Secret::new((*text).to_owned())),
            Arg::Bytes(bytes) => std::str::from_utf8(bytes).map(|text| Secret::new(text.to_owned())).map_err(|_| {
                let message = "RedisConfig.password: expected its function to give a string or its bytes in UTF-8, it gave other bytes";
                Error::new(ErrorKind::Auth, message)
            }),
            Arg::Bool(false) => Err(Error::new(
                ErrorKind::Auth,
                "RedisConfig.password: expected its function to give a string, it threw",
            )),
            _ => Err(Error::new(
                ErrorKind::Auth,
                "RedisConfig.password: expected its function to give a string, it gave something else",
            )),
        };
        if let Some(waiting) = waiting {
            // The attempt may have passed its deadline.
            let _ = waiting.send(password);
        }
    }
    answer.give(Ok(Outcome::Nothing));
}

fn command(target: &ManagerTarget, args: &[Arg<'_>], answer: Answer) {
    let words = match words("command", args) {
        Ok(words) => words,
        Err(error) => return answer.give(Err(error)),
    };
    match target.manager.prepare(&words) {
        Ok((command, Way::Shared)) => target.manager.submit(command, Sink::Answer(answer, as_it_is)),
        Ok((command, Way::Own(time))) => target.manager.submit_blocking(command, Sink::Answer(answer, as_it_is), time),
        Err(error) => answer.give(Err(error)),
    }
}

/// For each command the number of its words, then the words.
fn transaction(target: &ManagerTarget, args: &[Arg<'_>], answer: Answer) {
    let prepared = || -> Result<Command> {
        let mut commands = Vec::new();
        let mut rest = args;
        while let Some((Arg::Number(count), after)) = rest.split_first() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an array's length")]
            let (own, others) = after.split_at_checked(*count as usize).unwrap_or((after, &[]));
            commands.push(words("transaction", own)?);
            rest = others;
        }
        target.manager.prepare_transaction(&commands)
    };
    match prepared() {
        Ok(command) => target.manager.submit(command, Sink::Answer(answer, transaction_results)),
        Err(error) => answer.give(Err(error)),
    }
}

/// The text, how many of what follows are keys, the keys and the arguments.
fn script(target: &ManagerTarget, args: &[Arg<'_>], answer: Answer) {
    let prepared = || -> Result<Command> {
        let [Arg::Text(text), Arg::Number(key_count), rest @ ..] = args else {
            return Err(Error::config("script: expected the text of a Lua script, got something else"));
        };
        let rest = words("script", rest)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an array's length")]
        let (keys, rest) = rest.split_at_checked(*key_count as usize).unwrap_or((&rest, &[]));
        let script = Script::of_user(text);
        let payload = script.call(keys, rest.iter().copied());
        Ok(Command::raw(payload, Operation::named("script")).calling(script))
    };
    match prepared() {
        Ok(command) => target.manager.submit(command, Sink::Answer(answer, as_it_is)),
        Err(error) => answer.give(Err(error)),
    }
}

fn words<'a>(what: &str, args: &[Arg<'a>]) -> Result<Vec<&'a [u8]>> {
    args.iter()
        .enumerate()
        .map(|(at, arg)| match arg {
            Arg::Text(text) => Ok(text.as_bytes()),
            Arg::Bytes(bytes) => Ok(*bytes),
            other => Err(Error::config(format!(
                "{what}: argument {at}: expected a string, a finite number or a Buffer, got {other}"
            ))),
        })
        .collect()
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a decoder")]
fn as_it_is(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Ok(Outcome::Reply(reply))
}

fn transaction_results(reply: Reply, _metrics: &Metrics) -> Result<Outcome> {
    Manager::transaction_outcome(reply).map(|results| Outcome::Reply(Reply::Array(results)))
}
