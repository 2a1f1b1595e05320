//! Lists jobs in one state when a single script would block the server for too long. Ids are read page by page and sorted here.
//!
//! A job that changes its state meanwhile may be missing, or be listed although it has left the state. No job is listed twice.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Core;
use super::record::State;
use super::scripts::{self, array, bytes, integer, operation, plain};
use super::snapshot::{Snapshot, snapshots};
use crate::connection::{Cursor, Packed};
use crate::error::{Error, Result};
use crate::keys::queue::{Part, Prefix};
use crate::resp::Reply;

/// The most jobs that one script returns.
const PAGE: u64 = 500;

/// Jobs that are next to each other in the order of the listing.
enum Span {
    /// The id of one job.
    Job(Bytes),
    /// How many jobs are in the sorted set of priorities.
    Ranked(u64),
    /// A group, and how many jobs wait in it.
    Group(Bytes, u64),
}

impl Span {
    fn size(&self) -> u64 {
        match self {
            Self::Job(_) => 1,
            Self::Ranked(size) | Self::Group(_, size) => *size,
        }
    }
}

/// A row that `lua/list_names.lua` returns: a name, a number, and whether the name is the id of a waiting job.
struct Row {
    name: Bytes,
    number: u64,
    waits: bool,
}

/// Up to `limit` waiting or active jobs, without the first `start`.
pub(super) async fn list(core: &Core, state: State, start: u64, limit: u64, backwards: bool) -> Result<Vec<Snapshot>> {
    let places = match state {
        State::Active => active(core, backwards).await?,
        _ => waiting(core, start.saturating_add(limit), backwards).await?,
    };
    let letter = if state == State::Active { "a" } else { "w" };
    let (mut skip, mut left) = (start, limit);
    let mut words = Vec::new();
    let (mut together, mut jobs) = (0, Vec::new());
    for place in &places {
        let mut first = skip.min(place.size());
        skip -= first;
        while first < place.size() && left > 0 {
            let count = (place.size() - first).min(left).min(PAGE - together);
            words.extend(selection(place, first, first + count - 1));
            (first, left, together) = (first + count, left - count, together + count);
            if together == PAGE {
                jobs.extend(fetch_jobs(core, letter, backwards, &std::mem::take(&mut words)).await?);
                together = 0;
            }
        }
    }
    if together > 0 {
        jobs.extend(fetch_jobs(core, letter, backwards, &words).await?);
    }
    Ok(jobs)
}

/// The arguments by which `lua/list_jobs.lua` finds the jobs from `first` to `last` of `place`.
fn selection(place: &Span, first: u64, last: u64) -> [Bytes; 4] {
    let word = Bytes::from_static;
    let (first, last) = (Bytes::from(first.to_string()), Bytes::from(last.to_string()));
    match place {
        Span::Job(id) => [word(b"i"), id.clone(), Bytes::new(), Bytes::new()],
        Span::Ranked(_) => [word(b"r"), Bytes::new(), first, last],
        Span::Group(group, _) => [word(b"g"), group.clone(), first, last],
    }
}

async fn fetch_jobs(core: &Core, letter: &str, backwards: bool, words: &[Bytes]) -> Result<Vec<Snapshot>> {
    let keys = core.keys.keys([Part::Jobs, Part::Run, Part::More, Part::Ranked]);
    let mut args: Vec<&[u8]> =
        vec![letter.as_bytes(), core.keys.prefix(Prefix::Group), if backwards { b"1" } else { b"0" }];
    args.extend(words.iter().map(|word| &word[..]));
    let command = plain(&scripts::LIST_JOBS, &keys, &args).runs_repeatable(*operation::READ, &scripts::LIST_JOBS);
    snapshots(core.call(command).await?)
}

/// The spans of waiting jobs: first the list, then the jobs with a priority, then the groups. If the list alone has `enough` jobs,
/// only the list is read, unless the order is reversed.
async fn waiting(core: &Core, enough: u64, backwards: bool) -> Result<Vec<Span>> {
    let listed_ids = listed_ids(core, if backwards { u64::MAX } else { enough }).await?;
    let mut places: Vec<_> = listed_ids.into_iter().map(Span::Job).collect();
    if backwards {
        places.reverse();
    } else if places.len() as u64 >= enough {
        return Ok(places);
    }
    let key = core.key(Part::Ranked);
    let size = Packed::sized(key.len()).begin(2, b"ZCARD").word(key).reads(*operation::READ);
    let ranked = integer(&core.call(size).await?).and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    let (mut groups, mut seen) = (Vec::new(), HashSet::new());
    for (key, what) in [(core.key(Part::Ring), "ring"), (core.key(Part::Blocked), "blocked")] {
        for row in walk(core, key, what, core.keys.prefix(Prefix::Group)).await? {
            if seen.insert(row.name.clone()) {
                groups.push(Span::Group(row.name, row.number));
            }
        }
    }
    if backwards {
        groups.push(Span::Ranked(ranked));
        groups.append(&mut places);
        return Ok(groups);
    }
    places.push(Span::Ranked(ranked));
    places.append(&mut groups);
    Ok(places)
}

