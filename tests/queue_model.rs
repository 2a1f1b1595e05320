//! The state machine of a job (`src/queue/record.rs`), compared with a model. After any steps in any order, every job has the state that
//! the model predicts, the counts agree, and the next claimed job is the one that the model predicts.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/face.rs"]
mod face;
mod support;

use std::collections::{BTreeMap, VecDeque};

use face::{Desk, Got, Hand};
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
    Active,
    Delayed,
    Completed,
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Delayed => "delayed",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
struct Job {
    state: State,
    priority: u64,
    attempts: u64,
    made: u64,
}

/// The model of a queue without groups.
#[derive(Debug, Default)]
struct Model {
    jobs: BTreeMap<String, Job>,
    line: VecDeque<String>,
    /// By priority and order.
    ranked: BTreeMap<(u64, u64), String>,
    order: u64,
    last: u64,
}

impl Model {
    fn enter(&mut self, id: &str, first: bool) {
        let job = self.jobs.get_mut(id).unwrap();
        job.state = State::Waiting;
        if job.priority > 0 {
            self.order += 1;
            self.ranked.insert((job.priority, self.order), id.to_owned());
        } else if first {
            self.line.push_front(id.to_owned());
        } else {
            self.line.push_back(id.to_owned());
        }
    }

    fn leave(&mut self, id: &str) {
        self.line.retain(|other| other != id);
        self.ranked.retain(|_, other| other != id);
    }

    fn next(&self) -> Option<String> {
        self.line.front().or_else(|| self.ranked.values().next()).cloned()
    }

    fn count(&self, state: State) -> u64 {
        self.jobs.values().filter(|job| job.state == state).count() as u64
    }
}

struct Run<'a> {
    desk: &'a Desk,
    worker: &'a Hand,
    model: Model,
    random: Random,
    in_hand: Option<Got>,
}

