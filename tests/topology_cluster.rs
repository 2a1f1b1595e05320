//! `redis+cluster://` with a cluster of three masters, which each test starts for itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis_backplane::connection::{Channel, ChannelKind, Command, Manager, Script, Sink, State};
use redis_backplane::error::{Delivery, Error, ErrorKind, Result};
use redis_backplane::resp::Reply;
use redis_backplane::telemetry::Operation;
use support::cluster::Cluster;
use support::{Ear, Server, bulk, manager, ok, run, until, until_async};

fn script(text: &str, keys: &[&str]) -> Command {
    let script = Script::new(text);
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
    let payload = script.call(&keys, std::iter::empty());
    Command::raw(payload, Operation::named("script")).calling(script)
}

async fn transaction(manager: &Manager, commands: &[&[&str]]) -> Result<Vec<Reply>> {
    let commands: Vec<Vec<&[u8]>> =
        commands.iter().map(|words| words.iter().map(|word| word.as_bytes()).collect()).collect();
    Manager::transaction_outcome(manager.call(manager.prepare_transaction(&commands)?).await?)
}

fn is_config(error: &Error) -> bool {
    error.kind() == ErrorKind::Config && error.delivery() == Delivery::NotSent
}

#[tokio::test]
async fn every_slot_is_reached_over_one_connection_to_each_master() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    manager.connect().await.unwrap();
    assert_eq!(manager.state(), State::Ready);
    // One connection until another master is needed.
    assert_eq!(manager.metrics().connections.get(), 1);
    let writes: Vec<_> = (0..3000).map(|n| (format!("key:{n}"), n.to_string())).collect();
    let sent = writes.iter().map(|(key, value)| {
        let (manager, key, value) = (manager.clone(), key.clone(), value.clone());
        tokio::spawn(async move { run(&manager, &["SET", &key, &value]).await })
    });
    for answer in sent.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().unwrap(), ok());
    }
    let sizes: Vec<i64> =
        cluster.nodes.iter().map(|node| redis::from_redis_value(node.ask(&["DBSIZE"])).unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 800), "{sizes:?}");
    assert_eq!(run(&manager, &["DBSIZE"]).await.unwrap(), Reply::Int(3000));
    assert_eq!(manager.metrics().connections.get(), 3);
    assert_eq!(manager.metrics().resent_commands.get(), 0, "the slot map is right, so nothing is redirected");

    let mut words = vec!["MGET"];
    words.extend(writes.iter().map(|(key, _)| &key[..]));
    let expected = writes.iter().map(|(_, value)| bulk(value)).collect();
    assert_eq!(run(&manager, &words).await.unwrap(), Reply::Array(expected));

    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let Reply::Array(parts) = run(&manager, &["SCAN", &cursor, "COUNT", "100"]).await.unwrap() else { panic!() };
        let [Reply::Bulk(next), Reply::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
        found.extend(keys.iter().map(|key| match key {
            Reply::Bulk(key) => String::from_utf8(key.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }));
        cursor = String::from_utf8(next.to_vec()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 3000);

    words[0] = "UNLINK";
    assert_eq!(run(&manager, &words).await.unwrap(), Reply::Int(3000));
    run(&manager, &["MSET", "a", "1", "b", "2", "c", "3"]).await.unwrap();
    assert_eq!(run(&manager, &["EXISTS", "a", "b", "c", "d"]).await.unwrap(), Reply::Int(3));
    assert_eq!(run(&manager, &["FLUSHALL"]).await.unwrap(), ok());
    assert_eq!(run(&manager, &["DBSIZE"]).await.unwrap(), Reply::Int(0));
    assert_eq!(manager.metrics().pending_commands.get(), 0);
    manager.disconnect().await;
    assert_eq!(manager.metrics().connections.get(), 0);
}

#[tokio::test]
async fn keys_of_several_slots_are_refused_by_the_server_and_for_scripts_and_transactions_before_the_send() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let (a, b) = (cluster.key_at(0, "x"), cluster.key_at(2, "y"));
    let error = run(&manager, &["MSETNX", &a, "1", &b, "2"]).await.unwrap_err();
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Server, Some("CROSSSLOT")));
    let error = manager.call(script("return 1", &[&a, &b])).await.unwrap_err();
    assert!(is_config(&error) && error.message().starts_with("script: "), "{error:?}");
    let error = transaction(&manager, &[&["SET", &a, "1"], &["SET", &b, "1"]]).await.unwrap_err();
    assert!(is_config(&error) && error.message().starts_with("transaction: "), "{error:?}");
    let (a, b) = (format!("{{{b}}}1"), format!("{{{b}}}2"));
    assert_eq!(transaction(&manager, &[&["SET", &a, "1"], &["INCR", &b]]).await.unwrap(), [ok(), Reply::Int(1)]);
    manager.disconnect().await;
}

