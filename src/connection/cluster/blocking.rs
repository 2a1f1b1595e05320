//! Connections outside of the shared ones: for a blocking command, to the master of its key; for anything else, to any.

use std::sync::Arc;
use std::time::Instant;

use super::discovery::{candidates, connect_to, find};
use super::route::{Place, Route, route};
use super::slots::{Redirect, SlotMap};
use crate::connection::candidates::within;
use crate::connection::handshake::Greeted;
use crate::connection::request::Command;
use crate::connection::shared::Shared;
use crate::connection::target::Address;
use crate::error::Result;

/// A connection to some master.
pub(in crate::connection) async fn connect(shared: &Shared, seeds: &[Address]) -> Result<Greeted> {
    connect_any(shared, seeds).await.map(|(_, greeted)| greeted)
}

/// A connection to some master, and its address.
pub(in crate::connection) async fn connect_any(shared: &Shared, seeds: &[Address]) -> Result<(Address, Greeted)> {
    let known = shared.directory.get();
    let masters = known.as_ref().map_or(&[][..], |map| map.masters());
    find(&shared.config, &candidates(masters, seeds)).await.map(|found| (found.address, found.greeted))
}

/// A connection to the master of `command`'s key, or to where `redirect` says, and the address of that.
pub(in crate::connection) async fn connect_for(
    shared: &Shared,
    seeds: &[Address],
    command: &Command,
    redirect: Option<&Redirect>,
) -> Result<(Address, Greeted)> {
    let deadline = Instant::now() + shared.config.connect_timeout;
    let mut address = redirect.map(|redirect| redirect.address.clone());
    if address.is_none() {
        address = if let Some(map) = shared.directory.get() {
            owner(command, &map)?
        } else {
            let found = find(&shared.config, &candidates(&[], seeds)).await?;
            shared.directory.set(Arc::new(found.map.clone()));
            Some(owner(command, &found.map)?.unwrap_or(found.address))
        };
    }
    let Some(address) = address else {
        // Its slot is nobody's: any node will say so.
        let found = find(&shared.config, &candidates(&[], seeds)).await?;
        return Ok((found.address, found.greeted));
    };
    let limit = deadline.saturating_duration_since(Instant::now());
    let greeted = within(limit, connect_to(&shared.config, &address)).await?;
    Ok((address, greeted))
}

fn owner(command: &Command, map: &SlotMap) -> Result<Option<Address>> {
    Ok(match route(command, map)? {
        Route::Whole(Place::Slot(slot)) => map.owner(slot).cloned(),
        Route::Whole(Place::Anywhere | Place::Master(_)) | Route::Parts(..) => map.masters().first().cloned(),
    })
}
