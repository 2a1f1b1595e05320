//! A lease: a token holds a key for a limited time, and a task renews it.
//!
//! One task owns a lease from the moment it was obtained, and renews it every third of its length. The task measures the time
//! from when it sent a renewal, by this machine's monotonic clock. The server measures from when it executed the renewal. So a
//! lease ends here before it ends on the server. `CLOCK_MONOTONIC` advances while a process is stopped. So a process that was
//! stopped for longer than its lease notices the loss as soon as it runs again.
//!
//! A lease ends in one of these ways: it is given up; it expires without a confirmed renewal; the server says that the token no
//! longer holds the key; the manager is disconnected; its owner is dropped, which gives it up; its limit is reached, because the
//! work under the lease takes too long.
//!
//! Each feature chooses its keys, and the scripts that renew and give up a lease: see [`LeaseScripts`].

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout_at};

use crate::connection::{Command, Manager, Packed, Script, Sink};
use crate::crossing::{Answer, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};
use crate::telemetry::Operation;

/// The delay between a failed renewal and the next one.
const RETRY: Duration = Duration::from_millis(250);

/// The scripts of one kind of lease.
#[derive(Debug)]
pub struct LeaseScripts {
    /// Renews the lease. Called with the keys, the token and milliseconds. Returns whether the token still holds the key.
    pub renew: &'static LazyLock<Script>,
    /// Gives up the lease. Called with the keys and the token. Returns whether the token still held the key.
    pub end: &'static LazyLock<Script>,
    pub operation: &'static LazyLock<Operation>,
}

/// A key that a token holds.
#[derive(Clone, Debug)]
pub struct Held {
    pub manager: Manager,
    pub scripts: &'static LeaseScripts,
    pub key: Bytes,
    /// Other keys that its scripts are called with.
    pub beside: Vec<Bytes>,
    pub token: String,
}

impl Held {
    /// Renews the lease for `length` from now. False if the token no longer holds the key.
    async fn renew(&self, length: Duration) -> Result<bool> {
        let script: &Script = self.scripts.renew;
        let packed = self.packed(script, 2).number(millis(length));
        yes(&self.manager.call(packed.runs(**self.scripts.operation, script)).await?)
    }

    fn end_command(&self) -> Command {
        let script: &Script = self.scripts.end;
        self.packed(script, 1).runs(**self.scripts.operation, script)
    }

    /// A call of `script` with the keys and the token, the first of so many arguments.
    fn packed(&self, script: &Script, arguments: usize) -> Packed {
        let keys = || std::iter::once(&self.key).chain(&self.beside);
        let size = keys().map(|key| key.len() + 16).sum::<usize>() + 128;
        let packed = Packed::sized(size).script(script, keys().count(), arguments);
        keys().fold(packed, |packed, key| packed.word(key)).word(self.token.as_bytes())
    }

    /// Gives up the lease. False if the token no longer held the key.
    async fn end(&self) -> Result<bool> {
        yes(&self.manager.call(self.end_command()).await?)
    }

    /// Gives up the lease without waiting for the answer. For a key that the token may hold although nobody uses it.
    pub fn abandon(&self) {
        self.manager.submit(self.end_command(), Sink::Ignored);
    }
}

fn yes(reply: &Reply) -> Result<bool> {
    match reply {
        Reply::Int(number) => Ok(*number != 0),
        Reply::Bool(flag) => Ok(*flag),
        _ => Err(Error::unexpected_reply()),
    }
}

/// A request to the task that holds a lease.
#[derive(Debug)]
pub enum Ask {
    /// Answered when the lease ends: with an error of kind `lease-lost` unless the lease was given up.
    Lost(Answer),
    /// Renews the lease. This and all later renewals are for this long.
    Extend(Duration, Answer),
    /// Gives up the lease; false if it was not held any more.
    Release(Answer),
    /// Renews the lease once more, for this long, and lets it expire.
    Leave(Duration, Answer),
    /// Runs a command that gives up the lease; false if it was not held any more.
    Finish(Command, Answer),
}

