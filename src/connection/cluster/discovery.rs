//! The slot map of a cluster, from whichever of its nodes gives it first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::nodes::Nodes;
use super::slots::SlotMap;
use crate::connection::candidates::{Failures, share, within};
use crate::connection::config::Config;
use crate::connection::handshake::{Greeted, ServerInfo, Wire, greet};
use crate::connection::link::open_tcp;
use crate::connection::request::Command;
use crate::connection::shared::Shared;
use crate::connection::target::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// How long a node may take to give the slot map over a connection that is in use, before others are asked.
const REFRESH_PATIENCE: Duration = Duration::from_secs(1);

/// A cluster that was found.
pub(super) struct Found {
    pub(super) map: SlotMap,
    /// A master of it, with a connection.
    pub(super) address: Address,
    pub(super) greeted: Greeted,
}

/// The connections to the cluster of `seeds`: for now, one to a master.
pub(in crate::connection) async fn open(shared: &Arc<Shared>, seeds: &[Address]) -> Result<(ServerInfo, Nodes)> {
    let known = shared.directory.get();
    let masters = known.as_ref().map_or(&[][..], |map| map.masters());
    let found = find(&shared.config, &candidates(masters, seeds)).await?;
    let server = found.greeted.server.clone();
    Ok((server, Nodes::new(shared, found)))
}

/// The masters that were known last, then the seeds; each group in random order, so that a thousand clients of one
/// configuration do not all lean on the same node.
pub(super) fn candidates(masters: &[Address], seeds: &[Address]) -> Vec<Address> {
    let mut list = Vec::with_capacity(masters.len() + seeds.len());
    for group in [masters, seeds] {
        let mut group = group.to_vec();
        fastrand::shuffle(&mut group);
        group.retain(|address| !list.contains(address));
        list.extend(group);
    }
    list
}

/// Asks `candidates` one after another, each within its share of `connectTimeoutMs`, until one gives a slot map and a
/// master of it can be connected to.
///
/// # Errors
///
/// `connection` naming how many were asked, with every cause; `config` where there is no cluster; `auth` or `tls`.
pub(super) async fn find(config: &Config, candidates: &[Address]) -> Result<Found> {
    let deadline = Instant::now() + config.connect_timeout;
    let mut failures = Failures::default();
    for (at, candidate) in candidates.iter().enumerate() {
        let left = candidates.len() - at;
        match within(share(deadline, left), find_with(config, candidate)).await {
            Ok(found) => return Ok(found),
            Err(error) => failures.add(error.with_message(|message| format!("node {candidate}: {message}"))),
        }
    }
    Err(failures.summary(format!("none of the {} nodes of the cluster that were asked would do", candidates.len())))
}

async fn find_with(config: &Config, candidate: &Address) -> Result<Found> {
    let greeted = greet(config, open_tcp(config, candidate).await?).await?;
    let mut wire = Wire::new(greeted.stream);
    let reply = wire.ask(&["CLUSTER", "SLOTS"]).await.map_err(|error| {
        if error.message().contains("cluster support disabled") {
            Error::config("RedisConfig.url: expected a node of a cluster, got a server with cluster support disabled")
        } else {
            error
        }
    })?;
    let map = SlotMap::read(&reply, candidate)
        .ok_or_else(|| Error::new(ErrorKind::Connection, "its answer to CLUSTER SLOTS is no slot map"))?;
    if map.masters().contains(candidate) {
        let greeted = Greeted { stream: wire.into_stream(), server: greeted.server };
        return Ok(Found { map, address: candidate.clone(), greeted });
    }
    // A replica, or a master that goes by another name in the map: nothing would ever be routed to this connection.
    let mut failures = Failures::default();
    for address in self::candidates(map.masters(), &[]) {
        match connect_to(config, &address).await {
            Ok(greeted) => return Ok(Found { map, address, greeted }),
            Err(error) => failures.add(error),
        }
    }
    Err(failures.summary("it gave a slot map, but none of the masters in it could be connected to".into()))
}

/// A connection to the node at `address`.
pub(in crate::connection) async fn connect_to(config: &Config, address: &Address) -> Result<Greeted> {
    greet(config, open_tcp(config, address).await?).await
}

/// The slot map anew: the answer of the node that was `asked` over a connection in use, else that of one of `candidates`.
pub(super) async fn refreshed(
    config: Arc<Config>,
    asked: Option<(Address, oneshot::Receiver<Result<Reply>>)>,
    candidates: Vec<Address>,
) -> Result<SlotMap> {
    if let Some((address, answer)) = asked
        && let Ok(Ok(Ok(reply))) = timeout(REFRESH_PATIENCE, answer).await
        && let Some(map) = SlotMap::read(&reply, &address).filter(|map| !map.masters().is_empty())
    {
        return Ok(map);
    }
    find(&config, &candidates).await.map(|found| found.map)
}

/// `CLUSTER SLOTS`, for a connection that is in use.
pub(super) fn slots_command() -> Command {
    Command {
        payload: Bytes::from_static(b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"),
        replies: 1,
        safe: true,
        operation: Operation::named("cluster"),
        script: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_last_is_asked_before_the_seeds_and_nothing_twice() {
        let at = |port| Address { host: "h".into(), port };
        let list = candidates(&[at(1), at(2)], &[at(2), at(3)]);
        assert_eq!(list.len(), 3);
        assert_eq!(list[2], at(3));
    }
}
