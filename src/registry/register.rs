//! Registering workers; registering them again when their epoch has ended without their doing.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::call::{millis, unregistration};
use super::members::{Member, Registration};
use super::scripts;
use super::worker::{self, MAX_CAPABILITIES, MAX_CAPACITY, MAX_ID, MAX_LABEL, STATUSES};
use super::{Inner, Registry, pending};
use crate::arguments::Arguments;
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::verb::Call;

/// Every answer that describes the worker repeats its metadata.
const MAX_METADATA: usize = 64 * 1_024;

/// Registrations in flight at once.
const AT_ONCE: usize = 128;

pub(super) fn worker_id<'a>(args: &Arguments<'a>, place: usize) -> Result<&'a [u8]> {
    short(args, "id", args.at(place), MAX_ID)
}

/// The label of the index of a type or a capability.
pub(super) fn label(args: &Arguments<'_>, name: &str, kind: char, arg: Arg<'_>) -> Result<String> {
    let text = short(args, name, arg, MAX_LABEL)?;
    Ok(format!("{kind}{}", String::from_utf8_lossy(text)))
}

fn short<'a>(args: &Arguments<'_>, name: &str, arg: Arg<'a>, most: usize) -> Result<&'a [u8]> {
    match arg {
        Arg::Text(text) if (1..=most).contains(&text.len()) => Ok(text.as_bytes()),
        other => Err(args.wrong(name, &format!("a string of 1 to {most} bytes"), other)),
    }
}

/// The labels of the capabilities from argument `place` on, each once.
pub(super) fn capabilities(args: &Arguments<'_>, place: usize) -> Result<Vec<String>> {
    let given = args.from(place);
    if given.len() > MAX_CAPABILITIES {
        return Err(Error::config(format!(
            "WorkerRegistry: capabilities: expected at most {MAX_CAPABILITIES}, got {}",
            given.len()
        )));
    }
    let labels: Result<Vec<_>> = given.iter().map(|arg| label(args, "capability", 'c', *arg)).collect();
    Ok(unique(labels?))
}

/// The labels, each once.
fn unique(labels: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut each = Vec::new();
    for label in labels {
        if !each.contains(&label) {
            each.push(label);
        }
    }
    each
}

pub(super) fn status(args: &Arguments<'_>, place: usize) -> Result<Option<Bytes>> {
    match args.at(place) {
        Arg::Absent => Ok(None),
        Arg::Text(text) if STATUSES.contains(&text) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        other => Err(args.wrong("status", "one of idle, busy, paused, draining", other)),
    }
}

/// Metadata: JSON that the face made of an object.
pub(super) fn metadata(args: &Arguments<'_>, place: usize) -> Result<Option<Bytes>> {
    match args.at(place) {
        Arg::Absent => Ok(None),
        Arg::Text(text) if text.len() <= MAX_METADATA => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
        Arg::Text(text) => Err(Error::config(format!(
            "WorkerRegistry: metadata: expected at most {MAX_METADATA} bytes of JSON, got {}",
            text.len()
        ))),
        other => Err(args.wrong("metadata", "an object", other)),
    }
}

/// Arguments: options as JSON, metadata, hostname. Returns the worker.
pub(super) fn register(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let mut options = call.options(0)?;
        let id = options.text_to("id", MAX_ID)?.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let kind = options.text_to("type", MAX_LABEL)?.unwrap_or_else(|| "worker".to_owned());
        let capacity = options.whole("capacity", 0..=MAX_CAPACITY)?.unwrap_or(1);
        let capabilities = options.texts("capabilities", MAX_CAPABILITIES, MAX_LABEL)?;
        options.stays("metadata");
        options.finish()?;
        let kind = format!("t{kind}");
        let capabilities = unique(capabilities.iter().map(|capability| format!("c{capability}")));
        let metadata = metadata(call, 1)?.unwrap_or(Bytes::from_static(b"{}"));
        let hostname = call.text(2, "hostname")?;
        let definition = format!(
            r#""type":{},"capabilities":{},"capacity":{capacity},"hostname":{},"pid":{}"#,
            Value::from(&kind[1..]),
            capabilities.iter().map(|label| &label[1..]).collect::<Value>(),
            Value::from(String::from_utf8_lossy(hostname)),
            std::process::id(),
        );
        let class = class(&kind, &capabilities);
        let labels: Value = [&kind].into_iter().chain(&capabilities).chain([&class]).map(String::as_str).collect();
        let registration =
            Registration { id: id.into(), definition: definition.into(), labels: labels.to_string().into(), capacity };
        let member = Member::new(Arc::new(registration), 0, metadata);
        let nonce = nonce();
        inner.pending.add(nonce.clone(), member.registration.id.clone());
        let registered = send_registration(&inner, &member, &nonce, "");
        Ok(async move { complete_registration(&inner, member, &nonce, registered.await) })
    });
}

