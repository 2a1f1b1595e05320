//! GEOSEARCH, GEOSEARCHSTORE, and the older GEORADIUS commands.
//!
//! Without ASC, DESC or COUNT the order of the reply is not specified. Redis uses the order of its search through the cells
//! around the center; this engine uses the order of the scores.

use super::geo::{coordinates, meters, place, unit};
use super::{Args, Cx, int_arg, is};
use crate::embedded::geohash::{self, Place, Shape};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};
use crate::embedded::value::Value;
use crate::embedded::zset::Zset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Search,
    SearchStore,
    Radius { member: bool, read_only: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent options of GEOSEARCH")]
struct Query<'a> {
    center: Option<Place>,
    /// The center is a member of a key that does not exist.
    nowhere: bool,
    shape: Option<Shape>,
    /// The meters of the reply's unit.
    per_unit: f64,
    order: Option<Order>,
    count: usize,
    any: bool,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

fn length(arg: &[u8], not_numeric: &'static str) -> Result<f64, Fault> {
    number::float(arg).ok_or(Fault::of(not_numeric))
}

impl<'a> Query<'a> {
    fn circle(&mut self, args: Args<'_>) -> Result<(), Fault> {
        let radius = length(args[0], "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Fault::of("ERR radius cannot be negative"));
        }
        self.per_unit = unit(args[1])?;
        self.shape = Some(Shape::Circle(radius * self.per_unit));
        Ok(())
    }

    fn rectangle(&mut self, args: Args<'_>) -> Result<(), Fault> {
        let width = length(args[0], "ERR need numeric width")?;
        let height = length(args[1], "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Fault::of("ERR height or width cannot be negative"));
        }
        self.per_unit = unit(args[2])?;
        self.shape = Some(Shape::Box { width: width * self.per_unit, height: height * self.per_unit });
        Ok(())
    }

    fn around(&mut self, cx: &mut Cx<'_>, key: &[u8], member: &[u8]) -> Result<(), Fault> {
        match cx.zset(key)?.map(|zset| zset.score(member)) {
            None => self.nowhere = true,
            Some(Some(score)) => self.center = Some(geohash::decode(score)),
            Some(None) => return Err(Fault::of("ERR could not decode requested zset member")),
        }
        Ok(())
    }

    /// Reads one option. Gives how many arguments it has.
    fn option(&mut self, cx: &mut Cx<'_>, key: &[u8], rest: Args<'a>, command: Command) -> Result<usize, Fault> {
        let more = rest.len() - 1;
        let search = !matches!(command, Command::Radius { .. });
        let writes = matches!(command, Command::Radius { read_only: false, .. });
        match rest[0] {
            w if is(w, "withdist") => self.with_distance = true,
            w if is(w, "withhash") => self.with_hash = true,
            w if is(w, "withcoord") => self.with_coordinates = true,
            w if is(w, "any") => self.any = true,
            w if is(w, "asc") => self.order = Some(Order::Nearest),
            w if is(w, "desc") => self.order = Some(Order::Farthest),
            w if is(w, "count") && more >= 1 => {
                let count = int_arg(rest[1])?;
                self.count =
                    usize::try_from(count).ok().filter(|&n| n > 0).ok_or(Fault::of("ERR COUNT must be > 0"))?;
                return Ok(2);
            }
            w if is(w, "store") && more >= 1 && writes => {
                (self.store, self.store_distance) = (Some(rest[1]), false);
                return Ok(2);
            }
            w if is(w, "storedist") && more >= 1 && writes => {
                (self.store, self.store_distance) = (Some(rest[1]), true);
                return Ok(2);
            }
            w if is(w, "frommember") && more >= 1 && search && self.center.is_none() => {
                self.around(cx, key, rest[1])?;
                return Ok(2);
            }
            w if is(w, "fromlonlat") && more >= 2 && search && self.center.is_none() && !self.nowhere => {
                self.center = Some(place(&rest[1..])?);
                return Ok(3);
            }
            w if is(w, "byradius") && more >= 2 && search && !matches!(self.shape, Some(Shape::Box { .. })) => {
                self.circle(&rest[1..])?;
                return Ok(3);
            }
            w if is(w, "bybox") && more >= 3 && search && !matches!(self.shape, Some(Shape::Circle(_))) => {
                self.rectangle(&rest[1..])?;
                return Ok(4);
            }
            w if is(w, "storedist") && command == Command::SearchStore => self.store_distance = true,
            _ => return Err(Fault::SYNTAX),
        }
        Ok(1)
    }

    fn check(&self, name: &[u8], command: Command) -> Result<(), Fault> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            let who = if command == Command::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Fault::new(format!(
                "ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let one_of = |what: &str| {
            Fault::new([b"ERR exactly one of ", what.as_bytes(), b" can be specified for ", name].concat())
        };
        if self.center.is_none() && !self.nowhere {
            return Err(one_of("FROMMEMBER or FROMLONLAT"));
        }
        if self.shape.is_none() && !matches!(command, Command::Radius { .. }) {
            return Err(one_of("BYRADIUS and BYBOX"));
        }
        if self.any && self.count == 0 {
            return Err(Fault::of("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

struct Hit {
    member: Vec<u8>,
    score: f64,
    place: Place,
    distance: f64,
}

fn hits(zset: &Zset, query: &Query<'_>) -> Vec<Hit> {
    let (Some(center), Some(shape)) = (query.center, query.shape) else {
        return Vec::new();
    };
    let all = zset.iter().filter_map(|(member, score)| {
        let place = geohash::decode(score);
        let distance = shape.reach(center, place)?;
        Some(Hit { member: member.to_vec(), score, place, distance })
    });
    let limit = if query.count == 0 { usize::MAX } else { query.count };
    let mut found: Vec<Hit> = if query.any { all.take(limit).collect() } else { all.collect() };
    let order = query.order.or((query.count > 0 && !query.any).then_some(Order::Nearest));
    match order {
        Some(Order::Nearest) => found.sort_by(|a, b| a.distance.total_cmp(&b.distance)),
        Some(Order::Farthest) => found.sort_by(|a, b| b.distance.total_cmp(&a.distance)),
        None => {}
    }
    found.truncate(limit);
    found
}

fn shown(hit: Hit, query: &Query<'_>) -> Reply {
    if !(query.with_distance || query.with_hash || query.with_coordinates) {
        return Reply::Bulk(hit.member);
    }
    let mut parts = vec![Reply::Bulk(hit.member)];
    if query.with_distance {
        parts.push(meters(hit.distance / query.per_unit));
    }
    if query.with_hash {
        #[expect(clippy::cast_possible_truncation, reason = "cut off as in C")]
        parts.push(Reply::Int(hit.score as i64));
    }
    if query.with_coordinates {
        parts.push(coordinates(hit.place));
    }
    Reply::Array(parts)
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, command: Command) -> Outcome {
    let mut query = Query::default();
    let (key, mut at) = match command {
        Command::Search => (args[1], 2),
        Command::SearchStore => (args[2], 3),
        Command::Radius { member, .. } => (args[1], if member { 5 } else { 6 }),
    };
    cx.zset(key)?;
    match command {
        Command::Search => {}
        Command::SearchStore => query.store = Some(args[1]),
        Command::Radius { member: true, .. } => {
            query.around(cx, key, args[2])?;
            if !query.nowhere {
                query.circle(&args[3..])?;
            }
        }
        Command::Radius { member: false, .. } => {
            query.center = Some(place(&args[2..])?);
            query.circle(&args[4..])?;
        }
    }
    while at < args.len() {
        at += query.option(cx, key, &args[at..], command)?;
    }
    query.check(args[0], command)?;
    let found = cx.zset(key)?.map(|zset| hits(zset, &query)).unwrap_or_default();
    let Some(destination) = query.store else {
        return Ok(Reply::Array(found.into_iter().map(|hit| shown(hit, &query)).collect()));
    };
    let len = found.len();
    let mut zset = Zset::default();
    for hit in found {
        zset.insert(&hit.member, if query.store_distance { hit.distance / query.per_unit } else { hit.score });
    }
    cx.put_or_remove(destination, Value::Zset(zset));
    Ok(Reply::len(len))
}

pub(super) fn geosearch(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::Search)
}

pub(super) fn geosearchstore(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::SearchStore)
}

pub(super) fn georadius(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::Radius { member: false, read_only: false })
}

pub(super) fn georadius_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::Radius { member: false, read_only: true })
}

pub(super) fn georadiusbymember(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::Radius { member: true, read_only: false })
}

pub(super) fn georadiusbymember_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    run(cx, args, Command::Radius { member: true, read_only: true })
}
