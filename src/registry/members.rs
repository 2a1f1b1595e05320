//! The workers that this registry has registered, and what is to be said of them with the next heartbeat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What a worker was registered with.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: Bytes,
    /// The inside of the JSON object of its definition.
    pub(super) definition: Bytes,
    /// A JSON array.
    pub(super) labels: Bytes,
    pub(super) capacity: u64,
}

/// One worker of this process.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) registration: Arc<Registration>,
    pub(super) epoch: u64,
    pub(super) metadata: Bytes,
    pub(super) status: Bytes,
    /// In decimal, as it is compared on the server.
    pub(super) load: String,
    pub(super) reported: bool,
    /// The last command that was handed on.
    pub(super) command: u64,
    /// The server does not know that yet.
    pub(super) unacknowledged: bool,
    /// Its epoch is over, and it is to be registered again: under this nonce, so that an attempt whose answer was lost is known
    /// again for its own.
    pub(super) lost: Option<String>,
    /// The nonce of a registration of its id by this registry that failed: it may have ended this one.
    pub(super) rival: Option<String>,
    /// What [`Member::head`] gave last, and whether the event loop was stalled then.
    head: Option<(bool, Bytes)>,
}

impl Member {
    pub(super) fn new(registration: Arc<Registration>, epoch: u64, metadata: Bytes) -> Self {
        Self {
            registration,
            epoch,
            metadata,
            status: Bytes::from_static(b"idle"),
            load: "0".into(),
            reported: false,
            command: 0,
            unacknowledged: false,
            lost: None,
            rival: None,
            head: None,
        }
    }

    /// Which registration it is, as `is_of` in `lua/prelude.lua` reads it: a rival that came about is this registry's too.
    pub(super) fn who(&self) -> String {
        format!("{} {}", self.epoch, self.rival.as_deref().unwrap_or_default())
    }

    /// Its state on the server begins like this while nothing has changed it: epoch, flags and load.
    pub(super) fn head(&mut self, stalled: bool) -> Bytes {
        match &self.head {
            Some((then, head)) if *then == stalled => head.clone(),
            _ => {
                let head = Bytes::from(format!("{} {} {} ", self.epoch, self.flags(stalled), self.load));
                self.head = Some((stalled, head.clone()));
                head
            }
        }
    }

    /// Its flags, as far as they are this process' to say.
    pub(super) fn flags(&self, stalled: bool) -> &'static str {
        match (stalled, self.reported) {
            (false, false) => "-",
            (true, false) => "s",
            (false, true) => "r",
            (true, true) => "sr",
        }
    }

    /// Changes what its head says.
    pub(super) fn say(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.head = None;
    }
}

#[derive(Debug, Default)]
pub(super) struct Members(Mutex<HashMap<Bytes, Member>>);

impl Members {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `act` with a worker, if it is of this registry.
    pub(super) fn with<T>(&self, id: &[u8], act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.lock().get_mut(id).map(act)
    }

    /// Does `act` with a worker that still has that epoch.
    pub(super) fn at_epoch<T>(&self, id: &[u8], epoch: u64, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.lock().get_mut(id).filter(|member| member.epoch == epoch).map(act)
    }

    /// Takes a worker out that still has that epoch.
    pub(super) fn take(&self, id: &[u8], epoch: u64) -> Option<Member> {
        let mut members = self.lock();
        members.get(id).filter(|member| member.epoch == epoch)?;
        members.remove(id)
    }

    pub(super) fn epoch(&self, id: &[u8]) -> Option<u64> {
        self.lock().get(id).map(|member| member.epoch)
    }
}
