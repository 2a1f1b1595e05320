//! Explains a first connect without an answer, where only one side uses TLS.
//!
//! Neither side says so by itself. Redis waits for the end of a line, which a TLS greeting does not have, and it resets a plain
//! connection to its TLS port without an error. So the server is asked on a connection of its own, without a secret. Only a first
//! connect is explained: after a success the cause is another one, and reconnects must not open twice as many connections.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::config::Config;
use super::target::{Address, Target};
use super::tls::Tls;
use super::{dial, handshake};
use crate::error::{Error, ErrorKind, Result};

/// How long a server may be silent after a TLS greeting before it gets a plain `PING`.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the server may take to answer the probe.
const ANSWER: Duration = Duration::from_secs(2);

/// The outcome of `attempt`, or the explanation that only one side uses TLS.
pub(super) async fn explained<T>(config: &Config, attempt: impl Future<Output = Result<T>>) -> Result<T> {
    match (&config.target, &config.tls) {
        (Target::Tcp(address), Some(_)) => {
            let mut attempt = pin!(attempt);
            tokio::select! {
                outcome = &mut attempt => outcome,
                () = until_answered_in_plain(address) => Err(Error::new(
                    ErrorKind::Tls,
                    format!("no TLS with {address}: the server speaks Redis without TLS on this port"),
                )),
            }
        }
        (Target::Tcp(address), None) => match attempt.await {
            Err(error) if was_hung_up(&error) && speaks_tls(address).await => Err(Error::new(
                ErrorKind::Tls,
                format!("cannot connect to {address} without TLS: the server speaks TLS on this port"),
            )
            .caused_by(error)),
            outcome => outcome,
        },
        _ => attempt.await,
    }
}

/// Did the server accept the connection, and then close it without a reply?
fn was_hung_up(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection && error.message() == handshake::WITHOUT_A_WORD
}

/// Ends when the silent server answers a plain `PING`, and never otherwise.
async fn until_answered_in_plain(address: &Address) {
    sleep(SILENCE).await;
    let first = timeout(ANSWER, async {
        let mut stream = dial::open_plain(address).await.ok()?;
        stream.write_all(b"PING\r\n").await.ok()?;
        stream.read_u8().await.ok()
    });
    if !matches!(first.await, Ok(Some(b'+' | b'-'))) {
        pending::<()>().await;
    }
}

async fn speaks_tls(address: &Address) -> bool {
    let greeted = async {
        let tls = Tls::unverified().ok()?;
        let name = ServerName::try_from(address.host.clone()).ok()?;
        let stream = dial::open_plain(address).await.ok()?;
        Some(TlsConnector::from(tls.config).connect(name, stream).await.err())
    };
    match timeout(ANSWER, greeted).await {
        Ok(Some(None)) => true,
        // A TLS alert: the server speaks TLS, and refuses this client.
        Ok(Some(Some(error))) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|refusal| matches!(refusal, rustls::Error::AlertReceived(_))),
        Ok(None) | Err(_) => false,
    }
}