/// The first `enough` jobs of the list. The key `more` says how many of the first entries of an id are tombstones, see
/// `lua/part/enqueue.lua`.
async fn listed_ids(core: &Core, enough: u64) -> Result<Vec<Bytes>> {
    let (mut ids, mut seen) = (Vec::new(), HashSet::new());
    let mut passed: HashMap<Bytes, u64> = HashMap::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let reply = core.call(names(core, core.key(Part::Wait), "wait", &cursor, &[])).await?;
        let (next, rows) = read(reply)?;
        for row in rows {
            if row.number > 0 {
                let tombstones = passed.entry(row.name.clone()).or_default();
                if *tombstones < row.number {
                    *tombstones += 1;
                    continue;
                }
            }
            if row.waits && seen.insert(row.name.clone()) {
                ids.push(row.name);
            }
        }
        if &next[..] == b"0" || ids.len() as u64 >= enough {
            return Ok(ids);
        }
        cursor = next;
    }
}

/// The jobs that workers hold, in the order in which they were started.
async fn active(core: &Core, backwards: bool) -> Result<Vec<Span>> {
    let prefix = core.keys.held_prefix();
    let mut started = HashMap::new();
    for owner in walk(core, core.key(Part::Leases), "leases", &prefix).await? {
        if owner.number > 0 {
            let held = core.keys.held(&String::from_utf8_lossy(&owner.name));
            started.extend(walk(core, &held, "held", &[]).await?.into_iter().map(|row| (row.name, row.number)));
        }
    }
    let mut started: Vec<_> = started.into_iter().map(|(id, at)| (at, id)).collect();
    started.sort_unstable();
    if backwards {
        started.reverse();
    }
    Ok(started.into_iter().map(|(_, id)| Span::Job(id)).collect())
}

/// All rows of a key, each name once.
async fn walk(core: &Core, key: &Bytes, what: &str, prefix: &[u8]) -> Result<Vec<Row>> {
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    let mut cursor = Cursor::default();
    loop {
        let (reply, origin) = core.call_located(names(core, key, what, cursor.word(), prefix)).await?;
        let (next, page) = read(reply)?;
        rows.extend(page.into_iter().filter(|row| seen.insert(row.name.clone())));
        if !cursor.advance(origin, next) {
            return Ok(rows);
        }
    }
}

fn names(core: &Core, key: &Bytes, what: &str, cursor: &[u8], prefix: &[u8]) -> crate::connection::Command {
    let [jobs, run, more] = core.keys.keys([Part::Jobs, Part::Run, Part::More]);
    let packed = plain(&scripts::LIST_NAMES, &[key, jobs, run, more], &[what.as_bytes(), cursor, prefix]);
    packed.runs_repeatable(*operation::READ, &scripts::LIST_NAMES)
}

fn read(reply: Reply) -> Result<(Bytes, Vec<Row>)> {
    let [next, rows] = <[Reply; 2]>::try_from(array(reply).ok_or_else(Error::unexpected_reply)?)
        .map_err(|_| Error::unexpected_reply())?;
    let next = bytes(next).ok_or_else(Error::unexpected_reply)?;
    let mut parts = array(rows).ok_or_else(Error::unexpected_reply)?.into_iter();
    let mut rows = Vec::new();
    while let (Some(name), Some(number), Some(flag)) = (parts.next(), parts.next(), parts.next()) {
        let number = integer(&number).and_then(|number| u64::try_from(number).ok()).unwrap_or_default();
        rows.push(Row {
            name: bytes(name).ok_or_else(Error::unexpected_reply)?,
            number,
            waits: integer(&flag) == Some(1),
        });
    }
    Ok((next, rows))
}

/// Reads a hash (`HSCAN`) or a sorted set (`ZSCAN`) page by page.
pub(super) async fn pairs(core: &Core, scan: &[u8], key: &Bytes) -> Result<HashMap<Bytes, Bytes>> {
    let (mut found, mut cursor) = (HashMap::new(), Cursor::default());
    loop {
        let page =
            Packed::sized(key.len() + 32).begin(5, scan).word(key).word(cursor.word()).word(b"COUNT").number(500);
        let (reply, origin) = core.call_located(page.reads(*operation::READ)).await?;
        let [next, page] = <[Reply; 2]>::try_from(array(reply).ok_or_else(Error::unexpected_reply)?)
            .map_err(|_| Error::unexpected_reply())?;
        let mut words = array(page).ok_or_else(Error::unexpected_reply)?.into_iter().filter_map(bytes);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            found.insert(name, value);
        }
        if !cursor.advance(origin, bytes(next).ok_or_else(Error::unexpected_reply)?) {
            return Ok(found);
        }
    }
}
