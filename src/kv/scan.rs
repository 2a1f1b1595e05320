//! Listing and clearing: `SCAN`, a batch at a time.

use bytes::Bytes;

use super::scripts::operation;
use super::{Kv, decode};
use crate::arguments::Arguments;
use crate::connection::Command;
use crate::connection::Packed;
use crate::crossing::{Answer, Arg, Outcome};
use crate::error::{Error, Result};
use crate::resp::Reply;
use crate::telemetry::Operation;

/// How many keys the server looks at in one batch.
const BATCH: u64 = 512;

/// Arguments: cursor, pattern. Gives `[next cursor, keys]`; cursor `0` begins and ends.
pub(super) fn scan(kv: &Kv, args: &[Arg<'_>], answer: Answer) {
    let args = Arguments::of("KVStore.scan", args);
    kv.run(answer, |kv| {
        let cursor = args.text(0, "cursor")?;
        let pattern = match args.at(1) {
            Arg::Absent => &b"*"[..],
            Arg::Text(pattern) => pattern.as_bytes(),
            other => return Err(args.wrong("match", "a string", other)),
        };
        let command = scan_command(cursor, &kv.namespace.pattern(pattern), *operation::SCAN);
        Ok(async move {
            let (cursor, found) = batch(kv.manager.call(command).await?)?;
            let mut keys: Vec<Bytes> = found
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
            Ok(Outcome::List(vec![Outcome::Text(cursor), Outcome::List(keys)]))
        })
    });
}

/// Deletes what is in the namespace: the user's keys, which it counts, and what the store keeps there for itself.
pub(super) fn clear(kv: &Kv, _args: &[Arg<'_>], answer: Answer) {
    kv.run(answer, |kv| {
        if kv.namespace.is_none() {
            return Err(Error::config(
                "KVStore.clear: namespace: expected one, of the manager or of the store, got none: everything would be deleted",
            ));
        }
        Ok(async move {
            // First: a load that is under way now stores nothing behind the cursor.
            let first = clear_all(&kv, &kv.namespace.loaders()).await?;
            let rest = clear_all(&kv, &kv.namespace.everything()).await?;
            Ok(Outcome::Number((first + rest) as f64))
        })
    });
}

/// Deletes what matches `pattern`. Gives how many keys of the user there were.
async fn clear_all(kv: &Kv, pattern: &[u8]) -> Result<i64> {
    let mut cursor = Bytes::from_static(b"0");
    let mut cleared = 0;
    loop {
        let command = scan_command(&cursor, pattern, *operation::CLEAR);
        let (next, found) = batch(kv.manager.call(command).await?)?;
        let (theirs, others): (Vec<_>, Vec<_>) = found.iter().partition(|full| kv.namespace.strip(full).is_some());
        let ours: Vec<_> = others.into_iter().filter(|full| kv.namespace.is_of_kv(full)).collect();
        unlink(kv, &ours).await?;
        cleared += unlink(kv, &theirs).await?;
        if &next[..] == b"0" {
            return Ok(cleared);
        }
        cursor = next;
    }
}

async fn unlink(kv: &Kv, keys: &[&Bytes]) -> Result<i64> {
    if keys.is_empty() {
        return Ok(0);
    }
    let size = keys.iter().map(|key| key.len() + 16).sum();
    let packed = keys.iter().fold(Packed::sized(size).begin(1 + keys.len(), b"UNLINK"), |packed, key| packed.word(key));
    match kv.manager.call(packed.writes(*operation::CLEAR)).await? {
        Reply::Int(count) => Ok(count),
        _ => Err(decode::strange()),
    }
}

fn scan_command(cursor: &[u8], pattern: &[u8], operation: Operation) -> Command {
    Packed::sized(pattern.len())
        .begin(6, b"SCAN")
        .word(cursor)
        .word(b"MATCH")
        .word(pattern)
        .word(b"COUNT")
        .number(BATCH)
        .reads(operation)
}

fn batch(reply: Reply) -> Result<(Bytes, Vec<Bytes>)> {
    let Reply::Array(parts) = reply else { return Err(decode::strange()) };
    match <[Reply; 2]>::try_from(parts) {
        Ok([Reply::Bulk(cursor), Reply::Array(keys)]) => {
            let keys = keys
                .into_iter()
                .map(|key| match key {
                    Reply::Bulk(key) => Ok(key),
                    _ => Err(decode::strange()),
                })
                .collect::<Result<_>>()?;
            Ok((cursor, keys))
        }
        _ => Err(decode::strange()),
    }
}
