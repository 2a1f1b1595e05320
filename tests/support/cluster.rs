//! A cluster that a test starts for itself.

use redis_backplane::connection::Manager;

use super::{Server, manager, until};

/// Three masters, and replicas of them.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

pub const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

impl Cluster {
    pub fn start() -> Self {
        Self::with_replicas(0)
    }

    /// Three masters, then this many replicas. Replica number n replicates master number n.
    pub fn with_replicas(replicas: usize) -> Self {
        let options =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"];
        let nodes: Vec<_> = (0..3 + replicas).map(|_| Server::start(&options)).collect();
        let cluster = Self { nodes };
        for ((first, last), node) in RANGES.iter().zip(&cluster.nodes) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for (epoch, node) in cluster.nodes.iter().enumerate() {
            // Each master has its own epoch from the start. Redis resolves a collision, but that takes time.
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()]);
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &cluster.nodes[0].port.to_string()]);
        }
        let all = cluster.nodes.len().to_string();
        until("the nodes know each other", || {
            cluster.nodes.iter().all(|node| Self::says(node, "cluster_known_nodes", &all))
        });
        for at in 0..replicas {
            let master = cluster.id(at);
            let replica = &cluster.nodes[3 + at];
            until("the replica knows its master", || replica.text(&["CLUSTER", "NODES"]).contains(&master));
            replica.ask(&["CLUSTER", "REPLICATE", &master]);
        }
        until("the cluster is up", || cluster.nodes.iter().all(|node| Self::says(node, "cluster_state", "ok")));
        for at in 0..replicas {
            let replica = &cluster.nodes[3 + at];
            until("the replica has caught up", || {
                replica.info("replication", "master_link_status").as_deref() == Some("up")
            });
        }
        cluster
    }

    pub fn says(node: &Server, field: &str, value: &str) -> bool {
        node.text(&["CLUSTER", "INFO"]).lines().any(|line| line == format!("{field}:{value}"))
    }

    pub fn id(&self, node: usize) -> String {
        self.nodes[node].text(&["CLUSTER", "MYID"])
    }

    pub fn manager(&self) -> Manager {
        self.manager_with("")
    }

    pub fn manager_with(&self, more: &str) -> Manager {
        let list: Vec<_> = self.nodes[..3].iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        manager(&format!(r#"{{"url":"redis+cluster://{}"{more}}}"#, list.join(",")))
    }

    pub fn slot(&self, key: &str) -> u16 {
        redis::from_redis_value(self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key])).unwrap()
    }

    /// A key whose slot belongs to node `at`.
    pub fn key_at(&self, at: usize, name: &str) -> String {
        let (first, last) = RANGES[at];
        (0..1_000_000).map(|n| format!("{name}:{n}")).find(|key| (first..=last).contains(&self.slot(key))).unwrap()
    }

    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    pub fn move_key(&self, key: &str, from: usize, to: usize) {
        let port = self.nodes[to].port.to_string();
        self.nodes[from].ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
    }

    pub fn end_migration(&self, slot: u16, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
    }
}
