//! The runs of this process: threads that it takes, saves and gives back. A task of the I/O thread renews the lease, see [`crate::lease`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::call::{self, ScriptCall};
use super::read::Loaded;
use super::save::{self, Draft, Right};
use super::{Checkpoints, Inner, scripts};
use crate::arguments::Arguments;
use crate::backoff::Backoff;
use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Sink};
use crate::crossing::Outcome;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::checkpoints::Part as Key;
use crate::lease::{Ask, Held, LeaseScripts, Limit, millis};
use crate::lifecycle;
use crate::options::Options;
use crate::resp::Reply;
use crate::sync::Mutex;
use crate::telemetry::Operation;
use crate::verb::Call;

/// A loaded machine cannot renew a shorter lease in time.
const LEAST_LEASE_MS: f64 = 100.0;
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
/// The longest time between two attempts of a caller that waits for a thread. A message tells the caller when the thread is free.
const LOOK: Duration = Duration::from_secs(5);
/// The delay between the attempts of a call whose answer was lost.
const BACKOFF: Backoff = Backoff { min: Duration::from_millis(20), max: Duration::from_secs(1) };
/// The pause before a thread is taken again after an error of its handler, by the number of interruptions.
const AGAIN: Backoff = Backoff { min: Duration::from_millis(250), max: Duration::from_secs(30) };

static RENEW_OPERATION: LazyLock<Operation> = LazyLock::new(|| Operation::named("checkpoints.renew"));
static OWNED: LeaseScripts = LeaseScripts { renew: &scripts::RENEW, end: &scripts::LAPSE, operation: &RENEW_OPERATION };

/// The threads that this process owns, by the number that TypeScript gave them.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<HashMap<u64, Arc<Run>>>);

/// A thread that this process owns, and the name of its owner on the server.
#[derive(Debug)]
struct Run {
    thread: String,
    owner: String,
    right: String,
    fence: i64,
    lease: Duration,
    saves: AtomicU64,
}

/// The caller that wants a thread, and the length of its lease.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    id: u64,
    lease: Duration,
    /// Its worker in a registry; empty for none.
    worker: String,
    epoch: u64,
}

impl Claimant {
    pub(super) fn read(id: u64, options: &mut Options) -> Result<Self> {
        let lease = options.time("leaseMs", LEAST_LEASE_MS)?.unwrap_or(DEFAULT_LEASE);
        let (mut worker, mut epoch) = (String::new(), 0);
        if let Some(mut given) = options.nested("worker")? {
            let required = |what: &str, given: &Options| given.wrong(what, "to be given", &serde_json::Value::Null);
            worker = call::name_option(&mut given, "id")?.ok_or_else(|| required("id", &given))?;
            epoch = given.whole("epoch", 0..=9_007_199_254_740_991)?.ok_or_else(|| required("epoch", &given))?;
            given.finish()?;
        }
        Ok(Self { id, lease, worker, epoch })
    }
}

/// The result of an attempt to take a thread.
pub(super) enum Attempt {
    Taken(Outcome),
    HeldFor(Duration),
    /// The thread was not interrupted, and only interrupted ones were wanted.
    Free,
    /// The thread was interrupted more often than allowed, and is not taken again.
    Failed(i64),
}

/// The threads that may be taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Any,
    /// Threads that were interrupted at most this many times.
    Interrupted(u64),
}

impl Inner {
    /// Tries once to take a thread, and renews its lease from then on. If no answer comes, or the caller no longer waits,
    /// the server undoes the attempt.
    pub(super) async fn take(
        self: &Arc<Self>,
        operation: Operation,
        thread: &str,
        claimant: &Claimant,
        which: Which,
    ) -> Result<Attempt> {
        let mut unanswered = Unanswered { inner: self, operation, thread, id: claimant.id, is_answered: false };
        let asked = Instant::now();
        let attempt = self.attempt(operation, thread, claimant, which).await;
        match &attempt {
            Ok(_) => {
                unanswered.is_answered = true;
                self.authority.was_answered(asked);
            }
            Err(error) if error.retryable() => self.authority.was_refused(asked),
            Err(_) => {}
        }
        attempt
    }

