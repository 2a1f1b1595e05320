//! Commands, blocked callers and subscribers when sentinels promote another server, while the old master still takes writes.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redis_backplane::connection::command::Dispatch;
use redis_backplane::connection::{Channel, ChannelKind, Manager, Reserved, Sink, Tries};
use redis_backplane::error::Result;
use redis_backplane::resp::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use support::sentinels::Watched;
use support::{Ear, Server, bulk, manager, ok, run, stretched, until, until_async};

/// How long a manager may take to follow a switch. The old master stays a master for ten more seconds.
const FOLLOWED: Duration = Duration::from_secs(4);

/// Has the sentinels promote the replica, and waits until the replica is a master. The old master does not know yet.
fn switch(watched: &Watched, by: usize) {
    watched.sentinels[by].ask(&["SENTINEL", "FAILOVER", "main"]);
    until("the replica is the master", || watched.replica.info("replication", "role").as_deref() == Some("master"));
}

fn is_master(server: &Server) -> bool {
    server.info("replication", "role").as_deref() == Some("master")
}

/// How many clients listen to a sentinel, without the other sentinels.
fn listeners(sentinel: &Server) -> usize {
    let clients = sentinel.text(&["CLIENT", "LIST", "TYPE", "PUBSUB"]);
    clients.lines().filter(|line| line.contains(" sub=2 ")).count()
}

fn blpop(manager: &Manager, key: &str, seconds: &str) -> oneshot::Receiver<Result<Reply>> {
    let (command, way) = manager.prepare(&[b"BLPOP", key.as_bytes(), seconds.as_bytes()]).unwrap();
    let Dispatch::Own(blocks_for) = way else { panic!("{way:?}") };
    let (send, answer) = oneshot::channel();
    manager.submit_blocking(command, Sink::Waiter(send), blocks_for);
    answer
}

fn blocked(server: &Server) -> bool {
    server.info("clients", "blocked_clients").as_deref() == Some("1")
}

