//! Listing and clearing: a scan of all keys, a page at a time.

use bytes::Bytes;

use super::Kv;
use crate::connection::{Packed, ScanOptions, Walk};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// How many keys the server examines in one batch.
const BATCH: u64 = 512;

/// Arguments: cursor, pattern. Gives the next cursor and a page of keys. An absent cursor starts the scan; the cursor null ends
/// it.
pub(super) fn scan(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let walk = match call.at(0) {
            Arg::Absent => Walk::default(),
            written => {
                let walk = if let Arg::Text(text) = written { Walk::read(text.as_bytes()) } else { None };
                walk.ok_or_else(|| call.wrong("cursor", "the cursor that the previous call returned", written))?
            }
        };
        let pattern = match call.at(1) {
            Arg::Absent => &b"*"[..],
            Arg::Text(pattern) => pattern.as_bytes(),
            other => return Err(call.wrong("match", "a string", other)),
        };
        let options = options(kv.namespace.pattern(pattern), call.operation());
        Ok(async move {
            let page = kv.manager.walk(walk, &options).await?;
            let mut keys: Vec<Bytes> = page
                .keys
                .iter()
                .filter_map(|full| {
                    let key = kv.namespace.strip(full)?;
                    // A key that is not text was not written by a KV store.
                    (!key.is_empty() && std::str::from_utf8(key).is_ok()).then(|| full.slice_ref(key))
                })
                .collect();
            keys.sort_unstable();
            keys.dedup();
            let keys = keys.into_iter().map(Outcome::Text).collect();
            let next = page.next.map_or(Outcome::Null, |walk| Outcome::Text(walk.write().into()));
            Ok(Outcome::List(vec![next, Outcome::List(keys)]))
        })
    });
}

/// Deletes all keys of the namespace: the user's keys, which are counted, and the store's internal keys. If servers changed
/// during the scan, it scans once more: a promoted replica may still have keys that were deleted at the old master.
pub(super) fn clear(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        if kv.namespace.is_none() {
            return Err(Error::config(
                "KVStore.clear: namespace: expected a namespace of the manager or of the store, got none: everything would be deleted",
            ));
        }
        let operation = call.operation();
        Ok(async move {
            // The marks of loads are deleted first. So a load in progress cannot store a value behind the cursor.
            let first = clear_all(&kv, operation, kv.namespace.loaders()).await?;
            let rest = clear_all(&kv, operation, kv.namespace.everything()).await?;
            Ok(Outcome::Number((first + rest) as f64))
        })
    });
}

/// Deletes the keys that match `pattern`. Gives how many of them were the user's.
async fn clear_all(kv: &Kv, operation: Operation, pattern: Bytes) -> Result<i64> {
    let options = options(pattern, operation);
    let mut cleared = 0;
    let mut disturbed = false;
    let mut walk = Walk::default();
    loop {
        let page = kv.manager.walk(walk, &options).await?;
        let (theirs, others): (Vec<_>, Vec<_>) = page.keys.iter().partition(|full| kv.namespace.strip(full).is_some());
        let ours: Vec<_> = others.into_iter().filter(|full| kv.namespace.is_of_kv(full)).collect();
        unlink(kv, operation, &ours).await?;
        cleared += unlink(kv, operation, &theirs).await?;
        disturbed |= page.disturbed;
        walk = match page.next {
            Some(walk) => walk,
            None if std::mem::take(&mut disturbed) => Walk::default(),
            None => return Ok(cleared),
        };
    }
}

async fn unlink(kv: &Kv, operation: Operation, keys: &[&Bytes]) -> Result<i64> {
    if keys.is_empty() {
        return Ok(0);
    }
    let size = keys.iter().map(|key| key.len() + 16).sum();
    let packed = keys.iter().fold(Packed::sized(size).begin(1 + keys.len(), b"UNLINK"), |packed, key| packed.word(key));
    // The command may be sent again. Keys that the first attempt deleted are then not counted.
    match kv.manager.call(packed.reads(operation)).await? {
        Reply::Int(count) => Ok(count),
        _ => Err(Error::unexpected_reply()),
    }
}

fn options(pattern: Bytes, operation: Operation) -> ScanOptions {
    ScanOptions { pattern, count: BATCH, operation }
}
