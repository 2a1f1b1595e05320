//! `redis+sentinel://` with sentinels, a master and a replica, which each test starts for itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis_backplane::connection::State;
use redis_backplane::error::{Delivery, ErrorKind};
use redis_backplane::resp::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::sentinels::Watched;
use support::{Server, bulk, causes, free_port, manager, ok, run, until, until_async};

#[tokio::test]
async fn the_master_is_found_and_followed_through_a_failover_with_writes_in_flight() {
    let mut watched = Watched::start();
    let manager = manager(&format!(r#"{{"url":"{}","commandTimeoutMs":2000}}"#, watched.url()));
    manager.connect().await.unwrap();
    assert_eq!(run(&manager, &["SET", "k", "v"]).await.unwrap(), ok());

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (manager, stop) = (manager.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut answered, mut unknown) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    match run(&manager, &["INCR", &format!("counter:{writer}")]).await {
                        Ok(_) => answered += 1,
                        Err(error) if error.delivery() == Delivery::MaybeExecuted => unknown += 1,
                        Err(_) => {}
                    }
                }
                (answered, unknown)
            })
        })
        .collect();
    until_async("writes are under way", || async {
        matches!(run(&manager, &["GET", "counter:0"]).await, Ok(Reply::Bulk(n)) if n.len() > 2)
    })
    .await;
    let written_before = run(&manager, &["GET", "counter:0"]).await.unwrap();
    assert_ne!(written_before, Reply::Nil);
    watched.master.kill();
    until("the replica is the master", || watched.replica.info("replication", "role").as_deref() == Some("master"));
    until_async("writes go to the new master", || async { run(&manager, &["SET", "k", "after"]).await.is_ok() }).await;
    stop.store(true, Ordering::Relaxed);
    for (writer, task) in writers.into_iter().enumerate() {
        let (answered, unknown) = task.await.unwrap();
        let key = format!("counter:{writer}");
        let value: i64 = watched.replica.text(&["GET", &key]).parse().unwrap();
        // Replication is asynchronous, so the new master may miss writes that the old master has answered. But it never has a write
        // twice.
        assert!(value <= answered + unknown, "{key}: {value} > {answered} + {unknown}");
    }
    assert_eq!(watched.replica.text(&["GET", "k"]), "after");
    assert_eq!(manager.state(), State::Ready);
    manager.disconnect().await;
}

#[tokio::test]
async fn a_demoted_master_is_left_for_the_new_one() {
    let watched = Watched::start();
    let manager = manager(&format!(r#"{{"url":"{}"}}"#, watched.url()));
    manager.connect().await.unwrap();
    watched.sentinels[0].ask(&["SENTINEL", "FAILOVER", "main"]);
    until("the replica is the master", || watched.replica.info("replication", "role").as_deref() == Some("master"));
    until_async("a write goes to the new master", || async {
        run(&manager, &["SET", "k", "new"]).await.is_ok()
            && watched.replica.try_ask(&["GET", "k"]) == Some(redis::Value::BulkString(b"new".to_vec()))
    })
    .await;
    manager.disconnect().await;
}

#[tokio::test]
async fn blocking_commands_go_to_the_master_too() {
    let watched = Watched::start();
    let manager = manager(&format!(r#"{{"url":"{}"}}"#, watched.url()));
    run(&manager, &["RPUSH", "list", "a"]).await.unwrap();
    let (command, _) = manager.prepare(&[b"BLPOP", b"list", b"5"]).unwrap();
    let (send, answer) = tokio::sync::oneshot::channel();
    let sink = redis_backplane::connection::Sink::Waiter(send);
    manager.submit_blocking(command, sink, Some(Duration::from_secs(5)));
    assert_eq!(answer.await.unwrap().unwrap(), Reply::Array(vec![bulk("list"), bulk("a")]));
    manager.disconnect().await;
}

#[tokio::test]
async fn sentinels_that_do_not_answer_are_skipped() {
    let watched = Watched::start();
    let dead = free_port();
    let alive = watched.sentinels[2].port;
    let url = format!("redis+sentinel://127.0.0.1:{dead},127.0.0.1:{alive}/main");
    let manager = manager(&format!(r#"{{"url":"{url}"}}"#));
    manager.connect().await.unwrap();
    assert_eq!(run(&manager, &["SET", "k", "v"]).await.unwrap(), ok());
    manager.disconnect().await;
}

#[tokio::test]
async fn without_a_sentinel_the_error_says_how_many_were_asked_and_why_they_failed() {
    let (a, b) = (free_port(), free_port());
    let manager = manager(&format!(r#"{{"url":"redis+sentinel://:hunter2@127.0.0.1:{a},127.0.0.1:{b}/main"}}"#));
    let error = manager.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(error.message(), "none of the 2 sentinels that were asked answered");
    let causes = causes(&error);
    assert!(causes[0].starts_with(&format!("sentinel 127.0.0.1:{b}: ")), "{causes:?}");
    assert!(causes[1].starts_with(&format!("sentinel 127.0.0.1:{a}: ")), "{causes:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(manager.state(), State::Failed);
}

/// A sentinel that always names the server at `master`, like a sentinel that was cut off from the others.
async fn cut_off_sentinel(master: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 256];
            if stream.read(&mut question).await.is_ok() {
                let number = master.to_string();
                let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{number}\r\n", number.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_replica_that_is_named_as_the_master_is_not_used() {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    until("the replica has its role", || replica.info("replication", "role").as_deref() == Some("slave"));
    let (wrong, right) = (cut_off_sentinel(replica.port).await, cut_off_sentinel(master.port).await);

    let alone = manager(&format!(r#"{{"url":"redis+sentinel://127.0.0.1:{wrong}/main"}}"#));
    let error = alone.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(causes(&error)[0].contains("says that it is a replica"), "{error:?}");

    let url = format!("redis+sentinel://127.0.0.1:{wrong},127.0.0.1:{right}/main");
    let manager = manager(&format!(r#"{{"url":"{url}"}}"#));
    manager.connect().await.unwrap();
    assert_eq!(run(&manager, &["SET", "k", "v"]).await.unwrap(), ok());
    assert_eq!(master.text(&["GET", "k"]), "v");
    manager.disconnect().await;
}

#[tokio::test]
async fn a_name_that_the_sentinels_do_not_know_is_in_the_error() {
    let master = Server::start(&[]);
    let sentinel = Server::sentinel(&format!("sentinel monitor main 127.0.0.1 {} 1", master.port));
    let manager = manager(&format!(r#"{{"url":"redis+sentinel://127.0.0.1:{}/other"}}"#, sentinel.port));
    let error = manager.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(causes(&error)[0].contains("knows no master with the name \"other\""), "{error:?}");
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let master = Server::start(&["--requirepass", "of-the-master"]);
    let settings = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main of-the-master\nrequirepass of-the-sentinel",
        master.port
    );
    let sentinel = Server::sentinel(&settings);
    let url = format!("redis+sentinel://:of-the-master@127.0.0.1:{}/main", sentinel.port);
    let without = manager(&format!(r#"{{"url":"{url}"}}"#));
    assert_eq!(without.connect().await.unwrap_err().kind(), ErrorKind::Auth);
    let with = manager(&format!(r#"{{"url":"{url}","sentinelPassword":"of-the-sentinel"}}"#));
    with.connect().await.unwrap();
    assert_eq!(run(&with, &["SET", "k", "v"]).await.unwrap(), ok());
    with.disconnect().await;
}
