//! The task queue, on the embedded engine and on a real Redis: each test runs on both.

#[path = "support/face.rs"]
mod face;
mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use face::{Desk, Hand, list, text};
use redis_backplane::connection::Manager;
use redis_backplane::crossing::{Arg, Outcome, batch};
use redis_backplane::error::ErrorKind;
use redis_backplane::keys::registry::Part;
use support::{Server, manager, until};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The server of the running tests; each test has its own namespace. A weak reference, because statics are never dropped: the server ends
/// with the last running test.
fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start(&[]));
        *shared = Arc::downgrade(&server);
        server
    })
}

/// Runs a test on both backends.
fn on_both(test: impl Fn(&Manager)) {
    on_both_twice(|one, _| test(one));
}

/// Runs a test on both backends, with two managers.
fn on_both_twice(test: impl Fn(&Manager, &Manager)) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let server = server();
    let memory = format!(r#"{{"url":"memory://queue-{number}"}}"#);
    let redis = format!(r#"{{"url":"redis://127.0.0.1:{}","namespace":"t{number}"}}"#, server.port);
    for config in [memory, redis] {
        test(&manager(&config), &manager(&config));
    }
}

fn until_state(desk: &Desk, id: &str, state: &str) {
    until(&format!("{id} is {state}"), || desk.state(id) == state);
}

#[test]
fn a_job_is_added_found_processed_and_kept() {
    on_both(|manager| {
        let desk = Desk::open(manager, "basic");
        let id = desk.add("{\"n\":1}", "");
        let job = desk.get(&id).unwrap();
        assert_eq!((job.state.as_str(), job.data.as_str(), job.attempts), ("waiting", "{\"n\":1}", 0));
        assert_eq!(desk.counts(), [1, 0, 0, 0, 0, 0]);
        let worker = desk.running("{}");
        let got = worker.job();
        assert_eq!((got.id.as_str(), got.data.as_str()), (id.as_str(), "{\"n\":1}"));
        assert_eq!(desk.state(&id), "active");
        assert_eq!(desk.counts(), [0, 1, 0, 0, 0, 0]);
        worker.complete(&got, "42");
        until_state(&desk, &id, "completed");
        let job = desk.get(&id).unwrap();
        assert_eq!((job.result.as_deref(), job.attempts), (Some("42"), 1));
        assert_eq!(desk.ids("completed"), std::slice::from_ref(&id));
        // An idle worker is woken by the next job.
        let next = desk.add("2", "");
        assert_eq!(worker.job().id, next);
        assert!(!worker.close(0.0));
        assert_eq!(desk.state(&next), "waiting");
    });
}

#[test]
fn the_calls_of_one_turn_are_one_script_and_keep_their_order() {
    on_both(|manager| {
        let desk = Desk::open(manager, "batch");
        let data: Vec<_> = (0..250).map(|n| n.to_string()).collect();
        let numbers: Vec<_> = batch(|| {
            data.iter().map(|n| desk.send("queue.add", &[Arg::Text("work"), Arg::Text(n), Arg::Absent])).collect()
        });
        let ids: Vec<_> = numbers.into_iter().map(|number| text(&list(desk.outcome(number).unwrap())[1])).collect();
        assert_eq!(desk.ids("waiting"), ids);
        let worker = desk.running(r#"{"concurrency":300}"#);
        // One script claims only a part of this many jobs.
        let mut came = Vec::new();
        while came.len() < ids.len() {
            came.extend(worker.batch().into_iter().map(|job| job.id));
        }
        assert_eq!(came, ids);
    });
}

#[test]
fn adding_an_existing_id_returns_the_existing_job_unchanged() {
    on_both(|manager| {
        let desk = Desk::open(manager, "ids");
        let args = [Arg::Text("work"), Arg::Text("1"), Arg::Text(r#"{"id":"x"}"#)];
        let other = [Arg::Text("work"), Arg::Text("2"), Arg::Text(r#"{"id":"x","priority":3}"#)];
        let (first, second) = batch(|| (desk.send("queue.add", &args), desk.send("queue.add", &other)));
        assert_eq!(text(&list(desk.outcome(first).unwrap())[1]), "x");
        let pair = list(desk.outcome(second).unwrap());
        assert_eq!(pair[0], Outcome::Number(0.0));
        assert_eq!(text(&list(pair[1].clone())[2]), "1");
        assert_eq!(desk.counts(), [1, 0, 0, 0, 0, 0]);
        assert_eq!(desk.add("3", r#"{"id":"x"}"#), "x");
    });
}

#[test]
fn bulk_adding_takes_any_number() {
    on_both(|manager| {
        let desk = Desk::open(manager, "bulk");
        let data: Vec<_> = (0..2_500).map(|n| n.to_string()).collect();
        let args: Vec<_> = data.iter().flat_map(|n| [Arg::Text("work"), Arg::Text(n), Arg::Absent]).collect();
        let pairs = list(desk.call("queue.addBulk", &args));
        assert_eq!(pairs.len(), 5_000);
        assert_eq!(desk.counts()[0], 2_500);
        let ids: Vec<_> = pairs.chunks(2).map(|pair| text(&pair[1])).collect();
        assert_eq!(desk.ids("waiting"), ids);
    });
}

#[test]
fn failures_are_retried_with_backoff_and_then_final() {
    on_both(|manager| {
        let desk = Desk::open(manager, "retry");
        let id = desk.add("1", r#"{"attempts":3,"backoff":{"type":"fixed","delayMs":30}}"#);
        let worker = desk.running("{}");
        for attempt in 0..3 {
            let job = worker.job();
            assert_eq!(job.attempts, attempt);
            worker.fail(&job, &format!("no {attempt}"));
        }
        until_state(&desk, &id, "failed");
        let job = desk.get(&id).unwrap();
        assert_eq!((job.attempts, job.reason.as_deref()), (3, Some("no 2")));
        assert_eq!(job.stacks.as_deref(), Some(r#"["at here","at here","at here"]"#));
        // A retry by hand starts the attempts again.
        desk.call("queue.retry", &[Arg::Text(&id)]);
        assert_eq!(worker.job().attempts, 0);
    });
}

#[test]
fn a_delayed_attempt_does_not_count() {
    on_both(|manager| {
        let desk = Desk::open(manager, "put-off");
        let id = desk.add("1", "");
        let worker = desk.running("{}");
        let job = worker.job();
        worker.settle(&job, 4.0, Arg::Number(20.0));
        let again = worker.job();
        assert_eq!((again.id.as_str(), again.attempts), (id.as_str(), 0));
        worker.settle(&again, 3.0, Arg::Text("for good"));
        until_state(&desk, &id, "failed");
        // A delay without a valid time fails with the reason.
        let never = desk.add("2", "");
        worker.settle(&worker.job(), 4.0, Arg::Number(f64::NAN));
        until_state(&desk, &never, "failed");
        assert!(desk.get(&never).unwrap().reason.unwrap().starts_with("DelayError.delayMs: expected a number"));
    });
}

#[test]
fn jobs_are_served_by_priority_and_order() {
    on_both(|manager| {
        let desk = Desk::open(manager, "order");
        for (data, options) in [
            ("1", r#"{"priority":5}"#),
            ("2", r#"{"priority":1}"#),
            ("3", ""),
            ("4", ""),
            ("5", r#"{"lifo":true}"#),
            ("6", r#"{"priority":1}"#),
        ] {
            desk.add(data, options);
        }
        let moved = desk.add("7", r#"{"priority":9}"#);
        desk.call("queue.changePriority", &[Arg::Text(&moved), Arg::Number(2.0)]);
        assert!(desk.get(&moved).unwrap().options.unwrap().contains("\"priority\":2"));
        let worker = desk.running(r#"{"concurrency":10}"#);
        let order: Vec<_> = worker.batch().into_iter().map(|job| job.data).collect();
        assert_eq!(order, ["5", "3", "4", "2", "6", "7", "1"]);
    });
}

#[test]
fn delayed_jobs_run_when_they_are_due_and_can_be_moved() {
    on_both(|manager| {
        let desk = Desk::open(manager, "delay");
        let worker = desk.running(r#"{"concurrency":5}"#);
        let late = desk.add("1", r#"{"delayMs":600000}"#);
        let soon = desk.add("2", r#"{"delayMs":60}"#);
        assert_eq!(desk.counts()[2], 2);
        assert_eq!(worker.job().id, soon);
        desk.call("queue.promote", &[Arg::Text(&late)]);
        assert_eq!(worker.job().id, late);
        let error = desk.try_call("queue.promote", &[Arg::Text(&late)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().ends_with("expected a delayed job, got one that is active"), "{error}");
        let moved = desk.add("3", r#"{"delayMs":600000}"#);
        desk.call("queue.changeDelay", &[Arg::Text(&moved), Arg::Number(30.0)]);
        assert_eq!(worker.job().id, moved);
        let ranked = desk.add("4", r#"{"priority":3}"#);
        let job = worker.job();
        assert_eq!(job.id, ranked);
        // A job whose priority was changed while it was delayed waits with the new priority.
        desk.call("queue.pause", &[]);
        let first = desk.add("5", r#"{"priority":2}"#);
        let last = desk.add("6", r#"{"delayMs":600000}"#);
        desk.call("queue.changePriority", &[Arg::Text(&last), Arg::Number(4.0)]);
        desk.call("queue.promote", &[Arg::Text(&last)]);
        assert_eq!(desk.ids("waiting"), [first.clone(), last.clone()]);
        // A job that has left the list loses its place there.
        let there = desk.add("7", r#"{"id":"there"}"#);
        desk.call("queue.changeDelay", &[Arg::Text(&there), Arg::Number(600_000.0)]);
        desk.call("queue.changePriority", &[Arg::Text(&there), Arg::Number(3.0)]);
        desk.call("queue.promote", &[Arg::Text(&there)]);
        assert_eq!(desk.ids("waiting"), [first.clone(), there.clone(), last.clone()]);
        desk.call("queue.remove", &[Arg::Text(&there)]);
        desk.add("8", r#"{"id":"there","priority":5}"#);
        let order = [first, last, there];
        assert_eq!(desk.ids("waiting"), order);
        assert_eq!(desk.counts()[0], 3);
        desk.call("queue.resume", &[]);
        assert_eq!(worker.batch()[0].id, order[0]);
    });
}

#[test]
fn kept_jobs_are_trimmed_by_count_and_other_jobs_are_deleted() {
    on_both(|manager| {
        let desk = Desk::open(manager, "keep");
        let worker = desk.running(r#"{"concurrency":4}"#);
        let mut ids = Vec::new();
        for n in 0..12 {
            let id = desk.add(&n.to_string(), r#"{"keepCompleted":{"count":5}}"#);
            let job = worker.job();
            worker.complete(&job, "1");
            until_state(&desk, &id, "completed");
            ids.push(id);
        }
        assert_eq!(desk.ids("completed"), ids[7..]);
        assert!(desk.get(&ids[0]).is_none());
        let gone = desk.add("x", r#"{"keepFailed":false}"#);
        let job = worker.job();
        worker.fail(&job, "no");
        until("it is gone", || desk.get(&gone).is_none());
        assert_eq!(desk.counts(), [0, 0, 0, 5, 0, 0]);
    });
}

#[test]
fn a_paused_queue_gives_no_jobs_until_it_is_resumed() {
    on_both(|manager| {
        let desk = Desk::open(manager, "pause");
        desk.call("queue.pause", &[]);
        assert_eq!(desk.call("queue.isPaused", &[]), Outcome::Bool(true));
        let worker = desk.running("{}");
        let id = desk.add("1", "");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(worker.waiting(), 0);
        desk.call("queue.resume", &[]);
        assert_eq!(worker.job().id, id);
    });
}

#[test]
fn a_removed_job_is_also_removed_from_its_state() {
    on_both(|manager| {
        let desk = Desk::open(manager, "remove");
        let ids: Vec<_> = (0..5).map(|n| desk.add(&n.to_string(), "")).collect();
        let ranked = desk.add("r", r#"{"priority":4}"#);
        let grouped = desk.add("g", r#"{"group":"a"}"#);
        let delayed = desk.add("d", r#"{"delayMs":100000}"#);
        for id in [&ids[1], &ids[3], &ranked, &grouped, &delayed] {
            assert_eq!(desk.call("queue.remove", &[Arg::Text(id)]), Outcome::Bool(true));
            assert_eq!(desk.call("queue.remove", &[Arg::Text(id)]), Outcome::Bool(false));
        }
        assert_eq!(desk.counts(), [3, 0, 0, 0, 0, 0]);
        assert_eq!(desk.ids("waiting"), [ids[0].clone(), ids[2].clone(), ids[4].clone()]);
        let worker = desk.running(r#"{"concurrency":10}"#);
        assert_eq!(worker.batch().len(), 3);
        assert_eq!(desk.counts(), [0, 3, 0, 0, 0, 0]);
        let error = desk.try_call("queue.remove", &[Arg::Text(&ids[0])]).unwrap_err();
        assert!(error.message().contains("active"), "{error}");
    });
}

#[test]
fn groups_take_turns_and_keep_to_their_limit() {
    on_both(|manager| {
        let desk = Desk::open(manager, "groups");
        for (group, count) in [("a", 4), ("b", 2)] {
            for n in 0..count {
                desk.add(&format!("\"{group}{n}\""), &format!(r#"{{"group":"{group}"}}"#));
            }
        }
        desk.add("\"p0\"", "");
        desk.add("\"p1\"", "");
        assert_eq!(desk.counts()[0], 8);
        assert_eq!(desk.ids("waiting").len(), 8);
        let worker = desk.running(r#"{"concurrency":6,"groupConcurrency":2}"#);
        let first = worker.batch();
        let order: Vec<_> = first.iter().map(|job| job.data.trim_matches('"').to_owned()).collect();
        assert_eq!(order.len(), 6, "{order:?}");
        for group in ["a", "b", "p"] {
            assert_eq!(order.iter().filter(|data| data.starts_with(group)).count(), 2, "{order:?}");
        }
        // The next job of group a may run only after one of its jobs has ended.
        worker.complete(first.iter().find(|job| job.data == "\"p0\"").unwrap(), "1");
        until("it is settled", || desk.counts()[3] == 1);
        assert_eq!(worker.waiting(), 0);
        worker.complete(first.iter().find(|job| job.data == "\"a0\"").unwrap(), "1");
        assert_eq!(worker.job().data, "\"a2\"");
    });
}

#[test]
fn the_rate_limit_holds_for_the_fleet() {
    on_both(|manager| {
        let desk = Desk::open(manager, "rate");
        for n in 0..6 {
            desk.add(&n.to_string(), "");
        }
        let options = r#"{"concurrency":10,"rateLimit":{"max":2,"perMs":150}}"#;
        let begin = std::time::Instant::now();
        let (one, other) = (desk.running(options), desk.running(options));
        until("all have come", || one.waiting() + other.waiting() == 6);
        assert!(begin.elapsed() >= Duration::from_millis(290), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_dedupe_id_lasts_until_the_job_has_finished_or_for_its_time() {
    on_both(|manager| {
        let desk = Desk::open(manager, "dedupe");
        let options = r#"{"dedupe":{"id":"d"}}"#;
        let first = desk.add("1", options);
        assert_eq!(desk.add("2", options), first);
        let replaced = desk.add("3", r#"{"dedupe":{"id":"d","replace":true}}"#);
        assert_ne!(replaced, first);
        assert!(desk.get(&first).is_none());
        let worker = desk.running("{}");
        let job = worker.job();
        assert_eq!(job.id, replaced);
        let follows = desk.add("4", r#"{"dedupe":{"id":"d","replace":true}}"#);
        assert_eq!(desk.state(&follows), "waiting-children");
        assert_eq!(desk.add("5", options), replaced);
        worker.complete(&job, "1");
        until_state(&desk, &replaced, "completed");
        let job = worker.job();
        assert_eq!((&job.id, &job.data[..]), (&follows, "4"));
        assert_eq!(desk.add("6", options), follows);
        worker.complete(&job, "1");
        until_state(&desk, &follows, "completed");
        assert_ne!(desk.add("7", options), follows);
    });
}

#[test]
fn a_job_waits_for_its_children_and_gets_their_results() {
    on_both(|manager| {
        let desk = Desk::open(manager, "flow");
        let elsewhere = Desk::open(manager, "flow-elsewhere");
        let options = r#"{"children":[
            {"name":"one","data":"1","options":{"id":"c1"}},
            {"name":"two","data":"2","options":{"id":"c2","children":[{"name":"deep","data":"3","options":{"id":"c3"}}]}},
            {"queue":"flow-elsewhere","name":"far","data":"4","options":{"id":"c4"}}]}"#;
        let parent = desk.add("0", options);
        assert_eq!(desk.state(&parent), "waiting-children");
        let worker = desk.running(r#"{"concurrency":1}"#);
        for _ in 0..3 {
            let job = worker.job();
            worker.complete(&job, &format!("\"{}\"", job.id));
        }
        until_state(&elsewhere, "c4", "waiting");
        let far = elsewhere.running("{}");
        let job = far.job();
        assert_eq!(job.id, "c4");
        far.complete(&job, "\"far\"");
        let job = worker.job();
        assert_eq!(job.id, parent);
        let mut children = list(worker.call("worker.children", &[Arg::Number(job.slot)]));
        let mut results: Vec<_> = children.drain(..).map(|value| text(&value)).collect();
        results.sort();
        let mut expected = ["c1", "\"c1\"", "c2", "\"c2\"", "flow-elsewhere:c4", "\"far\""].map(str::to_owned);
        expected.sort();
        assert_eq!(results, expected);
    });
}

#[test]
fn a_failed_child_fails_its_parent() {
    on_both(|manager| {
        let desk = Desk::open(manager, "flow-fails");
        let parent = desk.add("0", r#"{"children":[{"name":"a","data":"1","options":{"id":"bad"}}]}"#);
        let worker = desk.running("{}");
        let job = worker.job();
        worker.fail(&job, "broken");
        until_state(&desk, &parent, "failed");
        assert_eq!(desk.get(&parent).unwrap().reason.as_deref(), Some("child bad failed: broken"));
    });
}

#[test]
fn progress_and_logs_are_kept_and_refused_after_the_lease_is_lost() {
    on_both(|manager| {
        let desk = Desk::open(manager, "notes");
        let id = desk.add("1", "");
        let worker = desk.running("{}");
        let job = worker.job();
        let slot = Arg::Number(job.slot);
        worker.call("worker.updateProgress", &[slot, Arg::Text("{\"done\":50}")]);
        worker.call("worker.updateData", &[slot, Arg::Text("[\"new\"]")]);
        assert_eq!(worker.call("worker.log", &[slot, Arg::Text("line")]), Outcome::Number(1.0));
        let seen = desk.get(&id).unwrap();
        assert_eq!((seen.progress.as_deref(), seen.data.as_str()), (Some("{\"done\":50}"), "[\"new\"]"));
        assert_eq!(list(desk.call("queue.logs", &[Arg::Text(&id)])), [Outcome::Text("line".into())]);
        worker.complete(&job, "1");
        until_state(&desk, &id, "completed");
        let error = worker.try_call("worker.log", &[slot, Arg::Text("late")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LeaseLost);
    });
}

#[test]
fn the_worker_of_a_cancelled_job_is_notified_and_a_waiting_job_fails() {
    on_both(|manager| {
        let desk = Desk::open(manager, "cancel");
        let active = desk.add("1", "");
        let worker = desk.running("{}");
        let job = worker.job();
        let waiting = desk.add("2", "");
        assert_eq!(desk.call("queue.cancel", &[Arg::Text(&waiting), Arg::Text("why not")]), Outcome::Bool(true));
        assert_eq!(desk.get(&waiting).unwrap().reason.as_deref(), Some("why not"));
        assert_eq!(desk.call("queue.cancel", &[Arg::Text(&active), Arg::Text("stop")]), Outcome::Bool(true));
        assert_eq!(worker.ended(), [(job.slot, "cancelled".to_owned(), Some("stop".to_owned()))]);
        worker.settle(&job, 3.0, Arg::Text("cancelled"));
        until_state(&desk, &active, "failed");
        assert_eq!(desk.call("queue.cancel", &[Arg::Text(&active)]), Outcome::Bool(false));
    });
}

#[test]
fn an_attempt_that_takes_too_long_fails() {
    on_both(|manager| {
        let desk = Desk::open(manager, "timeout");
        let id = desk.add("1", r#"{"timeoutMs":50}"#);
        let worker = desk.running("{}");
        let job = worker.job();
        assert_eq!(worker.ended(), [(job.slot, "timeout".to_owned(), None)]);
        until_state(&desk, &id, "failed");
        worker.complete(&job, "1");
        assert_eq!(desk.state(&id), "failed");
    });
}

#[test]
fn events_come_from_the_whole_fleet_and_waits_end_with_the_job() {
    on_both(|manager| {
        let desk = Desk::open(manager, "events");
        let listener = Desk::open(manager, "events");
        listener.call("queue.listen", &[]);
        let id = desk.add("1", r#"{"attempts":2}"#);
        let worker = desk.running("{}");
        let waiting = batch(|| desk.send("queue.wait", &[Arg::Number(1.0), Arg::Text(&id), Arg::Number(15_000.0)]));
        let job = worker.job();
        worker.call("worker.updateProgress", &[Arg::Number(job.slot), Arg::Text("7")]);
        worker.fail(&job, "once");
        let job = worker.job();
        worker.complete(&job, "{\"ok\":true}");
        assert_eq!(listener.until_told("completed", &id).as_deref(), Some("{\"ok\":true}"));
        let kinds: Vec<_> =
            listener.told().into_iter().map(|(kind, ..)| kind).filter(|kind| kind != "drained").collect();
        assert_eq!(kinds, ["added", "active", "progress", "retrying", "active", "completed"]);
        let ended = list(desk.outcome(waiting).unwrap());
        assert_eq!((text(&ended[0]), text(&ended[1])), ("completed".into(), "{\"ok\":true}".into()));
        let again = list(desk.call("queue.wait", &[Arg::Number(2.0), Arg::Text(&id), Arg::Number(1_000.0)]));
        assert_eq!(text(&again[0]), "completed");
        let error = desk.try_call("queue.wait", &[Arg::Number(3.0), Arg::Text("none"), Arg::Absent]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    });
}

#[test]
fn a_schedule_ticks_once_for_any_number_of_workers() {
    on_both(|manager| {
        let desk = Desk::open(manager, "schedule");
        let workers: Vec<_> = (0..5).map(|_| desk.running("{}")).collect();
        desk.call(
            "queue.schedule",
            &[Arg::Text("s"), Arg::Text(r#"{"everyMs":100}"#), Arg::Text("tick"), Arg::Text("1"), Arg::Absent],
        );
        until("five have ticked", || workers.iter().map(Hand::waiting).sum::<usize>() >= 5);
        let listed = list(list(desk.call("queue.schedules", &[])).remove(0));
        assert!(face::number(&listed[7]) >= 5);
        assert_eq!(desk.call("queue.unschedule", &[Arg::Text("s")]), Outcome::Bool(true));
        let counts = desk.counts();
        let ticks = face::number(&listed[7]);
        assert!((ticks..ticks + 2).contains(&(counts[0] + counts[1])), "{counts:?} {ticks}");
        assert!(list(desk.call("queue.schedules", &[])).is_empty());
    });
}

#[test]
fn the_jobs_of_a_dead_worker_are_given_to_others_up_to_the_limit_of_stalls() {
    on_both_twice(|manager, doomed| {
        let desk = Desk::open(manager, "stall");
        let id = desk.add("1", r#"{"group":"g"}"#);
        let dying = Desk::open(doomed, "stall").running(r#"{"leaseMs":1000}"#);
        let job = dying.job();
        redis_backplane::lifecycle::io().block_on(doomed.disconnect());
        assert_eq!(dying.ended(), [(job.slot, "closed".to_owned(), None)]);
        assert_eq!(desk.state(&id), "active");
        let heir = desk.running(r#"{"leaseMs":1000,"maxStalls":1}"#);
        let again = heir.job();
        assert_eq!((again.id.as_str(), again.stalls, again.attempts), (id.as_str(), 1, 0));
        heir.complete(&again, "1");
        until_state(&desk, &id, "completed");
        assert_eq!(desk.counts(), [0, 0, 0, 1, 0, 0]);
    });
}

#[test]
fn the_jobs_of_a_registered_worker_are_given_to_others_when_its_crash_is_reported() {
    on_both_twice(|manager, doomed| {
        let desk = Desk::open(manager, "crash");
        let id = desk.add("1", "");
        let owner = |worker: &Hand, name: &str| {
            worker.call("worker.owner", &[Arg::Text(name), Arg::Number(7.0), Arg::Null]);
        };
        let dying = Desk::open(doomed, "crash").worker(r#"{"leaseMs":600000}"#);
        owner(&dying, "dying");
        dying.call("worker.run", &[]);
        let job = dying.job();
        redis_backplane::lifecycle::io().block_on(doomed.disconnect());
        assert_eq!(dying.ended(), [(job.slot, "closed".to_owned(), None)]);
        let heir = desk.running("{}");
        owner(&heir, "heir");
        let channel = manager.namespace().registry().key(Part::Deaths).clone();
        let (command, _) = manager.prepare(&[b"PUBLISH", &channel, b"c 7 dying"]).unwrap();
        redis_backplane::lifecycle::io().block_on(async { manager.call(command).await.unwrap() });
        assert_eq!((heir.job().id, desk.counts()[1]), (id, 1));
    });
}

#[test]
fn draining_cleaning_and_obliterating_delete_only_their_jobs() {
    on_both(|manager| {
        let desk = Desk::open(manager, "admin");
        for n in 0..30 {
            desk.add(&n.to_string(), ["", r#"{"priority":2}"#, r#"{"group":"g"}"#][n % 3]);
        }
        desk.add("d", r#"{"delayMs":100000}"#);
        assert_eq!(desk.call("queue.drain", &[Arg::Bool(false)]), Outcome::Number(30.0));
        assert_eq!(desk.counts(), [0, 0, 1, 0, 0, 0]);
        let worker = desk.running("{}");
        for n in 0..6 {
            desk.add(&n.to_string(), "");
            let job = worker.job();
            if n % 2 == 0 { worker.complete(&job, "1") } else { worker.fail(&job, "no") }
        }
        until("all are settled", || desk.counts()[3..5] == [3, 3]);
        assert_eq!(
            desk.call("queue.clean", &[Arg::Text("completed"), Arg::Absent, Arg::Number(2.0)]),
            Outcome::Number(2.0)
        );
        assert_eq!(desk.call("queue.retryFailed", &[]), Outcome::Number(3.0));
        let job = worker.job();
        let error = desk.try_call("queue.obliterate", &[Arg::Bool(false)]).unwrap_err();
        assert!(error.message().contains("force"), "{error}");
        desk.call("queue.obliterate", &[Arg::Bool(true)]);
        assert_eq!(desk.counts(), [0, 0, 0, 0, 0, 0]);
        assert_eq!(worker.ended(), [(job.slot, "lease-lost".to_owned(), None)]);
        let id = desk.add("after", "");
        assert_eq!(worker.job().id, id);
    });
}

#[test]
fn a_damaged_job_fails_and_the_worker_goes_on() {
    on_both(|manager| {
        let desk = Desk::open(manager, "damaged");
        let bad = desk.add("1", "");
        let good = desk.add("2", "");
        let key = [&manager.namespace().prefix()[..], b"~queue:{damaged}:jobs"].concat();
        let (command, _) = manager.prepare(&[b"HSET", &key, bad.as_bytes(), b"nonsense"]).unwrap();
        redis_backplane::lifecycle::io().block_on(async { manager.call(command).await.unwrap() });
        let worker = desk.running("{}");
        assert_eq!(worker.job().id, good);
        let error = desk.try_call("queue.get", &[Arg::Text(&bad)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialization);
        let error = desk.try_call("queue.updateData", &[Arg::Text(&bad), Arg::Text("2")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialization);
        assert_eq!(desk.ids("failed"), [bad]);
    });
}
