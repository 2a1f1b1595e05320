//! Finding workers: one by id, many by index, and how many there are.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use super::register::{capabilities, label, status, worker_id};
use super::scripts;
use super::{Inner, Registry};
use crate::connection::Cursor;
use crate::crossing::{Arg, Outcome};
use crate::error::{Error, Result};
use crate::keys::registry::Part;
use crate::resp::Reply;
use crate::verb::Call;

/// Workers that one call walks over.
const PAGE: u64 = 200;
/// Overdue workers that one call looks at.
const OVERDUE: u64 = 500;

/// Argument: id. Returns the worker, or null.
pub(super) fn get(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let id = worker_id(call, 0)?;
        let reply = inner.call(&scripts::GET, inner.begin(&scripts::GET, &[], 1, id.len()).word(id));
        Ok(async move {
            let (now, row) = inner.one_row(&reply.await?).await?;
            Ok(row.map_or(Outcome::Null, |row| Outcome::Json(row.json(now).into())))
        })
    });
}

/// An index, and whether it is a sorted set.
#[derive(Clone)]
struct Index {
    key: Bytes,
    sorted: bool,
}

impl Index {
    fn letter(&self) -> char {
        if self.sorted { 'z' } else { 's' }
    }
}

fn letters(indices: &[Index]) -> String {
    indices.iter().map(Index::letter).collect()
}

fn keys(indices: &[Index]) -> Vec<Bytes> {
    indices.iter().map(|index| index.key.clone()).collect()
}

/// What a caller asked for.
struct Wanted {
    indices: Vec<Index>,
    health: Option<&'static str>,
    limit: usize,
}

/// Arguments: type, status, health, limit, capabilities… Returns workers, and the position of the events at that time.
pub(super) fn list(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|call| {
        let sorted = |key| Index { key, sorted: true };
        let mut indices = Vec::new();
        match call.at(0) {
            Arg::Absent => {}
            given => indices.push(sorted(inner.keys.having(&label(call, "type", 't', given)?))),
        }
        if let Some(status) = status(call, 1)? {
            let key = inner.keys.status(&String::from_utf8_lossy(&status));
            indices.push(Index { key, sorted: false });
        }
        let health = match call.at(2) {
            Arg::Absent => None,
            Arg::Text("healthy") => Some("healthy"),
            Arg::Text("degraded") => Some("degraded"),
            Arg::Text("crashed") => Some("crashed"),
            Arg::Text("unknown") => Some("unknown"),
            other => return Err(call.wrong("health", "one of healthy, degraded, crashed, unknown", other)),
        };
        let limit = match call.at(3) {
            Arg::Absent => usize::MAX,
            _ => usize::try_from(call.count(3, "limit")?).unwrap_or(usize::MAX),
        };
        indices.extend(capabilities(call, 4)?.iter().map(|label| sorted(inner.keys.having(label))));
        Ok(walk(inner, Wanted { indices, health, limit }))
    });
}

