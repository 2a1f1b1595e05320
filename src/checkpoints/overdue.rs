//! Threads whose owners' leases are over: what is asked of each share, and costs what is overdue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::call;
use super::{Checkpoints, Inner, scripts};
use crate::connection::Packed;
use crate::crossing::Outcome;
use crate::error::{Error, Result};
use crate::keys::checkpoints::SHARES;
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// Overdue threads that one script tells of.
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
    /// How often it was interrupted before.
    times: i64,
}

/// The overdue threads of all shares, up to a limit.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    pub(super) overdue: Vec<InterruptedThread>,
    /// When the next lease ends that has not.
    pub(super) next: Option<Duration>,
}

impl Inner {
    /// Looks into every share, up to `limit` threads. Leaves out threads that this process may not take over.
    pub(super) async fn look(&self, operation: Operation, limit: u64) -> Result<Overdue> {
        let asked = Instant::now();
        // All at once, so that they take one round trip.
        let first: Vec<_> = (0..SHARES).map(|share| self.manager.call(self.overdue(operation, share, 0))).collect();
        let mut look = Overdue::default();
        for (share, reply) in (0..).zip(first) {
            let mut reply = reply.await;
            let mut passed = 0;
            loop {
                let (found, is_last) = self.read(reply?, &mut look)?;
                passed += found;
                if is_last || look.overdue.len() as u64 >= limit {
                    break;
                }
                reply = self.manager.call(self.overdue(operation, share, passed)).await;
            }
        }
        self.authority.was_cut_off_for(asked.elapsed());
        look.overdue.sort_by_key(|overdue| overdue.at);
        look.overdue.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(look)
    }

    fn overdue(&self, operation: Operation, share: u32, passed: u64) -> crate::connection::Command {
        let keys = self.namespace.threads(share);
        Packed::sized(keys.states.len() * 2 + 128)
            .script(&scripts::OVERDUE, 2, 2)
            .word(&keys.states)
            .word(&keys.due)
            .number(PAGE)
            .number(passed)
            .runs(operation, &scripts::OVERDUE)
    }

    /// Gives how many the share has told of, and whether these were the last.
    fn read(&self, reply: Reply, look: &mut Overdue) -> Result<(u64, bool)> {
        let [next, looked, found] =
            <[Reply; 3]>::try_from(call::array(reply)?).map_err(|_| Error::unexpected_reply())?;
        if let Ok(ms) = u64::try_from(call::integer(&next)?) {
            let next = Duration::from_millis(ms);
            look.next = Some(look.next.map_or(next, |before| before.min(next)));
        }
        let found = call::array(found)?;
        let count = found.len() / 7;
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
                look.overdue.push(overdue);
            }
        }
        Ok((count as u64, call::integer(&looked)?.cast_unsigned() < PAGE))
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
            let look = inner.look(operation, limit).await?;
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
