//! Sentinels of a test, and the servers that they watch.

use super::{Server, until};

/// A master, a replica and three sentinels.
pub struct Watched {
    pub master: Server,
    pub replica: Server,
    pub sentinels: Vec<Server>,
}

impl Watched {
    pub fn start() -> Self {
        let master = Server::start(&[]);
        let port = master.port.to_string();
        let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
        let settings = format!(
            "sentinel monitor main 127.0.0.1 {port} 2\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 5000\nsentinel parallel-syncs main 1"
        );
        let sentinels = (0..3).map(|_| Server::sentinel(&settings)).collect();
        let watched = Self { master, replica, sentinels };
        until("the replica has caught up", || {
            watched.replica.info("replication", "master_link_status").as_deref() == Some("up")
        });
        until("every sentinel knows the replica and the other sentinels", || {
            watched.sentinels.iter().all(|sentinel| {
                sentinel.info("sentinel", "master0").is_some_and(|master| {
                    master.contains("status=ok") && master.contains("slaves=1") && master.contains("sentinels=3")
                })
            })
        });
        watched
    }

    pub fn url(&self) -> String {
        let list: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", list.join(","))
    }
}
