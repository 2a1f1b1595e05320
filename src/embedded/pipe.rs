//! The data that the two ends of a connection to an engine share.
//!
//! Bytes are passed on in whole buffers. The engine swaps the client's buffer for an empty one, and passes on the replies of a
//! whole batch with one wake-up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use crate::sync::Mutex;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) bytes: Vec<u8>,
    /// How much of `bytes` the client has already read.
    pub(super) read: usize,
    /// Buffers behind `bytes`, so that a batch of replies is moved, not copied.
    pub(super) more: VecDeque<Vec<u8>>,
    pub(super) closed: bool,
    pub(super) waker: Option<Waker>,
}

/// The data that both ends of a connection share.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) id: u64,
    pub(super) to_engine: Mutex<Half>,
    pub(super) to_client: Mutex<Half>,
    /// Whether the engine already has a message about this pipe.
    pub(super) announced: AtomicBool,
}

impl Pipe {
    pub(super) fn new(id: u64) -> Self {
        Pipe { id, to_engine: Mutex::default(), to_client: Mutex::default(), announced: AtomicBool::new(false) }
    }

    /// Takes the bytes that the client has written; `false` if the client is gone and no bytes are left.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> bool {
        self.announced.store(false, Ordering::SeqCst);
        let mut half = self.to_engine.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut half.bytes);
        } else {
            into.append(&mut half.bytes);
        }
        let open = !half.closed;
        let waker = half.waker.take();
        drop(half);
        if let Some(waker) = waker {
            waker.wake();
        }
        open
    }

    /// Passes a batch of replies to the client, and empties `from`. Returns how many bytes the client has not read yet.
    pub(super) fn give(&self, from: &mut Vec<u8>) -> usize {
        let mut half = self.to_client.lock();
        if half.closed {
            from.clear();
            return 0;
        }
        if half.read == half.bytes.len() && half.more.is_empty() {
            half.bytes.clear();
            half.read = 0;
            std::mem::swap(&mut half.bytes, from);
        } else if from.len() < 16 * 1024 && half.more.is_empty() {
            half.bytes.append(from);
        } else {
            half.more.push_back(std::mem::take(from));
        }
        let unread = half.bytes.len() - half.read + half.more.iter().map(Vec::len).sum::<usize>();
        let waker = half.waker.take();
        drop(half);
        if let Some(waker) = waker {
            waker.wake();
        }
        unread
    }

    /// Closes the connection from the engine's side, in both directions.
    pub(super) fn close(&self) {
        for half in [&self.to_engine, &self.to_client] {
            let mut half = half.lock();
            half.closed = true;
            let waker = half.waker.take();
            drop(half);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}
