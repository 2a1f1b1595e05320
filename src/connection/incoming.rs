//! The bytes that a connection has received, read as replies.
//!
//! A reply that is too large, or that no caller waits for, is skipped. The caller of a skipped reply gets an error. The time to skip
//! one reply is limited.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::config::Config;
use crate::error::{Delivery, Error, ErrorKind};
use crate::resp::{MAX_DEPTH, ProtocolError, Read, Reader, Why};

/// The bytes that a server has sent, and the reader of its replies.
pub(super) struct Incoming {
    /// Bytes that are not read as replies yet. The reader of the stream appends to them.
    pub(super) bytes: BytesMut,
    reader: Reader,
    patience: Patience,
    max_reply_bytes: usize,
}

impl Incoming {
    /// `bytes` are what the handshake of the connection has left unread.
    pub(super) fn new(bytes: BytesMut, reader: Reader, config: &Config) -> Self {
        let patience = Patience::new(config.command_timeout);
        Self { bytes, reader, patience, max_reply_bytes: config.max_reply_bytes }
    }

    /// The next reply, or the next skipped reply. `None` where more bytes are needed; then the caller calls [`Incoming::check`].
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Read>, ProtocolError> {
        self.reader.next(&mut self.bytes)
    }

    /// Skips the next reply, because no caller waits for it.
    #[inline]
    pub(super) fn pass_one(&mut self) {
        self.reader.pass_one();
    }

    /// Gives the reason to end the connection, where the skip of one reply takes too long.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), String> {
        self.patience.check(&self.reader, now)
    }

    /// The error of the caller whose reply was skipped. The server has executed or refused the command.
    pub(super) fn unread(&self, why: Why) -> Error {
        let message = match why {
            Why::TooDeep => format!("the reply: expected at most {MAX_DEPTH} levels of arrays in arrays, got more"),
            Why::TooLong | Why::Unwanted => format!(
                "the reply: expected at most RedisConfig.maxReplyBytes, {} bytes, got more: read it in parts",
                self.max_reply_bytes
            ),
        };
        Error::new(ErrorKind::Serialization, message).with_delivery(Delivery::MaybeExecuted)
    }
}

/// Limits the time to skip one reply. The commands behind it would get no answer in time; a new connection serves later commands.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    since: Option<(u64, Instant)>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, since: None }
    }

    fn check(&mut self, reader: &Reader, now: Instant) -> Result<(), String> {
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
