//! Commands, blocked callers and subscribers when a cluster's masters change without a message to the clients.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis_backplane::connection::command::Dispatch;
use redis_backplane::connection::{Channel, ChannelKind, Manager, Sink};
use redis_backplane::error::Result;
use redis_backplane::resp::Reply;
use tokio::sync::oneshot;

use support::cluster::{Cluster, RANGES};
use support::{Ear, Server, bulk, run, stretched, until, until_async};

fn blpop(manager: &Manager, key: &str, seconds: &str) -> oneshot::Receiver<Result<Reply>> {
    let (command, way) = manager.prepare(&[b"BLPOP", key.as_bytes(), seconds.as_bytes()]).unwrap();
    let Dispatch::Own(blocks_for) = way else { panic!("{way:?}") };
    let (send, answer) = oneshot::channel();
    manager.submit_blocking(command, Sink::Waiter(send), blocks_for);
    answer
}

fn blocks(server: &Server) -> bool {
    server.info("clients", "blocked_clients").as_deref() == Some("1")
}

fn is_master(server: &Server) -> bool {
    server.info("replication", "role").as_deref() == Some("master")
}

#[tokio::test]
async fn a_frozen_master_is_left_for_its_replica_as_soon_as_the_replica_is_promoted() {
    let cluster = Cluster::with_replicas(1);
    // The keep-alive and the connect timeout are longer than the test waits.
    let more = r#","keepAliveMs":60000,"connectTimeoutMs":60000,"commandTimeoutMs":20000"#;
    let (used, fresh) = (cluster.manager_with(more), cluster.manager_with(more));
    let key = cluster.key_at(0, "k");
    run(&used, &["SET", &key, "before"]).await.unwrap();
    run(&fresh, &["SET", &cluster.key_at(1, "k"), "before"]).await.unwrap();
    cluster.nodes[0].freeze();
    let commands = [&used, &fresh].map(|manager| {
        let (manager, key) = (manager.clone(), key.clone());
        tokio::spawn(async move {
            // Requests in flight are answered, and not sent twice.
            let _ = run(&manager, &["SET", &key, "in flight"]).await;
            run(&manager, &["SET", &key, "after"]).await
        })
    });
    until("the replica is promoted", || is_master(&cluster.nodes[3]));
    let promoted = Instant::now();
    for command in commands {
        command.await.unwrap().unwrap();
    }
    let took = promoted.elapsed();
    assert!(took < stretched(Duration::from_secs(5)), "{took:?}");
    cluster.nodes[0].thaw();
    used.disconnect().await;
    fresh.disconnect().await;
}

#[tokio::test]
async fn a_process_with_only_blocking_commands_finds_the_promoted_replica() {
    let mut cluster = Cluster::with_replicas(1);
    let manager = cluster.manager();
    let key = cluster.key_at(0, "list");
    cluster.nodes[0].ask(&["RPUSH", &key, "a"]);
    let popped = |value| Reply::Array(vec![bulk(&key), bulk(value)]);
    assert_eq!(blpop(&manager, &key, "5").await.unwrap().unwrap(), popped("a"));
    let waiting = blpop(&manager, &key, "20");
    until("it waits", || blocks(&cluster.nodes[0]));
    cluster.nodes[0].kill();
    assert!(waiting.await.unwrap().is_err(), "the server may have popped an element");
    let waiting = async {
        loop {
            if let Ok(Reply::Array(popped)) = blpop(&manager, &key, "1").await.unwrap() {
                return Reply::Array(popped);
            }
        }
    };
    let pushed = async {
        until_async("the replica takes writes", || async {
            is_master(&cluster.nodes[3]) && Cluster::says(&cluster.nodes[3], "cluster_state", "ok")
        })
        .await;
        cluster.nodes[3].ask(&["RPUSH", &key, "b"]);
    };
    let both = tokio::time::timeout(Duration::from_secs(25), async { tokio::join!(waiting, pushed).0 });
    assert_eq!(both.await.expect("the manager finds the replica"), popped("b"));
    manager.disconnect().await;
    assert_eq!(manager.metrics().connections.get(), 0);
}

#[tokio::test]
async fn a_cluster_that_is_down_for_a_while_and_a_master_that_is_demoted_do_not_reach_a_blocked_caller() {
    let mut cluster = Cluster::with_replicas(2);
    let manager = cluster.manager_with(r#","commandTimeoutMs":1000"#);
    let key = cluster.key_at(1, "list");
    let waiting = blpop(&manager, &key, "300");
    until("it waits", || blocks(&cluster.nodes[1]));
    // Until the first master's replica is promoted, no node serves anything: CLUSTERDOWN.
    cluster.nodes[0].kill();
    until("the blocking command was refused", || {
        manager.metrics().resent_commands.get() > 0
            || (is_master(&cluster.nodes[3]) && Cluster::says(&cluster.nodes[1], "cluster_state", "ok"))
    });
    until("it waits again", || blocks(&cluster.nodes[1]));
    // UNBLOCKED, or MOVED.
    cluster.nodes[4].ask(&["CLUSTER", "FAILOVER"]);
    until("its master's replica takes over", || is_master(&cluster.nodes[4]));
    // Where the command no longer waits, its answer says why.
    until("the command waits at the new master", || !waiting.is_empty() || blocks(&cluster.nodes[4]));
    cluster.nodes[4].ask(&["RPUSH", &key, "a"]);
    assert_eq!(waiting.await.unwrap().unwrap(), Reply::Array(vec![bulk(&key), bulk("a")]));
    assert!(manager.metrics().resent_commands.get() >= 1);
    manager.disconnect().await;
}

#[tokio::test]
async fn a_subscriber_on_a_removed_node_moves_to_another_node_and_gets_the_gap() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let ear = Arc::new(Ear::default());
    let news = Channel { kind: ChannelKind::Exact, name: "news".into() };
    let subscription = manager.subscribe(news, ear.clone()).await.unwrap();
    let has_it = |node: &Server| {
        let channels: Vec<String> = redis::from_redis_value(node.ask(&["PUBSUB", "CHANNELS", "news"])).unwrap();
        !channels.is_empty()
    };
    let removed = cluster.nodes.iter().position(has_it).unwrap();
    let (heir, (first, last)) = ((removed + 1) % 3, RANGES[removed]);
    let id = cluster.id(removed);
    for node in &cluster.nodes {
        node.ask(&["CLUSTER", "DELSLOTSRANGE", &first.to_string(), &last.to_string()]);
    }
    cluster.nodes[removed].ask(&["CLUSTER", "RESET", "HARD"]);
    for node in cluster.nodes.iter().enumerate().filter(|(at, _)| *at != removed).map(|(_, node)| node) {
        node.ask(&["CLUSTER", "FORGET", &id]);
    }
    cluster.nodes[heir].ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
    until("the subscription is elsewhere, and it was told so", || ear.has("restored"));
    assert!(!has_it(&cluster.nodes[removed]), "the subscriber left the node by itself");
    cluster.nodes[heir].ask(&["PUBLISH", "news", "hello"]);
    until("it is heard", || ear.has("hello"));
    drop(subscription);
    manager.disconnect().await;
    assert_eq!(manager.metrics().connections.get(), 0);
}
