//! The workers that this registry has registered, and what is to be said of them with the next heartbeat.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

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

/// The workers of a registry, by id, and which ones it has held.
#[derive(Debug, Default)]
pub(super) struct Members {
    present: Mutex<HashMap<Bytes, Member>>,
    former: Mutex<Former>,
}

/// Which registrations were over last, by id: what a registry once held it touches by its own epoch only.
#[derive(Debug, Default)]
struct Former {
    who: HashMap<Bytes, String>,
    /// The id that was held first, first.
    order: VecDeque<Bytes>,
}

/// Ids that a registry remembers to have held.
const MAX_FORMER: usize = 10_000;

impl Former {
    fn add(&mut self, member: &Member) {
        let id = &member.registration.id;
        if self.who.insert(id.clone(), member.who()).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > MAX_FORMER
            && let Some(oldest) = self.order.pop_front()
        {
            self.who.remove(&oldest);
        }
    }
}

impl Members {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, Member>> {
        self.present.lock()
    }

    fn former(&self) -> MutexGuard<'_, Former> {
        self.former.lock()
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
        let member = members.remove(id)?;
        self.former().add(&member);
        Some(member)
    }

    pub(super) fn remove(&self, id: &[u8]) -> Option<Member> {
        let mut members = self.lock();
        let member = members.remove(id)?;
        self.former().add(&member);
        Some(member)
    }

    pub(super) fn remove_all(&self) -> Vec<Member> {
        let mut members = self.lock();
        let mut former = self.former();
        members.drain().map(|(_, member)| member).inspect(|member| former.add(member)).collect()
    }

    pub(super) fn epoch(&self, id: &[u8]) -> Option<u64> {
        self.lock().get(id).map(|member| member.epoch)
    }

    /// Which registration of `id` this registry may touch, as [`Member::who`] gives it: its own, also when that is over; any,
    /// which is empty, where it never had one.
    pub(super) fn who(&self, id: &[u8]) -> String {
        let members = self.lock();
        let own = members.get(id).map(Member::who);
        own.or_else(|| self.former().who.get(id).cloned()).unwrap_or_default()
    }

    /// As [`Members::who`], by the epoch alone.
    pub(super) fn own_epoch(&self, id: &[u8]) -> String {
        self.who(id).split(' ').next().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, epoch: u64) -> Member {
        let registration = Registration {
            id: Bytes::from(id.to_owned()),
            definition: Bytes::new(),
            labels: Bytes::new(),
            capacity: 1,
        };
        Member::new(Arc::new(registration), epoch, Bytes::new())
    }

    #[test]
    fn a_registration_that_is_over_is_remembered_among_the_last_ten_thousand() {
        let members = Members::default();
        assert_eq!(members.who(b"w"), "");
        members.lock().insert(Bytes::from_static(b"w"), member("w", 7));
        assert_eq!(members.own_epoch(b"w"), "7");
        members.remove(b"w");
        members.lock().insert(Bytes::from_static(b"w"), member("w", 8));
        members.remove_all();
        assert_eq!(members.own_epoch(b"w"), "8");
        for n in 0..MAX_FORMER {
            members.former().add(&member(&n.to_string(), 9));
        }
        assert_eq!(members.who(b"w"), "");
        assert_eq!(members.own_epoch(b"0"), "9");
    }
}
