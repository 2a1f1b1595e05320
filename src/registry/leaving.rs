//! Ending registrations: one, all of this registry, and those that nobody ends.

use std::sync::Arc;

use super::members::Member;
use super::register::{tell_fenced, worker_id};
use super::{Inner, Registry, scripts, worker};
use crate::arguments::Arguments;
use crate::connection::Packed;
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::ErrorKind;
use crate::lifecycle;

pub(super) fn unregistration(inner: &Inner, id: &[u8], epoch: Option<u64>, abnormally: bool) -> Packed {
    inner
        .begin(&scripts::UNREGISTER, &[], 3, id.len() + 32)
        .word(id)
        .word(epoch.map_or(String::new(), |epoch| epoch.to_string()).as_bytes())
        .word(if abnormally { b"1" } else { b"0" })
}

/// Argument: id. Gives false if it was not registered any more.
pub(super) fn unregister(registry: &Registry, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("WorkerRegistry.unregister", args);
    registry.run(answer, |inner| {
        let id = worker_id(&args, 0)?;
        let epoch = inner.members.epoch(id);
        let own = epoch.and_then(|epoch| inner.members.take(id, epoch));
        if own.is_some() {
            inner.manager.metrics().registry_workers.add(-1);
        }
        let reply = inner.ask(&scripts::UNREGISTER, unregistration(&inner, id, epoch, false));
        Ok(async move { Ok(Outcome::Bool(worker::yes(&reply.await?)?)) })
    });
}

/// Unregisters every worker of this registry. Settles when each was; with the first error if one was not.
pub(super) fn cleanup(registry: &Registry, _args: &[Arg<'_>], answer: Answer) {
    registry.run(answer, |inner| {
        let members: Vec<Member> = inner.members.lock().drain().map(|(_, member)| member).collect();
        inner.manager.metrics().registry_workers.add(-count(members.len()));
        let replies: Vec<_> = members
            .iter()
            .map(|member| {
                let packed = unregistration(&inner, &member.registration.id, Some(member.epoch), false);
                inner.ask(&scripts::UNREGISTER, packed)
            })
            .collect();
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
    let members: Vec<Member> = inner.members.lock().drain().map(|(_, member)| member).collect();
    let replies: Vec<_> = members
        .iter()
        .map(|member| {
            inner.manager.metrics().registry_workers.add(-1);
            let packed = unregistration(inner, &member.registration.id, Some(member.epoch), true);
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
    let members: Vec<Member> = inner.members.lock().drain().map(|(_, member)| member).collect();
    for member in members {
        inner.manager.metrics().registry_workers.add(-1);
        tell_fenced(inner, &member, "null");
    }
}
