//! For fuzzing: what a connection reads from a server's bytes, without a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::cluster::{self, Redirect, SLOTS, SlotMap};
use super::config::Config;
use super::dial::Stream;
use super::handshake::{Greeted, Wire, greet};
use super::sentinel::{Sentinels, must_be_master};
use super::server_info::ServerInfo;
use super::subscriber::Received;
use super::target::{Address, Target, parse};
use crate::error::{Error, Result};
use crate::resp::{Reader, Reply};

/// A server that sends the given bytes in pieces, and then closes the connection. It ignores what it receives.
struct Scripted {
    bytes: Bytes,
    piece: usize,
}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.piece.min(self.bytes.len()).min(buf.remaining());
        buf.put_slice(&self.bytes[..length]);
        self.bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scripted {}

fn said(bytes: &[u8], piece: usize) -> Box<dyn Stream> {
    Box::new(Scripted { bytes: Bytes::copy_from_slice(bytes), piece: piece.max(1) })
}

/// Runs `steps` on a clock that does not wait.
fn run<T>(steps: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(steps)
}

/// All texts of an error and its causes, with `Debug` and `Display`.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error:?}");
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        shown.push_str(&format!(" | {error}"));
        next = error.source();
    }
    shown
}

/// The handshake with a server that sends `bytes`: the description of the server as text.
///
/// # Errors
///
/// All texts of the error.
pub fn greeted(config: &Config, bytes: &[u8], piece: usize) -> Result<String, String> {
    told(async { to_the_end(greet(config, said(bytes, piece)).await?).await })
}

/// The check for the role of a server that sends `bytes`: the description of the server as text.
///
/// # Errors
///
/// As [`greeted`].
pub fn role(config: &Config, bytes: &[u8], piece: usize) -> Result<String, String> {
    let server = ServerInfo { kind: String::new(), version: String::new(), role: "master".into(), protocol: 2 };
    let address = Address { host: "h".into(), port: 1 };
    told(async {
        let hidden = config.password.get().await?.map(|password| Bytes::copy_from_slice(password.reveal().as_bytes()));
        let reader = Reader::new(config.max_reply_bytes).hiding(hidden);
        let greeted = Wire::new(said(bytes, piece), reader).into_greeted(server, None)?;
        to_the_end(must_be_master(greeted, &address).await?).await
    })
}

/// Reads until the server closes the connection. What follows the last answer is read with it or later.
async fn to_the_end(greeted: Greeted) -> Result<ServerInfo> {
    let (mut wire, server, _) = Wire::of(greeted);
    loop {
        match wire.pushed().await {
            Ok(()) => {}
            Err(error) if has_hung_up(&error) => return Ok(server),
            Err(error) => return Err(error),
        }
    }
}

/// The outcome of `steps`, as text.
fn told(steps: impl Future<Output = Result<ServerInfo>>) -> Result<String, String> {
    run(steps).map(|server| format!("{server:?}")).map_err(|error| shown(&error))
}

fn has_hung_up(error: &(dyn std::error::Error + 'static)) -> bool {
    error.source().is_some_and(|source| source.is::<io::Error>())
}

/// What is learnt from a sentinel that sends `bytes`, as text; and the addresses that it names.
#[must_use]
pub fn listened(config: &Config, bytes: &[u8], piece: usize) -> (String, Vec<Address>) {
    let Some(sentinels) = Sentinels::of(&config.target) else { return Default::default() };
    let mut named = Vec::new();
    let steps = async {
        let wire = Wire::new(said(bytes, piece), Reader::new(config.max_reply_bytes).hiding(config.sentinel_secret()));
        let (mut wire, tells) = sentinels.introduce(config, wire, &["+switch-master"]).await?;
        sentinels.discover(config, &mut wire).await?;
        loop {
            let master = sentinels.ask(&mut wire).await?;
            let is_believed =
                sentinels.may_name(&Address { host: "s".into(), port: 1 }, &master, Instant::now(), named.last());
            if is_believed || named.is_empty() {
                named.push(master);
            }
            if tells {
                wire.pushed().await?;
            }
        }
    };
    let ended: Result<()> = run(steps);
    let addresses = named.iter().map(|named| named.address.clone()).chain(sentinels.order()).collect();
    (format!("{named:?} {:?} {}", sentinels.order(), ended.err().as_ref().map(shown).unwrap_or_default()), addresses)
}

/// What is learnt of a cluster from a node that sends `bytes`, as text; and the addresses that it names.
///
/// # Panics
///
/// If the slot map contradicts itself.
#[must_use]
pub fn mapped(bytes: &[u8], piece: usize) -> (String, Vec<Address>) {
    let asked = Address { host: "asked".into(), port: 6379 };
    let mut wire = Wire::new(said(bytes, piece), Reader::new(1 << 20));
    match run(cluster::ask(&mut wire, &asked)) {
        Ok(map) => (format!("{map:?}"), check(map, &asked)),
        Err(error) => (shown(&error), Vec::new()),
    }
}

/// Checks that `map` is consistent, and returns its addresses.
fn check(mut map: SlotMap, asked: &Address) -> Vec<Address> {
    let masters = map.masters().to_vec();
    let mut count = 0;
    for master in &masters {
        let slots = map.slots_of(master);
        count += (0..SLOTS).filter(|slot| slots.has(*slot)).count();
    }
    let owned = (0..SLOTS).filter(|slot| map.owner(*slot).is_some()).count();
    assert_eq!(count, owned, "every slot has at most one master");
    for slot in [0, SLOTS - 1] {
        map.moved(slot, asked);
        assert_eq!(map.owner(slot), Some(asked), "a moved slot has its new owner");
    }
    masters.into_iter().chain(map.replicas().iter().cloned()).collect()
}

/// Where an error reply redirects to.
#[must_use]
pub fn redirected(line: &[u8]) -> Option<Address> {
    Redirect::read(line, &Address { host: "asked".into(), port: 6379 }).map(|redirect| {
        assert!(redirect.slot < SLOTS, "a slot is one of a cluster");
        redirect.address
    })
}

/// The payload of a Pub/Sub message, if `reply` is one.
#[must_use]
pub fn heard(reply: Reply) -> Option<Bytes> {
    match Received::of(reply) {
        Received::Message(_, message) => Some(message.payload),
        _ => None,
    }
}

/// The parts of a URL: the target, TLS, user, password, database.
pub type Url = (Target, bool, Option<String>, Option<String>, Option<u64>);

/// Reads a URL.
///
/// # Errors
///
/// As [`parse`].
pub fn read_url(text: &str) -> Result<Url> {
    let parsed = parse(text)?;
    let password = parsed.password.map(|password| password.reveal().to_owned());
    Ok((parsed.target, parsed.tls, parsed.username, password, parsed.db))
}