#[tokio::test]
async fn a_planned_switch_is_followed_while_the_old_master_still_takes_writes() {
    let watched = Watched::start();
    let manager = manager(&format!(r#"{{"url":"{}"}}"#, watched.url()));
    assert_eq!(run(&manager, &["SET", "k", "before"]).await.unwrap(), ok());
    until("the sentinels are listened to", || watched.sentinels.iter().all(|sentinel| listeners(sentinel) == 1));
    switch(&watched, 0);
    let switched = Instant::now();
    let mut n = 0;
    until_async("a write reaches the new master", || {
        n += 1;
        let (key, manager, replica) = (format!("w:{n}"), manager.clone(), &watched.replica);
        async move { run(&manager, &["SET", &key, "1"]).await.is_ok() && replica.text(&["EXISTS", &key]) == "1" }
    })
    .await;
    assert!(switched.elapsed() < FOLLOWED, "{:?}", switched.elapsed());
    assert!(is_master(&watched.master), "nothing would have been shown: the old master has been told");
    // From here on no write goes to the old master.
    for n in 0..100 {
        run(&manager, &["SET", &format!("after:{n}"), "1"]).await.unwrap();
        assert_eq!(watched.replica.text(&["EXISTS", &format!("after:{n}")]), "1");
    }
    assert!(manager.metrics().topology_changes.get() >= 1 && manager.metrics().topology_refreshes.get() >= 1);
    manager.disconnect().await;
    assert_eq!(manager.metrics().connections.get(), 0);
}

#[tokio::test]
async fn a_switch_is_noticed_although_one_sentinel_drops_packets() {
    let watched = Watched::start();
    // One sentinel is configured: the others must be learnt from it.
    let url = format!("redis+sentinel://127.0.0.1:{}/main", watched.sentinels[0].port);
    let manager = manager(&format!(r#"{{"url":"{url}"}}"#));
    assert_eq!(run(&manager, &["SET", "k", "before"]).await.unwrap(), ok());
    until("the others are listened to", || watched.sentinels[1..].iter().all(|sentinel| listeners(sentinel) == 1));
    watched.sentinels[0].freeze();
    switch(&watched, 1);
    let switched = Instant::now();
    until_async("a write reaches the new master", || async {
        let written = tokio::time::timeout(Duration::from_secs(1), run(&manager, &["SET", "k", "after"])).await;
        matches!(written, Ok(Ok(_))) && watched.replica.text(&["GET", "k"]) == "after"
    })
    .await;
    assert!(switched.elapsed() < FOLLOWED, "{:?}", switched.elapsed());
    assert!(is_master(&watched.master));
    manager.disconnect().await;
}

#[tokio::test]
async fn a_blocked_caller_a_reserved_connection_and_a_subscriber_move_to_the_new_master() {
    let watched = Watched::start();
    let config = format!(r#"{{"url":"{}"}}"#, watched.url());
    // Each of these managers has no other call.
    let (waits, reserves, listens) = (manager(&config), manager(&config), manager(&config));
    let ear = Arc::new(Ear::default());
    let news = Channel { kind: ChannelKind::Exact, name: "news".into() };
    let subscription = listens.subscribe(news, ear.clone()).await.unwrap();
    let answer = blpop(&waits, "list", "30");
    until("it waits", || blocked(&watched.master));
    let own = Reserved::on(&reserves, None, |_| {});
    own.open(Tries::Endless).await.unwrap();
    let (command, _) = reserves.prepare(&[b"BLPOP", b"other", b"30"]).unwrap();
    let (send, other) = oneshot::channel();
    own.submit(command, Sink::Waiter(send), Some(Duration::from_secs(30)));
    until("both wait", || watched.master.info("clients", "blocked_clients").as_deref() == Some("2"));
    until("all three listen to a sentinel", || listeners(&watched.sentinels[0]) == 3);

    switch(&watched, 0);
    until("both wait at the new master", || watched.replica.info("clients", "blocked_clients").as_deref() == Some("2"));
    until("the subscription is there", || ear.has("restored"));
    assert!(is_master(&watched.master), "nothing would have been shown: the old master has been told");
    watched.replica.ask(&["RPUSH", "list", "a"]);
    watched.replica.ask(&["RPUSH", "other", "b"]);
    assert_eq!(answer.await.unwrap().unwrap(), Reply::Array(vec![bulk("list"), bulk("a")]));
    assert_eq!(other.await.unwrap().unwrap(), Reply::Array(vec![bulk("other"), bulk("b")]));
    watched.replica.ask(&["PUBLISH", "news", "hello"]);
    until("it is heard", || ear.has("hello"));
    drop(subscription);
    for manager in [waits, reserves, listens] {
        manager.disconnect().await;
        assert_eq!(manager.metrics().connections.get(), 0);
    }
}

#[tokio::test]
async fn a_blocking_command_that_moved_to_another_server_keeps_its_timeout() {
    let watched = Watched::start();
    let manager = manager(&format!(r#"{{"url":"{}"}}"#, watched.url()));
    let begin = Instant::now();
    let answer = blpop(&manager, "list", "4");
    until("it waits", || blocked(&watched.master));
    switch(&watched, 0);
    until("the command waits at the new master", || blocked(&watched.replica));
    assert_eq!(answer.await.unwrap().unwrap(), Reply::Nil);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(3900) && took < stretched(Duration::from_millis(6500)), "{took:?}");
    manager.disconnect().await;
}

/// A sentinel that always names the server at `master`, from `epoch`. Counts its answers.
async fn sentinel_of(master: u16, epoch: u64, asked: Arc<AtomicUsize>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                    let answers = text.split('*').skip(1).map(|command| {
                        if command.contains("get-master-addr-by-name") {
                            asked.fetch_add(1, Ordering::Relaxed);
                            format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{master}\r\n", master.to_string().len())
                        } else if command.contains("MASTER") {
                            let epoch = epoch.to_string();
                            format!("*2\r\n$12\r\nconfig-epoch\r\n${}\r\n{epoch}\r\n", epoch.len())
                        } else if command.contains("sentinels") {
                            "*0\r\n".to_owned()
                        } else {
                            "-ERR unknown command\r\n".to_owned()
                        }
                    });
                    let answer: String = answers.collect();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_sentinel_that_was_cut_off_and_names_an_old_master_is_ignored() {
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let asked = [Arc::<AtomicUsize>::default(), Arc::default()];
    let right = sentinel_of(new.port, 5, Arc::clone(&asked[0])).await;
    let wrong = sentinel_of(old.port, 4, Arc::clone(&asked[1])).await;
    let url = format!("redis+sentinel://127.0.0.1:{right},127.0.0.1:{wrong}/main");
    let manager = manager(&format!(r#"{{"url":"{url}"}}"#));
    manager.connect().await.unwrap();
    for n in 1..=3 {
        let times = usize::try_from(n).unwrap();
        until_async("the sentinel that was cut off is asked again", || async {
            asked[1].load(Ordering::Relaxed) >= times && asked[0].load(Ordering::Relaxed) >= 2
        })
        .await;
        assert_eq!(run(&manager, &["INCR", "n"]).await.unwrap(), Reply::Int(n));
    }
    // It is ignored also after a lost connection.
    new.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    until_async("it is back", || async { run(&manager, &["INCR", "n"]).await.is_ok() }).await;
    assert_eq!(old.text(&["DBSIZE"]), "0");
    assert_eq!(manager.metrics().topology_changes.get(), 0);
    manager.disconnect().await;
}

#[test]
fn the_debug_output_of_a_manager_shows_no_password() {
    let text = format!("{:?}", manager(r#"{"url":"redis://:hunter2@127.0.0.1:1"}"#));
    assert!(text.contains("127.0.0.1") && !text.contains("hunter2"), "{text}");
}
