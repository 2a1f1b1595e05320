//! The bytes to write on a connection, and how many of them the stream has taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::dial::Stream;
use crate::telemetry::Metrics;

/// How many bytes may wait here. Further requests stay in the queue, where they can still expire unsent.
const HIGH_WATER: usize = 256 * 1024;

/// The bytes that wait to be written.
#[derive(Default)]
pub(super) struct Outgoing {
    bytes: BytesMut,
    /// How many bytes were ever appended.
    appended: u64,
    /// How many bytes the stream has taken.
    written: u64,
    unflushed: bool,
    /// Did the kernel refuse to take more?
    stuck: bool,
    /// Has the kernel taken more bytes after that? Then the peer has acknowledged some.
    resumed: bool,
}

impl Outgoing {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.appended += bytes.len() as u64;
    }

    /// The position of the next byte, counted from the first byte that was ever appended.
    pub(super) fn position(&self) -> u64 {
        self.appended
    }

    /// Has the stream taken the byte at `position`?
    pub(super) fn has_written(&self, position: u64) -> bool {
        position < self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < HIGH_WATER
    }

    /// Has the stream taken bytes after it was stuck, since the last call?
    pub(super) fn take_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumed)
    }

    /// Writes at once as much as the stream takes, from any thread. False when something is left for [`Outgoing::poll`].
    pub(super) fn try_write(&mut self, stream: &dyn Stream, metrics: &Metrics) -> bool {
        if self.bytes.is_empty() {
            return true;
        }
        if self.bytes.len() > HIGH_WATER {
            return false;
        }
        match stream.try_write(&self.bytes) {
            Some(Ok(count)) if count > 0 => {
                self.wrote(count, metrics);
                self.bytes.is_empty()
            }
            // The I/O thread meets the same failure, and handles it.
            _ => false,
        }
    }

    /// Writes and flushes. Ready when nothing is left.
    pub(super) fn poll(
        &mut self,
        stream: &mut Box<dyn Stream>,
        cx: &mut Context<'_>,
        metrics: &Metrics,
    ) -> Poll<io::Result<()>> {
        while !self.bytes.is_empty() {
            let Poll::Ready(count) = Pin::new(&mut *stream).poll_write(cx, &self.bytes) else {
                self.stuck = true;
                return Poll::Pending;
            };
            let count = count?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.wrote(count, metrics);
            self.unflushed = true;
            self.resumed |= std::mem::take(&mut self.stuck);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, count: usize, metrics: &Metrics) {
        self.bytes.advance(count);
        self.written += count as u64;
        metrics.sent_bytes.add(count as u64);
    }
}