/// Handles the answer of a registration. A registration that was withdrawn, or whose caller gets an error, is taken back.
fn complete_registration(
    inner: &Arc<Inner>,
    member: Member,
    nonce: &str,
    registered: Result<RegisterOutcome>,
) -> Result<Outcome> {
    let registered = registered.and_then(|entry| match entry {
        RegisterOutcome::Registered(epoch, info) => Ok((epoch, info)),
        RegisterOutcome::Refused => Err(Error::unexpected_reply()),
    });
    let id = member.registration.id.clone();
    let mut is_kept = true;
    let is_wanted = inner.pending.complete(nonce, || match &registered {
        Ok((epoch, _)) => add_member(inner, member, *epoch),
        // This registry's registration of the same id goes on. If the failed one exists on the server, the worker takes it over.
        Err(_) => is_kept = inner.members.with(&id, |other| other.rival_nonce = Some(nonce.to_owned())).is_some(),
    });
    let may_be = registered
        .as_ref()
        .err()
        .is_none_or(|error| error.kind() == ErrorKind::Timeout || error.delivery() == Delivery::MaybeExecuted);
    if may_be && !(is_wanted && is_kept) {
        let packed = unregistration(inner, &id, &pending::reference(nonce), false);
        inner.submit(&scripts::UNREGISTER, packed);
    }
    let (_, info) = registered?;
    if is_wanted {
        Ok(Outcome::Json(info.into()))
    } else {
        Err(Error::new(ErrorKind::Cancelled, "WorkerRegistry.register: unregistered before it was registered"))
    }
}

/// The label that is common to all workers with this type and these capabilities, and to no others.
fn class(kind: &str, capabilities: &[String]) -> String {
    let mut labels: Vec<&str> = capabilities.iter().map(String::as_str).chain([kind]).collect();
    labels.sort_unstable();
    let mut sum = sha1_smol::Sha1::new();
    for label in labels {
        sum.update(&label.len().to_le_bytes());
        sum.update(label.as_bytes());
    }
    format!("={}", sum.digest())
}

/// Short, because every heartbeat reads it as part of the worker's state.
fn nonce() -> String {
    format!("{:x}", uuid::Uuid::new_v4().as_u64_pair().0)
}

/// The result of a registration.
enum RegisterOutcome {
    /// The epoch, and the worker as JSON.
    Registered(u64, String),
    /// Another registration holds the id.
    Refused,
}

/// Registers `member` under `nonce`. Unless `only` is empty, it registers only if the id is free or held by the registration
/// `only`.
fn send_registration(
    inner: &Arc<Inner>,
    member: &Member,
    nonce: &str,
    only: &str,
) -> impl Future<Output = Result<RegisterOutcome>> + Send + use<> {
    let registration = &member.registration;
    let settings = &inner.settings;
    let bytes = registration.definition.len() + member.metadata.len() + registration.labels.len() + 512;
    let packed = inner
        .begin(&scripts::REGISTER, &[], 16, bytes)
        .word(&registration.id)
        .word(nonce.as_bytes())
        .word(only.as_bytes())
        .word(&registration.definition)
        .word(&member.metadata)
        .word(&registration.labels)
        .number(registration.capacity)
        .word(&member.status)
        .word(member.load.as_bytes())
        .word(member.flags(inner.event_loop.is_stalled()).as_bytes())
        .number(millis(settings.degraded_after))
        .number(millis(settings.lease()))
        .number(millis(settings.forget_after))
        .word(inner.process.as_bytes())
        .word(inner.event_loop.report().as_bytes())
        .number(inner.process_kept_ms());
    let reply = inner.call(&scripts::REGISTER, packed);
    let inner = Arc::clone(inner);
    async move {
        let (now, row) = inner.one_row(&reply.await?).await?;
        Ok(match row {
            Some(row) => RegisterOutcome::Registered(row.state.epoch, row.json(now)),
            None => RegisterOutcome::Refused,
        })
    }
}

/// Adds a registered worker to the members, and starts its heartbeats.
fn add_member(inner: &Arc<Inner>, mut member: Member, epoch: u64) {
    member.update(|member| member.epoch = epoch);
    let before = inner.members.lock().insert(member.registration.id.clone(), member);
    if before.is_none() {
        inner.manager.metrics().registry_workers.add(1);
    }
    if inner.settings.automatic {
        inner.start_heartbeats();
    }
}

