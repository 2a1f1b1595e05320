//! Notices of registrations that others than their holders ended, for features that have given something to the holder.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{Channel, ChannelKind, ChannelMessage, Listener, Manager, Subscription};
use crate::error::Result;
use crate::keys::Namespace;
use crate::keys::registry::Part;

/// A registration that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeathNotice {
    /// The worker's id.
    pub worker: Bytes,
    /// The epoch that has ended; all smaller epochs of the worker have ended too.
    pub epoch: u64,
    pub how: DeathCause,
}

/// How a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// No heartbeat came in time, or the process ended without unregistering.
    Crashed,
    /// The worker's id was registered again.
    Superseded,
}

/// Receives death notices. Called on the I/O thread; must not block.
pub trait DeathListener: Send + Sync {
    fn died(&self, notice: &DeathNotice);

    /// Notices may have been missed: the connection was lost, and is restored.
    fn missed(&self) {}
}

/// Delivers the deaths in the registry whose full namespace is `namespace` to `listener`, from when the future resolves until the
/// subscription is dropped. Each notice comes at most once, and none comes while the connection is lost.
///
/// # Errors
///
/// As [`Manager::subscribe`].
pub fn listen_for_deaths(
    manager: &Manager,
    namespace: &Namespace,
    listener: Arc<dyn DeathListener>,
) -> impl Future<Output = Result<Subscription>> + Send + use<> {
    let channel = Channel { kind: ChannelKind::Exact, name: namespace.registry().key(Part::Deaths).clone() };
    manager.subscribe(channel, Arc::new(NoticeReader(listener)))
}

struct NoticeReader(Arc<dyn DeathListener>);

impl Listener for NoticeReader {
    fn message(&self, message: &ChannelMessage) {
        // Anything else was not published by this package.
        if let Some(notice) = parse(&message.payload) {
            self.0.died(&notice);
        }
    }

    fn restored(&self, _gap: Duration) {
        self.0.missed();
    }
}

/// `c` or `s`, a space, the epoch, a space, the id.
fn parse(payload: &Bytes) -> Option<DeathNotice> {
    let how = match payload.get(..2)? {
        b"c " => DeathCause::Crashed,
        b"s " => DeathCause::Superseded,
        _ => return None,
    };
    let rest = payload.slice(2..);
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let epoch = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    Some(DeathNotice { worker: rest.slice(space + 1..), epoch, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_notice_is_read_for_any_worker_id() {
        let death = parse(&Bytes::from_static(b"c 17 a b\r\n\0c 1 x")).unwrap();
        assert_eq!(
            death,
            DeathNotice { worker: Bytes::from_static(b"a b\r\n\0c 1 x"), epoch: 17, how: DeathCause::Crashed }
        );
        assert_eq!(parse(&Bytes::from_static(b"s 1 ")).unwrap().how, DeathCause::Superseded);
        for other in [&b""[..], b"c", b"c x y", b"z 1 y", b"c 1", b"c -1 y"] {
            assert_eq!(parse(&Bytes::copy_from_slice(other)), None);
        }
    }
}
