//! Connections of their own in a cluster: to the master of a blocking command's key, or to any master for anything else.

use std::sync::Arc;

use super::discovery::{connect_to, find};
use super::route::{Route, route};
use super::slots::{Redirect, SlotMap};
use crate::connection::candidates::within;
use crate::connection::command::Command;
use crate::connection::core::Core;
use crate::connection::handshake::Greeted;
use crate::connection::request::Destination;
use crate::connection::target::Address;
use crate::connection::topology::Seat;
use crate::error::{Error, ErrorKind, Result};

/// A connection to some master.
pub(in crate::connection) async fn connect(core: &Core, seeds: &[Address]) -> Result<Greeted> {
    connect_any(core, seeds).await.map(|(_, greeted)| greeted)
}

/// A connection to some master, and its address.
pub(in crate::connection) async fn connect_any(core: &Core, seeds: &[Address]) -> Result<(Address, Greeted)> {
    let found = find(core, seeds).await?;
    core.topology.learn(&Arc::new(found.map));
    Ok((found.address, found.greeted))
}

/// A connection for a command: its address, and what it is for. After `ASK` there is no seat, because the connection is for one command.
pub(in crate::connection) struct Routed {
    pub(in crate::connection) address: Address,
    pub(in crate::connection) seat: Option<Seat>,
    pub(in crate::connection) greeted: Greeted,
}

/// A connection to the master of `command`'s key, or to the address of `redirect`. The attempt ends at once when the key's slot turns
/// out to belong to another master.
pub(in crate::connection) async fn connect_for(
    core: &Core,
    seeds: &[Address],
    command: &Command,
    redirect: Option<&Redirect>,
) -> Result<Routed> {
    if let Some(Redirect { address, ask: true, .. }) = redirect {
        let greeted = within(core.config.connect_timeout, connect_to(&core.config, address)).await?;
        return Ok(Routed { address: address.clone(), seat: None, greeted });
    }
    let map = if let Some(map) = core.topology.map() {
        map
    } else {
        let map = Arc::new(find(core, seeds).await?.map);
        core.topology.learn(&map);
        map
    };
    let slot = slot(command, &map)?;
    let address = redirect.map(|redirect| &redirect.address).or_else(|| map.owner(slot?)).cloned();
    let Some(address) = address else {
        // The slot has no known owner. Any node will answer with an error or a redirection.
        let (address, greeted) = connect_any(core, seeds).await?;
        return Ok(Routed { seat: Some(Seat { address: address.clone(), slot }), address, greeted });
    };
    let seat = Seat { address: address.clone(), slot };
    let greeted = tokio::select! {
        greeted = within(core.config.connect_timeout, connect_to(&core.config, &address)) => greeted?,
        () = core.topology.left(Some(&seat)) => {
            let message = format!("{address} has not been connected to, and is no longer the right node");
            return Err(Error::new(ErrorKind::Connection, message));
        }
    };
    Ok(Routed { address, seat: Some(seat), greeted })
}

/// The slot of `command`'s key, if it has one.
fn slot(command: &Command, map: &SlotMap) -> Result<Option<u16>> {
    Ok(match route(command, map)? {
        Route::Whole(Destination::Slot(slot)) => Some(slot),
        Route::Whole(Destination::Anywhere | Destination::Master(_) | Destination::Node(_)) | Route::Parts(..) => None,
    })
}