    async fn attempt(
        self: &Arc<Self>,
        operation: Operation,
        thread: &str,
        claimant: &Claimant,
        which: Which,
    ) -> Result<Attempt> {
        let owner = self.leases.token(claimant.id);
        let (only, most) = match which {
            Which::Any => (false, 0),
            Which::Interrupted(most) => (true, most),
        };
        let (gap, back) = self.authority.last_gap();
        let script = ScriptCall::of(&scripts::ACQUIRE, self, thread)
            .arg(&owner)
            .number(millis(claimant.lease))
            .arg(&claimant.worker)
            .number(claimant.epoch)
            .number(self.settings.ttl)
            .flag(only)
            .number(most)
            .number(gap)
            .number(back);
        let sent = Instant::now();
        let (word, mut rest) = call::tagged(self.manager.call(script.writes(operation)).await?)?;
        let mut next = || rest.next().unwrap_or(Reply::Nil);
        let first = next();
        match &word[..] {
            b"held" => Ok(Attempt::HeldFor(Duration::from_millis(u64::try_from(call::integer(&first)?).unwrap_or(0)))),
            b"free" => Ok(Attempt::Free),
            b"failed" => Ok(Attempt::Failed(call::integer(&first)?)),
            b"taken" => {
                let fence = call::integer(&first)?;
                let checkpoint = match Loaded::read(next())? {
                    Some(found) => found.outcome(false)?,
                    None => Outcome::Null,
                };
                let was = interruption(next())?;
                if was != Outcome::Null {
                    self.manager.metrics().checkpoint_resumed.add(1);
                }
                self.keep(thread, claimant, owner, fence, sent);
                Ok(Attempt::Taken(Outcome::List(vec![Outcome::Number(fence as f64), checkpoint, was])))
            }
            _ => Err(Error::unexpected_reply()),
        }
    }

    fn keep(self: &Arc<Self>, thread: &str, claimant: &Claimant, owner: String, fence: i64, since: Instant) {
        let Claimant { id, lease, worker, epoch } = claimant;
        let right = format!("{owner} {fence} {} {epoch} {} {worker}{thread}", self.settings.ttl, worker.len());
        let keys = self.namespace.thread(thread.as_bytes());
        let held = Held {
            manager: self.manager.clone(),
            scripts: &OWNED,
            key: keys.key(Key::State).clone(),
            beside: keys.all()[1..].to_vec(),
            token: right.clone(),
        };
        let run = Run { thread: thread.to_owned(), owner, right, fence, lease: *lease, saves: AtomicU64::new(0) };
        self.runs.0.lock().insert(*id, Arc::new(run));
        self.leases.keep(*id, held, since, *lease, Limit::None);
        let (inner, id, ended) = (Arc::downgrade(self), *id, self.leases.ended(*id));
        lifecycle::spawn(async move {
            ended.await;
            if let Some(inner) = inner.upgrade() {
                inner.runs.0.lock().remove(&id);
            }
        });
    }
}

/// An attempt to take a thread whose answer has not come.
struct Unanswered<'a> {
    inner: &'a Inner,
    operation: Operation,
    thread: &'a str,
    id: u64,
    is_answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let script = released(self.inner, self.thread, &self.inner.leases.token(self.id), "undo", Duration::ZERO);
            // If this call is lost too, the thread is interrupted when its lease ends.
            self.inner.manager.submit(script.writes(self.operation), Sink::Ignored);
        }
    }
}

/// An interruption as JavaScript reads it: `{worker, epoch, at, times}`, or nothing.
fn interruption(reply: Reply) -> Result<Outcome> {
    if reply == Reply::Nil {
        return Ok(Outcome::Null);
    }
    let [worker, epoch, at, times] =
        <[Reply; 4]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
    let number = |reply: &Reply| call::integer(reply).map(|number| Outcome::Number(number as f64));
    Ok(Outcome::List(vec![Outcome::Text(call::bytes(worker)?), number(&epoch)?, number(&at)?, number(&times)?]))
}

fn released(inner: &Inner, thread: &str, owner: &str, how: &str, delay: Duration) -> ScriptCall {
    ScriptCall::of(&scripts::RELEASE, inner, thread)
        .arg(owner)
        .arg(how)
        .number(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
}

/// Wakes a waiting caller when the thread may be free.
struct FreeListener(Notify);

impl Listener for FreeListener {
    fn message(&self, message: &ChannelMessage) {
        if &message.payload[..] == b"free" {
            self.0.notify_one();
        }
    }

    fn restored(&self, _gap: Duration) {
        self.0.notify_one();
    }
}

/// Arguments: id, thread, options as JSON. Gives `[fence, checkpoint or null, interruption or null]`, or null if another owner has the
/// thread.
pub(super) fn acquire(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (id, thread) = (call.id(0)?, call::name(call, 1, "thread")?.to_owned());
        let mut options = call.options(2)?;
        let claimant = Claimant::read(id, &mut options)?;
        let wait = options.time("waitMs", 0.0)?.unwrap_or_default();
        options.stays("signal");
        options.finish()?;
        let (operation, cancelled) = (call.operation(), inner.waits.start(id));
        inner.listen_for_crashes(operation);
        Ok(async move {
            let outcome = tokio::select! {
                biased;
                () = cancelled.cancelled() => Err(Error::new(ErrorKind::Cancelled, "CheckpointStore.acquire: signal: aborted")),
                outcome = obtain(&inner, operation, &thread, &claimant, wait) => outcome,
            };
            inner.waits.end(id);
            outcome
        })
    });
}

