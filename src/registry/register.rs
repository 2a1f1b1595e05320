//! Registering workers, again too when their epoch is over without their doing, and ending registrations.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::call::{millis, unregistration};
use super::members::{Member, Registration};
use super::scripts;
use super::worker::{self, MAX_CAPABILITIES, MAX_CAPACITY, MAX_ID, MAX_LABEL, STATUSES};
use super::{Inner, Registry, entering};
use crate::arguments::Arguments;
use crate::crossing::{Arg, Outcome};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::verb::Call;

/// Metadata are part of every answer that tells the worker.
const MAX_METADATA: usize = 64 * 1_024;

/// Registrations that are on their way at once.
const AT_ONCE: usize = 128;

pub(super) fn worker_id<'a>(args: &Arguments<'a>, place: usize) -> Result<&'a [u8]> {
    short(args, "id", args.at(place), MAX_ID)
}

/// A type or a capability, as the label of its index.
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

/// The capabilities that are given from `place` on, as labels, each once.
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

/// Each label once.
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

/// Metadata, JSON that the face has made of an object.
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

/// Arguments: options as JSON, metadata, hostname. Gives the worker.
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
        inner.entering.begin(nonce.clone(), member.registration.id.clone());
        let registered = enter(&inner, &member, &nonce, "");
        Ok(async move { conclude(&inner, member, &nonce, registered.await) })
    });
}

/// The answer of a registration has come, or will not. One that was withdrawn, or that nobody is told of, is taken back.
fn conclude(inner: &Arc<Inner>, member: Member, nonce: &str, registered: Result<Entry>) -> Result<Outcome> {
    let registered = registered.and_then(|entry| match entry {
        Entry::Registered(epoch, info) => Ok((epoch, info)),
        Entry::Refused => Err(Error::unexpected_reply()),
    });
    let id = member.registration.id.clone();
    let mut is_kept = true;
    let is_wanted = inner.entering.end(nonce, || match &registered {
        Ok((epoch, _)) => adopt(inner, member, *epoch),
        // The one of that id that this registry has goes on, and takes its place where it has come about.
        Err(_) => is_kept = inner.members.with(&id, |other| other.rival = Some(nonce.to_owned())).is_some(),
    });
    let may_be = registered
        .as_ref()
        .err()
        .is_none_or(|error| error.kind() == ErrorKind::Timeout || error.delivery() == Delivery::MaybeExecuted);
    if may_be && !(is_wanted && is_kept) {
        let packed = unregistration(inner, &id, &entering::who(nonce), false);
        inner.tell(&scripts::UNREGISTER, packed);
    }
    let (_, info) = registered?;
    if is_wanted {
        Ok(Outcome::Json(info.into()))
    } else {
        Err(Error::new(ErrorKind::Cancelled, "WorkerRegistry.register: unregistered before it was registered"))
    }
}

/// The label that workers with this type and these capabilities share, and no others.
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

/// Short, since it is part of what every heartbeat of the worker has looked up.
fn nonce() -> String {
    format!("{:x}", uuid::Uuid::new_v4().as_u64_pair().0)
}

/// What came of a registration.
enum Entry {
    /// The epoch, and the worker as JSON.
    Registered(u64, String),
    /// Somebody else holds the id now.
    Refused,
}

/// Asks the server to register `member` under `nonce`; unless `only` is empty, if nobody but who it names holds its id.
fn enter(
    inner: &Arc<Inner>,
    member: &Member,
    nonce: &str,
    only: &str,
) -> impl Future<Output = Result<Entry>> + Send + use<> {
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
        .word(member.flags(inner.pulse.is_stalled()).as_bytes())
        .number(millis(settings.degraded_after))
        .number(millis(settings.lease()))
        .number(millis(settings.forget_after))
        .word(inner.process.as_bytes())
        .word(inner.pulse.report().as_bytes())
        .number(inner.process_kept_ms());
    let reply = inner.ask(&scripts::REGISTER, packed);
    let inner = Arc::clone(inner);
    async move {
        let (now, row) = inner.one_row(&reply.await?).await?;
        Ok(match row {
            Some(row) => Entry::Registered(row.state.epoch, row.json(now)),
            None => Entry::Refused,
        })
    }
}

/// Takes a registered worker in, and has it beat.
fn adopt(inner: &Arc<Inner>, mut member: Member, epoch: u64) {
    member.say(|member| member.epoch = epoch);
    let before = inner.members.lock().insert(member.registration.id.clone(), member);
    if before.is_none() {
        inner.manager.metrics().registry_workers.add(1);
    }
    if inner.settings.automatic {
        inner.start_beats();
    }
}

