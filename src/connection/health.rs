//! Checks whether the servers are reachable, serve every key and take writes.
//!
//! The check for writes is a write that changes nothing: `SET` with `XX` of a key that never exists. The server refuses it for the
//! same reasons as any other write (`OOM`, `READONLY`, `MISCONF`, `NOREPLICAS`), and names the reason.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::cluster::{SLOTS, SlotSet, slot_of};
use super::manager::Manager;
use super::packed::Packed;
use super::pages::is_gone;
use super::request::Destination;
use super::server_info::{self, ServerInfo};
use super::state::State;
use super::target::{Address, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Namespace;
use crate::resp::Reply;
use crate::telemetry::Operation;

/// How many hash tags are tried to find a key of a slot. With this many, a single slot is missed once in a million times.
const TAGS: u32 = 230_000;
/// Codes by which a server says that it takes no writes now.
const NO_WRITES: [&str; 7] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];
/// Codes by which a server says that it serves no keys at all. [`NO_WRITES`] has these codes too.
pub const NO_KEYS: [&str; 3] = ["LOADING", "MASTERDOWN", "CLUSTERDOWN"];

/// What [`Manager::health`] found.
#[derive(Clone, Debug)]
pub struct Health {
    pub state: State,
    /// The round trip, if a server answered.
    pub latency: Option<Duration>,
    /// An error where the server does not answer, or a part of the cluster's keys is not served.
    pub outcome: Result<()>,
    /// An error if writes are refused, or not answered. A user without the permission to write counts as writable.
    pub writable: Result<()>,
    pub server: Option<ServerInfo>,
    pub cluster: Option<ClusterHealth>,
}

/// How much of a cluster is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterHealth {
    /// Does some master serve its slots, and no node that answers say `cluster_state:fail`?
    pub is_ok: bool,
    /// Slots whose master answers, and serves them.
    pub slots_served: u32,
    pub slots_total: u32,
}

impl Manager {
    /// Asks the servers how they are. Never fails; bounded by `commandTimeoutMs`.
    pub async fn health(&self) -> Health {
        let begun = Instant::now();
        let deadline = begun + self.config().command_timeout;
        let answer = self.call(Packed::sized(0).begin(1, b"HELLO").reads(operation())).await;
        let took = begun.elapsed();
        let (answered, server) = match answer {
            Ok(reply) => (Ok(()), Some(server_info::describe(&reply))),
            // A server without `HELLO` has answered too.
            Err(error) if error.kind() == ErrorKind::Server && error.server_code() == Some("ERR") => {
                (Ok(()), self.server())
            }
            Err(error) => (Err(error), self.server()),
        };
        let latency = answered.is_ok().then_some(took);
        let is_cluster = matches!(self.config().target, Target::Cluster(_));
        let (outcome, writable, cluster) = match answered {
            Err(error) => (Err(error.clone()), Err(error), is_cluster.then(|| ClusterHealth::of(false, 0))),
            Ok(()) if is_cluster => {
                let found = ClusterReport::look(self, deadline).await;
                (found.outcome, found.writable, Some(found.cluster))
            }
            Ok(()) => (Ok(()), probe(self, &self.namespace().health(None), None, deadline).await, None),
        };
        Health { state: self.state(), latency, outcome, writable, server, cluster }
    }
}

impl ClusterHealth {
    fn of(is_ok: bool, slots_served: u32) -> Self {
        Self { is_ok, slots_served, slots_total: u32::from(SLOTS) }
    }
}

/// The health of a cluster.
struct ClusterReport {
    cluster: ClusterHealth,
    outcome: Result<()>,
    writable: Result<()>,
}

/// The answers of one master.
struct MasterReport {
    slots: SlotSet,
    /// Is the state of the cluster other than `fail`, as the master says? An error where the master does not answer, or serves
    /// no keys.
    is_ok: Result<bool>,
    writable: Result<()>,
}

