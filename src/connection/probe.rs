//! Why a first connect got no answer: one side speaks TLS and the other does not.
//!
//! Neither says so by itself. Redis waits for the end of a line that a TLS greeting has not, and resets a plain connection
//! to its TLS port without a word. So it is asked, on a connection of its own and without a secret. Only a first connect is
//! explained: where it once worked, something else is wrong, and a storm of reconnects must not be doubled.

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

/// How long a server may think about a TLS greeting before it is asked in plain.
const SILENCE: Duration = Duration::from_millis(500);
/// How long the answer to a question may take.
const ANSWER: Duration = Duration::from_secs(2);

/// The outcome of `attempt`, or the explanation that one side speaks TLS and the other does not.
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

/// Did the server accept, and then end the connection without a word?
fn was_hung_up(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection && error.message() == handshake::WITHOUT_A_WORD
}

/// Ends when the server, silent so far, has answered a plain `PING`; never otherwise.
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
        // It understood enough to refuse.
        Ok(Some(Some(error))) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|refusal| matches!(refusal, rustls::Error::AlertReceived(_))),
        Ok(None) | Err(_) => false,
    }
}
