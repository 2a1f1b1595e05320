//! Flows within a queue and over two queues, compared with a model. After any steps in any order, each job has the state that the model
//! predicts, and no parent runs before its children have completed or are gone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/face.rs"]
mod face;
mod support;

use std::collections::BTreeMap;

use face::{Desk, Hand, list, text};
use redis_backplane::connection::Manager;
use redis_backplane::crossing::{Arg, Outcome};
use support::{Server, manager, until};

/// A small random generator, so that a failure can be repeated with its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Completed,
    Failed,
    WaitingChildren,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::WaitingChildren => "waiting-children",
        }
    }
}

/// The state of a child as its parent knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kid {
    Pending,
    Failed,
    Completed,
}

/// The updates that parents get of a child, as `part/parents.lua` lists them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum News {
    Completed,
    Failed,
    FailedAndGone,
    Removed,
    Retried,
}

#[derive(Debug)]
struct Job {
    queue: usize,
    state: State,
    kept: bool,
    kids: BTreeMap<String, Kid>,
}

#[derive(Debug, Default)]
struct Model(BTreeMap<String, Job>);

impl Model {
    fn tell(&mut self, child: &str, news: News) {
        let parents: Vec<_> =
            self.0.iter().filter(|(_, job)| job.kids.contains_key(child)).map(|(id, _)| id.clone()).collect();
        for id in parents {
            self.tell_one(&id, child, news);
        }
    }

    fn tell_one(&mut self, id: &str, child: &str, news: News) {
        let Some(job) = self.0.get_mut(id) else { return };
        if job.kids.get(child).is_none_or(|kid| *kid == Kid::Completed) {
            return;
        }
        match news {
            News::Completed => job.kids.insert(child.to_owned(), Kid::Completed),
            News::Failed => job.kids.insert(child.to_owned(), Kid::Failed),
            News::Retried => job.kids.insert(child.to_owned(), Kid::Pending),
            News::FailedAndGone | News::Removed => job.kids.remove(child),
        };
        if job.state != State::WaitingChildren {
            return;
        }
        if matches!(news, News::Failed | News::FailedAndGone) {
            self.fail(id);
        } else if job.kids.values().all(|kid| *kid == Kid::Completed) {
            job.state = State::Waiting;
        }
    }

    fn fail(&mut self, id: &str) {
        let job = self.0.get_mut(id).unwrap();
        job.state = State::Failed;
        if job.kept {
            self.tell(id, News::Failed);
        } else {
            self.0.remove(id);
            self.tell(id, News::FailedAndGone);
        }
    }

    fn remove(&mut self, id: &str) {
        if self.0.remove(id).unwrap().state != State::Completed {
            self.tell(id, News::Removed);
        }
    }

    fn retry(&mut self, id: &str) {
        let job = self.0.get_mut(id).unwrap();
        let waits = job.kids.values().any(|kid| *kid != Kid::Completed);
        job.state = if waits { State::WaitingChildren } else { State::Waiting };
        self.tell(id, News::Retried);
    }

    fn of(&self, queue: usize, state: State) -> Vec<String> {
        self.0.iter().filter(|(_, job)| job.queue == queue && job.state == state).map(|(id, _)| id.clone()).collect()
    }
}

struct Run {
    names: [String; 2],
    desks: [Desk; 2],
    workers: [Hand; 2],
    model: Model,
    gone: Vec<String>,
    random: Random,
    last: usize,
    trail: Vec<String>,
}

impl Run {
    fn fresh(&mut self) -> String {
        self.last += 1;
        format!("j{}", self.last)
    }