#[tokio::test]
async fn several_commands_in_one_request_are_routed_one_by_one() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let keys: Vec<_> = (0..3).map(|at| cluster.key_at(at, "k")).collect();
    run(&manager, &["RPUSH", &keys[1], "a list"]).await.unwrap();
    let mut payload = Vec::new();
    for key in &keys {
        payload.extend(redis::cmd("INCR").arg(key).get_packed_command());
    }
    let several = Command { replies: 3, ..Command::raw(payload.into(), Operation::named("several")) };
    let Reply::Array(replies) = manager.call(several).await.unwrap() else { panic!() };
    assert_eq!((&replies[0], &replies[2]), (&Reply::Int(1), &Reply::Int(1)));
    assert!(matches!(&replies[1], Reply::Error(line) if line.starts_with(b"WRONGTYPE ")), "{replies:?}");
    manager.disconnect().await;
}

#[tokio::test]
async fn without_a_reachable_node_the_manager_reconnects_until_one_is_back() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let key = cluster.key_at(2, "k");
    run(&manager, &["SET", &key, "v"]).await.unwrap();
    for node in &cluster.nodes {
        node.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    until_async("the loss is noticed", || async { manager.metrics().connection_errors.get() > 0 }).await;
    assert_eq!(run(&manager, &["GET", &key]).await.unwrap(), bulk("v"));
    assert_eq!(manager.state(), State::Ready);
    manager.disconnect().await;
    assert_eq!(manager.state(), State::Closed);
    assert_eq!(run(&manager, &["GET", &key]).await.unwrap_err().kind(), ErrorKind::Closed);
    manager.connect().await.unwrap();
    assert_eq!(run(&manager, &["GET", &key]).await.unwrap(), bulk("v"));
    manager.disconnect().await;
}

#[tokio::test]
async fn a_frozen_master_delays_only_the_commands_on_its_own_keys() {
    let cluster = Cluster::start();
    let manager = cluster.manager_with(r#","commandTimeoutMs":700,"keepAliveMs":10000"#);
    let (frozen, fine) = (cluster.key_at(0, "k"), cluster.key_at(1, "k"));
    run(&manager, &["MSET", &frozen, "v", &fine, "v"]).await.unwrap();
    cluster.nodes[0].freeze();
    let (waiting, key) = (manager.clone(), frozen.clone());
    let waiting = tokio::spawn(async move { run(&waiting, &["INCR", &key]).await });
    assert_eq!(run(&manager, &["GET", &fine]).await.unwrap(), bulk("v"));
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::MaybeExecuted));
    cluster.nodes[0].thaw();
    until_async("it is back", || async { run(&manager, &["GET", &frozen]).await.is_ok() }).await;
    manager.disconnect().await;
}

#[tokio::test]
async fn scripts_are_loaded_again_after_script_flush() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    for at in 0..3 {
        let key = cluster.key_at(at, "s");
        let text = "return redis.call('INCR', KEYS[1])";
        assert_eq!(manager.call(script(text, &[&key])).await.unwrap(), Reply::Int(1));
        cluster.nodes[at].ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(manager.call(script(text, &[&key])).await.unwrap(), Reply::Int(2));
    }
    assert_eq!(run(&manager, &["SCRIPT", "FLUSH"]).await.unwrap(), ok());
    manager.disconnect().await;
}

#[tokio::test]
async fn a_slot_that_moved_is_followed() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let key = cluster.key_at(0, "moving");
    let slot = cluster.slot(&key);
    run(&manager, &["SET", &key, "0"]).await.unwrap();
    cluster.begin_migration(slot, 0, 1);
    cluster.move_key(&key, 0, 1);
    cluster.end_migration(slot, 0, 1);
    assert_eq!(run(&manager, &["INCR", &key]).await.unwrap(), Reply::Int(1));
    assert_eq!(transaction(&manager, &[&["INCR", &key]]).await.unwrap(), [Reply::Int(2)]);
    let resent = manager.metrics().resent_commands.get();
    assert!(resent >= 1);
    for n in 3..100 {
        assert_eq!(run(&manager, &["INCR", &key]).await.unwrap(), Reply::Int(n));
    }
    assert_eq!(manager.metrics().resent_commands.get(), resent, "the slot map has changed");
    manager.disconnect().await;
}