/// Tries until the thread is taken or `wait` has passed.
async fn obtain(
    inner: &Arc<Inner>,
    operation: Operation,
    thread: &str,
    claimant: &Claimant,
    wait: Duration,
) -> Result<Outcome> {
    let gives_up = Instant::now() + wait;
    let listener = Arc::new(FreeListener(Notify::new()));
    let mut subscription = None;
    let mut failures = 0;
    loop {
        let attempt = inner.take(operation, thread, claimant, Which::Any).await;
        let now = Instant::now();
        let pause = match attempt {
            Ok(Attempt::Taken(run)) => return Ok(run),
            Ok(_) if now >= gives_up => return Ok(Outcome::Null),
            // By then the lease of the owner has ended or was renewed.
            Ok(Attempt::HeldFor(time)) => time.clamp(BACKOFF.min, LOOK),
            Ok(_) => BACKOFF.min,
            Err(error) if error.retryable() && now < gives_up => {
                failures += 1;
                BACKOFF.delay(failures)
            }
            Err(error) => return Err(error),
        };
        if subscription.is_none() && !wait.is_zero() {
            let name = inner.namespace.thread(thread.as_bytes()).key(Key::News).clone();
            let listens =
                inner.manager.subscribe(Channel { kind: ChannelKind::Exact, name }, Arc::clone(&listener) as _);
            // Without a subscription the next attempt is made when the owner's lease ends.
            subscription = timeout(gives_up - now, listens).await.ok().and_then(Result::ok);
            // The thread may have been given back before the subscription was confirmed.
            if subscription.is_some() {
                continue;
            }
        }
        // The next attempt follows a message as well as the end of the pause.
        let _ = timeout(pause.min(gives_up.saturating_duration_since(Instant::now())), listener.0.notified()).await;
    }
}

/// Argument: id. Answers when the lease ends.
pub(super) fn lost(store: &Checkpoints, call: Call<'_>) {
    match call.id(0) {
        Ok(id) => store.0.leases.ask(id, Ask::Lost(call.answer)),
        Err(error) => call.give(Err(error)),
    }
}

fn run_of(inner: &Inner, call: &Arguments<'_>) -> Result<(u64, Arc<Run>)> {
    let id = call.id(0)?;
    let run = inner.runs.0.lock().get(&id).cloned();
    let over = || Error::new(ErrorKind::LeaseLost, format!("{}: the run is over", call.owner()));
    run.map(|run| (id, run)).ok_or_else(over)
}

/// Arguments: id, metadata as JSON, then name, version and value of each part. If the answer is lost, the same save is asked for again, as long
/// as the lease is held.
pub(super) fn save(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let (id, run) = run_of(&inner, call)?;
        if !inner.leases.is_held(id) {
            // If Redis has lost the thread, the server does not know whether another owner had it meanwhile.
            return Err(Error::new(ErrorKind::LeaseLost, format!("{}: the lease is over", call.owner())));
        }
        let meta = Bytes::copy_from_slice(call.text(1, "meta")?);
        let draft = Draft::of_owner(run.fence, meta, save::parts(call, 2)?);
        let (owner, operation) = (call.owner(), call.operation());
        draft.check(&inner, owner)?;
        let ask = format!("{} {}", run.owner, run.saves.fetch_add(1, Ordering::Relaxed));
        let right = Right { ask, text: run.right.clone(), lease: millis(run.lease) };
        let command = draft.script(&inner, &run.thread, Some(&right)).writes(operation);
        // The manager accepts the command in this call, so that saves are made in the order of the calls.
        let first = inner.manager.call(command.clone());
        Ok(async move {
            let mut reply = first.await;
            let mut failures = 0;
            while let Err(error) = &reply
                && error.retryable()
                && inner.leases.is_held(id)
            {
                failures += 1;
                tokio::time::sleep(BACKOFF.delay(failures)).await;
                reply = inner.manager.call(command.clone()).await;
            }
            draft.saved(&inner, owner, reply?)
        })
    });
}

/// Arguments: id; 'pause', 'done', 'failed', 'again' or 'undo'; how often the thread was interrupted. Gives false if the caller did not own
/// the thread any more.
pub(super) fn release(store: &Checkpoints, call: Call<'_>) {
    let inner = &store.0;
    let read = || -> Result<_> {
        let how = std::str::from_utf8(call.text(1, "outcome")?).unwrap_or_default();
        let delay =
            if how == "again" { AGAIN.delay(u32::try_from(call.id(2)?).unwrap_or(u32::MAX)) } else { Duration::ZERO };
        let (id, run) = run_of(inner, &call)?;
        Ok((id, released(inner, &run.thread, &run.owner, how, delay).writes(call.operation())))
    };
    match read() {
        Ok((id, command)) => {
            inner.leases.ask(id, Ask::Finish(command, call.answer));
        }
        // The run has ended already.
        Err(error) if error.kind() == ErrorKind::LeaseLost => call.give(Ok(Outcome::Bool(false))),
        Err(error) => call.give(Err(error)),
    }
}