/// Registers a worker again whose epoch has ended without its doing. The result is delivered as an event.
async fn register_again(inner: &Arc<Inner>, lost: Member, nonce: &str) -> Result<()> {
    let id = lost.registration.id.clone();
    match send_registration(inner, &lost, nonce, &lost.reference()).await? {
        RegisterOutcome::Registered(epoch, info) => {
            let still = inner.members.at_epoch(&id, lost.epoch, |member| {
                member.update(|member| member.epoch = epoch);
                member.lost = None;
                (member.last_command, member.unacknowledged) = (0, false);
            });
            if still.is_some() {
                emit_fenced(inner, &lost, &info);
            } else if inner.members.epoch(&id) != Some(epoch) {
                // The worker was unregistered meanwhile, and no other attempt with the same nonce registered it.
                inner.submit(&scripts::UNREGISTER, unregistration(inner, &id, &format!("{epoch} "), false));
            }
        }
        // If another registration of the id is in flight, its answer decides.
        RegisterOutcome::Refused if !inner.pending.has(&id) => drop_member(inner, &id, lost.epoch),
        RegisterOutcome::Refused => {}
    }
    Ok(())
}

/// Removes a worker whose registration has ended for good.
pub(super) fn drop_member(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if let Some(member) = inner.members.take(id, epoch) {
        inner.manager.metrics().registry_workers.add(-1);
        emit_fenced(inner, &member, "null");
    }
}

pub(super) fn emit_fenced(inner: &Inner, member: &Member, next: &str) {
    inner.manager.metrics().registry_fenced.add(1);
    let id = Value::from(String::from_utf8_lossy(&member.registration.id));
    inner.outlet.emit(format!(r#"{{"event":"fenced","id":{id},"epoch":{},"next":{next}}}"#, member.epoch));
}

/// Arguments: id, status. Returns false if the worker is not registered, or this registry's registration of it has ended.
pub(super) fn set_status(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = Bytes::copy_from_slice(worker_id(call, 0)?);
        let Some(status) = status(call, 1)? else {
            return Err(call.wrong("status", "one of idle, busy, paused, draining", Arg::Absent));
        };
        let (epoch, only) = (inner.members.epoch(&id), inner.members.own_epoch(&id));
        let packed = inner.begin(&scripts::STATUS, &[], 3, id.len() + 64).word(&id).word(only.as_bytes()).word(&status);
        let reply = inner.call(&scripts::STATUS, packed);
        Ok(async move {
            let done = worker::bool_reply(&reply.await?)?;
            if let Some(epoch) = epoch.filter(|_| done) {
                inner.members.at_epoch(&id, epoch, |member| member.status = status);
            }
            Ok(Outcome::Bool(done))
        })
    });
}

/// Registers all lost workers again. Returns whether every attempt succeeded.
pub(super) async fn register_all_again(inner: &Arc<Inner>) -> bool {
    let lost: Vec<Member> = inner.members.lock().values().filter(|member| member.lost.is_some()).cloned().collect();
    let mut all = true;
    // After a restart of the server all workers register again at once. The bound keeps the last ones from passing their
    // deadline.
    for some in lost.chunks(AT_ONCE) {
        let tries: Vec<_> = some
            .iter()
            .cloned()
            .map(|member| {
                let inner = Arc::clone(inner);
                lifecycle::spawn(async move {
                    let nonce = member.lost.clone().unwrap_or_else(nonce);
                    register_again(&inner, member, &nonce).await
                })
            })
            .collect();
        for one in tries {
            all &= matches!(one.await, Ok(Ok(())));
        }
    }
    all
}

/// The epoch of a worker has ended without its doing. With automatic heartbeats the worker is registered again.
pub(super) fn lost(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if inner.settings.automatic {
        register_under_new_epoch(inner, id, epoch);
    } else {
        drop_member(inner, id, epoch);
    }
}

/// The id was registered again. If a failed registration of this registry may have done that, the worker takes it over. While a
/// registration of the id is in flight, its answer decides.
pub(super) fn superseded(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if inner.pending.has(id) {
        return;
    }
    if inner.members.at_epoch(id, epoch, |member| member.rival_nonce.is_some()) == Some(true) {
        register_under_new_epoch(inner, id, epoch);
    } else {
        drop_member(inner, id, epoch);
    }
}

fn register_under_new_epoch(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    inner.members.at_epoch(id, epoch, |member| {
        member.lost.get_or_insert_with(nonce);
    });
    reregister_soon(inner);
}

/// Has lost workers registered again soon.
pub(super) fn reregister_soon(inner: &Arc<Inner>) {
    if inner.settings.automatic {
        inner.heartbeat_task.run_now();
    } else {
        let inner = Arc::clone(inner);
        lifecycle::spawn(async move { register_all_again(&inner).await });
    }
}

#[cfg(test)]
mod tests {
    use super::class;

    #[test]
    fn a_class_is_of_a_type_and_capabilities_in_any_order() {
        let of = |kind: &str, capabilities: &[&str]| {
            class(kind, &capabilities.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of("tx", &["ca", "cb"]), of("tx", &["cb", "ca"]));
        for other in [of("tx", &["ca"]), of("tx", &["cacb"]), of("ty", &["ca", "cb"]), of("tx", &["ca", "cb", "cc"])] {
            assert_ne!(of("tx", &["ca", "cb"]), other);
        }
    }
}
