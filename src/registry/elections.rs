//! Leading a role: one of all who want to, with a fencing token, renewed by a task of the I/O thread.
//!
//! A term is in the hands of one task from the election on. It counts from before a renewal was sent, on this machine's
//! monotonic clock, while the server counts from when it executed it: so a term is over here before it is over there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::call::{command, millis};
use super::scripts;
use super::worker::yes;
use super::{Inner, Registry};
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, Command, Listener, Message, Packed, Sink};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// A shorter lease would be renewed more often than a loaded machine can promise.
const LEAST_LEASE_MS: f64 = 100.0;
const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// Between a renewal that failed and the next.
const RETRY: Duration = Duration::from_millis(250);
/// Before another attempt where the server could not be asked.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };
/// When a role is free again, those who want it do not all ask at once.
const SPREAD_MS: u64 = 20;
const MAX_ROLE: usize = 1_024;

/// Who stands for election here, and who leads, by the number that the face gave them.
#[derive(Debug, Default)]
pub(super) struct Terms(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    standing: HashMap<u64, CancellationToken>,
    leading: HashMap<u64, mpsc::UnboundedSender<Ask>>,
}

/// What may be asked of the task that keeps a term.
#[derive(Debug)]
enum Ask {
    /// Answered when the term ends: with an error of kind `lease-lost` unless it was resigned.
    Ended(Answer),
    Resign(Answer),
    /// As `Resign`, and tells when it is done.
    ResignAndTell(oneshot::Sender<()>),
}

impl Ask {
    /// The answer of whoever asks for what is over.
    fn refuse(self) {
        match self {
            Self::Ended(answer) => answer.give(Err(lost("it has ended"))),
            Self::Resign(answer) => answer.give(Ok(Outcome::Bool(false))),
            Self::ResignAndTell(_) => {}
        }
    }
}

fn lost(why: &str) -> Error {
    Error::new(ErrorKind::LeaseLost, format!("the leadership was lost: {why}"))
}

impl Terms {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock()
    }

    fn ask(&self, id: u64, ask: Ask) {
        let unheard = match self.open().leading.get(&id) {
            Some(task) => task.send(ask).err().map(|unheard| unheard.0),
            None => Some(ask),
        };
        if let Some(ask) = unheard {
            ask.refuse();
        }
    }

    /// Withdraws everywhere, and resigns everywhere; each receiver resolves or fails when that is done.
    pub(super) fn resign_all(&self) -> Vec<oneshot::Receiver<()>> {
        let open = self.open();
        open.standing.values().for_each(CancellationToken::cancel);
        open.leading
            .values()
            .map(|task| {
                let (done, told) = oneshot::channel();
                // Refused only by a task that has ended, and then `told` fails.
                let _ = task.send(Ask::ResignAndTell(done));
                told
            })
            .collect()
    }
}

/// One who wants to lead, or leads.
#[derive(Clone, Debug)]
struct Candidate {
    inner: Arc<Inner>,
    role: Bytes,
    owner: String,
    lease: Duration,
}

impl Candidate {
    fn key(&self) -> Bytes {
        self.inner.keys.leader(&self.role)
    }

    async fn stand(&self) -> Result<Vote> {
        let key = self.key();
        let packed = Packed::sized(key.len() + 128)
            .script(&scripts::ELECT.script, 1, 2)
            .word(&key)
            .word(self.owner.as_bytes())
            .number(millis(self.lease));
        let Reply::Array(parts) = self.inner.manager.call(command(&scripts::ELECT, packed)).await? else {
            return Err(Error::unexpected_reply());
        };
        match parts[..] {
            [Reply::Int(1), Reply::Int(token)] => Ok(Vote::Elected(token)),
            [Reply::Int(0), Reply::Int(ms)] => {
                Ok(Vote::LedFor(Duration::from_millis(u64::try_from(ms).unwrap_or_default())))
            }
            _ => Err(Error::unexpected_reply()),
        }
    }

    async fn renew(&self) -> Result<bool> {
        let key = self.key();
        let packed = Packed::sized(key.len() + 128)
            .script(&scripts::REELECT.script, 1, 2)
            .word(&key)
            .word(self.owner.as_bytes())
            .number(millis(self.lease));
        yes(&self.inner.manager.call(command(&scripts::REELECT, packed)).await?)
    }

