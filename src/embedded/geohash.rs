//! Places on the earth as 52-bit integers, and their distances, computed exactly as by Redis.

/// Longitude and latitude in degrees.
pub(super) type Place = (f64, f64);

type Range = (f64, f64);

const LONGITUDES: Range = (-180.0, 180.0);
/// The latitudes that the projection can represent.
const LATITUDES: Range = (-85.051_128_78, 85.051_128_78);
/// The latitudes of the text form of a geohash.
const ALL_LATITUDES: Range = (-90.0, 90.0);
/// Bits of each coordinate.
const STEPS: u32 = 26;
const CELLS: f64 = 67_108_864.0;
/// Meters.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

pub(super) fn is_valid((longitude, latitude): Place) -> bool {
    (LONGITUDES.0..=LONGITUDES.1).contains(&longitude) && (LATITUDES.0..=LATITUDES.1).contains(&latitude)
}

fn cell(value: f64, range: Range) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 26 bits, and cut off as in C")]
    let cell = ((value - range.0) / (range.1 - range.0) * CELLS) as u32;
    u64::from(cell)
}

/// Alternates the bits of `even` and `odd`. The lowest bit is from `even`.
fn interleave(even: u64, odd: u64) -> u64 {
    (0..STEPS + 6).fold(0, |bits, i| bits | (even >> i & 1) << (2 * i) | (odd >> i & 1) << (2 * i + 1))
}

fn every_other(bits: u64) -> u64 {
    (0..STEPS).fold(0, |value, i| value | (bits >> (2 * i) & 1) << i)
}

fn encode_in((longitude, latitude): Place, latitudes: Range) -> u64 {
    interleave(cell(latitude, latitudes), cell(longitude, LONGITUDES))
}

/// The score of a place.
pub(super) fn encode(place: Place) -> u64 {
    encode_in(place, LATITUDES)
}

fn middle(cell: u64, range: Range) -> f64 {
    let edge = |n: u64| range.0 + (n as f64 / CELLS) * (range.1 - range.0);
    f64::midpoint(edge(cell), edge(cell + 1)).clamp(range.0, range.1)
}

/// The center of the cell of a score.
pub(super) fn decode(score: f64) -> Place {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut off as in C")]
    let bits = score as u64;
    (middle(every_other(bits >> 1), LONGITUDES), middle(every_other(bits), LATITUDES))
}

/// The standard text form of eleven characters.
pub(super) fn text(score: f64) -> Vec<u8> {
    let bits = encode_in(decode(score), ALL_LATITUDES);
    let letter = |i: u32| if i == 10 { 0 } else { usize::try_from(bits >> (52 - (i + 1) * 5) & 31).unwrap_or(0) };
    (0..11).map(|i| ALPHABET[letter(i)]).collect()
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b.to_radians() - a.to_radians()).abs()
}

/// The distance between two places along the surface, in meters.
pub(super) fn distance(a: Place, b: Place) -> f64 {
    let (longitude_a, longitude_b) = (a.0.to_radians(), b.0.to_radians());
    let v = ((longitude_b - longitude_a) / 2.0).sin();
    if v == 0.0 {
        return latitude_distance(a.1, b.1);
    }
    let (latitude_a, latitude_b) = (a.1.to_radians(), b.1.to_radians());
    let u = ((latitude_b - latitude_a) / 2.0).sin();
    let a = u * u + latitude_a.cos() * latitude_b.cos() * v * v;
    2.0 * EARTH_RADIUS * a.sqrt().asin()
}

/// The area to search around a center, in meters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    Circle(f64),
    Box { width: f64, height: f64 },
}

impl Shape {
    /// The distance from the center, if the place is inside.
    pub(super) fn reach(self, center: Place, place: Place) -> Option<f64> {
        let inside = match self {
            Shape::Circle(radius) => distance(center, place) <= radius,
            Shape::Box { width, height } => {
                latitude_distance(center.1, place.1) <= height / 2.0
                    && distance((center.0, place.1), place) <= width / 2.0
            }
        };
        inside.then(|| distance(center, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoded_place_is_within_a_cell_of_the_encoded_one() {
        for place in [(13.361_389, 38.115_556), (-122.0, 37.5), (0.0, 0.0), (179.999, -85.0)] {
            let back = decode(encode(place) as f64);
            assert!(distance(place, back) < 1.0, "{place:?} {back:?}");
        }
        assert_eq!(text(encode((13.361_389, 38.115_556)) as f64), b"sqc8b49rny0");
    }
}
