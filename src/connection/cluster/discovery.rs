//! Gets the slot map of a cluster from the node that answers first.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::slots::SlotMap;
use crate::connection::candidates::{Failures, HEAD_START, race, within};
use crate::connection::command::Command;
use crate::connection::config::Config;
use crate::connection::core::Core;
use crate::connection::dial::open_tcp;
use crate::connection::handshake::{Greeted, Wire, greet};
use crate::connection::target::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// A cluster that was found.
pub(super) struct Found {
    pub(super) map: SlotMap,
    /// A master of the cluster, which `greeted` is a connection to.
    pub(super) address: Address,
    pub(super) greeted: Greeted,
}

/// The known masters, then the seeds. Each group is in random order, so that many clients with the same configuration do not all ask
/// the same node.
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

/// Chooses among the maps that nodes give: the first map that is not older than the known one. An older map, from a node that was cut
/// off, counts only if no node gives a better one.
pub(super) struct Best<T> {
    known: Option<Arc<SlotMap>>,
    pub(super) fallback: Option<T>,
}

impl<T: AsRef<SlotMap>> Best<T> {
    pub(super) fn than(known: Option<Arc<SlotMap>>) -> Self {
        Self { known, fallback: None }
    }

    pub(super) fn judge(&mut self, given: T) -> Option<T> {
        if self.known.as_ref().is_none_or(|known| !given.as_ref().is_older_than(known)) {
            return Some(given);
        }
        if self.fallback.as_ref().is_none_or(|best| best.as_ref().is_older_than(given.as_ref())) {
            self.fallback = Some(given);
        }
        None
    }
}

/// Finds the cluster by its known masters and by `seeds`. They are asked in parallel, with a head start each, within
/// `connectTimeoutMs`, until one gives a slot map and a master of this map is connected.
///
/// # Errors
///
/// `connection` with the number of nodes that were asked, and every cause; `config` where the server is no cluster; `auth` or `tls`.
pub(super) async fn find(core: &Core, seeds: &[Address]) -> Result<Found> {
    let config = &core.config;
    let deadline = Instant::now() + config.connect_timeout;
    let known = core.topology.map();
    let candidates = candidates(known.as_ref().map_or(&[][..], |map| map.masters()), seeds);
    let mut failures = Failures::default();
    let mut best = Best::than(known);
    let attempt = |candidate| async move {
        let limit = deadline.saturating_duration_since(Instant::now());
        let found = within(limit, find_with(config, candidate)).await;
        found.map_err(|error| error.with_message(|message| format!("node {candidate}: {message}")))
    };
    let attempts: Vec<_> = candidates.iter().map(attempt).collect();
    let found = race(attempts, HEAD_START, |outcome| match outcome {
        Ok(found) => best.judge(found),
        Err(error) => {
            failures.add(error);
            None
        }
    });
    let found = found.await.or(best.fallback);
    let asked = candidates.len();
    found.ok_or_else(|| failures.summary(format!("none of the {asked} nodes of the cluster that were asked would do")))
}

async fn find_with(config: &Config, candidate: &Address) -> Result<Found> {
    let greeted = greet(config, open_tcp(config, candidate).await?).await?;
    let (mut wire, server, address) = Wire::of(greeted);
    let map = ask(&mut wire, candidate).await?;
    if map.masters().contains(candidate) {
        let greeted = wire.into_greeted(server, address)?;
        return Ok(Found { map, address: candidate.clone(), greeted });
    }
    // A replica, or a master with another address in the map. No request would be routed to this connection.
    let mut failures = Failures::default();
    let masters = self::candidates(map.masters(), &[]);
    let attempts: Vec<_> =
        masters.iter().map(|address| async move { Ok((address, connect_to(config, address).await?)) }).collect();
    let reached = race(attempts, HEAD_START, |outcome: Result<_>| outcome.map_err(|error| failures.add(error)).ok());
    match reached.await {
        Some((address, greeted)) => Ok(Found { map, address: address.clone(), greeted }),
        None => Err(failures.summary("it gave a slot map, but none of the masters in it could be connected to".into())),
    }
}

/// The slot map of the node at `address`.
pub(in crate::connection) async fn ask(wire: &mut Wire, address: &Address) -> Result<SlotMap> {
    let reply = wire.ask(&["CLUSTER", "SLOTS"]).await.map_err(|error| {
        if error.message().contains("cluster support disabled") {
            Error::config("RedisConfig.url: expected a node of a cluster, got a server with cluster support disabled")
        } else {
            error
        }
    })?;
    let map = read(&reply, address)?;
    match wire.ask(&["CLUSTER", "INFO"]).await {
        Ok(info) => Ok(map.at_epoch(&info, address)),
        // The user may have no permission. Then the map has no epoch.
        Err(error) if error.server_code().is_some() => Ok(map),
        Err(error) => Err(error),
    }
}

fn read(reply: &Reply, address: &Address) -> Result<SlotMap> {
    let map = SlotMap::read(reply, address)
        .ok_or_else(|| Error::new(ErrorKind::Connection, "its answer to CLUSTER SLOTS is not a slot map"))?;
    if map.masters().is_empty() {
        return Err(Error::new(ErrorKind::Connection, "it knows of no master with slots"));
    }
    Ok(map)
}

/// A connection to the node at `address`.
pub(in crate::connection) async fn connect_to(config: &Config, address: &Address) -> Result<Greeted> {
    greet(config, open_tcp(config, address).await?).await
}

impl AsRef<SlotMap> for Found {
    fn as_ref(&self) -> &SlotMap {
        &self.map
    }
}

/// The expected answer to [`slots_command`] on a connection in use.
pub(in crate::connection) struct AwaitedMap {
    pub(super) address: Address,
    pub(super) answer: oneshot::Receiver<Result<Reply>>,
}

impl AwaitedMap {
    pub(super) async fn map(self) -> Result<SlotMap> {
        let lost = || Error::new(ErrorKind::Connection, "the connection was lost");
        let Ok(Reply::Array(replies)) = self.answer.await.unwrap_or_else(|_| Err(lost())) else { return Err(lost()) };
        let [slots, info] = &replies[..] else { return Err(lost()) };
        Ok(read(slots, &self.address)?.at_epoch(info, &self.address))
    }
}

/// `CLUSTER SLOTS` and `CLUSTER INFO`, for a connection in use.
pub(super) fn slots_command() -> Command {
    let payload = b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n";
    Command { replies: 2, ..Command::raw(Bytes::from_static(payload), Operation::named("cluster")).reading() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_masters_are_asked_before_the_seeds_and_no_node_is_asked_twice() {
        let at = |port| Address { host: "h".into(), port };
        let list = candidates(&[at(1), at(2)], &[at(2), at(3)]);
        assert_eq!(list.len(), 3);
        assert_eq!(list[2], at(3));
    }
}
