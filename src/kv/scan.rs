//! Listing and clearing: a walk over all keys, a page at a time.

use bytes::Bytes;

use super::Kv;
use crate::connection::{Packed, ScanOptions, Walk};
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;
use crate::verb::Call;

/// How many keys the server looks at in one batch.
const BATCH: u64 = 512;

/// Arguments: where the walk stands, pattern. Gives where it stands then, and keys; an absent place is its beginning, null its end.
pub(super) fn scan(kv: &Kv, call: Call<'_>) {
    let kv = kv.clone();
    call.run(|call| {
        let walk = match call.at(0) {
            Arg::Absent => Walk::default(),
            written => {
                let walk = if let Arg::Text(text) = written { Walk::read(text.as_bytes()) } else { None };
                walk.ok_or_else(|| call.wrong("cursor", "what the call before gave", written))?
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
                    // A key that is no text is not one of a KV store.
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

/// Deletes what is in the namespace: the user's keys, which it counts, and what the store keeps there for itself. Where servers changed
/// during a walk it walks once more: a promoted replica may have what was deleted at the master before it.
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
            // First: a load that is under way now stores nothing behind the cursor.
            let first = clear_all(&kv, operation, kv.namespace.loaders()).await?;
            let rest = clear_all(&kv, operation, kv.namespace.everything()).await?;
            Ok(Outcome::Number((first + rest) as f64))
        })
    });
}

/// Deletes what matches `pattern`. Gives how many keys of the user there were.
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
    // What was deleted by the first of two attempts is only not counted.
    match kv.manager.call(packed.reads(operation)).await? {
        Reply::Int(count) => Ok(count),
        _ => Err(Error::unexpected_reply()),
    }
}

fn options(pattern: Bytes, operation: Operation) -> ScanOptions {
    ScanOptions { pattern, count: BATCH, operation }
}
