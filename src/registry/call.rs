//! One script call: the registry's keys, the caller's authority, and the arguments of the script.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Inner;
use super::authority::MASTERSHIP;
use super::scripts::{self, Procedure};
use crate::connection::{Command, Origin, Packed};
use crate::error::{Delivery, Error, Result};
use crate::lifecycle;
use crate::resp::Reply;

/// Arguments that every script takes first.
const POLICY: usize = 6;

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    /// Starts a call with `keys` after the registry's own, and room for `args` arguments of `bytes` bytes.
    pub(super) fn begin(&self, procedure: &Procedure, keys: &[Bytes], args: usize, bytes: usize) -> Packed {
        let fixed = self.keys.fixed();
        let size = fixed.iter().chain(keys).map(|key| key.len() + 8).sum::<usize>() + bytes + 128;
        let mut packed = Packed::sized(size).script(&procedure.script, fixed.len() + keys.len(), POLICY + args);
        for key in fixed.iter().chain(keys) {
            packed = packed.word(key);
        }
        let settings = &self.settings;
        packed
            .word(self.authority.may_declare_until(self.manager.time_added()).as_bytes())
            .word(format!("{} {}", settings.storm_share, self.authority.mastership()).as_bytes())
            .number(settings.storm_minimum)
            .number(millis(settings.lease()))
            .number(millis(settings.interval))
            .number(millis(settings.forget_after))
    }

    /// Sends a call now; the future resolves to its reply.
    pub(super) fn call(
        self: &Arc<Self>,
        procedure: &'static Procedure,
        packed: Packed,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let located = self.call_located(procedure, packed);
        async move { located.await.map(|(reply, _)| reply) }
    }

    /// As [`Inner::call`]; the future also says on which connection the reply came.
    pub(super) fn call_located(
        self: &Arc<Self>,
        procedure: &'static Procedure,
        packed: Packed,
    ) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        let command = command(procedure, packed);
        let added = self.manager.time_added();
        let first = self.attempt(command.clone());
        let inner = Arc::clone(self);
        async move {
            let began = Instant::now();
            let (mut command, mut reply) = (command, first.await);
            // Each refusal is answered at most once.
            for _ in 0..2 {
                match reply.as_ref().err().and_then(Refusal::of) {
                    Some(Refusal::Stale(now)) => {
                        let took = began.elapsed() + inner.manager.time_added().saturating_sub(added);
                        command = with_authority(&command, Some(inner.authority.refused_as_stale(took)), None);
                        let again = inner.attempt(command.clone());
                        // The time is recorded only now: until this call arrives, every other call is refused too.
                        inner.note_server_time(now);
                        reply = again.await;
                    }
                    Some(Refusal::Elsewhere(mastership)) => {
                        let until = inner.authority.refused_as_elsewhere(&mastership);
                        command = with_authority(&command, until, Some(&mastership));
                        reply = inner.attempt(command.clone()).await;
                    }
                    None => break,
                }
            }
            reply.map(|(reply, origin)| (inner.answer_of(reply), origin))
        }
    }

    fn attempt(self: &Arc<Self>, command: Command) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        self.authority.sent();
        let answer = self.manager.call_located(command);
        self.manager.keeps();
        let inner = Arc::clone(self);
        async move {
            let reply = answer.await;
            if !reply.as_ref().is_err_and(|error| error.delivery() != Delivery::Rejected) {
                inner.authority.answered();
            }
            reply
        }
    }

    /// Records the server's time, just received.
    pub(super) fn note_server_time(&self, ms: f64) {
        self.authority.note_server_time(ms, self.manager.time_added());
    }

    /// Sends a call without waiting for its reply.
    pub(super) fn submit(self: &Arc<Self>, procedure: &'static Procedure, packed: Packed) {
        let reply = self.call(procedure, packed);
        lifecycle::spawn(async move {
            // No caller waits. What the call was to end ends with its lease.
            let _ = reply.await;
        });
    }
}

