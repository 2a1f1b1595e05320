//! Messages between queues, which may be of different slots: children to be added there, news of children for their parent.
//!
//! A message is written by the script that makes it necessary, and deleted when it has been delivered. Delivered twice it
//! changes nothing, so whoever finds one may deliver it: who wrote it does so at once, a worker's renewal finds what a crash
//! left behind.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::scripts::{self, Call, array, bytes, operation};
use super::{Core, adding, strange};
use crate::connection::Packed;
use crate::error::Result;
use crate::lifecycle;

/// Messages delivered at once.
const BATCH: u64 = 50;

/// Delivers what is there, in a task of its own.
pub(super) fn deliver_soon(core: Arc<Core>) {
    lifecycle::spawn(async move {
        // What cannot be delivered now stays, and the next renewal of a worker finds it.
        let _ = deliver(&core).await;
    });
}

async fn deliver(core: &Core) -> Result<()> {
    let key = &core.base[16];
    loop {
        let scan = Packed::sized(key.len()).begin(5, b"HSCAN").word(key).number(0).word(b"COUNT").number(BATCH);
        let mut parts = array(core.call(scan.writes(*operation::ADMIN)).await?).ok_or_else(strange)?.into_iter();
        let found = parts.nth(1).and_then(array).ok_or_else(strange)?;
        if found.is_empty() {
            return Ok(());
        }
        let mut words = found.into_iter().filter_map(bytes);
        while let (Some(field), Some(message)) = (words.next(), words.next()) {
            one(core, &message).await?;
            let done = Packed::sized(key.len() + field.len()).begin(3, b"HDEL").word(key).word(&field);
            core.call(done.writes(*operation::ADMIN)).await?;
        }
    }
}

async fn one(core: &Core, message: &Bytes) -> Result<()> {
    // A damaged message says nothing to anybody: it is dropped.
    let Ok(message) = serde_json::from_slice::<Value>(message) else { return Ok(()) };
    let text = |name: &str| message[name].as_str().unwrap_or_default();
    let there = Arc::new(core.beside(text("q")));
    if text("t") == "child" {
        tell_parent(&there, text("id"), text("name"), text("how"), text("value")).await?;
    }
    for job in message["jobs"].as_array().into_iter().flatten() {
        let part = |at: usize| job[at].as_str().unwrap_or_default().to_owned();
        // One by one: places of parents among them are of no use, since each is found by its id.
        let mut extra: Value = serde_json::from_str(&part(2)).unwrap_or_default();
        if let Some(extra) = extra.as_object_mut() {
            extra.remove("i");
        }
        adding::add_made(&there, &part(0), part(1).into(), extra.to_string()).await?;
    }
    // What was delivered may have left messages there: children of children, the news of a parent that failed.
    deliver_soon(there);
    Ok(())
}

/// Tells a parent of this queue how a child of another one has ended.
pub(super) async fn tell_parent(core: &Core, parent: &str, name: &str, how: &str, value: &str) -> Result<()> {
    let call = Call::of(core, &scripts::CHILD)
        .arg(parent.to_owned())
        .arg(name.to_owned())
        .arg(how.to_owned())
        .arg(value.to_owned());
    core.call(call.writes(*operation::CHANGE)).await.map(drop)
}
