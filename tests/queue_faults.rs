//! The task queue on a server that freezes: a worker whose answers are lost, and a worker whose lease is lost.

#[path = "support/face.rs"]
mod face;
mod support;

use face::Desk;
use redis_backplane::crossing::Arg;
use support::{Server, manager, until};

fn impatient(server: &Server) -> String {
    format!(r#"{{"url":"redis://127.0.0.1:{}","commandTimeoutMs":300}}"#, server.port)
}

#[test]
fn a_turn_whose_answer_was_lost_is_executed_once() {
    let server = Server::start(&[]);
    let manager = manager(&impatient(&server));
    let desk = Desk::open(&manager, "lost-answer");
    let ids: Vec<_> = (0..3).map(|n| desk.add(&n.to_string(), "")).collect();
    let worker = desk.running("{}");
    let first = worker.job();
    server.freeze();
    worker.complete(&first, "1");
    until("the turn has timed out", || desk.face.events().iter().any(|event| event.contains("\"timeout\"")));
    // After the freeze the server executes the written script: it settles the job and claims the next job. The worker must find that
    // job.
    server.thaw();
    let second = worker.job();
    assert_eq!(second.id, ids[1]);
    worker.complete(&second, "1");
    let third = worker.job();
    assert_eq!((third.id.as_str(), third.stalls), (ids[2].as_str(), 0));
    worker.complete(&third, "1");
    until("all have completed", || desk.counts() == [0, 0, 0, 3, 0, 0]);
    assert!(desk.ids("completed").iter().all(|id| desk.get(id).unwrap().attempts == 1));
}

#[test]
fn a_worker_that_cannot_renew_ends_its_jobs_in_time_and_goes_on_afterwards() {
    let server = Server::start(&[]);
    let manager = manager(&impatient(&server));
    let desk = Desk::open(&manager, "no-renewal");
    let id = desk.add("1", "");
    let worker = desk.running(r#"{"leaseMs":1000}"#);
    let job = worker.job();
    server.freeze();
    assert_eq!(worker.ended(), [(job.slot, "lease-lost".to_owned(), None)]);
    server.thaw();
    let again = worker.job();
    assert_eq!((again.id.as_str(), again.stalls), (id.as_str(), 1));
    // The result of the first attempt does not matter any more.
    worker.settle(&job, 1.0, Arg::Text("\"old\""));
    worker.complete(&again, "\"new\"");
    until("it has completed", || desk.state(&id) == "completed");
    assert_eq!(desk.get(&id).unwrap().result.as_deref(), Some("\"new\""));
}

#[test]
fn a_worker_goes_on_after_a_restart_of_the_server_without_scripts_and_data() {
    let server = Server::start(&[]);
    let manager = manager(&impatient(&server));
    let desk = Desk::open(&manager, "flushed");
    desk.add("1", "");
    let worker = desk.running(r#"{"leaseMs":1000}"#);
    let job = worker.job();
    server.ask(&["FLUSHALL"]);
    server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(worker.ended(), [(job.slot, "lease-lost".to_owned(), None)]);
    let id = desk.add("2", "");
    assert_eq!(worker.job().id, id);
}
