//! One script call: the registry's keys, what the caller may judge, and its own arguments.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Inner;
use super::scripts::Verb;
use crate::connection::{Command, Packed, Sink};
use crate::error::{Error, ErrorKind, Result};
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
            .word(if self.sight.judges() { b"1" } else { b"0" })
            .word(settings.storm_share.to_string().as_bytes())
            .number(settings.storm_minimum)
            .number(millis(settings.lease()))
            .number(millis(settings.interval))
            .number(millis(settings.forget_after))
    }

    /// Sends a call now; the future gives its reply.
    pub(super) fn ask(
        self: &Arc<Self>,
        verb: &Verb,
        packed: Packed,
    ) -> impl Future<Output = Result<Reply>> + Send + use<> {
        let command = command(verb, packed);
        let (sink, answer) = oneshot::channel();
        let began = Instant::now();
        self.manager.submit(command, Sink::Waiter(sink));
        let inner = Arc::clone(self);
        async move {
            let reply =
                answer.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the connection manager has ended")));
            match &reply {
                Ok(_) => inner.sight.answered(began),
                Err(error) if matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) => {
                    inner.sight.failed(began);
                }
                Err(_) => {}
            }
            reply
        }
    }

    /// Sends a call nobody waits for.
    pub(super) fn tell(&self, verb: &Verb, packed: Packed) {
        self.manager.submit(command(verb, packed), Sink::Ignored);
    }
}

pub(super) fn command(verb: &Verb, packed: Packed) -> Command {
    if verb.repeatable {
        packed.runs_reading(verb.operation, &verb.script)
    } else {
        packed.runs(verb.operation, &verb.script)
    }
}
