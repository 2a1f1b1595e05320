//! The master of a name, as sentinels know it.
//!
//! The sentinels are asked side by side, with a head start each, until one names a server that says itself that it is a master.
//! A sentinel that was cut off, or has not heard yet, may still name the old master, and the old master may still take itself for one. So a
//! master of an older epoch than the known one counts only if most sentinels name it and none names a newer one; that happens when
//! the sentinels were set up again. The sentinel that was right is asked first the next time. Sentinels that are not in the configuration
//! are learnt from those that are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::candidates::{Failures, HEAD_START, race, within};
use super::config::Config;
use super::dial::open_tcp;
use super::handshake::{Greeted, Wire, greet};
use super::target::{Address, Target};
use super::topology::{Named, Settled, Topology};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::{Reader, Reply};
use crate::sync::{Mutex, MutexGuard};

/// How many sentinels are remembered at most.
const MOST: usize = 32;
/// How long the answer of a sentinel counts. Sentinels that are listened to are asked every few seconds.
const WORD: Duration = Duration::from_secs(30);

/// The sentinels of one master.
pub(super) struct Sentinels {
    master: String,
    known: Mutex<KnownSentinels>,
}

struct KnownSentinels {
    /// In the order they are asked.
    order: Vec<Address>,
    /// Those that are being listened to.
    taken: Vec<Address>,
    /// What each has named last, and when it was asked: of those that were asked since another master was found.
    named: HashMap<Address, (Named, Instant)>,
    /// When another master was found.
    moved: Instant,
}

/// A sentinel that is being listened to, until this is dropped.
pub(super) struct Taken<'a> {
    sentinels: &'a Sentinels,
    pub(super) address: Address,
}

/// What one pass over the sentinels came to.
#[derive(Default)]
struct Pass {
    answered: usize,
    /// Masters that were named, and are or were tried.
    tried: Vec<Address>,
}

impl Sentinels {
    /// The sentinels of `target`, if it has some.
    pub(super) fn of(target: &Target) -> Option<Self> {
        match target {
            Target::Sentinel { sentinels, master } => Some(Self::new(master.clone(), sentinels.clone())),
            Target::Tcp(_) | Target::Unix(_) | Target::Memory(_) | Target::Cluster(_) => None,
        }
    }

    fn new(master: String, order: Vec<Address>) -> Self {
        let known = KnownSentinels { order, taken: Vec::new(), named: HashMap::new(), moved: Instant::now() };
        Self { master, known: Mutex::new(known) }
    }

    /// A connection to the master, which is known to all from then on.
    ///
    /// # Errors
    ///
    /// `connection` if no sentinel answers, or none names a master that can be used; `auth` or `tls` if that is why.
    /// The causes are one chain: the last failure first.
    pub(super) async fn connect(&self, config: &Config, topology: &Topology) -> Result<(Greeted, Settled)> {
        let order = self.known().order.clone();
        let deadline = Instant::now() + config.connect_timeout;
        let pass = Mutex::new(Pass::default());
        let mut failures = Failures::default();
        let pass = &pass;
        let attempt = |sentinel| async move {
            let limit = deadline.saturating_duration_since(Instant::now());
            within(limit, self.try_with(config, topology, sentinel, pass)).await
        };
        let attempts: Vec<_> = order.iter().map(attempt).collect();
        let found = race(attempts, HEAD_START, |outcome| outcome.map_err(|error| failures.add(error)).ok()).await;
        found.ok_or_else(|| self.failure(order.len(), &pass.lock(), failures))
    }

