//! Opens byte streams: TCP, TLS over TCP, Unix sockets and the embedded engine. No other module opens one.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::candidates::{HEAD_START, race};
use super::config::Config;
use super::target::{Address, Target};
use super::tls::{self, Tls};
use crate::embedded;
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes at once as much as possible, from any thread; `None` where only the I/O thread can write.
    fn try_write(&self, _bytes: &[u8]) -> Option<io::Result<usize>> {
        None
    }
}

impl Stream for TcpStream {
    fn try_write(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        Some(TcpStream::try_write(self, bytes))
    }
}

#[cfg(unix)]
impl Stream for tokio::net::UnixStream {
    fn try_write(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        Some(tokio::net::UnixStream::try_write(self, bytes))
    }
}

impl Stream for TlsStream<TcpStream> {}

impl Stream for embedded::ClientStream {
    fn try_write(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        Some(embedded::ClientStream::try_write(self, bytes))
    }
}

/// A stream to the one server of `config`.
pub(super) async fn open(config: &Config) -> Result<Box<dyn Stream>> {
    match &config.target {
        Target::Tcp(address) => open_tcp(config, address).await,
        Target::Unix(path) => open_unix(path).await,
        Target::Memory(name) => {
            let stream = embedded::connect(name.as_deref()).map_err(|e| no_engine(name.as_deref(), e))?;
            Ok(Box::new(stream))
        }
        Target::Sentinel { .. } | Target::Cluster(_) => {
            Err(Error::config("RedisConfig.url: expected a server with one stream, got another kind"))
        }
    }
}

/// Keeps the data of an embedded engine while a manager is between two connections. `None` for a real server.
pub(super) fn hold(config: &Config) -> Result<Option<embedded::Hold>> {
    match &config.target {
        Target::Memory(Some(name)) => embedded::hold(name).map(Some).map_err(|e| no_engine(Some(name), e)),
        _ => Ok(None),
    }
}

fn no_engine(name: Option<&str>, e: io::Error) -> Error {
    let at = Target::Memory(name.map(str::to_owned)).shown().0;
    Error::new(ErrorKind::Connection, format!("cannot connect to {at}: no thread for its engine: {e}")).caused_by(e)
}

/// A stream to the server that is known as `address`, with TLS if `config` says so.
pub(super) async fn open_tcp(config: &Config, address: &Address) -> Result<Box<dyn Stream>> {
    let address = config.reachable(address);
    let stream = open_plain(address).await?;
    watch(&stream, config.keep_alive).map_err(|e| cannot_connect(address, e))?;
    match &config.tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(encrypt(tls, address, stream).await?)),
    }
}

/// A TCP stream to `address`. Where the name has several IP addresses, an address that drops packets delays the next address by a
/// head start only.
pub(super) async fn open_plain(address: &Address) -> Result<TcpStream> {
    let found = look_up(address).await.map_err(|e| cannot_connect(address, e))?;
    first_of(alternating(found)).await.map_err(|e| cannot_connect(address, e))
}

/// The IP addresses of a name, from the system's resolver. The resolver blocks, so it runs on another thread.
async fn look_up(address: &Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let name = (address.host.clone(), address.port);
    lifecycle::blocking(move || name.to_socket_addrs().map(Iterator::collect)).await?
}

/// A stream to the first of `addresses` that accepts.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "the one place that opens TCP streams")]
    let attempts: Vec<_> = addresses.into_iter().map(TcpStream::connect).collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no IP address");
    race(attempts, HEAD_START, |outcome| outcome.map_err(|e| failure = e).ok()).await.ok_or(failure)
}

/// The same addresses, with IPv4 and IPv6 in turn, so that an unreachable family does not come twice in a row.
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut sorted = Vec::with_capacity(one.len() + other.len());
    while let Some(next) = one.pop_front() {
        sorted.push(next);
        std::mem::swap(&mut one, &mut other);
        if one.is_empty() {
            std::mem::swap(&mut one, &mut other);
        }
    }
    sorted
}

async fn open_unix(path: &str) -> Result<Box<dyn Stream>> {
    #[cfg(unix)]
    {
        #[expect(clippy::disallowed_methods, reason = "the one place that opens Unix sockets")]
        let stream = tokio::net::UnixStream::connect(path).await.map_err(|e| cannot_connect(&path, e))?;
        Ok(Box::new(stream))
    }
    #[cfg(not(unix))]
    Err(Error::config(format!("RedisConfig: expected no Unix socket, as path or in url, on this platform, got {path}")))
}

fn cannot_connect(address: &impl std::fmt::Display, e: io::Error) -> Error {
    let why = match e.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => e.to_string(),
    };
    Error::new(ErrorKind::Connection, format!("cannot connect to {address}: {why}")).caused_by(e)
}

async fn encrypt(tls: &Tls, address: &Address, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(address.host.clone()).map_err(|e| {
            Error::new(ErrorKind::Tls, format!("{} is not a possible name of a certificate", address.host)).caused_by(e)
        })?,
    };
    TlsConnector::from(tls.config.clone()).connect(name, stream).await.map_err(|e| {
        // A network that fails during the handshake says nothing about TLS, and may work next time.
        let kind = if is_tls(&e) { ErrorKind::Tls } else { ErrorKind::Connection };
        Error::new(kind, format!("no TLS with {address}: {}", tls::reason(&e))).caused_by(e)
    })
}

/// Is this a failure of TLS, and not of the network?
pub(super) fn is_tls(e: &io::Error) -> bool {
    e.get_ref()
        .is_some_and(<dyn std::error::Error + std::marker::Send + std::marker::Sync + 'static>::is::<rustls::Error>)
}

/// Has the kernel watch the peer too. Only the kernel can notice a dead peer while a blocking command waits, or while written bytes
/// are not acknowledged.
fn watch(stream: &TcpStream, keep_alive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The kernel counts in whole seconds.
    let idle = keep_alive.max(Duration::from_secs(1));
    let interval = (keep_alive / 3).max(Duration::from_secs(1));
    let probes = TcpKeepalive::new().with_time(idle).with_interval(interval);
    #[cfg(not(windows))]
    let probes = probes.with_retries(3);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(keep_alive * 2))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_alternate_and_no_address_is_lost() {
        let of = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = of(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        assert_eq!(alternating(mixed), of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]));
        let v4 = of(&["1.1.1.1:1", "1.1.1.2:1"]);
        assert_eq!(alternating(v4.clone()), v4);
        assert_eq!(alternating(Vec::new()), []);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_drops_packets_delays_the_next_one_by_a_head_start() {
        // The queue of this listener is full: the kernel drops further connections.
        let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        hole.listen(0).unwrap();
        let hole_at = hole.local_addr().unwrap().as_socket().unwrap();
        let fillers: Vec<_> = (0..3)
            .map(|_| {
                let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                // The connect is in progress. Its outcome does not matter.
                let _ = filler.connect(&hole_at.into());
                filler
            })
            .collect();
        let fine = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let fine_at = fine.local_addr().unwrap();
        let opened = tokio::time::timeout(Duration::from_secs(5), first_of(vec![hole_at, fine_at])).await;
        assert_eq!(opened.expect("within its head start").unwrap().peer_addr().unwrap(), fine_at);
        drop(fillers);
    }
}
