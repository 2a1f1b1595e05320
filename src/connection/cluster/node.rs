//! One node of a cluster: its connection, and the requests that wait for it.

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
    /// Not connected. The next attempt is allowed from this time on.
    Down(Instant),
    Opening(Opening),
    Up(Box<Pipeline>),
}

pub(super) struct Node {
    pub(super) address: Address,
    pub(super) link: Link,
    /// The requests that wait for the connection, oldest first.
    pub(super) queue: VecDeque<Request>,
    /// How many attempts to connect have failed in a row.
    pub(super) attempt: u32,
    pub(super) used: Instant,
    /// Present while a connection is needed and not open, or while the node is stalled.
    pub(super) missing: Option<Missing>,
    /// When the connection is ended, because the node has lost its slots.
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

    /// Adds a request. The queue is in the order of acceptance: a repeated request goes before the ones that were accepted later.
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