async fn walk(inner: Arc<Inner>, wanted: Wanted) -> Result<Outcome> {
    let index = |part| inner.keys.key(part).clone();
    let sorted = |part| Some(Index { key: index(part), sorted: true });
    // Each health has indices that can hold it; the state of each worker found decides.
    let passes = match wanted.health {
        None if wanted.indices.is_empty() => vec![sorted(Part::Everyone)],
        None => vec![None],
        Some("healthy") => vec![sorted(Part::Alive)],
        Some("degraded") => {
            let mut passes = vec![sorted(Part::Late), Some(Index { key: index(Part::Degraded), sorted: false })];
            // Workers that are late and that no process had the authority to mark late.
            if counts(&inner).await?.overdue > 0 {
                passes.push(sorted(Part::Alive));
            }
            passes
        }
        Some("crashed") => vec![sorted(Part::Crashed)],
        Some(_) => vec![sorted(Part::Late), sorted(Part::Alive)],
    };
    let mut found = Found { seen: HashSet::new(), workers: Vec::new(), position: None };
    for pass in passes {
        let mut indices = wanted.indices.clone();
        indices.extend(pass);
        walk_one(&inner, smallest_first(&inner, indices).await?, &wanted, &mut found).await?;
    }
    let position = found.position.unwrap_or_else(|| Bytes::from_static(b"0-0"));
    let position = String::from_utf8_lossy(&position);
    Ok(Outcome::Json(format!(r#"{{"workers":[{}],"position":"{position}"}}"#, found.workers.join(",")).into()))
}

struct Found {
    seen: HashSet<Bytes>,
    workers: Vec<String>,
    /// The position at the first call: events during the walk are delivered again from there.
    position: Option<Bytes>,
}

async fn walk_one(inner: &Arc<Inner>, indices: Vec<Index>, wanted: &Wanted, found: &mut Found) -> Result<()> {
    let (letters, keys) = (letters(&indices), keys(&indices));
    let mut cursor = Cursor::default();
    while found.workers.len() < wanted.limit {
        let packed = inner
            .begin(&scripts::PAGE, &keys, 3, 64)
            .word(letters.as_bytes())
            .word(cursor.word())
            .number(PAGE.min(u64::try_from(wanted.limit).unwrap_or(u64::MAX).max(10)));
        let (Reply::Array(parts), origin) = inner.call_located(&scripts::PAGE, packed).await? else {
            return Err(Error::unexpected_reply());
        };
        let [Reply::Int(now), Reply::Bulk(next), Reply::Bulk(position), Reply::Array(rows)] = &parts[..] else {
            return Err(Error::unexpected_reply());
        };
        found.position.get_or_insert_with(|| position.clone());
        inner.note_server_time(*now as f64);
        for row in rows {
            let Some(row) = inner.row(row).await? else { continue };
            let fits = wanted.health.is_none_or(|health| row.health(*now as f64).name() == health);
            if fits && found.workers.len() < wanted.limit && found.seen.insert(row.id.clone()) {
                found.workers.push(row.json(*now as f64));
            }
        }
        if !cursor.advance(origin, next.clone()) {
            break;
        }
    }
    Ok(())
}

async fn smallest_first(inner: &Arc<Inner>, indices: Vec<Index>) -> Result<Vec<Index>> {
    if indices.len() < 2 {
        return Ok(indices);
    }
    let packed = inner.begin(&scripts::SIZES, &keys(&indices), 1, indices.len()).word(letters(&indices).as_bytes());
    let Reply::Array(sizes) = inner.call(&scripts::SIZES, packed).await? else { return Err(Error::unexpected_reply()) };
    let mut by_size: Vec<_> =
        sizes.iter().map(|size| if let Reply::Int(size) = size { *size } else { i64::MAX }).zip(indices).collect();
    by_size.sort_by_key(|(size, _)| *size);
    Ok(by_size.into_iter().map(|(_, index)| index).collect())
}

/// Returns how many workers there are, by health.
pub(super) fn count(registry: &Registry, call: Call<'_>) {
    let inner = Arc::clone(&registry.0);
    call.run(|_| {
        let counts = counts(&inner);
        Ok(async move { Ok(Outcome::Json(counts.await?.json().into())) })
    });
}

/// The numbers of workers, as `lua/count.lua` returns them.
struct Counts {
    total: i64,
    alive: i64,
    /// Of those alive: late, and not yet marked late.
    overdue: i64,
    flagged: i64,
    late: i64,
    /// Of those late: their deadline is over, and they are not yet declared crashed.
    late_overdue: i64,
    crashed: i64,
    overdue_flagged: i64,
    overdue_unknown: i64,
}

impl Counts {
    fn json(&self) -> String {
        let unflagged = self.alive - self.overdue - (self.flagged - self.overdue_flagged);
        let healthy = unflagged.max(0);
        let degraded = (self.alive - healthy - self.overdue_unknown + self.late - self.late_overdue).max(0);
        let Self { total, crashed, .. } = self;
        format!(r#"{{"total":{total},"healthy":{healthy},"degraded":{degraded},"crashed":{crashed}}}"#)
    }
}

/// One call, sent now; more calls where many workers are overdue.
fn counts(inner: &Arc<Inner>) -> impl Future<Output = Result<Counts>> + Send + use<> {
    let inner = Arc::clone(inner);
    let ask = move |looked: i64| {
        let packed = inner.begin(&scripts::COUNT, &[], 2, 32).number(looked.unsigned_abs()).number(OVERDUE);
        inner.call(&scripts::COUNT, packed)
    };
    let mut reply = ask(0);
    async move {
        let (mut looked, mut overdue_flagged, mut overdue_unknown) = (0, 0, 0);
        loop {
            let Reply::Array(parts) = reply.await? else { return Err(Error::unexpected_reply()) };
            let [total, alive, overdue, flagged, late, late_overdue, crashed, seen, seen_flagged, seen_unknown] =
                numbers(&parts)?[..]
            else {
                return Err(Error::unexpected_reply());
            };
            looked += seen;
            overdue_flagged += seen_flagged;
            overdue_unknown += seen_unknown;
            if seen == 0 || looked >= overdue {
                return Ok(Counts {
                    total,
                    alive,
                    overdue,
                    flagged,
                    late,
                    late_overdue,
                    crashed,
                    overdue_flagged,
                    overdue_unknown,
                });
            }
            reply = ask(looked);
        }
    }
}

fn numbers(parts: &[Reply]) -> Result<Vec<i64>> {
    parts
        .iter()
        .map(|part| if let Reply::Int(number) = part { Ok(*number) } else { Err(Error::unexpected_reply()) })
        .collect()
}