    fn resignation(&self) -> Command {
        let (key, channel) = (self.key(), self.inner.keys.resigned_channel());
        let packed = Packed::sized(key.len() + channel.len() + self.role.len() + 128)
            .script(&scripts::RESIGN.script, 2, 2)
            .word(&key)
            .word(&channel)
            .word(self.owner.as_bytes())
            .word(&self.role);
        command(&scripts::RESIGN, packed)
    }

    /// Gives up what it may have, without waiting for the answer.
    fn withdraw(&self) {
        self.inner.manager.submit(self.resignation(), Sink::Ignored);
    }
}

enum Vote {
    /// With the fencing token.
    Elected(i64),
    LedFor(Duration),
}

/// Notices that a role is free.
struct Vacancy {
    role: Bytes,
    free: Notify,
}

impl Listener for Vacancy {
    fn message(&self, message: &Message) {
        if message.payload == self.role {
            self.free.notify_one();
        }
    }

    fn restored(&self, _gap: Duration) {
        self.free.notify_one();
    }
}

/// Arguments: id, role, options as JSON. Gives the fencing token when the caller leads.
pub(super) fn elect(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = call.id(0)?;
        let role = match call.at(1) {
            Arg::Text(role) if (1..=MAX_ROLE).contains(&role.len()) => Bytes::copy_from_slice(role.as_bytes()),
            other => return Err(call.wrong("role", &format!("a string of 1 to {MAX_ROLE} bytes"), other)),
        };
        let mut options = call.options(2)?;
        let lease = options.time("leaseMs", LEAST_LEASE_MS)?.unwrap_or(DEFAULT_LEASE);
        let wait = options.time("waitMs", 0.0)?;
        options.stays("signal");
        options.finish()?;
        let owner = format!("{}-{id}", inner.process);
        let candidate = Candidate { inner: Arc::clone(&inner), role, owner, lease };
        let withdrawn = CancellationToken::new();
        inner.terms.open().standing.insert(id, withdrawn.clone());
        let closing = inner.manager.closing();
        Ok(async move {
            let outcome = tokio::select! {
                biased;
                () = withdrawn.cancelled() => Err(Error::new(ErrorKind::Cancelled, "WorkerRegistry.elect: withdrawn")),
                () = inner.ended.cancelled() => Err(Error::new(ErrorKind::Closed, "the registry has ended")),
                () = closing.cancelled() => {
                    Err(Error::new(ErrorKind::Closed, "WorkerRegistry.elect: the connection manager was disconnected"))
                }
                outcome = campaign(&candidate, wait) => outcome,
            };
            inner.terms.open().standing.remove(&id);
            match outcome {
                Ok((token, since)) => {
                    keep(id, candidate, since);
                    Ok(Outcome::Number(token as f64))
                }
                Err(error) => {
                    // An attempt may be on its way to succeed; what follows it on the connection takes it back.
                    candidate.withdraw();
                    Err(error)
                }
            }
        })
    });
}

/// Stands until it is elected, or `wait` has passed; where that is nothing, once.
async fn campaign(candidate: &Candidate, wait: Option<Duration>) -> Result<(i64, Instant)> {
    match wait {
        None => stand(candidate, false).await,
        Some(Duration::ZERO) => stand(candidate, true).await,
        Some(wait) => timeout(wait, stand(candidate, false)).await.unwrap_or_else(|_| Err(not_within(wait))),
    }
}

fn not_within(wait: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("WorkerRegistry.elect: not elected within waitMs, {} ms", wait.as_millis()))
}

