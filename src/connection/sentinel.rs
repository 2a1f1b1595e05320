//! Asks sentinels for the master of a name.
//!
//! The sentinels are asked in parallel, with a head start each, until one names a server that confirms that it is a master. After a
//! failover a sentinel may still name the old master, and the old master may still believe that it is one. So a master of an older
//! epoch than the known master counts only if most sentinels name it and none names a newer master. This happens when the sentinels
//! were set up again. The sentinel that was right is asked first the next time. Sentinels that are not in the configuration are learnt
//! from the configured ones.

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

/// The most sentinels that are remembered.
const MAX_SENTINELS: usize = 32;
/// How long the answer of a sentinel counts. The topology task asks its sentinels every few seconds.
const ANSWER_LIFETIME: Duration = Duration::from_secs(30);

/// The sentinels of one master.
pub(super) struct Sentinels {
    master: String,
    known: Mutex<KnownSentinels>,
}

struct KnownSentinels {
    /// All known sentinels, in the order in which they are asked.
    order: Vec<Address>,
    /// The sentinels that have a listener.
    taken: Vec<Address>,
    /// The last answer of each sentinel, and when it was asked. Answers from before the last change of the master are dropped.
    named: HashMap<Address, (Named, Instant)>,
    /// When another master was found.
    moved: Instant,
}

/// A sentinel that has a listener, until this value is dropped.
pub(super) struct Taken<'a> {
    sentinels: &'a Sentinels,
    pub(super) address: Address,
}

/// The outcome of one pass over the sentinels.
#[derive(Default)]
struct Pass {
    answered: usize,
    /// The named masters that are being tried, or were tried.
    tried: Vec<Address>,
}

impl Sentinels {
    /// The sentinels of `target`; `None` where the target has none.
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

    /// A connection to the master. The topology knows the master from then on.
    ///
    /// # Errors
    ///
    /// `connection` if no sentinel answers, or none names a usable master; `auth` or `tls` if this was the reason. The causes form
    /// one chain, the last failure first.
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

    /// Remembers the master that `sentinel` named when it was asked at `asked`. False if this master is older than the `known` one,
    /// unless most sentinels name it.
    pub(super) fn may_name(&self, sentinel: &Address, named: &Named, asked: Instant, known: Option<&Named>) -> bool {
        self.known().may_name(sentinel, named, asked, known)
    }

