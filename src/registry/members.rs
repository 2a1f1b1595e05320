//! The workers that this registry has registered, and what their next heartbeat reports.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::sync::{Mutex, MutexGuard};

/// The parts of a registration.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: Bytes,
    /// The inside of a JSON object.
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
    /// In decimal, as the server compares it.
    pub(super) load: String,
    pub(super) reported: bool,
    /// The last command that was delivered.
    pub(super) last_command: u64,
    /// The server does not know yet that `last_command` was delivered.
    pub(super) unacknowledged: bool,
    /// Set when the epoch has ended without this registry's doing: the nonce of the new registration. The nonce stays the same
    /// over all attempts, so that an attempt whose answer was lost is recognized.
    pub(super) lost: Option<String>,
    /// The nonce of a failed registration of this id by this registry. It may have replaced this registration.
    pub(super) rival_nonce: Option<String>,
    /// The last result of [`Member::state_prefix`], and whether the event loop was stalled then.
    state_prefix: Option<(bool, Bytes)>,
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
            last_command: 0,
            unacknowledged: false,
            lost: None,
            rival_nonce: None,
            state_prefix: None,
        }
    }

    /// The reference of this registration, as `is_registration` in `lua/part/worker.lua` reads it: its epoch, and the nonce of a
    /// failed registration that counts as this one too.
    pub(super) fn reference(&self) -> String {
        format!("{} {}", self.epoch, self.rival_nonce.as_deref().unwrap_or_default())
    }

    /// The start of its state on the server while nothing has changed it: epoch, flags and load.
    pub(super) fn state_prefix(&mut self, stalled: bool) -> Bytes {
        match &self.state_prefix {
            Some((then, prefix)) if *then == stalled => prefix.clone(),
            _ => {
                let prefix = Bytes::from(format!("{} {} {} ", self.epoch, self.flags(stalled), self.load));
                self.state_prefix = Some((stalled, prefix.clone()));
                prefix
            }
        }
    }

    /// The flags that this process reports.
    pub(super) fn flags(&self, stalled: bool) -> &'static str {
        match (stalled, self.reported) {
            (false, false) => "-",
            (true, false) => "s",
            (false, true) => "r",
            (true, true) => "sr",
        }
    }

    /// Changes what [`Member::state_prefix`] says.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.state_prefix = None;
    }
}

/// The workers of a registry by id, and the ids that it has held.
#[derive(Debug, Default)]
pub(super) struct Members {
    present: Mutex<HashMap<Bytes, Member>>,
    former: Mutex<Former>,
}

/// The references of registrations that have ended, by id: a registry that has held an id acts on that id by its own epoch only.
#[derive(Debug, Default)]
struct Former {
    who: HashMap<Bytes, String>,
    /// The ids, the oldest first.
    order: VecDeque<Bytes>,
}

/// How many ended registrations a registry remembers.
const MAX_FORMER: usize = 10_000;

impl Former {
    fn add(&mut self, member: &Member) {
        let id = &member.registration.id;
        if self.who.insert(id.clone(), member.reference()).is_none() {
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

    /// Does `act` with a worker of this registry.
    pub(super) fn with<T>(&self, id: &[u8], act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.lock().get_mut(id).map(act)
    }

    /// Does `act` with a worker that still has that epoch.
    pub(super) fn at_epoch<T>(&self, id: &[u8], epoch: u64, act: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.lock().get_mut(id).filter(|member| member.epoch == epoch).map(act)
    }

    /// Removes a worker that still has that epoch.
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

    /// The registration of `id` that this registry may act on, as [`Member::reference`] gives it: its own, even if it has ended.
    /// Empty, which means any registration, where this registry has never held the id.
    pub(super) fn reference(&self, id: &[u8]) -> String {
        let members = self.lock();
        let own = members.get(id).map(Member::reference);
        own.or_else(|| self.former().who.get(id).cloned()).unwrap_or_default()
    }

    /// The epoch of [`Members::reference`].
    pub(super) fn own_epoch(&self, id: &[u8]) -> String {
        self.reference(id).split(' ').next().unwrap_or_default().to_owned()
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
        assert_eq!(members.reference(b"w"), "");
        members.lock().insert(Bytes::from_static(b"w"), member("w", 7));
        assert_eq!(members.own_epoch(b"w"), "7");
        members.remove(b"w");
        members.lock().insert(Bytes::from_static(b"w"), member("w", 8));
        members.remove_all();
        assert_eq!(members.own_epoch(b"w"), "8");
        for n in 0..MAX_FORMER {
            members.former().add(&member(&n.to_string(), 9));
        }
        assert_eq!(members.reference(b"w"), "");
        assert_eq!(members.own_epoch(b"0"), "9");
    }
}
