//! Subscriptions through a manager, on the embedded engine: confirmed, shared, restored, ended.
#![expect(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use redis_backplane::connection::{
    Channel, ChannelKind, ChannelMessage, Config, Listener, Manager, MemoryControl, Unobserved,
};
use redis_backplane::error::{Error, ErrorKind};
use redis_backplane::lifecycle;
use tokio::time::timeout;

/// A listener that records its calls.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>, tokio::sync::Notify);

impl Ear {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
        self.1.notify_one();
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, what: &str) {
        let heard = async {
            while !self.heard().iter().any(|heard| heard.starts_with(what)) {
                self.1.notified().await;
            }
        };
        timeout(Duration::from_secs(10), heard).await.unwrap_or_else(|_| panic!("no {what}: {:?}", self.heard()));
    }
}

impl Listener for Ear {
    fn message(&self, message: &ChannelMessage) {
        self.note(String::from_utf8_lossy(&message.payload).into_owned());
    }

    fn lost(&self, _error: &Error) {
        self.note("lost".into());
    }

    fn restored(&self, gap: Duration) {
        self.note(format!("restored after {gap:?}"));
    }

    fn ended(&self, error: &Error) {
        self.note(format!("ended {:?}", error.kind()));
    }
}

fn manager(name: &str, more: &str) -> Manager {
    let (config, _) = Config::parse(&format!(r#"{{"url":"memory://{name}"{more}}}"#)).unwrap();
    Manager::new(config, Arc::new(Unobserved)).unwrap()
}

fn channel(kind: ChannelKind, name: &'static str) -> Channel {
    Channel { kind, name: Bytes::from_static(name.as_bytes()) }
}

async fn publish(manager: &Manager, words: &[&[u8]]) {
    let (command, _) = manager.prepare(words).unwrap();
    manager.call(command).await.unwrap();
}

#[test]
fn every_listener_gets_the_messages_after_the_confirmation() {
    lifecycle::io().block_on(async {
        let manager = manager("subscriber-heard", "");
        let ears: Vec<_> = (0..3).map(|_| Arc::new(Ear::default())).collect();
        let exact = manager.subscribe(channel(ChannelKind::Exact, "news"), ears[0].clone());
        let again = manager.subscribe(channel(ChannelKind::Exact, "news"), ears[1].clone());
        let pattern = manager.subscribe(channel(ChannelKind::Pattern, "n*"), ears[2].clone());
        let held = (exact.await.unwrap(), again.await.unwrap(), pattern.await.unwrap());
        manager.subscribed().await.unwrap();
        publish(&manager, &[b"PUBLISH", b"news", b"one"]).await;
        for ear in &ears {
            ear.until("one").await;
        }
        drop(held.0);
        publish(&manager, &[b"PUBLISH", b"news", b"two"]).await;
        ears[1].until("two").await;
        assert_eq!(ears[0].heard(), ["one"]);
        let sharded = Arc::new(Ear::default());
        let _held = manager.subscribe(channel(ChannelKind::Sharded, "slot"), sharded.clone()).await.unwrap();
        publish(&manager, &[b"SPUBLISH", b"slot", b"three"]).await;
        sharded.until("three").await;
        manager.disconnect().await;
    });
}

#[test]
fn a_lost_connection_is_restored_with_all_subscriptions() {
    lifecycle::io().block_on(async {
        let name = "subscriber-restored";
        let manager = manager(name, r#","reconnect":{"minDelayMs":1,"maxDelayMs":10}"#);
        let ear = Arc::new(Ear::default());
        let held = manager.subscribe(channel(ChannelKind::Exact, "news"), ear.clone()).await.unwrap();
        MemoryControl::of(name).unwrap().kill_clients().unwrap();
        ear.until("lost").await;
        ear.until("restored").await;
        manager.subscribed().await.unwrap();
        publish(&manager, &[b"PUBLISH", b"news", b"again"]).await;
        ear.until("again").await;
        drop(held);
        manager.disconnect().await;
    });
}

#[test]
fn disconnecting_ends_subscriptions_and_refuses_new_ones() {
    lifecycle::io().block_on(async {
        let manager = manager("subscriber-ended", "");
        let ear = Arc::new(Ear::default());
        let held = manager.subscribe(channel(ChannelKind::Exact, "news"), ear.clone()).await.unwrap();
        manager.disconnect().await;
        ear.until("ended").await;
        assert_eq!(ear.heard(), ["ended Closed"]);
        drop(held);
        let refused = manager.subscribe(channel(ChannelKind::Exact, "news"), ear.clone()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn a_subscription_without_a_server_fails_like_a_command_and_leaves_no_subscription() {
    lifecycle::io().block_on(async {
        let (config, _) =
            Config::parse(r#"{"url":"redis://127.0.0.1:1","commandTimeoutMs":100,"connectTimeoutMs":50}"#).unwrap();
        let manager = Manager::new(config, Arc::new(Unobserved)).unwrap();
        let refused = manager.subscribe(channel(ChannelKind::Exact, "news"), Arc::new(Ear::default())).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(std::error::Error::source(&error).is_some(), "the error has a cause");
        manager.disconnect().await;
    });
}
