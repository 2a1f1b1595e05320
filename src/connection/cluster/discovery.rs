//! The slot map of a cluster, from whichever of its nodes gives it first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::nodes::Nodes;
use super::slots::SlotMap;
use crate::connection::candidates::{Failures, HEAD_START, race, within};
use crate::connection::config::Config;
use crate::connection::handshake::{Greeted, Wire, greet};
use crate::connection::link::open_tcp;
use crate::connection::request::Command;
use crate::connection::server_info::ServerInfo;
use crate::connection::shared::Shared;
use crate::connection::target::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// How long a node that is asked for the slot map is waited for alone, where the topology is watched.
const ASK_NEXT: Duration = Duration::from_millis(100);
/// How long all that are asked at once may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many nodes are asked over connections that are in use, and how many over new ones.
const ASKED_IN_USE: usize = 2;
const ASKED_ANEW: usize = 8;

/// A cluster that was found.
pub(super) struct Found {
    pub(super) map: SlotMap,
    /// A master of it, with a connection.
    pub(super) address: Address,
    pub(super) greeted: Greeted,
}

/// A connection on which a node was asked for the slot map, kept for the next question.
pub(in crate::connection) type Spare = Option<(Address, Wire)>;

/// The connections to the cluster of `seeds`: for now, one to a master.
pub(in crate::connection) async fn open(shared: &Arc<Shared>, seeds: &[Address]) -> Result<(ServerInfo, Nodes)> {
    let found = find(shared, seeds).await?;
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

/// The best of the maps that were given: the first one that is not older than what is known. An older one, which a node
/// gives that was cut off, counts only when nobody gives a better one.
struct Best<T> {
    known: Option<Arc<SlotMap>>,
    fallback: Option<T>,
}

impl<T: AsRef<SlotMap>> Best<T> {
    fn judge(&mut self, given: T) -> Option<T> {
        if self.known.as_ref().is_none_or(|known| !given.as_ref().is_older_than(known)) {
            return Some(given);
        }
        if self.fallback.as_ref().is_none_or(|best| best.as_ref().is_older_than(given.as_ref())) {
            self.fallback = Some(given);
        }
        None
    }
}

/// Finds the cluster by its masters that were known last, and by `seeds`: asked side by side, with a head start each, within
/// `connectTimeoutMs`, until one gives a slot map and a master of it can be connected to.
///
/// # Errors
///
/// `connection` naming how many were asked, with every cause; `config` where there is no cluster; `auth` or `tls`.
pub(super) async fn find(shared: &Shared, seeds: &[Address]) -> Result<Found> {
    let config = &shared.config;
    let deadline = Instant::now() + config.connect_timeout;
    let known = shared.topology.map();
    let candidates = candidates(known.as_ref().map_or(&[][..], |map| map.masters()), seeds);
    let mut failures = Failures::default();
    let mut best = Best { known, fallback: None };
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
    // A replica, or a master that goes by another name in the map: nothing would ever be routed to this connection.
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
        // A user may not be allowed to: then the map is as good as any.
        Err(error) if error.server_code().is_some() => Ok(map),
        Err(error) => Err(error),
    }
}

fn read(reply: &Reply, address: &Address) -> Result<SlotMap> {
    let map = SlotMap::read(reply, address)
        .ok_or_else(|| Error::new(ErrorKind::Connection, "its answer to CLUSTER SLOTS is no slot map"))?;
    if map.masters().is_empty() {
        return Err(Error::new(ErrorKind::Connection, "it knows of no master with slots"));
    }
    Ok(map)
}

/// A connection to the node at `address`.
pub(in crate::connection) async fn connect_to(config: &Config, address: &Address) -> Result<Greeted> {
    greet(config, open_tcp(config, address).await?).await
}

/// The slot map anew, from whichever node gives it first: two over connections that are in use, then others over new ones.
/// The one that answered over a new one is kept in `spare`, and asked before any new one the next time.
///
/// # Errors
///
/// As [`find`], within two seconds.
pub(in crate::connection) async fn ask_around(
    shared: &Shared,
    seeds: &[Address],
    spare: &mut Spare,
) -> Result<SlotMap> {
    let known = shared.topology.map();
    let mut asked: Vec<Asked> = shared.ask_nodes(ASKED_IN_USE).into_iter().map(Asked::InUse).collect();
    asked.extend(spare.take().map(|(address, wire)| Asked::Spare(address, Box::new(wire))));
    let (masters, replicas) = known.as_ref().map_or((&[][..], &[][..]), |map| (map.masters(), map.replicas()));
    let mut others = candidates(masters, &candidates(replicas, seeds));
    others.retain(|other| !asked.iter().any(|asked| asked.address() == other));
    asked.extend(others.into_iter().take(ASKED_ANEW).map(Asked::Anew));
    let mut failures = Failures::default();
    let mut best = Best { known, fallback: None };
    let attempts: Vec<_> = asked.into_iter().map(|asked| within(PATIENCE, asked.answer(&shared.config))).collect();
    let given = race(attempts, ASK_NEXT, |outcome| match outcome {
        Ok(given) => best.judge(given),
        Err(error) => {
            failures.add(error);
            None
        }
    });
    let given = timeout(PATIENCE, given).await.ok().flatten().or(best.fallback);
    match given {
        Some(given) => {
            *spare = given.spare;
            Ok(given.map)
        }
        None => Err(failures.summary("no node of the cluster that was asked gave a slot map".into())),
    }
}

/// A node that is asked for the slot map.
enum Asked {
    InUse(Answer),
    Spare(Address, Box<Wire>),
    Anew(Address),
}

/// A slot map, and the connection on which it came if that is nobody else's.
struct Given {
    map: SlotMap,
    spare: Spare,
}

impl Asked {
    fn address(&self) -> &Address {
        match self {
            Self::InUse(Answer { address, .. }) | Self::Spare(address, _) | Self::Anew(address) => address,
        }
    }

    async fn answer(self, config: &Config) -> Result<Given> {
        let (address, mut wire) = match self {
            Self::InUse(answer) => return Ok(Given { map: answer.map().await?, spare: None }),
            Self::Spare(address, wire) => (address, *wire),
            Self::Anew(address) => {
                let greeted = connect_to(config, &address).await?;
                (address, Wire::of(greeted).0)
            }
        };
        let map = ask(&mut wire, &address).await?;
        Ok(Given { map, spare: Some((address, wire)) })
    }
}

impl AsRef<SlotMap> for Given {
    fn as_ref(&self) -> &SlotMap {
        &self.map
    }
}

impl AsRef<SlotMap> for Found {
    fn as_ref(&self) -> &SlotMap {
        &self.map
    }
}

/// The answer to [`slots_command`] that is awaited from a node in use.
pub(in crate::connection) struct Answer {
    pub(super) address: Address,
    pub(super) answer: oneshot::Receiver<Result<Reply>>,
}

impl Answer {
    async fn map(self) -> Result<SlotMap> {
        let lost = || Error::new(ErrorKind::Connection, "the connection was lost");
        let Ok(Reply::Array(replies)) = self.answer.await.unwrap_or_else(|_| Err(lost())) else { return Err(lost()) };
        let [slots, info] = &replies[..] else { return Err(lost()) };
        Ok(read(slots, &self.address)?.at_epoch(info, &self.address))
    }
}

/// `CLUSTER SLOTS` and `CLUSTER INFO`, for a connection that is in use.
pub(super) fn slots_command() -> Command {
    Command {
        payload: Bytes::from_static(b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n"),
        replies: 2,
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
