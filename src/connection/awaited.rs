//! The replies that are still to come on a connection, in order.
//!
//! Replies are matched by their order alone. A request whose deadline passes is settled but keeps its place, so no reply is ever given to
//! the wrong caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::request::{Request, timed_out};
use crate::error::Delivery;

pub(super) enum Expected {
    Request(Request),
    /// The reply to a command of ours, such as `PING`: nobody waits for it.
    Ours,
    /// The reply to a `SCRIPT LOAD` of ours; the request that needs it is next.
    Load,
}

/// What is awaited on one connection, oldest first.
#[derive(Default)]
pub(super) struct Awaited {
    queue: VecDeque<Expected>,
    /// How many at the front are settled already.
    settled: usize,
    /// Is some request older than one before it?
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

    /// Awaits the reply to a command of ours.
    pub(super) fn push_ours(&mut self, expected: Expected) {
        self.queue.push_back(expected);
    }

    /// Takes out what the next reply is for.
    pub(super) fn pop(&mut self) -> Option<Expected> {
        let expected = self.queue.pop_front()?;
        self.settled = self.settled.saturating_sub(1);
        if self.queue.is_empty() {
            self.unordered = false;
            self.newest = None;
        }
        Some(expected)
    }

    /// Puts back at the front a request of which further replies are to come.
    pub(super) fn put_back(&mut self, request: Request) {
        self.settled += usize::from(request.is_settled());
        self.newest.get_or_insert(request.accepted);
        self.queue.push_front(Expected::Request(request));
    }

    /// Does nobody wait for the next reply any more?
    pub(super) fn is_next_settled(&self) -> bool {
        matches!(self.queue.front(), Some(Expected::Request(request)) if request.is_settled())
    }

    /// Does nobody wait for any reply?
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

    /// Settles every request whose deadline has passed. They keep their places.
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
