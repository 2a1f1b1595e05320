//! The task queue on a Redis Cluster of three masters. Every script of a queue uses one slot; a flow crosses slots.

#[path = "support/face.rs"]
mod face;
mod support;

use face::{Desk, list, text};
use redis_backplane::connection::Manager;
use redis_backplane::crossing::{Arg, Outcome};
use support::{Server, manager, until};

const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

fn cluster() -> (Vec<Server>, Manager) {
    let nodes: Vec<_> = (0..3).map(|_| Server::start(&["--cluster-enabled", "yes"])).collect();
    for (epoch, ((first, last), node)) in RANGES.iter().zip(&nodes).enumerate() {
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()]);
        node.ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
    }
    until("the cluster is up", || {
        nodes.iter().all(|node| {
            let info = node.text(&["CLUSTER", "INFO"]);
            info.contains("cluster_known_nodes:3") && info.contains("cluster_state:ok")
        })
    });
    let manager = manager(&format!(r#"{{"url":"redis+cluster://127.0.0.1:{}"}}"#, nodes[0].port));
    (nodes, manager)
}

#[test]
fn a_flow_over_queues_of_several_nodes_a_schedule_and_events_work() {
    let (_nodes, manager) = cluster();
    let names = ["alpha", "beta", "gamma", "delta"];
    let desks = names.map(|name| Desk::open(&manager, name));
    desks[0].call("queue.listen", &[]);
    let children: Vec<_> =
        names.iter().map(|name| format!(r#"{{"queue":"{name}","name":"part","data":"\"{name}\""}}"#)).collect();
    let parent = desks[0].add("0", &format!(r#"{{"children":[{}]}}"#, children.join(",")));
    let workers = [0, 1, 2, 3].map(|at: usize| desks[at].running("{}"));
    for worker in &workers {
        let job = worker.job();
        worker.complete(&job, &job.data);
    }
    let job = workers[0].job();
    assert_eq!(job.id, parent);
    let results = list(workers[0].call("worker.children", &[Arg::Number(job.slot)]));
    assert_eq!(results.len(), 8);
    workers[0].complete(&job, "\"done\"");
    assert_eq!(desks[0].until_told("completed", &parent).as_deref(), Some("\"done\""));
    let every = [Arg::Text("s"), Arg::Text(r#"{"everyMs":50}"#), Arg::Text("tick"), Arg::Text("1"), Arg::Absent];
    desks[1].call("queue.schedule", &every);
    let tick = workers[1].job();
    assert!(tick.id.starts_with("s:"), "{}", tick.id);
    assert_eq!(desks[1].call("queue.unschedule", &[Arg::Text("s")]), Outcome::Bool(true));
    let delayed = desks[2].add("1", r#"{"delayMs":30,"priority":2,"group":"g","dedupe":{"id":"d"}}"#);
    assert_eq!(workers[2].job().id, delayed);
    desks[2].call("queue.obliterate", &[Arg::Bool(true)]);
    assert_eq!(desks[2].counts(), [0; 6]);
    assert_eq!(
        text(&list(desks[0].call("queue.wait", &[Arg::Number(1.0), Arg::Text(&parent), Arg::Absent]))[0]),
        "completed"
    );
}
