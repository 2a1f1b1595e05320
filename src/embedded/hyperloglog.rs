//! The `HyperLogLog`: an estimate of how many different elements were added, in 16 384 registers of six bits.
//!
//! It is stored in a string, as in Redis. Redis has two layouts: a sparse one for few elements, and a dense one. Both are read;
//! only the dense one is written.

const REGISTERS: usize = 16_384;
const REGISTER_BITS: usize = 6;
const HEADER: usize = 16;
const DENSE: usize = HEADER + REGISTERS * REGISTER_BITS / 8;
/// The bits of a hash that do not choose the register.
const TAIL: usize = 50;

/// For each register the longest run of zeros that was seen, plus 1.
#[derive(Debug, Clone)]
pub(super) struct Registers(Vec<u8>);

impl Default for Registers {
    fn default() -> Self {
        Registers(vec![0; REGISTERS])
    }
}

/// `MurmurHash64A`, the hash function of Redis.
fn hash(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0u64, |value, &b| value << 8 | u64::from(b));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 47
}

impl Registers {
    /// Reads the string of a key; `None` if it is no `HyperLogLog`.
    pub(super) fn read(string: &[u8]) -> Option<Registers> {
        let body = string.get(HEADER..)?;
        match string {
            [b'H', b'Y', b'L', b'L', 0, ..] if string.len() == DENSE => Some(dense(body)),
            [b'H', b'Y', b'L', b'L', 1, ..] => sparse(body),
            _ => None,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = vec![0; DENSE];
        out[..4].copy_from_slice(b"HYLL");
        // The highest bit of the header says that no count is cached.
        out[15] = 0x80;
        for (i, &value) in self.0.iter().enumerate() {
            let at = i * REGISTER_BITS;
            let bits = u16::from(value) << (at % 8);
            let [low, high] = bits.to_le_bytes();
            out[HEADER + at / 8] |= low;
            if high > 0 {
                out[HEADER + at / 8 + 1] |= high;
            }
        }
        out
    }

    /// `true` if a register grew.
    pub(super) fn add(&mut self, element: &[u8]) -> bool {
        let hash = hash(element);
        let register = usize::try_from(hash & (REGISTERS as u64 - 1)).unwrap_or(0);
        let zeros = (hash >> 14 | 1 << TAIL).trailing_zeros();
        let run = u8::try_from(zeros + 1).unwrap_or(u8::MAX);
        let grew = self.0[register] < run;
        if grew {
            self.0[register] = run;
        }
        grew
    }

    pub(super) fn merge(&mut self, other: &Registers) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    pub(super) fn estimate(&self) -> i64 {
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let mut histogram = [0f64; 64];
        for &value in &self.0 {
            histogram[usize::from(value & 63)] += 1.0;
        }
        let m = REGISTERS as f64;
        let mut z = m * tau((m - histogram[TAIL + 1]) / m);
        for j in (1..=TAIL).rev() {
            z = (z + histogram[j]) * 0.5;
        }
        z += m * sigma(histogram[0] / m);
        #[expect(clippy::cast_possible_truncation, reason = "rounded, and far below the limit")]
        let estimate = (ALPHA * m * m / z).round() as i64;
        estimate
    }
}

fn dense(body: &[u8]) -> Registers {
    let register = |i: usize| {
        let at = i * REGISTER_BITS;
        let high = body.get(at / 8 + 1).copied().unwrap_or(0);
        let bits = u16::from_le_bytes([body[at / 8], high]) >> (at % 8);
        u8::try_from(bits & 63).unwrap_or(0)
    };
    Registers((0..REGISTERS).map(register).collect())
}

/// Runs of zeros (`00nnnnnn`, `01nnnnnn nnnnnnnn`) and of one small value (`1vvvvvnn`).
fn sparse(body: &[u8]) -> Option<Registers> {
    let mut values = Vec::with_capacity(REGISTERS);
    let mut rest = body.iter();
    while let Some(&code) = rest.next() {
        let (value, len) = match code >> 6 {
            0 => (0, usize::from(code & 63) + 1),
            1 => (0, usize::from(u16::from_be_bytes([code & 63, *rest.next()?])) + 1),
            _ => ((code >> 2 & 31) + 1, usize::from(code & 3) + 1),
        };
        values.resize(values.len() + len, value);
        if values.len() > REGISTERS {
            return None;
        }
    }
    (values.len() == REGISTERS).then_some(Registers(values))
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_close_and_unchanged_after_a_write_and_a_read() {
        let mut registers = Registers::default();
        for i in 0..10_000 {
            registers.add(format!("element {i}").as_bytes());
        }
        let again = Registers::read(&registers.write()).unwrap();
        assert_eq!(again.0, registers.0);
        assert!((9_800..10_200).contains(&again.estimate()), "{}", again.estimate());
    }
}