/// Registers a worker again whose epoch is over without its doing. Nobody waits; what came of it is told as an event.
async fn enter_again(inner: &Arc<Inner>, lost: Member, nonce: &str) -> Result<()> {
    let id = lost.registration.id.clone();
    match enter(inner, &lost, nonce, &lost.who()).await? {
        Entry::Registered(epoch, info) => {
            let still = inner.members.at_epoch(&id, lost.epoch, |member| {
                member.say(|member| member.epoch = epoch);
                member.lost = None;
                (member.command, member.unacknowledged) = (0, false);
            });
            if still.is_some() {
                tell_fenced(inner, &lost, &info);
            } else if inner.members.epoch(&id) != Some(epoch) {
                // It was unregistered meanwhile, and not registered by another attempt under the same nonce.
                inner.tell(&scripts::UNREGISTER, unregistration(inner, &id, &format!("{epoch} "), false));
            }
        }
        // Else what comes of that one decides.
        Entry::Refused if !inner.entering.has(&id) => forget(inner, &id, lost.epoch),
        Entry::Refused => {}
    }
    Ok(())
}

/// The registration of a worker of this process is over for good.
pub(super) fn forget(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if let Some(member) = inner.members.take(id, epoch) {
        inner.manager.metrics().registry_workers.add(-1);
        tell_fenced(inner, &member, "null");
    }
}

pub(super) fn tell_fenced(inner: &Inner, member: &Member, next: &str) {
    inner.manager.metrics().registry_fenced.add(1);
    let id = Value::from(String::from_utf8_lossy(&member.registration.id));
    inner.outlet.tell(format!(r#"{{"event":"fenced","id":{id},"epoch":{},"next":{next}}}"#, member.epoch));
}

/// Arguments: id, status. Gives false if it is not registered, or was by this registry and is not any more.
pub(super) fn set_status(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = Bytes::copy_from_slice(worker_id(call, 0)?);
        let Some(status) = status(call, 1)? else {
            return Err(call.wrong("status", "one of idle, busy, paused, draining", Arg::Absent));
        };
        let (epoch, only) = (inner.members.epoch(&id), inner.members.own_epoch(&id));
        let packed = inner.begin(&scripts::STATUS, &[], 3, id.len() + 64).word(&id).word(only.as_bytes()).word(&status);
        let reply = inner.ask(&scripts::STATUS, packed);
        Ok(async move {
            let done = worker::yes(&reply.await?)?;
            if let Some(epoch) = epoch.filter(|_| done) {
                inner.members.at_epoch(&id, epoch, |member| member.status = status);
            }
            Ok(Outcome::Bool(done))
        })
    });
}

/// Registers again all that are lost, and says whether that was possible.
pub(super) async fn enter_all_again(inner: &Arc<Inner>) -> bool {
    let lost: Vec<Member> = inner.members.lock().values().filter(|member| member.lost.is_some()).cloned().collect();
    let mut all = true;
    // After a restart of the server everyone comes at once: not so many that the last of them pass their deadline.
    for some in lost.chunks(AT_ONCE) {
        let tries: Vec<_> = some
            .iter()
            .cloned()
            .map(|member| {
                let inner = Arc::clone(inner);
                lifecycle::spawn(async move {
                    let nonce = member.lost.clone().unwrap_or_else(nonce);
                    enter_again(&inner, member, &nonce).await
                })
            })
            .collect();
        for one in tries {
            all &= matches!(one.await, Ok(Ok(())));
        }
    }
    all
}

/// The epoch of a worker of this process is over without its doing. With automatic heartbeats it is registered again.
pub(super) fn lose(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if inner.settings.automatic {
        replace(inner, id, epoch);
    } else {
        forget(inner, id, epoch);
    }
}

/// Somebody has registered its id again. If that may have been a registration of this registry that failed, the worker takes its
/// place; while one is on its way, its answer decides.
pub(super) fn supersede(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    if inner.entering.has(id) {
        return;
    }
    if inner.members.at_epoch(id, epoch, |member| member.rival.is_some()) == Some(true) {
        replace(inner, id, epoch);
    } else {
        forget(inner, id, epoch);
    }
}

fn replace(inner: &Arc<Inner>, id: &[u8], epoch: u64) {
    inner.members.at_epoch(id, epoch, |member| {
        member.lost.get_or_insert_with(nonce);
    });
    again(inner);
}

/// Has those that are lost registered again soon.
pub(super) fn again(inner: &Arc<Inner>) {
    if inner.settings.automatic {
        inner.beats.hurry();
    } else {
        let inner = Arc::clone(inner);
        lifecycle::spawn(async move { enter_all_again(&inner).await });
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