    /// The options of a job with children, as they cross. Existing children are added to `shared`, with their parents.
    fn tree(
        &mut self,
        id: &str,
        queue: usize,
        depth: usize,
        present: &[String],
        shared: &mut Vec<(String, String)>,
    ) -> String {
        let kept = self.random.below(4) > 0;
        let mut kids = BTreeMap::new();
        let mut children = Vec::new();
        let count = if depth == 0 { 0 } else { 1 + self.random.below(2) };
        for _ in 0..count {
            let (child, there, options) = if !present.is_empty() && self.random.below(4) == 0 {
                let child = present[self.random.below(present.len())].clone();
                shared.push((id.to_owned(), child.clone()));
                (child.clone(), self.model.0[&child].queue, format!(r#"{{"id":"{child}"}}"#))
            } else {
                let (child, there, below) = (self.fresh(), self.random.below(2), self.random.below(depth));
                let options = self.tree(&child, there, below, present, shared);
                (child, there, options)
            };
            kids.insert(child, Kid::Pending);
            children.push(format!(r#"{{"queue":"{}","name":"x","data":"1","options":{options}}}"#, self.names[there]));
        }
        let state = if kids.is_empty() { State::Waiting } else { State::WaitingChildren };
        self.model.0.insert(id.to_owned(), Job { queue, state, kept, kids });
        format!(r#"{{"id":"{id}","keepFailed":{kept},"children":[{}]}}"#, children.join(","))
    }

    fn add(&mut self) {
        let (queue, depth) = (self.random.below(2), 1 + self.random.below(2));
        let id = self.fresh();
        let present: Vec<_> = self.model.0.keys().cloned().collect();
        let mut shared = Vec::new();
        let options = self.tree(&id, queue, depth, &present, &mut shared);
        self.trail.push(format!("add to {queue}: {options}"));
        self.desks[queue].add("1", &options);
        for (parent, child) in shared {
            let news = match self.model.0[&child].state {
                State::Completed => News::Completed,
                State::Failed => News::Failed,
                _ => continue,
            };
            self.model.tell_one(&parent, &child, news);
        }
    }

    fn does(&self, queue: usize, verb: &str, args: &[Arg<'_>]) -> bool {
        matches!(self.desks[queue].try_call(verb, args), Ok(Outcome::Nothing | Outcome::Bool(true)))
    }

    fn some(&mut self) -> Option<(String, usize, State)> {
        let count = self.model.0.len();
        (count > 0).then(|| {
            let at = self.random.below(count);
            let (id, job) = self.model.0.iter().nth(at).unwrap();
            (id.clone(), job.queue, job.state)
        })
    }

    fn one_job(&mut self) {
        let Some((id, queue, state)) = self.some() else { return };
        let kind = self.random.below(5);
        let verb = ["queue.remove", "queue.cancel", "queue.retry", "queue.retry", "queue.retry"][kind];
        self.trail.push(format!("{verb} {id}"));
        let done = self.does(queue, verb, &[Arg::Text(&id)]);
        match kind {
            0 => {
                assert!(done, "{id}");
                self.model.remove(&id);
            }
            1 => {
                assert_eq!(done, matches!(state, State::Waiting | State::WaitingChildren), "{id}");
                if done {
                    self.model.fail(&id);
                }
            }
            _ => {
                assert_eq!(done, state == State::Failed, "{id}");
                if done {
                    self.model.retry(&id);
                }
            }
        }
    }

    fn whole_queue(&mut self) {
        let queue = self.random.below(2);
        match self.random.below(6) {
            0 => {
                self.trail.push(format!("drain {queue}"));
                self.desks[queue].call("queue.drain", &[]);
                // Parents that wait for a worker because of this job are drained too.
                while let Some(id) = self.model.of(queue, State::Waiting).first() {
                    self.model.remove(id);
                }
            }
            1 => {
                self.trail.push(format!("clean {queue}"));
                self.desks[queue].call("queue.clean", &[Arg::Text("failed")]);
                // Removing a job must not make another job fail.
                for id in self.model.of(queue, State::Failed) {
                    self.model.remove(&id);
                }
            }
            2 if self.random.below(3) == 0 => {
                self.trail.push(format!("obliterate {queue}"));
                self.desks[queue].call("queue.obliterate", &[Arg::Bool(true)]);
                let all: Vec<_> = self
                    .model
                    .0
                    .iter()
                    .filter(|(_, job)| job.queue == queue)
                    .map(|(id, job)| (id.clone(), job.state))
                    .collect();
                for (id, _) in &all {
                    self.model.0.remove(id);
                }
                for (id, _) in all.iter().filter(|(_, state)| *state != State::Completed) {
                    self.model.tell(id, News::Removed);
                }
            }
            _ => {
                self.trail.push(format!("retryFailed {queue}"));
                self.desks[queue].call("queue.retryFailed", &[]);
                for id in self.model.of(queue, State::Failed) {
                    self.model.retry(&id);
                }
            }
        }
    }

    fn work(&mut self) {
        let queue = self.random.below(2);
        if self.model.of(queue, State::Waiting).is_empty() {
            return;
        }
        let fails = self.random.below(3) == 0;
        let (worker, model) = (&self.workers[queue], &self.model);
        let id = worker.one(|got| {
            let job = model.0.get(&got.id).unwrap_or_else(|| panic!("{} is none", got.id));
            assert_eq!(job.state, State::Waiting, "{} was claimed: {job:?}", got.id);
            let results = list(worker.call("worker.children", &[Arg::Number(got.slot)]));
            let mut known: Vec<_> = results.chunks(2).map(|pair| text(&pair[0])).collect();
            known.sort();
            let mut expected: Vec<_> = job
                .kids
                .keys()
                .map(|kid| {
                    let there = kid_queue(&self.names, model, kid, &known);
                    if there == Some(queue) {
                        kid.clone()
                    } else {
                        there.map_or_else(|| kid.clone(), |at| format!("{}:{kid}", self.names[at]))
                    }
                })
                .collect();
            expected.sort();
            assert_eq!(known, expected, "{}: the results of its children", got.id);
            if fails {
                worker.fail(got, "no");
            } else {
                worker.complete(got, "1");
            }
            got.id.clone()
        });
        self.trail.push(format!("{} {id}", if fails { "fail" } else { "complete" }));
        if fails {
            self.model.fail(&id);
        } else {
            self.model.0.get_mut(&id).unwrap().state = State::Completed;
            self.model.tell(&id, News::Completed);
        }
    }

    fn check(&mut self, seed: u64) {
        for id in (1..=self.last).map(|at| format!("j{at}")) {
            if !self.model.0.contains_key(&id) && !self.gone.contains(&id) {
                self.gone.push(id);
            }
        }
        let mut wrong = Vec::new();
        let agrees = || {
            wrong.clear();
            for (id, job) in &self.model.0 {
                let state = self.desks[job.queue].state(id);
                if state != job.state.name() {
                    wrong.push(format!("{id} is {state}: {job:?}"));
                }
            }
            wrong.is_empty() && self.gone.iter().all(|id| self.desks.iter().all(|desk| desk.state(id) == "none"))
        };
        assert!(reached(agrees), "seed {seed}: {wrong:#?} after {:#?}", self.trail);
    }
}

/// The queue of a child, also after the child is gone.
fn kid_queue(names: &[String; 2], model: &Model, kid: &str, known: &[String]) -> Option<usize> {
    let there = model.0.get(kid).map(|job| job.queue);
    // The result of a child that is gone names the queue.
    there.or_else(|| names.iter().position(|name| known.contains(&format!("{name}:{kid}"))))
}

/// Does the condition hold within some seconds?
fn reached(mut condition: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

fn run(manager: &Manager, seed: u64) {
    let names = [format!("flow-{seed}-a"), format!("flow-{seed}-b")];
    let desks = [Desk::open(manager, &names[0]), Desk::open(manager, &names[1])];
    let workers = [desks[0].running("{}"), desks[1].running("{}")];
    for worker in &workers {
        worker.call("worker.pause", &[]);
    }
    until("nothing is there", || desks.iter().all(|desk| desk.counts().iter().sum::<u64>() == 0));
    let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut run =
        Run { names, desks, workers, model: Model::default(), gone: Vec::new(), random, last: 0, trail: Vec::new() };
    for _ in 0..60 {
        match run.random.below(10) {
            0..2 => run.add(),
            2..4 => run.one_job(),
            4..5 => run.whole_queue(),
            _ => run.work(),
        }
        run.check(seed);
    }
    for worker in &run.workers {
        worker.close(0.0);
    }
}

#[test]
fn no_parent_runs_before_its_children_are_done_or_gone_on_the_embedded_engine() {
    let manager = manager(r#"{"url":"memory://queue-flow-model"}"#);
    (1..=20).for_each(|seed| run(&manager, seed));
}

#[test]
fn no_parent_runs_before_its_children_are_done_or_gone_on_redis() {
    let server = Server::start(&[]);
    let manager = manager(&format!(r#"{{"url":"redis://127.0.0.1:{}"}}"#, server.port));
    (1..=20).for_each(|seed| run(&manager, seed));
}
