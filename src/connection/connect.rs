//! One attempt to connect: whom to dial, the first words on the stream, and what no further attempt would change.

use tokio::time::timeout;

use super::core::Core;
use super::handshake::Greeted;
use super::state::State;
use super::target::Target;
use super::topology::Settled;
use super::{cluster, handshake, link, probe};
use crate::error::{Error, ErrorKind, Result};

/// One attempt: a stream and the first words on it, within `connectTimeoutMs`.
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
            (None, _) => handshake::greet(config, link::open(config).await?).await,
        }
    };
    let attempt = async {
        if core.state() == State::Connecting { probe::explained(config, attempt).await } else { attempt.await }
    };
    // It is large, and whoever connects would be.
    timeout(limit, Box::pin(attempt)).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, format!("no connection within connectTimeoutMs, {} ms", limit.as_millis())))
    })
}

/// Would the next attempt fail the same way, whatever time passes?
pub(super) fn is_final(error: &Error, was_up: bool) -> bool {
    match error.kind() {
        // Without a word of the server it was the password function that failed: it has worked before, and is asked again.
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
