//! A queue as the TypeScript face uses it: verbs by name, outcomes by number, deliveries in order.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "each test binary uses its part"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use redis_backplane::connection::Manager;
use redis_backplane::crossing::{Answer, Arg, Completions, Outcome, Outlet, batch};
use redis_backplane::error::{Error, Result};
use redis_backplane::options::Options;
use redis_backplane::queue::{Queue, Worker};
use redis_backplane::verb::{Class, Verb};

const PATIENCE: Duration = Duration::from_secs(20);
const QUEUE: u32 = 1;

#[derive(Default)]
struct Inbox {
    outcomes: HashMap<u32, Result<Outcome>>,
    deliveries: HashMap<u32, Vec<Outcome>>,
    events: Vec<String>,
}

/// Receives outcomes, deliveries and events.
#[derive(Default)]
pub struct Face {
    inbox: Mutex<Inbox>,
    news: Condvar,
    last: AtomicU32,
}

impl Completions for Face {
    fn complete(&self, number: u32, outcome: Result<Outcome>) -> bool {
        self.inbox.lock().unwrap().outcomes.insert(number, outcome);
        self.news.notify_all();
        false
    }

    fn deliver(&self, handle: u32, values: Vec<Outcome>) -> bool {
        // A delivery to a worker starts with its kind. It is kept as one list.
        let mut inbox = self.inbox.lock().unwrap();
        let list = inbox.deliveries.entry(handle).or_default();
        if handle == QUEUE {
            list.extend(values);
        } else {
            list.push(Outcome::List(values));
        }
        self.news.notify_all();
        false
    }

    fn emit(&self, _handle: u32, event: String) -> bool {
        self.inbox.lock().unwrap().events.push(event);
        self.news.notify_all();
        false
    }

    fn wake(&self) {}
}

impl Face {
    /// Waits until `take` gives something.
    fn until<T>(&self, what: &str, mut take: impl FnMut(&mut Inbox) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut inbox = self.inbox.lock().unwrap();
        loop {
            if let Some(found) = take(&mut inbox) {
                return found;
            }
            let left =
                end.checked_duration_since(Instant::now()).unwrap_or_else(|| panic!("waited too long for {what}"));
            inbox = self.news.wait_timeout(inbox, left).unwrap().0;
        }
    }

    fn answer(self: &Arc<Self>) -> (u32, Answer) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        (number, Answer::to(self.clone(), number))
    }

    fn outcome(&self, what: &str, number: u32) -> Result<Outcome> {
        self.until(what, |inbox| inbox.outcomes.remove(&number))
    }

    pub fn events(&self) -> Vec<String> {
        self.inbox.lock().unwrap().events.clone()
    }
}

/// A queue and its face.
pub struct Desk {
    pub face: Arc<Face>,
    pub queue: Queue,
}

/// A job as the face reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub id: String,
    pub state: String,
    pub data: String,
    pub attempts: u64,
    pub stalls: u64,
    pub result: Option<String>,
    pub reason: Option<String>,
    pub options: Option<String>,
    pub progress: Option<String>,
    pub stacks: Option<String>,
}

pub fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Text(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("not a text: {other:?}"),
    }
}

pub fn maybe(outcome: &Outcome) -> Option<String> {
    (*outcome != Outcome::Null).then(|| text(outcome))
}

pub fn number(outcome: &Outcome) -> u64 {
    match outcome {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        Outcome::Number(n) => *n as u64,
        other => panic!("not a number: {other:?}"),
    }
}

fn items(outcome: Outcome) -> Vec<Outcome> {
    list(outcome)
}

pub fn list(outcome: Outcome) -> Vec<Outcome> {
    match outcome {
        Outcome::List(list) => list,
        other => panic!("not a list: {other:?}"),
    }
}

fn seen(outcome: Outcome) -> Seen {
    let at = list(outcome);
    assert_eq!(at.len(), 14);
    Seen {
        id: text(&at[0]),
        data: text(&at[2]),
        options: maybe(&at[3]),
        state: text(&at[4]),
        attempts: number(&at[5]),
        stalls: number(&at[9]),
        progress: maybe(&at[10]),
        result: maybe(&at[11]),
        reason: maybe(&at[12]),
        stacks: maybe(&at[13]),
    }
}

