//! Replies that are read past: what their callers are told, and how long one may go on.

use std::time::{Duration, Instant};

use crate::error::{Delivery, Error, ErrorKind};
use crate::resp::{MAX_DEPTH, Reader, Why};

/// The error of whoever waits for a reply that was read past. Whatever it answers has been executed, or refused.
pub(super) fn unread(why: Why, limit: usize) -> Error {
    let message = match why {
        Why::TooDeep => format!("the reply: expected at most {MAX_DEPTH} levels of arrays in arrays, got more"),
        Why::TooLong | Why::Unwanted => {
            format!("the reply: expected at most RedisConfig.maxReplyBytes, {limit} bytes, got more: read it in parts")
        }
    };
    Error::new(ErrorKind::Serialization, message).with_delivery(Delivery::MaybeExecuted)
}

/// Bounds the time in which one reply is read past: whoever waits behind it has no answer after that either, and a new connection
/// serves those who come then.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Option<(u64, Instant)>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    /// Says why the connection is lost, if it is: to be asked whenever `reader` has read.
    pub(super) fn check(&mut self, reader: &Reader, now: Instant) -> Result<(), String> {
        let Some(number) = reader.passing() else {
            self.since = None;
            return Ok(());
        };
        match self.since {
            Some((same, since)) if same == number => {
                if now.saturating_duration_since(since) > self.limit {
                    return Err(format!(
                        "a reply that is kept nowhere had no end within {} ms",
                        self.limit.as_millis()
                    ));
                }
            }
            _ => self.since = Some((number, now)),
        }
        Ok(())
    }
}