#[tokio::test]
async fn during_a_migration_keys_are_found_on_either_side() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let tag = cluster.key_at(0, "tag");
    let slot = cluster.slot(&tag);
    let [here, there, new] = ["here", "there", "new"].map(|name| format!("{{{tag}}}{name}"));
    run(&manager, &["MSET", &here, "1", &there, "1"]).await.unwrap();
    cluster.begin_migration(slot, 0, 1);
    cluster.move_key(&there, 0, 1);
    for n in 2..20 {
        // Many requests at once, so that redirected requests are among others on the other node's connection.
        let calls = [&here, &there].map(|key| {
            let (manager, key) = (manager.clone(), key.clone());
            tokio::spawn(async move { run(&manager, &["INCR", &key]).await })
        });
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), Reply::Int(n));
        }
    }
    assert_eq!(run(&manager, &["INCR", &new]).await.unwrap(), Reply::Int(1));
    assert_eq!(transaction(&manager, &[&["INCR", &there], &["INCR", &there]]).await.unwrap(), [20, 21].map(Reply::Int));
    let text = "return redis.call('INCR', KEYS[1])";
    assert_eq!(manager.call(script(text, &[&there])).await.unwrap(), Reply::Int(22), "NOSCRIPT behind ASK");
    // Keys on both sides: TRYAGAIN until the migration ends.
    let (waiting, keys) = (manager.clone(), (here.clone(), there.clone()));
    let waiting = tokio::spawn(async move { run(&waiting, &["MGET", &keys.0, &keys.1]).await });
    until_async("the server has answered TRYAGAIN", || async {
        cluster.nodes[0].text(&["INFO", "errorstats"]).contains("TRYAGAIN")
            || cluster.nodes[1].text(&["INFO", "errorstats"]).contains("TRYAGAIN")
    })
    .await;
    cluster.move_key(&here, 0, 1);
    cluster.end_migration(slot, 0, 1);
    assert_eq!(waiting.await.unwrap().unwrap(), Reply::Array(vec![bulk("19"), bulk("22")]));
    manager.disconnect().await;
}

#[tokio::test]
async fn a_blocking_command_goes_to_the_master_of_its_key_and_is_redirected() {
    let cluster = Cluster::start();
    let manager = cluster.manager();
    let key = cluster.key_at(2, "list");
    let slot = cluster.slot(&key);
    let pop = || {
        let (command, _) = manager.prepare(&[b"BLPOP", key.as_bytes(), b"5"]).unwrap();
        let (send, answer) = tokio::sync::oneshot::channel();
        manager.submit_blocking(command, Sink::Waiter(send), Some(Duration::from_secs(5)));
        answer
    };
    let popped = Reply::Array(vec![bulk(&key), bulk("a")]);
    let answer = pop();
    run(&manager, &["RPUSH", &key, "a"]).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), popped);
    cluster.begin_migration(slot, 2, 0);
    cluster.nodes[0].ask(&["CLUSTER", "INFO"]);
    cluster.end_migration(slot, 2, 0);
    let answer = pop();
    run(&manager, &["RPUSH", &key, "a"]).await.unwrap();
    assert_eq!(answer.await.unwrap().unwrap(), popped);
    manager.disconnect().await;
}