impl ClusterReport {
    /// Asks all masters in parallel. Where a node is no longer a master, the masters of the new slot map are asked.
    async fn look(manager: &Manager, deadline: Instant) -> Self {
        let mut served = SlotSet::none();
        let (mut is_ok, mut why, mut writable) = (true, None, Ok(()));
        loop {
            let mut changed = false;
            for said in ask_masters(manager, &served, deadline).await {
                match said.is_ok {
                    Ok(true) => {
                        served = served.or(&said.slots);
                        writable = writable.and(said.writable);
                    }
                    Ok(false) => {
                        is_ok = false;
                        why = said.writable.err().or(why);
                    }
                    Err(error) => {
                        changed |= is_gone(&error);
                        why = Some(error);
                    }
                }
            }
            if !changed || Instant::now() >= deadline {
                break;
            }
        }
        let cluster = ClusterHealth::of(is_ok && served.count() > 0, served.count());
        let open = cluster.slots_total - cluster.slots_served;
        let outcome = if open == 0 {
            Ok(())
        } else {
            manager.request_topology_refresh();
            let error = Error::from_reply(&format!("CLUSTERDOWN {open} of {SLOTS} hash slots are not served"));
            Err(match why {
                Some(why) => error.with_message(|message| format!("{message}: {}", why.message())).caused_by(why),
                None => error,
            })
        };
        if cluster.slots_served == 0 {
            writable = writable.and(outcome.clone());
        }
        Self { cluster, outcome, writable }
    }
}

/// Asks the masters of the slots that are not among `served`.
async fn ask_masters(manager: &Manager, served: &SlotSet, deadline: Instant) -> Vec<MasterReport> {
    let mut asked = JoinSet::new();
    let Some(map) = manager.map() else { return Vec::new() };
    for master in map.masters() {
        let slots = map.slots_of(master).without(served);
        if slots.lowest().is_some() {
            let (manager, master) = (manager.clone(), master.clone());
            asked.spawn(async move { ask_master(&manager, &master, slots, deadline).await });
        }
    }
    asked.join_all().await
}

async fn ask_master(manager: &Manager, master: &Address, slots: SlotSet, deadline: Instant) -> MasterReport {
    let destination = Destination::Master(Box::new(master.clone()));
    let info = manager.call_plainly(
        Packed::sized(0).begin(2, b"CLUSTER").word(b"INFO").reads(operation()),
        Some(destination.clone()),
    );
    let wrote = async {
        match key_of(manager.namespace(), &slots) {
            Some(key) => probe(manager, &key, Some(destination), deadline).await,
            // The namespace has a hash tag whose slot belongs to another master.
            None => Ok(()),
        }
    };
    let (info, writable) = tokio::join!(bounded(info, deadline), wrote);
    let says = match info {
        Ok(Reply::Bulk(text) | Reply::Simple(text)) => {
            Ok(server_info::field(&String::from_utf8_lossy(&text), "cluster_state") != Some("fail"))
        }
        // The master has answered, if not with text.
        Ok(_) => Ok(true),
        Err(error) if is_answer(&error) => Ok(true),
        Err(error) => Err(error),
    };
    let is_ok = match (says, &writable) {
        (Ok(true), Err(error)) if error.server_code().is_some_and(|code| NO_KEYS.contains(&code)) => Err(error.clone()),
        (says, _) => says,
    };
    MasterReport { slots, is_ok, writable }
}

fn is_answer(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Server | ErrorKind::Auth)
}

/// A key in the namespace whose slot is among `slots`.
fn key_of(namespace: &Namespace, slots: &SlotSet) -> Option<Bytes> {
    (0..TAGS).map(|tag| namespace.health(Some(tag))).find(|key| slots.has(slot_of(key)))
}

/// Checks whether the server takes a write of `key`.
async fn probe(manager: &Manager, key: &Bytes, destination: Option<Destination>, deadline: Instant) -> Result<()> {
    let packed = Packed::sized(key.len()).begin(4, b"SET").word(key).word(b"").word(b"XX");
    // The command writes nothing, so it may be sent twice.
    match bounded(manager.call_plainly(packed.reads(operation()), destination), deadline).await {
        Ok(_) => Ok(()),
        Err(error) if is_answer(&error) => {
            if error.server_code().is_some_and(|code| NO_WRITES.contains(&code)) {
                Err(error)
            } else {
                Ok(())
            }
        }
        Err(error) => Err(error),
    }
}

async fn bounded(answer: impl Future<Output = Result<Reply>>, deadline: Instant) -> Result<Reply> {
    let late = || Error::new(ErrorKind::Timeout, "no answer within commandTimeoutMs");
    timeout_at(deadline.into(), answer).await.unwrap_or_else(|_| Err(late()))
}

fn operation() -> Operation {
    Operation::named("health")
}