    /// Makes the master that `sentinel` named the known master; the master has confirmed its role. It is refused where a newer master
    /// has become known since `asked`.
    pub(super) fn settle(&self, topology: &Topology, sentinel: &Address, named: &Named, asked: Instant) -> Settled {
        let mut all = self.known();
        let settled = topology.settle_on(named, |known| all.may_name(sentinel, named, asked, known));
        if settled == Settled::Moved {
            // Answers from before the change do not count.
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

    /// A connection to `sentinel` with subscriptions to `channels`. False where the sentinel has no RESP3, or refuses the
    /// subscriptions: then it answers questions, but publishes no events.
    pub(super) async fn listen(&self, config: &Config, sentinel: &Address, channels: &[&str]) -> Result<(Wire, bool)> {
        self.introduce(config, wire_to(config, sentinel).await?, channels).await
    }

    /// As [`listen`](Self::listen), on a connection before its handshake.
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
        // The server confirms subscriptions by pushes. The answer to the PING shows that they were not refused.
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

    /// `SENTINEL get-master-addr-by-name`, and the epoch from `SENTINEL MASTER`. Both are sent together, so that nothing changes in
    /// between.
    pub(super) async fn ask(&self, wire: &mut Wire) -> Result<Named> {
        let (address, details) =
            (["SENTINEL", "get-master-addr-by-name", &self.master], ["SENTINEL", "MASTER", &self.master]);
        wire.send_all(&[&address, &details]).await?;
        let named = wire.answer().await;
        // The user may have the permission for the first command only. Then the epoch is unknown.
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

    /// Learns the other sentinels from the sentinel of `wire`.
    pub(super) async fn discover(&self, config: &Config, wire: &mut Wire) -> Result<()> {
        let others = match wire.ask(&["SENTINEL", "sentinels", &self.master]).await {
            Ok(Reply::Array(others)) => others,
            Ok(_) => return Ok(()),
            // Without the permission, the configured sentinels are enough.
            Err(error) if error.server_code().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut known = self.known();
        for other in others {
            // The configuration may name a sentinel by its mapped address.
            let is_new =
                |address: &Address| known.order.iter().all(|one| config.reachable(one) != config.reachable(address));
            if let Some(address) = address(field(&other, "ip"), field(&other, "port"))
                && known.order.len() < MAX_SENTINELS
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

    /// The known sentinels, in the order in which they are asked.
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
        // After a failover most sentinels name the old master for a moment, until the sentinel that promoted the new master tells them.
        let current =
            || self.named.values().filter(|(_, asked)| asked.elapsed() < ANSWER_LIFETIME).map(|(named, _)| named);
        let agree = current().filter(|other| other.address == named.address).count();
        current().all(|other| is_older(other, known)) && agree * 2 > self.order.len()
    }
}

/// Is the named master from an older epoch than the known one? False where the sentinel gives no epoch.
fn is_older(named: &Named, known: &Named) -> bool {
    named.epoch != 0 && named.epoch < known.epoch
}

impl Drop for Taken<'_> {
    /// Moves the sentinel to the end of the order.
    fn drop(&mut self) {
        let mut known = self.sentinels.known();
        known.taken.retain(|address| *address != self.address);
        if let Some(at) = known.order.iter().position(|address| *address == self.address) {
            known.order[at..].rotate_left(1);
        }
    }
}

/// A connection to `sentinel`, before the handshake.
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
        // Without HELLO the role is unknown so far.
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

/// An address that can be connected to. A sentinel gives port 0 for a server whose address it does not know.
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
    fn a_preferred_sentinel_is_asked_first_and_the_others_keep_their_order() {
        let sentinels = sentinels();
        sentinels.prefer(&at(3));
        assert_eq!(sentinels.known().order, [at(3), at(1), at(2)]);
        sentinels.prefer(&at(3));
        assert_eq!(sentinels.known().order, [at(3), at(1), at(2)]);
    }

    #[test]
    fn a_sentinel_has_one_listener_and_moves_to_the_end_when_the_listener_ends() {
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
        assert!(may_name(2, named(9, 0)), "without an epoch it is not older");
        assert!(may_name(2, named(7, 1)), "two of three sentinels were set up again");
    }

    /// The check for the role of a server that sends `answer` and then closes the connection.
    async fn judged(answer: &str) -> Result<String> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let wire = Wire::new(Box::new(ours), Reader::new(1 << 16));
        let greeted = wire.into_greeted(describe(&Reply::Nil), None)?;
        must_be_master(greeted, &at(1)).await.map(|greeted| greeted.server.role)
    }

    #[tokio::test]
    async fn only_a_server_that_names_another_role_is_no_master_and_the_error_does_not_quote_it() {
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
    fn answers_from_before_a_change_of_the_master_do_not_count_for_the_old_master() {
        let (sentinels, topology) = (sentinels(), Topology::new(std::sync::Arc::default()));
        let (old, new) = (Named { address: at(7), epoch: 5 }, Named { address: at(8), epoch: 6 });
        let before = Instant::now();
        for sentinel in [1, 2, 3] {
            assert!(sentinels.may_name(&at(sentinel), &old, before, topology.master().as_ref()));
        }
        assert_eq!(sentinels.settle(&topology, &at(1), &new, Instant::now()), Settled::Moved);
        assert_eq!(
            sentinels.settle(&topology, &at(2), &old, before),
            Settled::Refused,
            "the sentinel was asked before the change"
        );
        assert_eq!(topology.master(), Some(new));
        let later = Instant::now();
        for sentinel in [2, 3] {
            let settled = sentinels.settle(&topology, &at(sentinel), &old, later);
            assert_eq!(settled, Settled::Refused, "one sentinel names the new master");
        }
        let settled = sentinels.settle(&topology, &at(1), &old, later);
        assert_eq!(settled, Settled::Moved, "all sentinels name the old master: they were set up again");
    }

    #[test]
    fn an_address_without_a_host_or_a_valid_port_is_refused() {
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