#[tokio::test]
async fn a_killed_master_is_replaced_by_its_replica_and_nothing_is_executed_twice() {
    let mut cluster = Cluster::with_replicas(1);
    let manager = cluster.manager_with(r#","commandTimeoutMs":1000"#);
    let keys: Vec<_> = (0..3).map(|at| cluster.key_at(at, "counter")).collect();
    for key in &keys {
        run(&manager, &["INCR", key]).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = keys
        .iter()
        .map(|key| {
            let (manager, stop, key) = (manager.clone(), Arc::clone(&stop), key.clone());
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    match run(&manager, &["INCR", &key]).await {
                        Ok(_) => sent += 1,
                        Err(error) if error.delivery() == Delivery::MaybeExecuted => sent += 1,
                        Err(_) => {}
                    }
                }
                sent
            })
        })
        .collect();
    until_async("writes are under way", || async {
        matches!(run(&manager, &["GET", &keys[0]]).await, Ok(Reply::Bulk(n)) if n.len() > 2)
    })
    .await;
    cluster.nodes[0].kill();
    until("the replica is a master", || cluster.nodes[3].info("replication", "role").as_deref() == Some("master"));
    until_async("writes go to it", || async {
        run(&manager, &["SET", &format!("{{{}}}after", keys[0]), "1"]).await.is_ok()
    })
    .await;
    assert_eq!(manager.state(), State::Ready);
    stop.store(true, Ordering::Relaxed);
    for (key, task) in keys.iter().zip(writers) {
        let sent: i64 = task.await.unwrap();
        match run(&manager, &["GET", key]).await.unwrap() {
            Reply::Bulk(value) => {
                let value: i64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                assert!(value <= sent + 1, "{key}: {value} > {sent} + 1");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(manager.metrics().pending_commands.get(), 0);
    manager.disconnect().await;
}

#[tokio::test]
async fn a_slot_without_a_node_is_an_error_of_the_server_at_the_deadline() {
    let cluster = Cluster::start();
    let manager = cluster.manager_with(r#","commandTimeoutMs":500"#);
    let key = cluster.key_at(0, "k");
    run(&manager, &["SET", &key, "v"]).await.unwrap();
    for node in &cluster.nodes {
        node.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        node.ask(&["CLUSTER", "DELSLOTS", &cluster.slot(&key).to_string()]);
    }
    let error = run(&manager, &["GET", &key]).await.unwrap_err();
    assert_eq!((error.kind(), error.server_code()), (ErrorKind::Server, Some("CLUSTERDOWN")), "{error:?}");
    assert_eq!(run(&manager, &["SET", &cluster.key_at(1, "k"), "v"]).await.unwrap(), ok());
    manager.disconnect().await;
}

#[tokio::test]
async fn a_server_without_a_cluster_is_refused_as_a_configuration_error() {
    let server = Server::start(&[]);
    let manager = manager(&format!(r#"{{"url":"redis+cluster://127.0.0.1:{}"}}"#, server.port));
    let error = manager.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("cluster support disabled"), "{error}");
}

#[tokio::test]
async fn one_reachable_seed_is_enough_and_without_one_the_error_has_every_cause() {
    let cluster = Cluster::with_replicas(1);
    let dead = support::free_port();
    let replica = cluster.nodes[3].port;
    let by_replica = manager(&format!(r#"{{"url":"redis+cluster://localhost:{dead},127.0.0.1:{replica}"}}"#));
    assert_eq!(run(&by_replica, &["SET", &cluster.key_at(1, "k"), "v"]).await.unwrap(), ok());
    by_replica.disconnect().await;
    let nobody = manager(&format!(r#"{{"url":"redis+cluster://127.0.0.1:{dead}"}}"#));
    let error = nobody.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.message().contains("none of the 1 nodes"), "{error}");
    assert_eq!(support::causes(&error).len(), 2, "{error:?}");
}

fn sharded(name: &str) -> Channel {
    Channel { kind: ChannelKind::Sharded, name: name.to_owned().into() }
}

#[tokio::test]
async fn sharded_channels_of_every_node_are_subscribed_and_follow_their_slots() {
    let cluster = Cluster::start();
    let (manager, other) = (cluster.manager(), cluster.manager());
    let names: Vec<_> = (0..3).map(|at| cluster.key_at(at, "news")).collect();
    let ears: Vec<_> = names.iter().map(|_| Arc::new(Ear::default())).collect();
    let subscribing: Vec<_> =
        names.iter().zip(&ears).map(|(name, ear)| manager.subscribe(sharded(name), ear.clone())).collect();
    let mut held = Vec::new();
    for subscribing in subscribing {
        held.push(subscribing.await.unwrap());
    }
    for (name, ear) in names.iter().zip(&ears) {
        assert_eq!(run(&other, &["SPUBLISH", name, "one"]).await.unwrap(), Reply::Int(1));
        until("it is heard", || ear.has("one"));
    }
    let slot = cluster.slot(&names[0]);
    cluster.begin_migration(slot, 0, 1);
    cluster.end_migration(slot, 0, 1);
    until("the channel is subscribed at its new node", || ears[0].has("restored"));
    manager.subscribed().await.unwrap();
    assert_eq!(run(&other, &["SPUBLISH", &names[0], "two"]).await.unwrap(), Reply::Int(1));
    until("it is heard there", || ears[0].has("two"));
    drop(held);
    manager.disconnect().await;
    other.disconnect().await;
}
