//! One attempt to connect: which server, the handshake, and which errors a further attempt would repeat.

use tokio::time::timeout;

use super::core::Core;
use super::handshake::Greeted;
use super::state::State;
use super::target::Target;
use super::topology::Settled;
use super::{cluster, dial, handshake, probe};
use crate::error::{Error, ErrorKind, Result};

/// One attempt: opens a stream and does the handshake, within `connectTimeoutMs`.
pub(super) async fn connect(core: &Core) -> Result<Greeted> {
    let config = &core.config;
    let limit = config.connect_timeout;
    let attempt = async {
        match (&core.sentinels, &config.target) {
            (Some(sentinels), _) => {
                let (greeted, settled) = sentinels.connect(config, &core.topology).await?;
                if settled == Settled::Moved {
                    core.arrived.notify_one();
                }
                Ok(greeted)
            }
            (None, Target::Cluster(seeds)) => cluster::connect(core, seeds).await,
            (None, _) => handshake::greet(config, dial::open(config).await?).await,
        }
    };
    let attempt = async {
        if core.status.state() == State::Connecting { probe::explained(config, attempt).await } else { attempt.await }
    };
    // Boxed, because the future is large, and would make the futures of all callers as large.
    timeout(limit, Box::pin(attempt)).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, format!("no connection within connectTimeoutMs, {} ms", limit.as_millis())))
    })
}

/// Would every further attempt fail the same way?
pub(super) fn is_final(error: &Error, was_up: bool) -> bool {
    match error.kind() {
        // Without a server's error code the password function has failed. It has worked before, so it is asked again.
        ErrorKind::Auth if was_up && error.server_code().is_none() => false,
        ErrorKind::Auth | ErrorKind::Tls | ErrorKind::Config => true,
        ErrorKind::Connection
        | ErrorKind::Timeout
        | ErrorKind::Server
        | ErrorKind::Disabled
        | ErrorKind::Closed
        | ErrorKind::Overloaded
        | ErrorKind::Serialization
        | ErrorKind::LeaseLost
        | ErrorKind::Conflict
        | ErrorKind::Cancelled => false,
    }
}
