//! The master of a name, as sentinels know it.
//!
//! They are asked one after another, each within its share of `connectTimeoutMs`, until one names a server that says
//! of itself that it is a master: a sentinel that was cut off may still name the old one. The sentinel that was right
//! is asked first the next time. Every attempt to connect asks anew, so a failover is followed wherever a lost
//! connection or a `READONLY` leads to an attempt.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::candidates::{Failures, share, within};
use super::config::Config;
use super::handshake::{Greeted, Wire, greet};
use super::link::open_tcp;
use super::target::{Address, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::resp::Reply;

/// The sentinels of one master, in the order they are asked.
pub(super) struct Sentinels {
    master: String,
    order: Mutex<Vec<Address>>,
}

/// What one pass over the sentinels came to.
#[derive(Default)]
struct Pass {
    answered: usize,
    /// Masters that were named and could not be used.
    tried: Vec<Address>,
    failures: Failures,
}

impl Sentinels {
    /// The sentinels of `target`, if it has some.
    pub(super) fn of(target: &Target) -> Option<Self> {
        match target {
            Target::Sentinel { sentinels, master } => {
                Some(Self { master: master.clone(), order: Mutex::new(sentinels.clone()) })
            }
            Target::Tcp(_) | Target::Unix(_) | Target::Memory(_) | Target::Cluster(_) => None,
        }
    }

    /// A connection to the master.
    ///
    /// # Errors
    ///
    /// `connection` if no sentinel answers, or none names a master that can be used; `auth` or `tls` if that is why.
    /// The causes are one chain: the last failure first.
    pub(super) async fn connect(&self, config: &Config) -> Result<Greeted> {
        let order = self.order().clone();
        let deadline = Instant::now() + config.connect_timeout;
        let mut pass = Pass::default();
        for (at, sentinel) in order.iter().enumerate() {
            if let Some(greeted) = self.try_with(config, sentinel, deadline, order.len() - at, &mut pass).await {
                self.prefer(sentinel);
                return Ok(greeted);
            }
        }
        Err(self.failure(order.len(), pass))
    }

    /// Asks `sentinel` and connects to the master it names, each within a share of the time that is left.
    async fn try_with(
        &self,
        config: &Config,
        sentinel: &Address,
        deadline: Instant,
        left: usize,
        pass: &mut Pass,
    ) -> Option<Greeted> {
        // One share is kept for the master.
        let limit = share(deadline, left + 1);
        let address = match within(limit, self.ask(config, sentinel)).await {
            Ok(address) => address,
            Err(error) => {
                pass.answered += usize::from(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Server));
                pass.failures.add(error.with_message(|message| format!("sentinel {sentinel}: {message}")));
                return None;
            }
        };
        pass.answered += 1;
        if pass.tried.contains(&address) {
            return None;
        }
        match within(share(deadline, left), connect_to_master(config, &address)).await {
            Ok(greeted) => Some(greeted),
            Err(error) => {
                pass.tried.push(address);
                pass.failures.add(error);
                None
            }
        }
    }

    /// `SENTINEL get-master-addr-by-name`.
    async fn ask(&self, config: &Config, sentinel: &Address) -> Result<Address> {
        let mut wire = Wire::new(open_tcp(config, sentinel).await?);
        if let Some(password) = &config.sentinel_password {
            match &config.sentinel_username {
                Some(user) => wire.ask(&["AUTH", user, password.reveal()]).await?,
                None => wire.ask(&["AUTH", password.reveal()]).await?,
            };
        }
        match wire.ask(&["SENTINEL", "get-master-addr-by-name", &self.master]).await? {
            Reply::Array(parts) => {
                address(&parts).ok_or_else(|| Error::new(ErrorKind::Server, "its answer names no address of a master"))
            }
            Reply::Nil => {
                Err(Error::new(ErrorKind::Server, format!("it knows no master with the name {:?}", self.master)))
            }
            _ => Err(Error::new(ErrorKind::Server, "its answer is not that of a sentinel")),
        }
    }

    fn prefer(&self, sentinel: &Address) {
        let mut order = self.order();
        if let Some(at) = order.iter().position(|known| known == sentinel) {
            order[..=at].rotate_right(1);
        }
    }

    fn order(&self) -> std::sync::MutexGuard<'_, Vec<Address>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, asked: usize, pass: Pass) -> Error {
        let sentinels = if asked == 1 { "the 1 sentinel".to_owned() } else { format!("the {asked} sentinels") };
        pass.failures.summary(if pass.answered == 0 {
            format!("none of {sentinels} that were asked answered")
        } else {
            format!(
                "{} of {sentinels} that were asked answered, but none named a usable master {:?}",
                pass.answered, self.master
            )
        })
    }
}

/// A connection to the server at `address`, which must be a master.
async fn connect_to_master(config: &Config, address: &Address) -> Result<Greeted> {
    let mut greeted = greet(config, open_tcp(config, address).await?).await?;
    if greeted.server.protocol < 3 {
        // Without HELLO nothing was said about the role yet.
        let mut wire = Wire::new(greeted.stream);
        if let Ok(Reply::Array(parts)) = wire.ask(&["ROLE"]).await {
            greeted.server.role = parts.first().and_then(text).unwrap_or(greeted.server.role);
        }
        greeted.stream = wire.into_stream();
    }
    if greeted.server.role == "master" {
        return Ok(greeted);
    }
    Err(Error::new(
        ErrorKind::Connection,
        format!("{address} was named as the master, but says that it is a {}", greeted.server.role),
    ))
}

fn address(parts: &[Reply]) -> Option<Address> {
    let [host, port] = parts else { return None };
    Some(Address { host: text(host).filter(|host| !host.is_empty())?, port: text(port)?.parse().ok()? })
}

fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    fn sentinels() -> Sentinels {
        Sentinels { master: "main".into(), order: Mutex::new(vec![at(1), at(2), at(3)]) }
    }

    #[test]
    fn the_sentinel_that_was_right_is_asked_first_and_the_others_keep_their_order() {
        let sentinels = sentinels();
        sentinels.prefer(&at(3));
        assert_eq!(*sentinels.order(), [at(3), at(1), at(2)]);
        sentinels.prefer(&at(3));
        assert_eq!(*sentinels.order(), [at(3), at(1), at(2)]);
    }

    #[test]
    fn a_failure_names_how_many_were_asked() {
        let error = sentinels().failure(3, Pass::default());
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert_eq!(error.message(), "none of the 3 sentinels that were asked answered");
    }
}
