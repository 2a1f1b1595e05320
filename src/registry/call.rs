//! One script call: the registry's keys, what the caller may judge, and its own arguments.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Inner;
use super::scripts::Verb;
use crate::connection::{Command, Origin, Packed, Sink};
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;

/// Arguments of the prelude.
const POLICY: usize = 6;

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    /// Begins a call with `keys` behind the registry's own, and room for `args` arguments of `bytes` bytes.
    pub(super) fn begin(&self, verb: &Verb, keys: &[Bytes], args: usize, bytes: usize) -> Packed {
        let fixed = self.keys.fixed();
        let size = fixed.iter().chain(keys).map(|key| key.len() + 8).sum::<usize>() + bytes + 128;
        let mut packed = Packed::sized(size).script(&verb.script, fixed.len() + keys.len(), POLICY + args);
        for key in fixed.iter().chain(keys) {
            packed = packed.word(key);
        }
        let settings = &self.settings;
        packed
            .word(self.sight.judges_until(self.manager.time_added()).as_bytes())
            .word(settings.storm_share.to_string().as_bytes())
            .number(settings.storm_minimum)
            .number(millis(settings.lease()))
            .number(millis(settings.interval))
            .number(millis(settings.forget_after))
    }

    /// Sends a call now; the future gives its reply.
    pub(super) fn ask(
        self: &Arc<Self>,
        verb: &'static Verb,
        packed: Packed,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let located = self.ask_located(verb, packed);
        async move { located.await.map(|(reply, _)| reply) }
    }

    /// The same; the future also says on which connection the reply came.
    pub(super) fn ask_located(
        self: &Arc<Self>,
        verb: &'static Verb,
        packed: Packed,
    ) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        let command = command(verb, packed);
        let added = self.manager.time_added();
        let first = self.attempt(command.clone());
        let inner = Arc::clone(self);
        async move {
            let began = Instant::now();
            let mut reply = first.await;
            if let Some(now) = reply.as_ref().err().and_then(stale) {
                let took = began.elapsed() + inner.manager.time_added().saturating_sub(added);
                let again = inner.attempt(judging(&command, inner.sight.refused(took)));
                // Only now: before, every other call is refused too.
                inner.heard(now);
                reply = again.await;
            }
            reply.map(|(reply, origin)| (inner.answer_of(reply), origin))
        }
    }

    fn attempt(self: &Arc<Self>, command: Command) -> impl Future<Output = Result<(Reply, Origin)>> + Send + use<> {
        let (sink, answer) = oneshot::channel();
        self.sight.asks();
        self.manager.submit(command, Sink::Located(sink));
        self.manager.keeps();
        let inner = Arc::clone(self);
        async move {
            let reply =
                answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the connection manager has ended")));
            if !reply.as_ref().is_err_and(|error| error.delivery() != Delivery::Rejected) {
                inner.sight.answered();
            }
            reply
        }
    }

    /// The server's time, just heard.
    pub(super) fn heard(&self, ms: f64) {
        self.sight.heard(ms, self.manager.time_added());
    }

    /// Sends a call nobody waits for.
    pub(super) fn tell(self: &Arc<Self>, verb: &'static Verb, packed: Packed) {
        let told = self.ask(verb, packed);
        lifecycle::spawn(async move {
            // Nobody waits: what it was to end ends with its time.
            let _ = told.await;
        });
    }
}

pub(super) fn command(verb: &Verb, packed: Packed) -> Command {
    if verb.repeatable {
        packed.runs_reading(verb.operation, &verb.script)
    } else {
        packed.runs(verb.operation, &verb.script)
    }
}

/// The server's time where a call was refused for having been too long on its way.
fn stale(error: &Error) -> Option<f64> {
    error.message().strip_prefix("STALE ")?.parse().ok()
}

/// The same call with another time until which it may judge. That is its first word of 13 bytes: the digest and every key are
/// longer, the rest before it is shorter.
fn judging(command: &Command, until: &str) -> Command {
    let mut payload = command.payload.to_vec();
    let head = b"$13\r\n";
    if let Some(at) = payload.windows(head.len()).position(|window| window == head) {
        let at = at + head.len();
        payload[at..at + until.len()].copy_from_slice(until.as_bytes());
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
        let packed = |until: &str| {
            let mut packed = Packed::sized(64).script(&scripts::SWEEP.script, keys.fixed().len(), 2);
            for key in keys.fixed() {
                assert!(key.len() > 13);
                packed = packed.word(key);
            }
            command(&scripts::SWEEP, packed.word(until.as_bytes()).word(b"thirteen-long"))
        };
        let again = judging(&packed("1763721000000"), "0000000000000");
        assert_eq!(again.payload, packed("0000000000000").payload);
    }

    #[test]
    fn a_refusal_says_the_servers_time() {
        assert_eq!(stale(&Error::from_reply("STALE 1763721000000")), Some(1_763_721_000_000.0));
        assert_eq!(stale(&Error::from_reply("ERR STALE 1")), None);
    }
}