impl Ask {
    /// Answers a request for a lease that has ended.
    fn refuse(self) {
        match self {
            Self::Lost(answer) | Self::Extend(_, answer) => answer.give(Err(lost("it is not held any more"))),
            Self::Release(answer) | Self::Leave(_, answer) | Self::Finish(_, answer) => {
                answer.give(Ok(Outcome::Bool(false)));
            }
        }
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("the lease was lost: {why}"))
}

/// How long a lease is renewed at most, and how it ends then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    None,
    /// The lease is given up.
    GiveUp(Duration),
    /// The lease is no longer renewed, and expires.
    RunOut(Duration),
}

/// The leases of one owner, for example a store, by the number that TypeScript gave them.
#[derive(Debug)]
pub struct Leases {
    /// A unique prefix of this owner's tokens.
    instance: String,
    tasks: Mutex<HashMap<u64, Kept>>,
}

/// What others know of a task that holds a lease.
#[derive(Debug)]
struct Kept {
    asks: mpsc::UnboundedSender<Ask>,
    /// Until when the lease is certainly held.
    ends: watch::Receiver<Instant>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { instance: uuid::Uuid::new_v4().simple().to_string(), tasks: Mutex::default() }
    }
}

impl Leases {
    /// The token of number `id`.
    pub fn token(&self, id: u64) -> String {
        format!("{}-{id}", self.instance)
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<u64, Kept>> {
        self.tasks.lock()
    }

    /// Is lease `id` certainly held at this moment? A process that was stopped may ask before the task has noticed the end of the lease.
    pub fn is_held(&self, id: u64) -> bool {
        self.tasks().get(&id).is_some_and(|kept| Instant::now() < *kept.ends.borrow())
    }

    /// Resolves when lease `id` has ended; at once if there is none.
    pub fn ended(&self, id: u64) -> impl Future<Output = ()> + Send + use<> {
        let ends = self.tasks().get(&id).map(|kept| kept.ends.clone());
        async move {
            if let Some(mut ends) = ends {
                // Each renewal changes the end; the task that renews drops its side when the lease is over.
                while ends.changed().await.is_ok() {}
            }
        }
    }

    /// Sends a request to the task of lease `id`.
    pub fn ask(&self, id: u64, ask: Ask) {
        let unheard = match self.tasks().get(&id) {
            Some(kept) => kept.asks.send(ask).err().map(|unheard| unheard.0),
            None => Some(ask),
        };
        if let Some(ask) = unheard {
            ask.refuse();
        }
    }

    /// Starts a task that renews `held` for `length` each time, up to `limit`. `since` is when the lease was requested.
    pub fn keep(self: &Arc<Self>, id: u64, held: Held, since: Instant, length: Duration, limit: Limit) {
        let (sender, asks) = mpsc::unbounded_channel();
        let (ends, known) = watch::channel(later(since, length));
        self.tasks().insert(id, Kept { asks: sender, ends: known });
        // The task must not keep the owner alive: the lease is given up when the owner is dropped.
        let leases = Arc::downgrade(self);
        let next = third(since, length);
        let longest = match limit {
            Limit::None => Duration::MAX,
            Limit::GiveUp(longest) | Limit::RunOut(longest) => longest,
        };
        let task = Task { held, ends, length, next, limit, last: later(Instant::now(), longest), watching: Vec::new() };
        lifecycle::spawn(async move {
            let mut asks = asks;
            task.run(&mut asks).await;
            if let Some(leases) = leases.upgrade() {
                leases.tasks().remove(&id);
            }
            asks.close();
            while let Ok(ask) = asks.try_recv() {
                ask.refuse();
            }
        });
    }
}

/// Why a lease ended.
enum End {
    GivenUp,
    Lost(Error),
}

struct Task {
    held: Held,
    /// Until when the lease is certainly held: the end of the last confirmed renewal, or of a shorter one that may have been executed.
    ends: watch::Sender<Instant>,
    length: Duration,
    /// When to renew next.
    next: Instant,
    limit: Limit,
    /// When `limit` is reached.
    last: Instant,
    watching: Vec<Answer>,
}

impl Task {
    async fn run(mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let closing = self.held.manager.closing();
        let end = loop {
            let ends = *self.ends.borrow();
            tokio::select! {
                biased;
                () = closing.cancelled() => {
                    break End::Lost(lost("the connection manager was disconnected"));
                }
                () = sleep_until(ends.into()) => {
                    break End::Lost(lost("it ran out before a renewal was confirmed"));
                }
                () = sleep_until(self.last.into()), if self.limit != Limit::None => {
                    if matches!(self.limit, Limit::GiveUp(_)) {
                        self.held.abandon();
                    }
                    break End::Lost(lost("the work under the lease took too long"));
                }
                ask = asks.recv() => {
                    let end = if let Some(ask) = ask {
                        self.answer(ask).await
                    } else {
                        self.held.abandon();
                        Some(End::GivenUp)
                    };
                    if let Some(end) = end {
                        break end;
                    }
                }
                () = sleep_until(self.next.into()) => match self.renew(self.length).await {
                    // After an unknown outcome the next attempt follows. Only the end of the lease is final.
                    Ok(()) | Err(Renewal::Unknown(_)) => {}
                    Err(Renewal::Over(end)) => break end,
                },
            }
        };
        for answer in self.watching {
            answer.give(match &end {
                End::GivenUp => Ok(Outcome::Nothing),
                End::Lost(error) => Err(error.clone()),
            });
        }
    }

