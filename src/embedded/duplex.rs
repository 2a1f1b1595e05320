//! The client's end of a connection to an engine.
//!
//! A client that writes faster than the engine reads must wait at [`WRITE_LIMIT`]. A client that does not read its replies costs
//! memory, as with Redis.
//!
//! The client disconnects by dropping or shutting down its `ClientStream`. The engine disconnects by `Pipe::close`; the client
//! then reads the remaining bytes and after them end-of-file.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hub::{Hub, Message};
use super::pipe::Pipe;

/// A write waits while this many bytes wait for the engine.
const WRITE_LIMIT: usize = 4 * 1024 * 1024;

/// The client's end of a connection to an engine: `AsyncRead + AsyncWrite`, usable from any runtime.
#[derive(Debug)]
pub struct ClientStream {
    pipe: Arc<Pipe>,
    hub: &'static Hub,
}

impl ClientStream {
    pub(super) fn new(pipe: Arc<Pipe>, hub: &'static Hub) -> Self {
        ClientStream { pipe, hub }
    }

    /// Writes as many bytes as there is room for. May be called from any thread.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room, `BrokenPipe` after the end of the connection.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut half = self.pipe.to_engine.lock();
        if half.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(WRITE_LIMIT.saturating_sub(half.bytes.len()));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        half.bytes.extend_from_slice(&bytes[..count]);
        drop(half);
        self.announce();
        Ok(count)
    }

    fn announce(&self) {
        if !self.pipe.announced.swap(true, Ordering::SeqCst) {
            self.hub.send(Message::Ready(Arc::clone(&self.pipe)));
        }
    }

    fn disconnect(&self) {
        self.pipe.to_engine.lock().closed = true;
        self.announce();
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut half = self.pipe.to_client.lock();
        let mut filled = false;
        while buf.remaining() > 0 {
            let rest = &half.bytes[half.read..];
            if rest.is_empty() {
                let Some(next) = half.more.pop_front() else {
                    break;
                };
                half.bytes = next;
                half.read = 0;
                continue;
            }
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            half.read += n;
            filled = true;
        }
        if filled || half.closed || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if half.waker.as_ref().is_none_or(|w| !w.will_wake(cx.waker())) {
            half.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.pipe.to_engine.lock();
        if half.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut room = WRITE_LIMIT.saturating_sub(half.bytes.len());
        if room == 0 {
            half.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut written = 0;
        for buf in bufs {
            let n = buf.len().min(room);
            half.bytes.extend_from_slice(&buf[..n]);
            written += n;
            room -= n;
        }
        drop(half);
        if written > 0 {
            self.announce();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.disconnect();
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let mut half = self.pipe.to_client.lock();
        half.closed = true;
        half.bytes = Vec::new();
        half.more.clear();
        half.read = 0;
        drop(half);
        self.disconnect();
    }
}
