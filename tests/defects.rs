//! A panic in a manager's tasks: every call is answered, and the manager goes on.
#![expect(clippy::unwrap_used, reason = "a test fails where it is wrong")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis_backplane::connection::{Config, Event, Manager, Observer, State};
use redis_backplane::error::ErrorKind;
use tokio::time::timeout;

/// Panics on the I/O thread, for the first times that a connection is ready.
struct Fragile(AtomicU32);

impl Observer for Fragile {
    fn event(&self, event: Event) {
        let takes = |left: u32| left.checked_sub(1);
        let fails =
            matches!(event, Event::Ready) && self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, takes).is_ok();
        assert!(!fails, "on purpose");
    }
}

fn manager(panics: u32) -> Manager {
    let (config, _) = Config::parse(r#"{"url":"memory://"}"#).unwrap();
    Manager::new(config, Arc::new(Fragile(AtomicU32::new(panics)))).unwrap()
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(4), work).await.expect("an answer before commandTimeoutMs")
}

#[tokio::test]
async fn after_a_panic_of_the_actor_every_call_is_answered_and_the_next_use_starts_again() {
    let manager = manager(2);
    let (connected, pinged, again) =
        soon(async { tokio::join!(manager.connect(), manager.ping(), manager.ping()) }).await;
    for error in [connected.unwrap_err(), pinged.unwrap_err(), again.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert!(error.message().contains("a defect in redis-backplane"), "{error}");
    }
    assert!(soon(manager.ping()).await.is_err());
    soon(manager.ping()).await.unwrap();
    soon(manager.disconnect()).await;
}

#[tokio::test]
async fn after_a_panic_during_disconnect_the_manager_is_closed() {
    let manager = manager(1);
    let connected = manager.connect();
    let disconnected = manager.disconnect();
    soon(async { tokio::join!(connected, disconnected) }).await.0.unwrap_err();
    assert_eq!(manager.state().name(), "closed");
}

#[tokio::test]
async fn a_manager_that_was_disconnected_is_connected_by_its_user_alone() {
    let manager = manager(0);
    let (ended, refused) = (manager.disconnect(), manager.connect_unless_closed());
    assert_eq!(soon(refused).await.unwrap_err().kind(), ErrorKind::Closed);
    soon(ended).await;
    assert_eq!(manager.state(), State::Closed);
    soon(manager.connect()).await.unwrap();
    let (ended, refused) = (manager.disconnect(), manager.connect_unless_closed());
    assert_eq!(soon(refused).await.unwrap_err().kind(), ErrorKind::Closed);
    soon(ended).await;
    assert_eq!(manager.state(), State::Closed);
    soon(manager.connect()).await.unwrap();
    soon(manager.disconnect()).await;
}