    /// Renews the lease for `length`. Waits for the answer until the end of this renewal or of the previous one, whichever is
    /// first.
    async fn renew(&mut self, length: Duration) -> Result<(), Renewal> {
        let sent = Instant::now();
        let renewed_until = later(sent, length);
        let surely_until = renewed_until.min(*self.ends.borrow());
        match timeout_at(surely_until.into(), self.held.renew(length)).await {
            Ok(Ok(true)) => {
                self.ends.send_replace(renewed_until);
                self.length = length;
                self.next = third(sent, length);
                Ok(())
            }
            Ok(Ok(false)) => Err(Renewal::Over(End::Lost(lost("the token no longer holds it on the server")))),
            Ok(Err(error)) => {
                if error.delivery() == Delivery::MaybeExecuted {
                    self.ends.send_replace(surely_until);
                }
                self.next = Instant::now() + RETRY.min(length / 10);
                Err(Renewal::Unknown(error))
            }
            Err(_) => Err(Renewal::Over(End::Lost(lost("it ran out before a renewal was confirmed")))),
        }
    }

    async fn answer(&mut self, ask: Ask) -> Option<End> {
        match ask {
            Ask::Lost(answer) => {
                self.watching.push(answer);
                None
            }
            Ask::Extend(length, answer) => match self.renew(length).await {
                Ok(()) => {
                    answer.give(Ok(Outcome::Nothing));
                    None
                }
                Err(Renewal::Unknown(error)) => {
                    answer.give(Err(error));
                    None
                }
                Err(Renewal::Over(end)) => {
                    if let End::Lost(error) = &end {
                        answer.give(Err(error.clone()));
                    }
                    Some(end)
                }
            },
            Ask::Release(answer) => {
                answer.give(self.held.end().await.map(Outcome::Bool));
                Some(End::GivenUp)
            }
            Ask::Leave(length, answer) => {
                answer.give(self.held.renew(length).await.map(Outcome::Bool));
                Some(End::GivenUp)
            }
            Ask::Finish(command, answer) => {
                let outcome = match self.held.manager.call(command).await {
                    Ok(reply) => yes(&reply),
                    Err(error) => {
                        self.held.abandon();
                        Err(error)
                    }
                };
                answer.give(outcome.map(Outcome::Bool));
                Some(End::GivenUp)
            }
        }
    }
}

/// Why a renewal was not confirmed.
enum Renewal {
    Over(End),
    /// The renewal may have been executed.
    Unknown(Error),
}

fn third(since: Instant, length: Duration) -> Instant {
    later(since, length / 3)
}

/// The time `length` after `since`, at most a year later, because `Instant` panics when a sum overflows.
fn later(since: Instant, length: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365);
    since + length.min(FAR)
}

#[must_use]
pub fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}
