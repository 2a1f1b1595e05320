//! GEO: sorted sets whose scores are encoded places.

use super::{Args, Cx, is, zset};
use crate::embedded::geohash::{self, Place};
use crate::embedded::number;
use crate::embedded::reply::{Fault, Outcome, Reply};

/// Reads longitude and latitude from two arguments.
pub(super) fn place(args: Args<'_>) -> Result<Place, Fault> {
    let longitude = number::float(args[0]).ok_or(Fault::NOT_FLOAT)?;
    let latitude = number::float(args[1]).ok_or(Fault::NOT_FLOAT)?;
    if geohash::is_valid((longitude, latitude)) {
        return Ok((longitude, latitude));
    }
    Err(Fault::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// The meters of a unit.
pub(super) fn unit(arg: &[u8]) -> Result<f64, Fault> {
    match arg {
        w if is(w, "m") => Ok(1.0),
        w if is(w, "km") => Ok(1000.0),
        w if is(w, "ft") => Ok(0.3048),
        w if is(w, "mi") => Ok(1609.34),
        _ => Err(Fault::of("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

pub(super) fn geoadd(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let (mut at, mut exclusive) = (2, (false, false));
    while at < args.len() {
        match args[at] {
            w if is(w, "nx") => exclusive.0 = true,
            w if is(w, "xx") => exclusive.1 = true,
            w if is(w, "ch") => {}
            _ => break,
        }
        at += 1;
    }
    if !(args.len() - at).is_multiple_of(3) || exclusive == (true, true) {
        return Err(Fault::SYNTAX);
    }
    let mut scores = Vec::new();
    for triple in args[at..].chunks(3) {
        scores.push(geohash::encode(place(triple)?).to_string());
    }
    let mut add: Vec<&[u8]> = args[..at].to_vec();
    for (score, triple) in scores.iter().zip(args[at..].chunks(3)) {
        add.extend([score.as_bytes(), triple[2]]);
    }
    zset::zadd(cx, &add)
}

/// A pair of coordinates, with up to seventeen decimals.
pub(super) fn coordinates((longitude, latitude): Place) -> Reply {
    let coordinate = |value: f64| {
        let text = format!("{value:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        Reply::Decimal(if text == "-0" { b"0".to_vec() } else { text.as_bytes().to_vec() })
    };
    Reply::Array(vec![coordinate(longitude), coordinate(latitude)])
}

pub(super) fn meters(distance: f64) -> Reply {
    Reply::bulk(format!("{distance:.4}"))
}

/// A reply with `show` of each member's score, and `missing` for each member that does not exist.
fn each(cx: &mut Cx<'_>, args: Args<'_>, show: fn(f64) -> Reply, missing: &Reply) -> Outcome {
    let zset = cx.zset(args[1])?;
    let member = |m: &&[u8]| zset.as_ref().and_then(|z| z.score(m)).map_or_else(|| missing.clone(), show);
    Ok(Reply::Array(args[2..].iter().map(member).collect()))
}

pub(super) fn geohash(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    each(cx, args, |score| Reply::Bulk(geohash::text(score)), &Reply::Null)
}

pub(super) fn geopos(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    each(cx, args, |score| coordinates(geohash::decode(score)), &Reply::NullArray)
}

pub(super) fn geodist(cx: &mut Cx<'_>, args: Args<'_>) -> Outcome {
    let per_unit = match &args[4..] {
        [] => 1.0,
        [name] => unit(name)?,
        _ => return Err(Fault::SYNTAX),
    };
    let Some(zset) = cx.zset(args[1])? else {
        return Ok(Reply::Null);
    };
    let (Some(a), Some(b)) = (zset.score(args[2]), zset.score(args[3])) else {
        return Ok(Reply::Null);
    };
    Ok(meters(geohash::distance(geohash::decode(a), geohash::decode(b)) / per_unit))
}