/// Gives the fencing token and when it was asked for.
async fn stand(candidate: &Candidate, only_once: bool) -> Result<(i64, Instant)> {
    let vacancy = Arc::new(Vacancy { role: candidate.role.clone(), free: Notify::new() });
    let mut subscription = None;
    let mut failures = 0;
    loop {
        let sent = Instant::now();
        let (pause, failure) = match candidate.stand().await {
            Ok(Vote::Elected(token)) => return Ok((token, sent)),
            Ok(Vote::LedFor(time)) => {
                failures = 0;
                (time + Duration::from_millis(fastrand::u64(1..=SPREAD_MS)), None)
            }
            Err(error) if error.retryable() => {
                failures += 1;
                (BACKOFF.delay(failures), Some(error))
            }
            Err(error) => return Err(error),
        };
        if only_once {
            return Err(failure.unwrap_or_else(|| not_within(Duration::ZERO)));
        }
        if subscription.is_none() && failure.is_none() {
            let channel = Channel { kind: ChannelKind::Exact, name: candidate.inner.keys.resigned_channel() };
            // Without it the end of the leader's lease is what it goes by.
            subscription = candidate.inner.manager.subscribe(channel, Arc::clone(&vacancy) as _).await.ok();
            // Somebody may have resigned before it was confirmed.
            if subscription.is_some() {
                continue;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = vacancy.free.notified() => sleep(Duration::from_millis(fastrand::u64(0..SPREAD_MS))).await,
        }
    }
}

/// Argument: id. Ends the wait for an election.
pub(super) fn cancel(registry: &Registry, call: Call<'_>) {
    call.at_once(|call| {
        let id = call.id(0)?;
        if let Some(standing) = registry.0.terms.open().standing.get(&id) {
            standing.cancel();
        }
        Ok(Outcome::Nothing)
    });
}

/// Argument: id. Answers when the term ends.
pub(super) fn watch(registry: &Registry, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => registry.0.terms.ask(id, Ask::Ended(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

/// Argument: id. Gives false if it did not lead any more.
pub(super) fn resign(registry: &Registry, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => registry.0.terms.ask(id, Ask::Resign(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

/// Has a task keep the term that was asked for at `since`.
fn keep(id: u64, candidate: Candidate, since: Instant) {
    let (sender, mut asks) = mpsc::unbounded_channel();
    let inner = Arc::clone(&candidate.inner);
    inner.terms.open().leading.insert(id, sender);
    let term = Term { confirmed: since, next: since + candidate.lease / 3, candidate, watching: Vec::new() };
    lifecycle::spawn(async move {
        term.run(&mut asks).await;
        inner.terms.open().leading.remove(&id);
        asks.close();
        while let Ok(ask) = asks.try_recv() {
            ask.refuse();
        }
    });
}

/// Why a term is over.
enum End {
    Resigned,
    Lost(Error),
}

struct Term {
    candidate: Candidate,
    /// When the last renewal that the server confirmed was sent.
    confirmed: Instant,
    next: Instant,
    watching: Vec<Answer>,
}

impl Term {
    fn ends(&self) -> Instant {
        self.confirmed + self.candidate.lease
    }

    async fn run(mut self, asks: &mut mpsc::UnboundedReceiver<Ask>) {
        let closing = self.candidate.inner.manager.closing();
        let ended = self.candidate.inner.ended.clone();
        let end = loop {
            let ends = self.ends();
            tokio::select! {
                biased;
                () = closing.cancelled() => {
                    break End::Lost(lost("the connection manager was disconnected, nobody renews it"));
                }
                () = ended.cancelled() => {
                    self.candidate.withdraw();
                    break End::Resigned;
                }
                () = sleep_until(ends.into()) => break End::Lost(lost("it ran out before a renewal was confirmed")),
                Some(ask) = asks.recv() => match ask {
                    Ask::Ended(answer) => self.watching.push(answer),
                    Ask::Resign(answer) => {
                        let resigned = self.candidate.inner.manager.call(self.candidate.resignation()).await;
                        answer.give(resigned.and_then(|reply| yes(&reply)).map(Outcome::Bool));
                        break End::Resigned;
                    }
                    Ask::ResignAndTell(done) => {
                        // Where it cannot be resigned it runs out: nobody renews it.
                        let _ = self.candidate.inner.manager.call(self.candidate.resignation()).await;
                        let _ = done.send(());
                        break End::Resigned;
                    }
                },
                () = sleep_until(self.next.into()) => if let Some(end) = self.renew().await {
                    break end;
                },
            }
        };
        for answer in self.watching {
            answer.give(match &end {
                End::Resigned => Ok(Outcome::Nothing),
                End::Lost(error) => Err(error.clone()),
            });
        }
    }

    /// Renews, and waits for the answer no longer than until the term ends. Gives why it is over, if it is.
    async fn renew(&mut self) -> Option<End> {
        let sent = Instant::now();
        match timeout_at(self.ends().into(), self.candidate.renew()).await {
            Ok(Ok(true)) => {
                self.confirmed = sent;
                self.next = sent + self.candidate.lease / 3;
                None
            }
            Ok(Ok(false)) => Some(End::Lost(lost("the server says that another one may lead"))),
            Ok(Err(_)) => {
                // The next attempt follows; only the end of the lease is final.
                self.next = Instant::now() + RETRY.min(self.candidate.lease / 10);
                None
            }
            Err(_) => Some(End::Lost(lost("it ran out before a renewal was confirmed"))),
        }
    }
}
