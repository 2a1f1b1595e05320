//! Checks whether a server evicts keys when its memory is full. Then lasting data may vanish without an error. A feature with lasting
//! data reports this once for each manager.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::event::Event;
use super::manager::Manager;
use super::packed::Packed;
use super::request::Sink;
use super::server_info::field;
use super::target::Target;
use crate::error::{ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

impl Manager {
    /// To be called by a feature that keeps lasting data on this manager's server. The first call asks whether the server evicts keys
    /// when its memory is full. No call waits for the answer. A server that refuses to answer is not asked again.
    pub fn keeps(&self) {
        let asked = &self.core().asked_for_eviction;
        if asked.load(Ordering::Relaxed) || matches!(self.config().target, Target::Memory(_)) {
            return;
        }
        if asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let core = Arc::downgrade(self.core());
        let command = Packed::sized(32).begin(2, b"INFO").word(b"memory").reads(Operation::named("INFO"));
        self.submit(
            command,
            Sink::then(move |reply| {
                let Some(core) = core.upgrade() else { return };
                match &reply {
                    // No server has answered: the next call asks again.
                    Err(error) if !matches!(error.kind(), ErrorKind::Server | ErrorKind::Auth) => {
                        core.asked_for_eviction.store(false, Ordering::Relaxed);
                    }
                    reply => {
                        if let Some(policy) = policy_of(reply) {
                            core.status.emit(Event::Evicts { policy });
                        }
                    }
                }
            }),
        );
    }
}

/// The policy by which the server evicts keys. `None` where the server evicts no keys, has no memory limit, or gives no policy.
fn policy_of(reply: &Result<Reply>) -> Option<String> {
    let Ok(Reply::Bulk(info) | Reply::Simple(info)) = reply else { return None };
    let info = String::from_utf8_lossy(info);
    let bound = field(&info, "maxmemory")?;
    let policy = field(&info, "maxmemory_policy")?;
    (bound != "0" && policy != "noeviction").then(|| policy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_server_evicts_keys_only_with_a_memory_limit_and_a_policy() {
        let of = |info: &'static str| policy_of(&Ok(Reply::Bulk(info.into())));
        assert_eq!(of("# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n").as_deref(), Some("allkeys-lru"));
        assert_eq!(of("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n"), None);
        assert_eq!(of("maxmemory:100\r\nmaxmemory_policy:noeviction\r\n"), None);
        assert_eq!(of("maxmemory_policy:allkeys-lru\r\n"), None, "the memory limit is unknown");
        assert_eq!(of(""), None);
        assert_eq!(policy_of(&Ok(Reply::Int(1))), None);
        assert_eq!(policy_of(&Err(Error::from_reply("NOPERM no permission"))), None);
    }
}
