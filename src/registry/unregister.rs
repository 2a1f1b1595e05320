//! Ending registrations: one worker, all workers of this registry, and the workers of a dropped registry.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::call::unregistration;
use super::register::{emit_fenced, worker_id};
use super::{Inner, Registry, scripts, worker};
use crate::crossing::Outcome;
use crate::error::{ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::verb::Call;

/// Argument: id. Returns false if the worker was not registered any more.
pub(super) fn unregister(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = worker_id(call, 0)?;
        // Before the members are read: a registration that completes in between is a member.
        let mut ending = inner.pending.withdraw(|other| other == id);
        let own = inner.members.remove(id);
        if let Some(member) = own {
            inner.manager.metrics().registry_workers.add(-1);
            ending.push((member.registration.id.clone(), member.reference()));
        } else if ending.is_empty() {
            ending.push((Bytes::copy_from_slice(id), inner.members.reference(id)));
        }
        let replies = end(&inner, &ending);
        Ok(async move {
            let mut ended = false;
            for reply in replies {
                ended |= worker::bool_reply(&reply.await?)?;
            }
            Ok(Outcome::Bool(ended))
        })
    });
}

/// Ends registrations now; each is an id and a reference.
fn end(
    inner: &Arc<Inner>,
    registrations: &[(Bytes, String)],
) -> Vec<impl Future<Output = Result<Reply>> + Send + use<>> {
    registrations
        .iter()
        .map(|(id, who)| inner.call(&scripts::UNREGISTER, unregistration(inner, id, who, false)))
        .collect()
}

/// Unregisters every worker of this registry. Settles when all are unregistered, or with the first error.
pub(super) fn cleanup(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|_| {
        let mut ending = inner.pending.withdraw(|_| true);
        let members = inner.members.remove_all();
        inner.manager.metrics().registry_workers.add(-count(members.len()));
        ending.extend(members.iter().map(|member| (member.registration.id.clone(), member.reference())));
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
                // Resigned or ended otherwise: the candidate leads no more.
                let _ = term.await;
            }
            match failure {
                // After `disconnect()` no call can be sent; the workers will be declared crashed.
                Some(error) if error.kind() != ErrorKind::Closed => Err(error),
                _ => Ok(Outcome::Nothing),
            }
        })
    });
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Declares the workers crashed, because nothing sends their heartbeats any more. So others need not wait for their deadline.
/// This is best effort: the process may be ending.
pub(super) fn abandon(inner: &Arc<Inner>) {
    let members = inner.members.remove_all();
    let replies: Vec<_> = members
        .iter()
        .map(|member| {
            inner.manager.metrics().registry_workers.add(-1);
            let packed = unregistration(inner, &member.registration.id, &member.reference(), true);
            inner.call(&scripts::UNREGISTER, packed)
        })
        .collect();
    // The connection lasts as long as a clone of the manager does.
    let inner = Arc::clone(inner);
    lifecycle::spawn(async move {
        for reply in replies {
            // A worker whose call failed passes its deadline instead.
            let _ = reply.await;
        }
        drop(inner);
    });
}

/// The manager was disconnected: heartbeats stop, and the holders get a `fenced` event.
pub(super) fn disconnected(inner: &Arc<Inner>) {
    let members = inner.members.remove_all();
    for member in members {
        inner.manager.metrics().registry_workers.add(-1);
        emit_fenced(inner, &member, "null");
    }
}
