//! The replies that are expected on a connection, in order.
//!
//! Replies are matched to requests by their order alone. A request whose deadline passes is settled but keeps its place, so that no
//! reply is given to the wrong caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::request::{Request, timed_out};
use crate::error::Delivery;

pub(super) enum Expected {
    Request(Request),
    /// The reply to a command of the connection itself, such as `PING`. No caller waits for it.
    Ours,
    /// The reply to a `SCRIPT LOAD` of the connection itself; the request that needs the script is next.
    Load,
}

/// The replies that are expected on one connection, oldest first.
#[derive(Default)]
pub(super) struct Awaited {
    queue: VecDeque<Expected>,
    /// How many entries at the front are settled already.
    settled: usize,
    /// Was some request accepted earlier than one before it in the queue?
    unordered: bool,
    /// When the last request was accepted.
    newest: Option<Instant>,
}

impl Awaited {
    pub(super) fn push(&mut self, request: Request) {
        self.unordered |= self.newest.is_some_and(|newest| request.accepted < newest);
        self.newest = Some(request.accepted);
        self.queue.push_back(Expected::Request(request));
    }

    /// Expects the reply to a command of the connection itself.
    pub(super) fn push_ours(&mut self, expected: Expected) {
        self.queue.push_back(expected);
    }

    /// Removes the entry that the next reply is for.
    pub(super) fn pop(&mut self) -> Option<Expected> {
        let expected = self.queue.pop_front()?;
        self.settled = self.settled.saturating_sub(1);
        if self.queue.is_empty() {
            self.unordered = false;
            self.newest = None;
        }
        Some(expected)
    }

    /// Puts a request back at the front, because further replies to it are expected.
    pub(super) fn put_back(&mut self, request: Request) {
        self.settled += usize::from(request.is_settled());
        self.newest.get_or_insert(request.accepted);
        self.queue.push_front(Expected::Request(request));
    }

    /// Does no caller wait for the next reply any more?
    pub(super) fn is_next_settled(&self) -> bool {
        matches!(self.queue.front(), Some(Expected::Request(request)) if request.is_settled())
    }

    /// Does no caller wait for any reply?
    pub(super) fn is_settled(&self) -> bool {
        self.queue.iter().skip(self.settled).all(|expected| match expected {
            Expected::Request(request) => request.is_settled(),
            Expected::Ours | Expected::Load => true,
        })
    }

    /// The oldest request, settled or not.
    pub(super) fn oldest(&self) -> Option<&Request> {
        self.queue.iter().find_map(|expected| match expected {
            Expected::Request(request) => Some(request),
            Expected::Ours | Expected::Load => None,
        })
    }

    /// When the next deadline of a request passes.
    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        let mut open = self.queue.iter().skip(self.settled).filter_map(|expected| match expected {
            Expected::Request(request) if !request.is_settled() => Some(request.deadline(timeout)),
            _ => None,
        });
        if self.unordered { open.min() } else { open.next() }
    }

    /// Settles every request whose deadline has passed. The requests keep their places.
    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) {
        for at in self.settled..self.queue.len() {
            match &mut self.queue[at] {
                Expected::Request(request) if !request.is_settled() => {
                    if request.deadline(timeout) <= now {
                        request.abandon(timed_out(timeout, Delivery::MaybeExecuted), now);
                    } else if self.unordered {
                        continue;
                    } else {
                        return;
                    }
                }
                _ => {}
            }
            if at == self.settled {
                self.settled += 1;
            }
        }
    }

    /// The requests that are not settled, oldest first.
    pub(super) fn into_unsettled(self) -> impl Iterator<Item = Request> {
        self.queue.into_iter().filter_map(|expected| match expected {
            Expected::Request(request) if !request.is_settled() => Some(request),
            Expected::Request(_) | Expected::Ours | Expected::Load => None,
        })
    }
}
