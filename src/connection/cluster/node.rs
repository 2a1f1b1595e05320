//! One node of a cluster: what waits for it, and its connection.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Instant;

use crate::connection::handshake::Greeted;
use crate::connection::pipeline::Pipeline;
use crate::connection::request::Request;
use crate::connection::target::Address;
use crate::connection::topology::Missing;
use crate::error::Result;

pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Greeted>> + Send>>;

pub(super) enum Link {
    /// Not connected; may be opened from then on.
    Down(Instant),
    Opening(Opening),
    Up(Box<Pipeline>),
}

pub(super) struct Node {
    pub(super) address: Address,
    pub(super) link: Link,
    /// Not yet given to a connection, oldest first.
    pub(super) queue: VecDeque<Request>,
    /// Attempts to connect that failed in a row.
    pub(super) attempt: u32,
    pub(super) used: Instant,
    /// While it is not connected though it should be, or stands still.
    pub(super) missing: Option<Missing>,
    /// When its connection is ended, if it has lost its slots.
    pub(super) leaves_at: Option<Instant>,
}

impl Node {
    pub(super) fn new(address: Address, now: Instant) -> Self {
        Self {
            address,
            link: Link::Down(now),
            queue: VecDeque::new(),
            attempt: 0,
            used: now,
            missing: None,
            leaves_at: None,
        }
    }

    /// Keeps the queue in order of acceptance: what comes again goes before what came later.
    pub(super) fn enqueue(&mut self, request: Request) {
        let at = match self.queue.back() {
            Some(last) if last.accepted > request.accepted => {
                self.queue.partition_point(|other| other.accepted <= request.accepted)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(at, request);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && match &self.link {
                Link::Up(pipeline) => pipeline.is_idle(),
                Link::Opening(_) | Link::Down(_) => true,
            }
    }
}