impl Run<'_> {
    fn some_id(&mut self) -> Option<String> {
        let count = self.model.jobs.len();
        (count > 0).then(|| {
            let at = self.random.below(count);
            self.model.jobs.keys().nth(at).unwrap().clone()
        })
    }

    fn add(&mut self) {
        self.model.last += 1;
        let id = format!("j{}", self.model.last % 12);
        let kind = self.random.below(5);
        let attempts = 1 + self.random.below(3) as u64;
        let more = match kind {
            0 => r#","priority":2"#,
            1 => r#","priority":7"#,
            2 => r#","delayMs":900000"#,
            3 => r#","lifo":true"#,
            _ => "",
        };
        self.desk.add("1", &format!(r#"{{"id":"{id}","attempts":{attempts}{more}}}"#));
        if self.model.jobs.contains_key(&id) {
            return;
        }
        let priority = [2, 7, 0, 0, 0][kind];
        self.model.jobs.insert(id.clone(), Job { state: State::Delayed, priority, attempts, made: 0 });
        if kind != 2 {
            self.model.enter(&id, kind == 3);
        }
    }

    /// Runs a step, and returns whether it changed anything.
    fn does(&self, verb: &str, id: &str, value: Option<f64>) -> bool {
        let mut args = vec![Arg::Text(id)];
        args.extend(value.map(Arg::Number));
        matches!(self.desk.try_call(verb, &args), Ok(Outcome::Nothing | Outcome::Bool(true)))
    }

    fn change(&mut self) {
        let Some(id) = self.some_id() else { return };
        let state = self.model.jobs[&id].state;
        match self.random.below(6) {
            0 => {
                assert_eq!(self.does("queue.remove", &id, None), state != State::Active);
                if state != State::Active {
                    self.model.leave(&id);
                    self.model.jobs.remove(&id);
                }
            }
            1 => {
                assert_eq!(self.does("queue.retry", &id, None), state == State::Failed);
                if state == State::Failed {
                    self.model.jobs.get_mut(&id).unwrap().made = 0;
                    self.model.enter(&id, false);
                }
            }
            2 => {
                assert_eq!(self.does("queue.promote", &id, None), state == State::Delayed);
                if state == State::Delayed {
                    self.model.enter(&id, false);
                }
            }
            3 => {
                let may = matches!(state, State::Delayed | State::Waiting);
                assert_eq!(self.does("queue.changeDelay", &id, Some(900_000.0)), may);
                if may {
                    self.model.leave(&id);
                    self.model.jobs.get_mut(&id).unwrap().state = State::Delayed;
                }
            }
            4 => {
                let may = matches!(state, State::Delayed | State::Waiting);
                let priority = [0, 3, 7][self.random.below(3)];
                assert_eq!(self.does("queue.changePriority", &id, Some(priority as f64)), may);
                if may {
                    self.model.jobs.get_mut(&id).unwrap().priority = priority;
                    if state == State::Waiting {
                        self.model.leave(&id);
                        self.model.enter(&id, false);
                    }
                }
            }
            _ if state == State::Active => {}
            _ => {
                let may = matches!(state, State::Delayed | State::Waiting);
                assert_eq!(self.does("queue.cancel", &id, None), may);
                if may {
                    self.model.leave(&id);
                    self.model.jobs.get_mut(&id).unwrap().state = State::Failed;
                }
            }
        }
    }

    fn settle(&mut self) {
        let Some(got) = self.in_hand.take() else { return };
        let kind = self.random.below(4);
        let (state, made) = {
            let job = self.model.jobs.get_mut(&got.id).unwrap();
            job.made += u64::from(kind < 2);
            let state = match kind {
                0 => State::Completed,
                1 if job.made >= job.attempts => State::Failed,
                2 => State::Delayed,
                _ => State::Waiting,
            };
            job.state = state;
            (state, job.made)
        };
        match kind {
            0 => self.worker.complete(&got, "1"),
            1 => self.worker.fail(&got, "no"),
            2 => self.worker.settle(&got, 4.0, Arg::Number(900_000.0)),
            _ => self.worker.settle(&got, 5.0, Arg::Absent),
        }
        if state == State::Waiting {
            self.model.enter(&got.id, kind == 3);
            if kind == 3 && self.model.jobs[&got.id].priority > 0 {
                // A job that is given back comes before all other jobs of its priority.
                let (place, id) =
                    self.model.ranked.iter().find(|(_, id)| **id == got.id).map(|(a, b)| (*a, b.clone())).unwrap();
                self.model.ranked.remove(&place);
                self.model.ranked.insert((place.0, 0), id);
            }
        }
        let _ = made;
    }

    /// A free worker takes the next job.
    fn serve(&mut self) {
        if self.in_hand.is_some() {
            return;
        }
        let Some(next) = self.model.next() else { return };
        let got = self.worker.job();
        assert_eq!(got.id, next);
        assert_eq!(got.attempts, self.model.jobs[&next].made);
        self.model.leave(&next);
        self.model.jobs.get_mut(&next).unwrap().state = State::Active;
        self.in_hand = Some(got);
    }

    fn check(&self) {
        let counts = [State::Waiting, State::Active, State::Delayed, State::Completed, State::Failed];
        let expected: Vec<_> = counts.iter().map(|state| self.model.count(*state)).chain([0]).collect();
        until("the counts agree", || self.desk.counts() == expected);
        for (id, job) in &self.model.jobs {
            assert_eq!(self.desk.state(id), job.state.name(), "{id}");
        }
        let order: Vec<_> = self.model.line.iter().chain(self.model.ranked.values()).cloned().collect();
        assert_eq!(self.desk.ids("waiting"), order);
    }
}

fn run(manager: &Manager, seed: u64) {
    show_seed(seed);
    let desk = Desk::open(manager, &format!("model-{seed}"));
    let worker = desk.running("{}");
    let random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut run = Run { desk: &desk, worker: &worker, model: Model::default(), random, in_hand: None };
    for _ in 0..80 {
        match run.random.below(10) {
            0..4 => run.add(),
            4..8 => run.change(),
            _ => run.settle(),
        }
        run.serve();
        run.check();
    }
    worker.close(0.0);
}

/// Shown where a run fails.
fn show_seed(seed: u64) {
    eprintln!("seed {seed}");
}

#[test]
fn jobs_go_through_their_states_as_the_model_says_on_the_embedded_engine() {
    let manager = manager(r#"{"url":"memory://queue-model"}"#);
    (1..=25).for_each(|seed| run(&manager, seed));
}

#[test]
fn jobs_go_through_their_states_as_the_model_says_on_redis() {
    let server = Server::start(&[]);
    let manager = manager(&format!(r#"{{"url":"redis://127.0.0.1:{}"}}"#, server.port));
    (1..=25).for_each(|seed| run(&manager, seed));
}
