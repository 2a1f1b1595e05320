//! Registrations that are over without having been ended by their own holder, for features that gave the holder something.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{Channel, ChannelKind, Listener, Manager, Message, Subscription};
use crate::error::Result;
use crate::keys::Namespace;
use crate::keys::registry::Part;

/// A registration that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The worker's id.
    pub worker: Bytes,
    /// The epoch that is over; every smaller one of that worker is too.
    pub epoch: u64,
    pub how: How,
}

/// How a registration came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its time passed without a heartbeat, or its process went without a word.
    Crashed,
    /// Its id was registered again.
    Superseded,
}

/// Is told of deaths. Called on the I/O thread; must not block.
pub trait Mourner: Send + Sync {
    fn died(&self, death: &Death);

    /// Deaths may have been missed: the connection was lost, and is restored.
    fn missed(&self) {}
}

/// Tells `mourner` of the deaths in the registry whose full namespace is `namespace`, from when the future resolves until the
/// subscription is dropped. Each death is told at most once, and none while the connection is lost.
///
/// # Errors
///
/// As [`Manager::subscribe`].
pub fn deaths(
    manager: &Manager,
    namespace: &Namespace,
    mourner: Arc<dyn Mourner>,
) -> impl Future<Output = Result<Subscription>> + Send + use<> {
    let channel = Channel { kind: ChannelKind::Exact, name: namespace.registry().key(Part::Deaths).clone() };
    manager.subscribe(channel, Arc::new(Grave(mourner)))
}

struct Grave(Arc<dyn Mourner>);

impl Listener for Grave {
    fn message(&self, message: &Message) {
        // Anything else is not of this package.
        if let Some(death) = parse(&message.payload) {
            self.0.died(&death);
        }
    }

    fn restored(&self, _gap: Duration) {
        self.0.missed();
    }
}

/// `c` or `s`, a space, the epoch, a space, the id.
fn parse(payload: &Bytes) -> Option<Death> {
    let how = match payload.get(..2)? {
        b"c " => How::Crashed,
        b"s " => How::Superseded,
        _ => return None,
    };
    let rest = payload.slice(2..);
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let epoch = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    Some(Death { worker: rest.slice(space + 1..), epoch, how })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_read_whatever_its_workers_id_is() {
        let death = parse(&Bytes::from_static(b"c 17 a b\r\n\0c 1 x")).unwrap();
        assert_eq!(death, Death { worker: Bytes::from_static(b"a b\r\n\0c 1 x"), epoch: 17, how: How::Crashed });
        assert_eq!(parse(&Bytes::from_static(b"s 1 ")).unwrap().how, How::Superseded);
        for other in [&b""[..], b"c", b"c x y", b"z 1 y", b"c 1", b"c -1 y"] {
            assert_eq!(parse(&Bytes::copy_from_slice(other)), None);
        }
    }
}
