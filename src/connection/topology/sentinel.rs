//! Listens to sentinels for a switch of the master, and asks them from time to time.
//!
//! The task listens to up to three sentinels at once, so that a sentinel that is down, drops packets or was cut off does not hide a
//! switch. When a sentinel is lost, the next one takes its place. A named server counts as the master once it confirms its role.

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
/// The events that sentinels publish: the master of a name has changed, and a replica was promoted. The second event comes a little
/// earlier, but only from the sentinel that leads the failover.
const CHANNELS: [&str; 2] = ["+switch-master", "+promoted-slave"];
/// The mean time between two questions to one sentinel while no connection is missing.
const CALM: Duration = Duration::from_secs(5);
/// The mean time between two questions to a sentinel that publishes no events.
const CALM_UNHEARD: Duration = Duration::from_secs(1);
/// How long a sentinel, or the named master, may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn watch(core: &Core) {
    let Some(sentinels) = &core.sentinels else { return };
    let listener = || listener(core, sentinels);
    tokio::join!(listener(), listener(), listener());
}

/// Listens to one sentinel after another.
async fn listener(core: &Core, sentinels: &Sentinels) {
    let mut failures = 0;
    while super::is_needed(core) {
        let Some(taken) = sentinels.take() else {
            // Every known sentinel has a listener; another sentinel may become known.
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

/// Listens to one sentinel. Returns `Ok` when no connection needs the topology.
///
/// # Errors
///
/// The loss of the connection to the sentinel, or the reason why its answers cannot be used.
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

/// The last answers of one sentinel.
#[derive(Default)]
struct Report {
    last: Option<Named>,
    /// Present while the named server has not confirmed that it is a master.
    unsettled: Option<Missing>,
}

/// Asks a sentinel for the master, and takes its answer.
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
        // The first connect asks the sentinels itself, so only a switch matters.
        None if !switched && report.unsettled.is_none() => return Ok(()),
        None => false,
    };
    if !is_known && !is_master(core, &named).await {
        // The server is still being promoted, or the sentinel is wrong.
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
