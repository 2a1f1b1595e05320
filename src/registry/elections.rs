//! Leadership of a role: one candidate at a time leads, with a fencing token. A task of the I/O thread renews the lease.
//!
//! One task keeps a term from the election to its end. Here a term counts from before a renewal was sent, on this machine's
//! monotonic clock; the server counts from when it executed the renewal. So a term ends here before it ends on the server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::call::{command, millis};
use super::scripts;
use super::worker::bool_reply;
use super::{Inner, Registry};
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Command, Listener, Packed, Sink};
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::sync::{Mutex, MutexGuard};
use crate::verb::Call;

/// A loaded machine cannot renew a shorter lease in time.
const LEAST_LEASE_MS: f64 = 100.0;
const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// The pause between a failed renewal and the next one.
const RETRY: Duration = Duration::from_millis(250);
/// The pause before another attempt when the server could not be asked.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(2) };
/// The longest random delay after a role becomes free, so that the candidates do not all ask at once.
const SPREAD_MS: u64 = 20;
const MAX_ROLE: usize = 1_024;

/// The candidates and the leaders of this registry, by the number that the face gave them.
#[derive(Debug, Default)]
pub(super) struct Terms(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    standing: HashMap<u64, CancellationToken>,
    leading: HashMap<u64, mpsc::UnboundedSender<Request>>,
}

/// The requests to the task that keeps a term.
#[derive(Debug)]
enum Request {
    /// Answered when the term ends: with an error of kind `lease-lost`, unless the term was resigned.
    Ended(Answer),
    Resign(Answer),
    /// As `Resign`; the sender learns when it is done.
    ResignAndNotify(oneshot::Sender<()>),
}

impl Request {
    /// Answers a request to a term that has ended.
    fn refuse(self) {
        match self {
            Self::Ended(answer) => answer.give(Err(lost("it has ended"))),
            Self::Resign(answer) => answer.give(Ok(Outcome::Bool(false))),
            Self::ResignAndNotify(_) => {}
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

    fn send(&self, id: u64, request: Request) {
        let undelivered = match self.open().leading.get(&id) {
            Some(task) => task.send(request).err().map(|undelivered| undelivered.0),
            None => Some(request),
        };
        if let Some(request) = undelivered {
            request.refuse();
        }
    }

    /// Withdraws all candidates and resigns all terms; each receiver resolves or fails when its term is resigned.
    pub(super) fn resign_all(&self) -> Vec<oneshot::Receiver<()>> {
        let open = self.open();
        open.standing.values().for_each(CancellationToken::cancel);
        open.leading
            .values()
            .map(|task| {
                let (done, resigned) = oneshot::channel();
                // A task that has ended refuses the request; then `resigned` fails.
                let _ = task.send(Request::ResignAndNotify(done));
                resigned
            })
            .collect()
    }
}

/// A candidate, or the leader, of a role.
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

    async fn stand(&self) -> Result<ElectOutcome> {
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
            [Reply::Int(1), Reply::Int(token)] => Ok(ElectOutcome::Elected(token)),
            [Reply::Int(0), Reply::Int(ms)] => {
                Ok(ElectOutcome::LedFor(Duration::from_millis(u64::try_from(ms).unwrap_or_default())))
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
        bool_reply(&self.inner.manager.call(command(&scripts::REELECT, packed)).await?)
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

    /// Gives up a role that the candidate may lead, without waiting for the answer.
    fn withdraw(&self) {
        self.inner.manager.submit(self.resignation(), Sink::Ignored);
    }
}

enum ElectOutcome {
    /// With the fencing token.
    Elected(i64),
    LedFor(Duration),
}

/// Wakes a candidate when a role becomes free.
struct Vacancy {
    role: Bytes,
    free: Notify,
}

impl Listener for Vacancy {
    fn message(&self, message: &ChannelMessage) {
        if message.payload == self.role {
            self.free.notify_one();
        }
    }

    fn restored(&self, _gap: Duration) {
        self.free.notify_one();
    }
}

/// Arguments: id, role, options as JSON. Returns the fencing token when the caller leads.
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
                    keep_term(id, candidate, since);
                    Ok(Outcome::Number(token as f64))
                }
                Err(error) => {
                    // An attempt in flight may still succeed. The resignation follows it on the connection and takes it back.
                    candidate.withdraw();
                    Err(error)
                }
            }
        })
    });
}

/// Stands until the candidate is elected or `wait` has passed; without `wait`, forever; with a `wait` of zero, once.
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

/// Returns the fencing token, and when the successful attempt was sent.
async fn stand(candidate: &Candidate, only_once: bool) -> Result<(i64, Instant)> {
    let vacancy = Arc::new(Vacancy { role: candidate.role.clone(), free: Notify::new() });
    let mut subscription = None;
    let mut failures = 0;
    loop {
        let sent = Instant::now();
        let (pause, failure) = match candidate.stand().await {
            Ok(ElectOutcome::Elected(token)) => return Ok((token, sent)),
            Ok(ElectOutcome::LedFor(time)) => {
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
            // Without the subscription the candidate waits for the end of the leader's lease.
            subscription = candidate.inner.manager.subscribe(channel, Arc::clone(&vacancy) as _).await.ok();
            // The leader may have resigned before the subscription was confirmed.
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
        Ok(id) => registry.0.terms.send(id, Request::Ended(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

/// Argument: id. Returns false if it did not lead any more.
pub(super) fn resign(registry: &Registry, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => registry.0.terms.send(id, Request::Resign(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

/// Starts the task that keeps the term whose election was sent at `since`.
fn keep_term(id: u64, candidate: Candidate, since: Instant) {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let inner = Arc::clone(&candidate.inner);
    inner.terms.open().leading.insert(id, sender);
    let term = Term { confirmed: since, next: since + candidate.lease / 3, candidate, watching: Vec::new() };
    lifecycle::spawn(async move {
        term.run(&mut requests).await;
        inner.terms.open().leading.remove(&id);
        requests.close();
        while let Ok(request) = requests.try_recv() {
            request.refuse();
        }
    });
}

/// Why a term has ended.
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

    async fn run(mut self, requests: &mut mpsc::UnboundedReceiver<Request>) {
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
                Some(request) = requests.recv() => match request {
                    Request::Ended(answer) => self.watching.push(answer),
                    Request::Resign(answer) => {
                        let resigned = self.candidate.inner.manager.call(self.candidate.resignation()).await;
                        answer.give(resigned.and_then(|reply| bool_reply(&reply)).map(Outcome::Bool));
                        break End::Resigned;
                    }
                    Request::ResignAndNotify(done) => {
                        // If the resignation fails, the lease runs out: nothing renews it.
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

    /// Renews, and waits for the answer until the term ends at the latest. Returns why the term has ended, if it has.
    async fn renew(&mut self) -> Option<End> {
        let sent = Instant::now();
        match timeout_at(self.ends().into(), self.candidate.renew()).await {
            Ok(Ok(true)) => {
                self.confirmed = sent;
                self.next = sent + self.candidate.lease / 3;
                None
            }
            Ok(Ok(false)) => Some(End::Lost(lost("the server says that another candidate may lead"))),
            Ok(Err(_)) => {
                // The next attempt follows; only the end of the lease is final.
                self.next = Instant::now() + RETRY.min(self.candidate.lease / 10);
                None
            }
            Err(_) => Some(End::Lost(lost("it ran out before a renewal was confirmed"))),
        }
    }
}