fn verb_of<T: Class>(name: &str) -> &'static Verb<T> {
    T::VERBS.iter().find(|verb| verb.name == name).unwrap_or_else(|| panic!("no verb {name}"))
}

impl Desk {
    pub fn open(manager: &Manager, name: &str) -> Self {
        let face = Arc::new(Face::default());
        let options = Options::parse("TaskQueue", &format!(r#"{{"name":"{name}"}}"#)).unwrap();
        let queue = Queue::new(manager.clone(), options, Outlet::to(face.clone(), QUEUE)).unwrap();
        Self { face, queue }
    }

    /// Calls a verb and returns the number of its outcome.
    pub fn send(&self, verb: &str, args: &[Arg<'_>]) -> u32 {
        let (number, answer) = self.face.answer();
        verb_of::<Queue>(verb).call(&self.queue, args, answer);
        number
    }

    pub fn outcome(&self, number: u32) -> Result<Outcome> {
        self.face.outcome("an outcome", number)
    }

    pub fn try_call(&self, verb: &str, args: &[Arg<'_>]) -> Result<Outcome> {
        let number = batch(|| self.send(verb, args));
        self.face.outcome(verb, number)
    }

    pub fn call(&self, verb: &str, args: &[Arg<'_>]) -> Outcome {
        self.try_call(verb, args).unwrap_or_else(|error: Error| panic!("{verb}: {error:?}"))
    }

    /// Adds a job and returns its id.
    pub fn add(&self, data: &str, options: &str) -> String {
        let pair = self.add_pair(data, options);
        match &pair[1] {
            Outcome::List(_) => seen(pair[1].clone()).id,
            id => text(id),
        }
    }

    pub fn add_pair(&self, data: &str, options: &str) -> Vec<Outcome> {
        let options = if options.is_empty() { Arg::Absent } else { Arg::Text(options) };
        list(self.call("queue.add", &[Arg::Text("work"), Arg::Text(data), options]))
    }

    pub fn get(&self, id: &str) -> Option<Seen> {
        match self.call("queue.get", &[Arg::Text(id)]) {
            Outcome::Null => None,
            snapshot => Some(seen(snapshot)),
        }
    }

    pub fn state(&self, id: &str) -> String {
        self.get(id).map_or_else(|| "none".into(), |job| job.state)
    }

    pub fn ids(&self, state: &str) -> Vec<String> {
        let args = [Arg::Number(0.0), Arg::Number(1e6), Arg::Bool(false), Arg::Text(state)];
        list(self.call("queue.list", &args)).into_iter().map(|job| seen(job).id).collect()
    }

    /// The numbers of waiting, active, delayed, completed and failed jobs, and of jobs that wait for children.
    pub fn counts(&self) -> Vec<u64> {
        list(self.call("queue.counts", &[])).iter().map(number).collect()
    }

    /// The events that listeners have received so far: type, id, payload.
    pub fn told(&self) -> Vec<(String, String, Option<String>)> {
        let values = self.face.inbox.lock().unwrap().deliveries.get(&QUEUE).cloned().unwrap_or_default();
        values.chunks(3).map(|at| (text(&at[0]), text(&at[1]), maybe(&at[2]))).collect()
    }

    pub fn until_told(&self, kind: &str, id: &str) -> Option<String> {
        self.face.until(kind, |inbox| {
            let values = inbox.deliveries.get(&QUEUE)?;
            values.chunks(3).find(|at| text(&at[0]) == kind && text(&at[1]) == id).map(|at| maybe(&at[2]))
        })
    }

    pub fn worker(&self, options: &str) -> Hand {
        let handle = 100 + self.face.last.fetch_add(1, Ordering::Relaxed);
        let outlet = Outlet::to(self.face.clone(), handle);
        let worker = Worker::new(&self.queue, Options::parse("WorkerOptions", options).unwrap(), outlet).unwrap();
        Hand { face: self.face.clone(), worker, handle }
    }

    pub fn running(&self, options: &str) -> Hand {
        let hand = self.worker(options);
        hand.call("worker.run", &[]);
        hand
    }
}

/// A worker and its face.
pub struct Hand {
    pub face: Arc<Face>,
    pub worker: Worker,
    handle: u32,
}

/// A job as a worker receives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    pub slot: f64,
    pub id: String,
    pub data: String,
    pub attempts: u64,
    pub stalls: u64,
}

impl Hand {
    pub fn try_call(&self, verb: &str, args: &[Arg<'_>]) -> Result<Outcome> {
        let (number, answer) = self.face.answer();
        batch(|| verb_of::<Worker>(verb).call(&self.worker, args, answer));
        self.face.outcome(verb, number)
    }

    pub fn call(&self, verb: &str, args: &[Arg<'_>]) -> Outcome {
        self.try_call(verb, args).unwrap_or_else(|error: Error| panic!("{verb}: {error:?}"))
    }

    /// Takes the next delivery of `kind`, with its values.
    fn take(&self, kind: f64) -> Vec<Outcome> {
        self.face.until("a delivery", |inbox| {
            let list = inbox.deliveries.get_mut(&self.handle)?;
            let at = list
                .iter()
                .position(|one| matches!(one, Outcome::List(values) if values[0] == Outcome::Number(kind)))?;
            let mut values = items(list.remove(at));
            values.remove(0);
            Some(values)
        })
    }

    /// The jobs that were received so far and not taken.
    pub fn waiting(&self) -> usize {
        let inbox = self.face.inbox.lock().unwrap();
        let of = |one: &Outcome| match one {
            Outcome::List(values) if values[0] == Outcome::Number(1.0) => (values.len() - 1) / 10,
            _ => 0,
        };
        inbox.deliveries.get(&self.handle).map_or(0, |list| list.iter().map(of).sum())
    }

    /// The jobs of the next delivery.
    pub fn batch(&self) -> Vec<Got> {
        let values = self.take(1.0);
        values
            .chunks(10)
            .map(|at| Got {
                slot: match at[0] {
                    Outcome::Number(n) => n,
                    _ => panic!("no slot"),
                },
                id: text(&at[1]),
                data: text(&at[3]),
                attempts: number(&at[5]),
                stalls: number(&at[8]),
            })
            .collect()
    }

    /// The next job, for workers with one job at a time.
    pub fn job(&self) -> Got {
        let mut jobs = self.batch();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    /// The next ended slot: its id, the reason and the message.
    pub fn ended(&self) -> Vec<(f64, String, Option<String>)> {
        let values = self.take(2.0);
        values
            .chunks(3)
            .map(|at| match at[0] {
                Outcome::Number(slot) => (slot, text(&at[1]), maybe(&at[2])),
                _ => panic!("no slot"),
            })
            .collect()
    }

    pub fn refused(&self) -> Vec<String> {
        self.take(3.0).chunks(2).map(|at| text(&at[0])).collect()
    }

    pub fn complete(&self, job: &Got, result: &str) {
        self.call("worker.settle", &[Arg::Number(job.slot), Arg::Number(1.0), Arg::Text(result), Arg::Absent]);
    }

    pub fn fail(&self, job: &Got, reason: &str) {
        self.call("worker.settle", &[Arg::Number(job.slot), Arg::Number(2.0), Arg::Text(reason), Arg::Text("at here")]);
    }

    pub fn settle(&self, job: &Got, kind: f64, value: Arg<'_>) {
        self.call("worker.settle", &[Arg::Number(job.slot), Arg::Number(kind), value, Arg::Absent]);
    }

    /// Takes the next job, runs `step` with it, and takes no other job.
    pub fn one<T>(&self, step: impl FnOnce(&Got) -> T) -> T {
        self.call("worker.run", &[]);
        let got = self.job();
        let (number, answer) = self.face.answer();
        batch(|| verb_of::<Worker>("worker.pause").call(&self.worker, &[], answer));
        let done = step(&got);
        self.face.outcome("worker.pause", number).unwrap();
        done
    }

    pub fn close(&self, grace_ms: f64) -> bool {
        self.call("worker.close", &[Arg::Number(grace_ms)]) == Outcome::Bool(true)
    }
}