    /// Asks `sentinel` and connects to the master it names.
    async fn try_with(
        &self,
        config: &Config,
        topology: &Topology,
        sentinel: &Address,
        pass: &Mutex<Pass>,
    ) -> Result<(Greeted, Settled)> {
        let of_sentinel = |error: Error| error.with_message(|message| format!("sentinel {sentinel}: {message}"));
        let asked_at = Instant::now();
        let asked = async { self.ask(&mut self.open(config, sentinel).await?).await };
        let named = asked.await.inspect_err(|error| {
            pass.lock().answered += usize::from(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Server));
        });
        let named = named.map_err(of_sentinel)?;
        let is_older = || {
            let message = format!("it names {}, from an older epoch than is known", named.address);
            of_sentinel(Error::new(ErrorKind::Connection, message))
        };
        {
            let mut pass = pass.lock();
            pass.answered += 1;
            if !self.may_name(sentinel, &named, asked_at, topology.master().as_ref()) {
                return Err(is_older());
            }
            if pass.tried.contains(&named.address) {
                let message = format!("it names {}, as another one did", named.address);
                return Err(of_sentinel(Error::new(ErrorKind::Connection, message)));
            }
            pass.tried.push(named.address.clone());
        }
        let mut greeted = connect_to_master(config, &named.address).await?;
        greeted.address = Some(named.address.clone());
        let settled = self.settle(topology, sentinel, &named, asked_at);
        if settled == Settled::Refused {
            return Err(is_older());
        }
        self.prefer(sentinel);
        Ok((greeted, settled))
    }

    /// Remembers what `sentinel` has named, asked at that time. True unless that is older than what is `known` and most others do
    /// not say so too.
    pub(super) fn may_name(&self, sentinel: &Address, named: &Named, asked: Instant, known: Option<&Named>) -> bool {
        self.known().may_name(sentinel, named, asked, known)
    }

    /// Has every connection go to the master that `sentinel` named when it was asked at that time, and that says itself that it is
    /// one. Connecting takes time: what is known by now may be newer.
    pub(super) fn settle(&self, topology: &Topology, sentinel: &Address, named: &Named, asked: Instant) -> Settled {
        let mut all = self.known();
        let settled = topology.settle_on(named, |known| all.may_name(sentinel, named, asked, known));
        if settled == Settled::Moved {
            // What they named before is no word for or against.
            all.named.clear();
            all.named.insert(sentinel.clone(), (named.clone(), asked));
            all.moved = Instant::now();
        }
        settled
    }

    /// A connection to `sentinel`.
    async fn open(&self, config: &Config, sentinel: &Address) -> Result<Wire> {
        let mut wire = wire_to(config, sentinel).await?;
        self.authenticate(config, &mut wire).await?;
        Ok(wire)
    }

    async fn authenticate(&self, config: &Config, wire: &mut Wire) -> Result<()> {
        if let Some(password) = &config.sentinel_password {
            match &config.sentinel_username {
                Some(user) => wire.ask(&["AUTH", user, password.reveal()]).await?,
                None => wire.ask(&["AUTH", password.reveal()]).await?,
            };
        }
        Ok(())
    }

    /// A connection to `sentinel` on which `channels` are subscribed. False where it speaks no RESP3, or refuses that: then
    /// it can be asked, and says nothing by itself.
    pub(super) async fn listen(&self, config: &Config, sentinel: &Address, channels: &[&str]) -> Result<(Wire, bool)> {
        self.introduce(config, wire_to(config, sentinel).await?, channels).await
    }

    /// As [`listen`](Self::listen), on a connection on which nothing was said yet.
    pub(super) async fn introduce(&self, config: &Config, mut wire: Wire, channels: &[&str]) -> Result<(Wire, bool)> {
        let user = config.sentinel_username.as_deref().unwrap_or("default");
        let hello = match &config.sentinel_password {
            Some(password) => wire.ask(&["HELLO", "3", "AUTH", user, password.reveal()]).await,
            None => wire.ask(&["HELLO", "3"]).await,
        };
        match hello {
            Ok(_) => {}
            Err(error) if error.server_code().is_some() => {
                self.authenticate(config, &mut wire).await?;
                return Ok((wire, false));
            }
            Err(error) => return Err(error),
        }
        let subscribe: Vec<&str> = ["SUBSCRIBE"].iter().chain(channels).copied().collect();
        // Subscriptions are confirmed by pushes; the answer to the PING says that they were not refused.
        wire.send_all(&[&subscribe, &["PING"]]).await?;
        match wire.answer().await {
            Ok(_) => Ok((wire, true)),
            Err(error) if error.server_code().is_some() => {
                wire.answer().await?;
                Ok((wire, false))
            }
            Err(error) => Err(error),
        }
    }

    /// `SENTINEL get-master-addr-by-name`, and the epoch from `SENTINEL MASTER`: both at once, so that nothing changes in
    /// between.
    pub(super) async fn ask(&self, wire: &mut Wire) -> Result<Named> {
        let (address, details) =
            (["SENTINEL", "get-master-addr-by-name", &self.master], ["SENTINEL", "MASTER", &self.master]);
        wire.send_all(&[&address, &details]).await?;
        let named = wire.answer().await;
        // A user that may only ask for the address is told no epoch.
        let epoch = match wire.answer().await {
            Ok(details) => field(&details, "config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
            Err(_) => 0,
        };
        match named? {
            Reply::Array(parts) => address_of(&parts)
                .map(|address| Named { address, epoch })
                .ok_or_else(|| Error::new(ErrorKind::Server, "its answer names no address of a master")),
            Reply::Nil => {
                Err(Error::new(ErrorKind::Server, format!("it knows no master with the name {:?}", self.master)))
            }
            _ => Err(Error::new(ErrorKind::Server, "its answer is not a sentinel's")),
        }
    }

    /// Learns of the other sentinels from the one at the end of `wire`.
    pub(super) async fn discover(&self, config: &Config, wire: &mut Wire) -> Result<()> {
        let others = match wire.ask(&["SENTINEL", "sentinels", &self.master]).await {
            Ok(Reply::Array(others)) => others,
            Ok(_) => return Ok(()),
            // It may not be asked for that; those of the configuration are known.
            Err(error) if error.server_code().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut known = self.known();
        for other in others {
            // One of the configuration may go by the name it is reached by.
            let is_new =
                |address: &Address| known.order.iter().all(|one| config.reachable(one) != config.reachable(address));
            if let Some(address) = address(field(&other, "ip"), field(&other, "port"))
                && known.order.len() < MOST
                && is_new(&address)
            {
                known.order.push(address);
            }
        }
        Ok(())
    }

    /// The first sentinel that is not being listened to.
    pub(super) fn take(&self) -> Option<Taken<'_>> {
        let mut known = self.known();
        let address = known.order.iter().find(|address| !known.taken.contains(address)).cloned()?;
        known.taken.push(address.clone());
        Some(Taken { sentinels: self, address })
    }

    /// Those that are known, in the order in which they are asked.
    #[cfg(fuzzing)]
    pub(super) fn order(&self) -> Vec<Address> {
        self.known().order.clone()
    }

    fn prefer(&self, sentinel: &Address) {
        let order = &mut self.known().order;
        if let Some(at) = order.iter().position(|known| known == sentinel) {
            order[..=at].rotate_right(1);
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownSentinels> {
        self.known.lock()
    }

    fn failure(&self, asked: usize, pass: &Pass, failures: Failures) -> Error {
        let sentinels = if asked == 1 { "the 1 sentinel".to_owned() } else { format!("the {asked} sentinels") };
        failures.summary(if pass.answered == 0 {
            format!("none of {sentinels} that were asked answered")
        } else {
            format!(
                "{} of {sentinels} that were asked answered, but none named a usable master {:?}",
                pass.answered, self.master
            )
        })
    }
}

impl KnownSentinels {
    fn may_name(&mut self, sentinel: &Address, named: &Named, asked: Instant, known: Option<&Named>) -> bool {
        if asked >= self.moved {
            self.named.insert(sentinel.clone(), (named.clone(), asked));
        }
        let Some(known) = known.filter(|known| is_older(named, known)) else { return true };
        // After a failover most sentinels name the old master for a moment: they hear of the new one from the one that promoted it.
        let current = || self.named.values().filter(|(_, asked)| asked.elapsed() < WORD).map(|(named, _)| named);
        let agree = current().filter(|other| other.address == named.address).count();
        current().all(|other| is_older(other, known)) && agree * 2 > self.order.len()
    }
}

/// Is what a sentinel named from an older epoch than what is known? Not where it does not say from which.
fn is_older(named: &Named, known: &Named) -> bool {
    named.epoch != 0 && named.epoch < known.epoch
}

impl Drop for Taken<'_> {
    /// Whoever is let go is asked and listened to after all others.
    fn drop(&mut self) {
        let mut known = self.sentinels.known();
        known.taken.retain(|address| *address != self.address);
        if let Some(at) = known.order.iter().position(|address| *address == self.address) {
            known.order[at..].rotate_left(1);
        }
    }
}

/// A connection to `sentinel` on which nothing was said yet.
async fn wire_to(config: &Config, sentinel: &Address) -> Result<Wire> {
    let reader = Reader::new(config.max_reply_bytes).hiding(config.sentinel_secret());
    Ok(Wire::new(open_tcp(config, sentinel).await?, reader))
}

/// A connection to the server at `address`, which must be a master.
pub(super) async fn connect_to_master(config: &Config, address: &Address) -> Result<Greeted> {
    must_be_master(greet(config, open_tcp(config, address).await?).await?, address).await
}

pub(super) async fn must_be_master(greeted: Greeted, address: &Address) -> Result<Greeted> {
    let (mut wire, mut server, known) = Wire::of(greeted);
    if server.protocol < 3 {
        // Without HELLO nothing was said about the role yet.
        match wire.ask(&["ROLE"]).await {
            Ok(Reply::Array(parts)) => server.role = parts.first().and_then(text).unwrap_or(server.role),
            Err(error) if !error.is_reply() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    let other = match &*server.role {
        "master" => return wire.into_greeted(server, known),
        "replica" | "slave" => "replica",
        "sentinel" => "sentinel",
        _ => "server of another role",
    };
    Err(Error::new(ErrorKind::Connection, format!("{address} was named as the master, but says that it is a {other}")))
}

fn address_of(parts: &[Reply]) -> Option<Address> {
    let [host, port] = parts else { return None };
    address(text(host), text(port))
}

/// What can be connected to: a sentinel that knows of a server, but not where it is, names port 0.
fn address(host: Option<String>, port: Option<String>) -> Option<Address> {
    let host = host.filter(|host| !host.is_empty())?;
    Some(Address { host, port: port?.parse().ok().filter(|port| *port != 0)? })
}

/// The value of `name` in an answer of names and values.
fn field(reply: &Reply, name: &str) -> Option<String> {
    let is = |key: &Reply| text(key).is_some_and(|key| key == name);
    match reply {
        Reply::Map(pairs) => pairs.iter().find(|(key, _)| is(key)).and_then(|(_, value)| text(value)),
        Reply::Array(items) => items.chunks_exact(2).find(|pair| is(&pair[0])).and_then(|pair| text(&pair[1])),
        _ => None,
    }
}

fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::super::server_info::describe;
    use super::*;

    fn at(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    fn sentinels() -> Sentinels {
        Sentinels::new("main".into(), vec![at(1), at(2), at(3)])
    }

    #[test]
    fn the_sentinel_that_was_right_is_asked_first_and_the_others_keep_their_order() {
        let sentinels = sentinels();
        sentinels.prefer(&at(3));
        assert_eq!(sentinels.known().order, [at(3), at(1), at(2)]);
        sentinels.prefer(&at(3));
        assert_eq!(sentinels.known().order, [at(3), at(1), at(2)]);
    }

    #[test]
    fn a_sentinel_is_listened_to_once_and_after_all_others_when_it_was_let_go() {
        let sentinels = sentinels();
        let (first, second) = (sentinels.take().unwrap(), sentinels.take().unwrap());
        assert_eq!((&first.address, &second.address), (&at(1), &at(2)));
        drop(first);
        assert_eq!(sentinels.take().unwrap().address, at(3));
        assert_eq!(sentinels.known().order, [at(2), at(1), at(3)]);
    }

    #[test]
    fn an_older_master_counts_only_where_most_sentinels_name_it() {
        let sentinels = sentinels();
        let named = |port, epoch| Named { address: at(port), epoch };
        let may_name = |sentinel, named| {
            sentinels.may_name(&at(sentinel), &named, Instant::now(), Some(&Named { address: at(8), epoch: 5 }))
        };
        assert!(!may_name(1, named(7, 4)));
        assert!(may_name(2, named(9, 6)));
        assert!(may_name(2, named(9, 0)), "it does not say how old that is");
        assert!(may_name(2, named(7, 1)), "two of three have been set up anew");
    }

    /// What comes of a server that says `answer` when it is asked for its role, and hangs up.
    async fn judged(answer: &str) -> Result<String> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let wire = Wire::new(Box::new(ours), Reader::new(1 << 16));
        let greeted = wire.into_greeted(describe(&Reply::Nil), None)?;
        must_be_master(greeted, &at(1)).await.map(|greeted| greeted.server.role)
    }

    #[tokio::test]
    async fn a_server_is_no_master_only_where_it_says_so_and_its_words_are_not_repeated() {
        assert_eq!(judged("*1\r\n$6\r\nmaster\r\n").await.unwrap(), "master");
        assert_eq!(judged("-NOPERM no permissions\r\n").await.unwrap(), "master");
        for (answer, said) in [
            ("*1\r\n$5\r\nslave\r\n", "says that it is a replica"),
            ("*1\r\n$5\r\nslave\r\n+OK\r\n", "says that it is a replica"),
            ("*1\r\n$7\r\nhunter2\r\n", "says that it is a server of another role"),
            ("*1\r\n$6\r\nmaster\r\n+OK\r\n", "a reply without a request"),
            ("", "the connection broke"),
            ("?\r\n", "not the Redis protocol"),
        ] {
            let error = judged(answer).await.unwrap_err();
            assert!(error.message().contains(said), "{answer:?}: {error}");
        }
    }

    #[test]
    fn what_was_named_before_another_master_was_found_is_no_word_for_the_old_one() {
        let (sentinels, topology) = (sentinels(), Topology::new(std::sync::Arc::default()));
        let (old, new) = (Named { address: at(7), epoch: 5 }, Named { address: at(8), epoch: 6 });
        let before = Instant::now();
        for sentinel in [1, 2, 3] {
            assert!(sentinels.may_name(&at(sentinel), &old, before, topology.master().as_ref()));
        }
        assert_eq!(sentinels.settle(&topology, &at(1), &new, Instant::now()), Settled::Moved);
        assert_eq!(sentinels.settle(&topology, &at(2), &old, before), Settled::Refused, "its connection came late");
        assert_eq!(topology.master(), Some(new));
        let later = Instant::now();
        for sentinel in [2, 3] {
            let settled = sentinels.settle(&topology, &at(sentinel), &old, later);
            assert_eq!(settled, Settled::Refused, "they have not heard of it yet, and one of them has");
        }
        let settled = sentinels.settle(&topology, &at(1), &old, later);
        assert_eq!(settled, Settled::Moved, "all of them say so now: they were set up anew");
    }

    #[test]
    fn an_address_that_cannot_be_connected_to_is_none() {
        let of =
            |host: &'static str, port: &'static str| address_of(&[Reply::Bulk(host.into()), Reply::Bulk(port.into())]);
        assert_eq!(of("h", "1"), Some(at(1)));
        for (host, port) in [("", "1"), ("h", "0"), ("h", "65536"), ("h", "")] {
            assert_eq!(of(host, port), None, "{host} {port}");
        }
    }

    #[test]
    fn a_failure_names_how_many_were_asked() {
        let error = sentinels().failure(3, &Pass::default(), Failures::default());
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert_eq!(error.message(), "none of the 3 sentinels that were asked answered");
    }
}
