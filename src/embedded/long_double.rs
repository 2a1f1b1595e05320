//! The x87 extended precision in which Redis computes INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis prints `10.5 + 0.1` as `10.6`. This needs an 80-bit float with 17 decimals; a double is not precise enough. So decimal
//! text is rounded to a 64-bit mantissa, added with one rounding, and written exactly.

/// A value `mantissa × 2^exponent`. The top bit of the mantissa is set unless the value is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// The largest number of decimal digits, and the largest exponent. It limits the work; no real counter needs more.
const MAX_EXPONENT: i32 = 4900;

impl LongDouble {
    const ZERO: LongDouble = LongDouble { negative: false, mantissa: 0, exponent: 0 };

    /// Reads decimal text. The caller has refused text that is not a number; infinities are not accepted.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let negative = text.starts_with('-');
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (digits, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || digits.len() > 5000 {
            return None;
        }
        let mut number = Big::default();
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return None;
            }
            number.mul_small(10);
            number.add_small(u32::from(digit - b'0'));
        }
        if number.is_zero() {
            return Some(LongDouble { negative, ..Self::ZERO });
        }
        let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        if scale.abs() > MAX_EXPONENT {
            return None;
        }
        let (mantissa, exponent) = if scale >= 0 {
            for _ in 0..scale {
                number.mul_small(10);
            }
            round(&number, 0, false)
        } else {
            let mut divisor = Big::from(1);
            for _ in 0..-scale {
                divisor.mul_small(10);
            }
            // 66 quotient bits and a sticky bit are enough to round correctly.
            let shift = (divisor.bits() + 66).saturating_sub(number.bits());
            number.shl(shift);
            let (quotient, exact) = number.div(&divisor);
            round(&quotient, -i32::try_from(shift).ok()?, !exact)
        };
        Some(LongDouble { negative, mantissa, exponent })
    }

    pub(super) fn add(self, other: Self) -> Self {
        if self.mantissa == 0 {
            return other;
        }
        if other.mantissa == 0 {
            return self;
        }
        let (high, low) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        let gap = u32::try_from(high.exponent - low.exponent).unwrap_or(u32::MAX);
        if gap > 130 {
            return high;
        }
        let mut left = Big::from(high.mantissa);
        left.shl(gap as usize);
        let right = Big::from(low.mantissa);
        let (sum, negative) = if high.negative == low.negative {
            left.add(&right);
            (left, high.negative)
        } else if left.at_least(&right) {
            left.sub(&right);
            (left, high.negative)
        } else {
            let mut right = right;
            right.sub(&left);
            (right, low.negative)
        };
        if sum.is_zero() {
            return Self::ZERO;
        }
        let (mantissa, exponent) = round(&sum, low.exponent, false);
        LongDouble { negative, mantissa, exponent }
    }

    /// `%.17Lf` without trailing zeros.
    pub(super) fn human(self) -> String {
        let mut number = Big::from(self.mantissa);
        for _ in 0..17 {
            number.mul_small(10);
        }
        if self.exponent >= 0 {
            number.shl(usize::try_from(self.exponent).unwrap_or(0));
        } else {
            number.shr_round(usize::try_from(-self.exponent).unwrap_or(0));
        }
        let digits = format!("{:0>18}", number.decimal());
        let (whole, fraction) = digits.split_at(digits.len() - 17);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.negative { "-" } else { "" };
        if fraction.is_empty() {
            if whole == "0" { "0".to_owned() } else { format!("{sign}{whole}") }
        } else {
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// The top 64 bits of `number × 2^exponent`, rounded to nearest, ties to even.
fn round(number: &Big, exponent: i32, sticky: bool) -> (u64, i32) {
    let bits = number.bits();
    if bits <= 64 {
        let value = number.low_u64();
        let lead = value.leading_zeros();
        return (value << lead, exponent - i32::try_from(lead).unwrap_or(0));
    }
    let drop = bits - 64;
    let mut top = number.clone();
    let half = top.bit(drop - 1);
    let rest = sticky || (0..drop - 1).any(|i| top.bit(i));
    top.shr(drop);
    let value = top.low_u64();
    let exponent = exponent + i32::try_from(drop).unwrap_or(0);
    if half && (rest || value & 1 == 1) {
        match value.checked_add(1) {
            Some(value) => (value, exponent),
            None => (1 << 63, exponent + 1),
        }
    } else {
        (value, exponent)
    }
}

/// An unsigned integer of any size. The least significant limb is first.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of a 64-bit number")]
    fn from(n: u64) -> Self {
        let mut big = Big(vec![n as u32, (n >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn bit(&self, i: usize) -> bool {
        self.0.get(i / 32).is_some_and(|limb| limb >> (i % 32) & 1 == 1)
    }

    fn low_u64(&self) -> u64 {
        let limb = |i: usize| u64::from(self.0.get(i).copied().unwrap_or(0));
        limb(0) | limb(1) << 32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low limb of a 64-bit product")]
    fn mul_small(&mut self, by: u32) {
        let mut carry = 0u64;
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(by) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn add_small(&mut self, n: u32) {
        self.add(&Big::from(u64::from(n)));
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low limb of a 64-bit sum")]
    fn add(&mut self, other: &Big) {
        let mut carry = 0u64;
        for i in 0..self.0.len().max(other.0.len()) {
            if i == self.0.len() {
                self.0.push(0);
            }
            let sum = u64::from(self.0[i]) + u64::from(other.0.get(i).copied().unwrap_or(0)) + carry;
            self.0[i] = sum as u32;
            carry = sum >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn at_least(&self, other: &Big) -> bool {
        if self.0.len() != other.0.len() {
            return self.0.len() > other.0.len();
        }
        self.0.iter().rev().ge(other.0.iter().rev())
    }

    /// Subtracts `other`, which must not be larger than `self`.
    fn sub(&mut self, other: &Big) {
        let mut borrow = false;
        for i in 0..self.0.len() {
            let (value, b1) = self.0[i].overflowing_sub(other.0.get(i).copied().unwrap_or(0));
            let (value, b2) = value.overflowing_sub(u32::from(borrow));
            self.0[i] = value;
            borrow = b1 || b2;
        }
        self.trim();
    }

    fn shl(&mut self, by: usize) {
        let small = by % 32;
        if small > 0 {
            self.mul_small(1 << small);
        }
        if by >= 32 && !self.is_zero() {
            self.0.splice(0..0, std::iter::repeat_n(0, by / 32));
        }
    }

    fn shr(&mut self, by: usize) {
        self.0.drain(..(by / 32).min(self.0.len()));
        let small = by % 32;
        if small > 0 {
            for i in 0..self.0.len() {
                let high = self.0.get(i + 1).copied().unwrap_or(0);
                self.0[i] = self.0[i] >> small | high << (32 - small);
            }
        }
        self.trim();
    }

    fn shr_round(&mut self, by: usize) {
        if by == 0 {
            return;
        }
        let half = self.bit(by - 1);
        let rest = (0..by - 1).any(|i| self.bit(i));
        self.shr(by);
        if half && (rest || self.bit(0)) {
            self.add_small(1);
        }
    }

    /// The quotient, and whether the remainder is zero.
    fn div(&self, divisor: &Big) -> (Big, bool) {
        let mut quotient = Big(vec![0; self.0.len()]);
        let mut rest = Big::default();
        for i in (0..self.bits()).rev() {
            rest.shl(1);
            if self.bit(i) {
                rest.add_small(1);
            }
            if rest.at_least(divisor) {
                rest.sub(divisor);
                quotient.0[i / 32] |= 1 << (i % 32);
            }
        }
        quotient.trim();
        (quotient, rest.is_zero())
    }

    fn decimal(mut self) -> String {
        let mut digits = Vec::new();
        while !self.is_zero() {
            let mut carry = 0u64;
            for limb in self.0.iter_mut().rev() {
                let value = carry << 32 | u64::from(*limb);
                *limb = u32::try_from(value / 10).unwrap_or(0);
                carry = value % 10;
            }
            digits.push(char::from(b'0' + u8::try_from(carry).unwrap_or(0)));
            self.trim();
        }
        digits.iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        LongDouble::parse(a.as_bytes()).unwrap().add(LongDouble::parse(b.as_bytes()).unwrap()).human()
    }

    #[test]
    fn sums_are_printed_as_sums_of_80_bit_floats() {
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("5.0e3", "200"), "5200");
        assert_eq!(sum("-5", "5"), "0");
        assert_eq!(sum("3", "-5.25"), "-2.25");
        assert_eq!(sum("1000", "0.1"), "1000.09999999999999998");
        assert_eq!(sum("0", "1e-20"), "0");
    }
}