/// Ends the registration of `id`. `reference` is that of [`Member::reference`](super::members::Member::reference), or empty for
/// any registration.
pub(super) fn unregistration(inner: &Inner, id: &[u8], who: &str, abnormally: bool) -> Packed {
    inner
        .begin(&scripts::UNREGISTER, &[], 3, id.len() + who.len() + 32)
        .word(id)
        .word(who.as_bytes())
        .word(if abnormally { b"1" } else { b"0" })
}

pub(super) fn command(procedure: &Procedure, packed: Packed) -> Command {
    if procedure.repeatable {
        packed.runs_repeatable(procedure.operation, &procedure.script)
    } else {
        packed.runs(procedure.operation, &procedure.script)
    }
}

/// Why a call with authority was refused; the script did nothing.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// The call took too long to arrive; the server's time.
    Stale(f64),
    /// The caller was connected to another server before; the mastership of this server.
    Elsewhere(String),
}

impl Refusal {
    fn of(error: &Error) -> Option<Self> {
        let message = error.message();
        match message.split_once(' ')? {
            ("STALE", now) => now.parse().ok().map(Self::Stale),
            ("ELSEWHERE", name) if name.len() == MASTERSHIP => Some(Self::Elsewhere(name.to_owned())),
            _ => None,
        }
    }
}

/// The same call with another authority or another mastership. The authority is the first word of 13 bytes: the digest and all
/// keys are longer, and the other words before it are shorter. The mastership is the end of the next word.
fn with_authority(command: &Command, until: Option<&str>, mastership: Option<&str>) -> Command {
    let mut payload = command.payload.to_vec();
    let head = b"$13\r\n";
    if let Some(at) = payload.windows(head.len()).position(|window| window == head) {
        let at = at + head.len();
        if let Some(until) = until {
            payload[at..at + until.len()].copy_from_slice(until.as_bytes());
        }
        let behind = at + 13 + b"\r\n".len();
        let word = payload[behind..].windows(2).position(|window| window == b"\r\n");
        let digits = word.and_then(|end| std::str::from_utf8(&payload[behind + 1..behind + end]).ok());
        let length = digits.and_then(|digits| digits.parse::<usize>().ok());
        if let (Some(name), Some(word), Some(length)) = (mastership, word, length) {
            let end = behind + word + 2 + length;
            payload[end - name.len()..end].copy_from_slice(name.as_bytes());
        }
    }
    Command { payload: payload.into(), ..command.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::scripts;
    use super::*;
    use crate::keys::Namespace;

    #[test]
    fn a_call_is_made_again_with_another_time() {
        let keys = Namespace::NONE.registry();
        let packed = |until: &str, mastership: &str| {
            let mut packed = Packed::sized(64).script(&scripts::SWEEP.script, keys.fixed().len(), 2);
            for key in keys.fixed() {
                assert!(key.len() > 13);
                packed = packed.word(key);
            }
            let place = format!("0.3 {mastership}");
            command(&scripts::SWEEP, packed.word(until.as_bytes()).word(place.as_bytes()))
        };
        let (here, there) = ("a".repeat(MASTERSHIP), "b".repeat(MASTERSHIP));
        let first = packed("1763721000000", &here);
        assert_eq!(with_authority(&first, Some("0000000000000"), None).payload, packed("0000000000000", &here).payload);
        assert_eq!(with_authority(&first, None, Some(&there)).payload, packed("1763721000000", &there).payload);
    }

    #[test]
    fn a_refusal_says_the_servers_time() {
        let of = |line: &str| Refusal::of(&Error::from_reply(line));
        assert_eq!(of("STALE 1763721000000"), Some(Refusal::Stale(1_763_721_000_000.0)));
        assert_eq!(of("ERR STALE 1"), None);
        let name = "a".repeat(MASTERSHIP);
        assert_eq!(of(&format!("ELSEWHERE {name}")), Some(Refusal::Elsewhere(name)));
        assert_eq!(of("ELSEWHERE x"), None);
    }
}
