//! The verbs of a connection manager, its events, and its password callback.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::port;
use crate::arguments::Arguments;
use crate::connection::command::Dispatch;
use crate::connection::secret::{Password, PasswordSource, Secret};
use crate::connection::{AskPassword, Command, Config, Event, Manager, Observer, Script, Sink};
use crate::crossing::{Arg, Outcome, Outlet};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::telemetry::Metrics;
use crate::verb::{Call, Class, Verb, verbs};

/// A manager, as a port holds it.
pub(super) struct ManagerTarget {
    pub(super) manager: Manager,
    passwords: Arc<Passwords>,
}

impl Drop for ManagerTarget {
    fn drop(&mut self) {
        self.manager.end_blocking_commands();
    }
}

/// The address of a manager's server, as the face shows it.
pub(super) fn server(manager: &Manager) -> Value {
    let config = manager.config();
    let (address, port) = config.target.shown();
    json!({ "address": address, "port": port, "db": config.db, "isCluster": config.target.is_cluster() })
}

/// Calls `act` with a manager, if the manager and its port are open.
pub(super) fn with<T>(port: u32, handle: u32, act: impl FnOnce(&ManagerTarget) -> T) -> Option<T> {
    port::with(port, |port| port.target::<ManagerTarget>(handle).map(act)).flatten()
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
        self.0.emit(json.to_string());
    }
}

/// Asks the user's function for a password. Each question has its own number.
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
            // Attempts that gave up have stopped waiting.
            asked.retain(|_, waiting| !waiting.is_closed());
            asked.insert(number, give);
        }
        self.outlet.emit(json!({ "event": "password", "number": number }).to_string());
        Box::pin(async move {
            get.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Auth, "RedisConfig.password gave no answer")))
        })
    }
}

impl Class for ManagerTarget {
    const NAME: &'static str = "manager";
    const VERBS: &'static [Verb<Self>] = verbs! { "manager" "RedisConnectionManager" {
        "connect" => connect;
        "disconnect" => disconnect;
        "ping" => ping;
        "health" => health;
        "password" => password;
        "command" as "command" => command;
        "transaction" as "transaction" => transaction;
        "script" as "script" in "script" => script;
    } };
    type Parent = ();

    /// A manager, whose events go to `outlet`.
    fn open((): &(), options: &str, outlet: Outlet) -> Result<Self> {
        let (mut config, ask) = Config::parse(options)?;
        let passwords =
            Arc::new(Passwords { outlet: outlet.clone(), asked: Mutex::default(), last: AtomicU32::new(0) });
        if ask == AskPassword::Yes {
            config.password = Password::Asked(passwords.clone());
        }
        let manager = Manager::new(config, Arc::new(Events(outlet)))?;
        Ok(Self { manager, passwords })
    }

    fn parent(&self) -> &dyn Any {
        &self.manager
    }
}

fn connect(target: &ManagerTarget, call: Call<'_>) {
    // The call comes before the future, so that connects and disconnects keep the order of their calls.
    let connected = target.manager.connect();
    call.run(|_| Ok(async move { connected.await.map(|()| Outcome::Nothing) }));
}

fn disconnect(target: &ManagerTarget, call: Call<'_>) {
    let disconnected = target.manager.disconnect();
    call.run(|_| {
        Ok(async move {
            disconnected.await;
            Ok(Outcome::Nothing)
        })
    });
}

fn ping(target: &ManagerTarget, call: Call<'_>) {
    let manager = target.manager.clone();
    call.run(|_| Ok(async move { manager.ping().await.map(|took| Outcome::Number(took.as_secs_f64() * 1e3)) }));
}

fn health(target: &ManagerTarget, call: Call<'_>) {
    let manager = target.manager.clone();
    call.run(|_| {
        Ok(async move {
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
            Ok(Outcome::Json(report.to_string().into()))
        })
    });
}

/// The answer of the user's function. Arguments: the number of the question, and a text, or the reason why there is none.
fn password(target: &ManagerTarget, call: Call<'_>) {
    if let [Arg::Number(number), given, ..] = call.from(0) {
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
            // The send fails where the attempt's deadline has passed.
            let _ = waiting.send(password);
        }
    }
    call.give(Ok(Outcome::Nothing));
}

fn command(target: &ManagerTarget, call: Call<'_>) {
    match words(&call, 0).and_then(|words| target.manager.prepare(&words)) {
        Ok((command, Dispatch::Shared)) => target.manager.submit(command, Sink::Answer(call.answer, as_it_is)),
        Ok((command, Dispatch::Own(time))) => {
            target.manager.submit_blocking(command, Sink::Answer(call.answer, as_it_is), time);
        }
        Err(error) => call.give(Err(error)),
    }
}

/// Arguments: for each command the number of its words, then the words.
fn transaction(target: &ManagerTarget, call: Call<'_>) {
    call.send(&target.manager, transaction_results, |call| {
        let mut commands = Vec::new();
        let mut rest = call.from(0);
        while let Some((Arg::Number(count), after)) = rest.split_first() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an array's length")]
            let (own, others) = after.split_at_checked(*count as usize).unwrap_or((after, &[]));
            commands.push(words(&Arguments::of(call.owner(), own), 0)?);
            rest = others;
        }
        target.manager.prepare_transaction(&commands)
    });
}

/// Arguments: the text of the script, the number of keys, the keys, the script's arguments.
fn script(target: &ManagerTarget, call: Call<'_>) {
    call.send(&target.manager, as_it_is, |call| {
        let (Arg::Text(text), Arg::Number(key_count)) = (call.at(0), call.at(1)) else {
            return Err(Error::config("script: expected the text of a Lua script, got something else"));
        };
        let rest = words(call, 2)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an array's length")]
        let (keys, rest) = rest.split_at_checked(key_count as usize).unwrap_or((&rest, &[]));
        let script = Script::of_user(text);
        let payload = script.call(keys, rest.iter().copied());
        Ok(Command::raw(payload, call.operation()).calling(script))
    });
}

/// The words of a command, from one argument on.
fn words<'a>(args: &Arguments<'a>, from: usize) -> Result<Vec<&'a [u8]>> {
    args.from(from)
        .iter()
        .enumerate()
        .map(|(at, arg)| match arg {
            Arg::Text(text) => Ok(text.as_bytes()),
            Arg::Bytes(bytes) => Ok(*bytes),
            other => {
                let owner = args.owner();
                Err(Error::config(format!(
                    "{owner}: argument {at}: expected a string, a finite number or a Buffer, got {other}"
                )))
            }
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
