//! Threads whose owners' leases have ended. A search asks each share once. Its cost grows with the number of overdue threads only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call;
use super::{Checkpoints, Inner, scripts};
use crate::connection::{Command, Packed};
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::keys::checkpoints::SHARES;
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// The largest number of overdue threads in one answer.
const PAGE: u64 = 64;
const DEFAULT_LIMIT: u64 = 1_000;
const MOST: u64 = 100_000;

/// A thread whose owner is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InterruptedThread {
    pub(super) thread: Bytes,
    worker: Bytes,
    epoch: i64,
    /// When its lease ended, in ms of the server's time.
    at: i64,
    /// The number of earlier interruptions.
    times: i64,
}

/// The overdue threads of all shares, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    pub(super) overdue: Vec<InterruptedThread>,
    /// The time until the next lease ends.
    pub(super) next: Option<Duration>,
}

/// The answer of one share.
struct Page {
    found: Vec<InterruptedThread>,
    /// The number of examined threads that stay in the list.
    kept: u64,
    is_last: bool,
    next: Option<Duration>,
    /// Whether Redis has lost the share's list.
    is_lost: bool,
}

impl Inner {
    /// Searches every share for up to `limit` threads that `wants` accepts and that this process may take over.
    pub(super) async fn look(
        &self,
        operation: Operation,
        limit: u64,
        wants: impl Fn(&[u8]) -> bool,
    ) -> Result<Overdue> {
        let replies = self.first_pages(operation).await?;
        let mut look = Overdue::default();
        for (share, reply) in (0..).zip(replies) {
            let mut page = self.read(reply)?;
            if page.is_lost {
                self.relist(operation, share).await?;
                page = self.page(operation, share, 0).await?;
            }
            let mut passed = 0;
            loop {
                look.next = [look.next, page.next].into_iter().flatten().min();
                look.overdue.extend(page.found.into_iter().filter(|found| wants(&found.thread)));
                passed += page.kept;
                if page.is_last || look.overdue.len() as u64 >= limit {
                    break;
                }
                page = self.page(operation, share, passed).await?;
            }
        }
        look.overdue.sort_by_key(|overdue| overdue.at);
        look.overdue.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(look)
    }

    /// The first answer of each share.
    async fn first_pages(&self, operation: Operation) -> Result<Vec<Reply>> {
        let asked = Instant::now();
        // All calls are made before the first answer is awaited, so that they take one round trip.
        let calls: Vec<_> = (0..SHARES).map(|share| self.manager.call(self.overdue(operation, share, 0))).collect();
        let mut replies = Vec::with_capacity(calls.len());
        for reply in calls {
            match reply.await {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    if error.retryable() {
                        self.authority.was_refused(asked);
                    }
                    return Err(error);
                }
            }
        }
        self.authority.was_answered(asked);
        Ok(replies)
    }

    async fn page(&self, operation: Operation, share: u32, passed: u64) -> Result<Page> {
        self.read(self.manager.call(self.overdue(operation, share, passed)).await?)
    }

    fn overdue(&self, operation: Operation, share: u32, passed: u64) -> Command {
        let keys = self.namespace.threads(share);
        Packed::sized(keys.states.len() * 3 + 128)
            .script(&scripts::OVERDUE, 3, 2)
            .word(&keys.states)
            .word(&keys.due)
            .word(&keys.threads)
            .number(PAGE)
            .number(passed)
            .runs(operation, &scripts::OVERDUE)
    }

    fn read(&self, reply: Reply) -> Result<Page> {
        let [next, looked, found, is_lost] =
            <[Reply; 4]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
        let found = call::array(found)?;
        let mut page = Page {
            found: Vec::new(),
            kept: (found.len() / 7) as u64,
            is_last: call::integer(&looked)?.cast_unsigned() < PAGE,
            // -1: no lease is left.
            next: u64::try_from(call::integer(&next)?).ok().map(Duration::from_millis),
            is_lost: call::yes(&is_lost)?,
        };
        for parts in found.chunks_exact(7) {
            let overdue = InterruptedThread {
                thread: call::bytes(parts[0].clone())?,
                worker: call::bytes(parts[1].clone())?,
                epoch: call::integer(&parts[2])?,
                at: call::integer(&parts[3])?,
                times: call::integer(&parts[4])?,
            };
            let lease = u64::try_from(call::integer(&parts[5])?).unwrap_or(0);
            let is_certain = call::yes(&parts[6])?;
            if is_certain || self.authority.may_take_over(lease) {
                page.found.push(overdue);
            }
        }
        Ok(page)
    }

    /// Rebuilds the lists of a share's owned threads after Redis lost them. The cost grows with the threads of the share.
    async fn relist(&self, operation: Operation, share: u32) -> Result<()> {
        let keys = self.namespace.threads(share);
        let mut cursor = Bytes::from_static(b"0");
        loop {
            let packed = Packed::sized(keys.states.len() * 4 + 128)
                .script(&scripts::RELIST, 4, 1)
                .words([&keys.states, &keys.due, &keys.threads, &keys.workers].map(|key| &key[..]))
                .word(&cursor);
            cursor = call::bytes(self.manager.call(packed.runs(operation, &scripts::RELIST)).await?)?;
            if &cursor[..] == b"0" {
                return Ok(());
            }
        }
    }
}

/// Argument: options as JSON. Gives `[thread, worker, epoch, at, times]` of each.
pub(super) fn interrupted(store: &Checkpoints, call: Call<'_>) {
    let inner = Arc::clone(&store.0);
    call.run(|call| {
        let mut options = call::options(call, 0)?;
        let limit = options.whole("limit", 1..=MOST)?.unwrap_or(DEFAULT_LIMIT);
        options.finish()?;
        let operation = call.operation();
        inner.listen_for_crashes(operation);
        Ok(async move {
            let look = inner.look(operation, limit, |_| true).await?;
            let told = |overdue: InterruptedThread| {
                Outcome::List(vec![
                    Outcome::Text(overdue.thread),
                    Outcome::Text(overdue.worker),
                    Outcome::Number(overdue.epoch as f64),
                    Outcome::Number(overdue.at as f64),
                    Outcome::Number((overdue.times + 1) as f64),
                ])
            };
            Ok(Outcome::List(look.overdue.into_iter().map(told).collect()))
        })
    });
}
