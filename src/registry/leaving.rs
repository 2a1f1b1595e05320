//! Ending registrations: one, all of this registry, and those that nobody ends.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::call::unregistration;
use super::register::{tell_fenced, worker_id};
use super::{Inner, Registry, scripts, worker};
use crate::crossing::Outcome;
use crate::error::{ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::verb::Call;

/// Argument: id. Gives false if it was not registered any more.
pub(super) fn unregister(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = worker_id(call, 0)?;
        // Before the members are looked at: what arrives in between is among them.
        let mut ending = inner.entering.withdraw(|other| other == id);
        let own = inner.members.remove(id);
        if let Some(member) = own {
            inner.manager.metrics().registry_workers.add(-1);
            ending.push((member.registration.id.clone(), member.who()));
        } else if ending.is_empty() {
            ending.push((Bytes::copy_from_slice(id), inner.members.who(id)));
        }
        let replies = end(&inner, &ending);
        Ok(async move {
            let mut ended = false;
            for reply in replies {
                ended |= worker::yes(&reply.await?)?;
            }
            Ok(Outcome::Bool(ended))
        })
    });
}

/// Has registrations ended now, each an id and who it is.
fn end(
    inner: &Arc<Inner>,
    registrations: &[(Bytes, String)],
) -> Vec<impl Future<Output = Result<Reply>> + Send + use<>> {
    registrations
        .iter()
        .map(|(id, who)| inner.ask(&scripts::UNREGISTER, unregistration(inner, id, who, false)))
        .collect()
}

/// Unregisters every worker of this registry. Settles when each was; with the first error if one was not.
pub(super) fn cleanup(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|_| {
        let mut ending = inner.entering.withdraw(|_| true);
        let members = inner.members.remove_all();
        inner.manager.metrics().registry_workers.add(-count(members.len()));
        ending.extend(members.iter().map(|member| (member.registration.id.clone(), member.who())));
        let replies = end(&inner, &ending);
        let terms = inner.terms.resign_all();
        Ok(async move {
            let mut failure = None;
            for reply in replies {
                if let Err(error) = reply.await {
                    failure.get_or_insert(error);
                }
            }
            for term in terms {
                // Resigned or ended otherwise: either way it leads no more.
                let _ = term.await;
            }
            match failure {
                // After `disconnect()` there is nobody to tell; the workers will be missed.
                Some(error) if error.kind() != ErrorKind::Closed => Err(error),
                _ => Ok(Outcome::Nothing),
            }
        })
    });
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Nobody will beat for the workers any more, and nobody said goodbye for them: they are declared crashed, so that who
/// waits for that need not wait for their deadline. Best effort: the process may be ending.
pub(super) fn abandon(inner: &Arc<Inner>) {
    let members = inner.members.remove_all();
    let replies: Vec<_> = members
        .iter()
        .map(|member| {
            inner.manager.metrics().registry_workers.add(-1);
            let packed = unregistration(inner, &member.registration.id, &member.who(), true);
            inner.ask(&scripts::UNREGISTER, packed)
        })
        .collect();
    // The connection lasts as long as somebody has the manager.
    let inner = Arc::clone(inner);
    lifecycle::spawn(async move {
        for reply in replies {
            // What could not be said will be noticed.
            let _ = reply.await;
        }
        drop(inner);
    });
}

/// The manager was disconnected: the workers of this process beat no more, and are told so.
pub(super) fn disconnected(inner: &Arc<Inner>) {
    let members = inner.members.remove_all();
    for member in members {
        inner.manager.metrics().registry_workers.add(-1);
        tell_fenced(inner, &member, "null");
    }
}
