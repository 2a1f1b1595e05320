//! Listens to sentinels for a switch of the master, and asks them from time to time.
//!
//! It listens to up to three sentinels at once: so a sentinel that is gone, drops packets or was cut off does not hide a switch. When one is
//! lost, the next one takes its place. A server that they name is believed once it says itself that it is a master.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::known::{Missing, Named, Settled};
use super::pace::Pace;
use crate::connection::candidates::within;
use crate::connection::core::Core;
use crate::connection::handshake::Wire;
use crate::connection::sentinel::{Sentinels, Taken, connect_to_master};
use crate::error::{Error, ErrorKind, Result};

/// How many sentinels are listened to at once.
const LISTENERS: u32 = 3;
/// What a sentinel says by itself: that the master of a name is another one now, and, a little earlier and only by the sentinel
/// that leads the failover, that a replica has become one.
const CHANNELS: [&str; 2] = ["+switch-master", "+promoted-slave"];
/// The mean time between two questions to one sentinel while nothing is missing.
const CALM: Duration = Duration::from_secs(5);
/// The same, to one that says nothing by itself.
const CALM_UNHEARD: Duration = Duration::from_secs(1);
/// How long a sentinel, or the master that it names, may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn watch(core: &Core) {
    let Some(sentinels) = &core.sentinels else { return };
    let listener = || listener(core, sentinels);
    tokio::join!(listener(), listener(), listener());
}

/// Listens to one sentinel after the other.
async fn listener(core: &Core, sentinels: &Sentinels) {
    let mut failures = 0;
    while super::is_needed(core) {
        let Some(taken) = sentinels.take() else {
            // All are listened to; another one may become known.
            sleep(CALM.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            continue;
        };
        let begin = Instant::now();
        let ended = listen(core, sentinels, &taken).await;
        drop(taken);
        if ended.is_ok() {
            return;
        }
        if begin.elapsed() > CALM {
            failures = 0;
        }
        sleep(core.config.reconnect.delay(failures)).await;
        failures = failures.saturating_add(1);
    }
}

/// Ends well when nothing needs the topology.
///
/// # Errors
///
/// Whatever ends the connection to the sentinel, or why it is of no use.
async fn listen(core: &Core, sentinels: &Sentinels, taken: &Taken<'_>) -> Result<()> {
    let opened = async {
        let (mut wire, tells) = sentinels.listen(&core.config, &taken.address, &CHANNELS).await?;
        sentinels.discover(&core.config, &mut wire).await?;
        Ok((wire, tells))
    };
    let (mut wire, tells) = within(PATIENCE.min(core.config.connect_timeout), opened).await?;
    let _counted = core.counted();
    let mut pace = Pace::new(&core.topology, if tells { CALM } else { CALM_UNHEARD }, LISTENERS);
    let mut report = Report::default();
    while super::is_needed(core) {
        ask(core, sentinels, taken, &mut wire, &mut report).await?;
        pace.asked();
        tokio::select! {
            () = pace.next() => {}
            pushed = wire.pushed() => pushed.inspect_err(|error| core.failed(error))?,
        }
    }
    Ok(())
}

/// What one sentinel has said.
#[derive(Default)]
struct Report {
    last: Option<Named>,
    /// Held while the server that it names does not say that it is a master.
    unsettled: Option<Missing>,
}

/// Asks a sentinel, and goes by what it names.
async fn ask(
    core: &Core,
    sentinels: &Sentinels,
    taken: &Taken<'_>,
    wire: &mut Wire,
    report: &mut Report,
) -> Result<()> {
    let topology = &core.topology;
    let asked_at = Instant::now();
    let named = within(PATIENCE, sentinels.ask(wire)).await.inspect_err(|error| core.failed(error))?;
    topology.refreshed();
    let known = topology.master();
    let is_older = || Error::new(ErrorKind::Connection, "the sentinel names a master from an older epoch");
    if !sentinels.may_name(&taken.address, &named, asked_at, known.as_ref()) {
        return Err(is_older());
    }
    let switched = report.last.replace(named.clone()).is_some_and(|last| last.address != named.address);
    let is_known = match known {
        Some(known) => known.address == named.address,
        // The first connect asks by itself. Only a switch is news.
        None if !switched && report.unsettled.is_none() => return Ok(()),
        None => false,
    };
    if !is_known && !is_master(core, &named).await {
        // Named while it is being promoted, or by a sentinel that is wrong.
        report.unsettled.get_or_insert_with(|| topology.missing());
        return Ok(());
    }
    report.unsettled = None;
    match sentinels.settle(topology, &taken.address, &named, asked_at) {
        Settled::Known => Ok(()),
        Settled::Moved => {
            core.arrived.notify_one();
            Ok(())
        }
        Settled::Refused => Err(is_older()),
    }
}

async fn is_master(core: &Core, named: &Named) -> bool {
    within(PATIENCE, connect_to_master(&core.config, &named.address)).await.is_ok()
}
