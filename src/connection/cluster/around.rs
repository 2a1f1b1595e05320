//! Refreshes the slot map of a cluster in use: the first answer of any node.

use std::time::Duration;

use tokio::time::timeout;

use super::discovery::{AwaitedMap, Best, ask, candidates, connect_to};
use super::slots::SlotMap;
use crate::connection::candidates::{Failures, race, within};
use crate::connection::config::Config;
use crate::connection::handshake::Wire;
use crate::connection::shared::Shared;
use crate::connection::target::Address;
use crate::error::Result;

/// A connection on which a node was asked for the slot map, kept for the next question.
pub(in crate::connection) type Spare = Option<(Address, Wire)>;

/// The head start of a node before the next one is asked too.
const ASK_NEXT: Duration = Duration::from_millis(100);
/// The time limit for all nodes together.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many nodes are asked on connections in use, and how many on new connections.
const ASKED_IN_USE: usize = 2;
const ASKED_NEW: usize = 8;

/// Asks for the slot map again; the first answer counts. Two nodes are asked on connections in use, then other nodes on new
/// connections. A new connection that gave the answer is kept in `spare`; the next call uses it before it opens new ones.
///
/// # Errors
///
/// As [`find`](super::discovery::find), within two seconds.
pub(in crate::connection) async fn ask_around(
    shared: &Shared,
    seeds: &[Address],
    spare: &mut Spare,
) -> Result<SlotMap> {
    let known = shared.core.topology.map();
    let mut asked: Vec<Source> = shared.ask_nodes(ASKED_IN_USE).into_iter().map(Source::InUse).collect();
    asked.extend(spare.take().map(|(address, wire)| Source::Spare(address, Box::new(wire))));
    let (masters, replicas) = known.as_ref().map_or((&[][..], &[][..]), |map| (map.masters(), map.replicas()));
    let mut others = candidates(masters, &candidates(replicas, seeds));
    others.retain(|other| !asked.iter().any(|asked| asked.address() == other));
    asked.extend(others.into_iter().take(ASKED_NEW).map(Source::New));
    let mut failures = Failures::default();
    let mut best = Best::than(known);
    let attempts: Vec<_> = asked.into_iter().map(|asked| within(PATIENCE, asked.answer(&shared.core.config))).collect();
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
enum Source {
    InUse(AwaitedMap),
    Spare(Address, Box<Wire>),
    New(Address),
}

/// A slot map, and its connection, if nothing else uses the connection.
struct Fetched {
    map: SlotMap,
    spare: Spare,
}

impl Source {
    fn address(&self) -> &Address {
        match self {
            Self::InUse(AwaitedMap { address, .. }) | Self::Spare(address, _) | Self::New(address) => address,
        }
    }

    async fn answer(self, config: &Config) -> Result<Fetched> {
        let (address, mut wire) = match self {
            Self::InUse(answer) => return Ok(Fetched { map: answer.map().await?, spare: None }),
            Self::Spare(address, wire) => (address, *wire),
            Self::New(address) => {
                let greeted = connect_to(config, &address).await?;
                (address, Wire::of(greeted).0)
            }
        };
        let map = ask(&mut wire, &address).await?;
        Ok(Fetched { map, spare: Some((address, wire)) })
    }
}

impl AsRef<SlotMap> for Fetched {
    fn as_ref(&self) -> &SlotMap {
        &self.map
    }
}
