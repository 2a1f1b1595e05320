//! Reading and writing numbers as Redis does: strict decimal integers, floats of `strtod`, output of `%.17g`. The 80-bit
//! arithmetic of INCRBYFLOAT is in `long_double`.

/// A canonical decimal integer: no sign `+`, no leading zero, no blanks.
pub(super) fn integer(bytes: &[u8]) -> Option<i64> {
    if bytes.len() == 1 && bytes[0].is_ascii_digit() {
        return Some(i64::from(bytes[0] - b'0'));
    }
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 19 || !(b'1'..=b'9').contains(&digits[0]) {
        return None;
    }
    let negative = digits.len() != bytes.len();
    let mut value: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

/// A canonical unsigned decimal integer.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    if bytes == b"0" {
        return Some(0);
    }
    if bytes.is_empty() || bytes.len() > 20 || !(b'1'..=b'9').contains(&bytes[0]) {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, &b| {
        if !b.is_ascii_digit() {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// A float, if `strtod` would read all bytes. NaN and blanks are refused.
pub(super) fn float(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return hex_float(digits).map(|v| if text.starts_with('-') { -v } else { v });
    }
    let value: f64 = text.parse().ok()?;
    let spelled_infinite = unsigned.starts_with(['i', 'I']);
    if value.is_nan() || (value.is_infinite() && !spelled_infinite) {
        return None;
    }
    Some(value)
}

fn hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.find(['p', 'P']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(value * 2f64.powi(shift))
}

pub(super) fn push_i64(n: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

pub(super) fn i64_bytes(n: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    push_i64(n, &mut out);
    out
}

/// The text of a double in a reply: `%.17g`, or `inf` or `-inf`.
pub(super) fn double(value: f64) -> String {
    general(value, 17)
}

/// C's `%.<precision>g`.
pub(super) fn general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let precision = precision.max(1);
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(i32::try_from(precision).unwrap_or(17) - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical_or_refused() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        for bad in ["", "-", "+1", "01", " 1", "1 ", "9223372036854775808", "-0", "1.0"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn doubles_are_written_like_printf() {
        for (value, text) in [
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1e20, "1e+20"),
            (1e-7, "9.9999999999999995e-08"),
            (-1.5, "-1.5"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        ] {
            assert_eq!(double(value), text);
        }
        assert_eq!(general(10.0 / 3.0, 14), "3.3333333333333");
    }

    #[test]
    fn floats_are_read_like_strtod() {
        assert_eq!(float(b"1e3"), Some(1000.0));
        assert_eq!(float(b"-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(float(b"0x10"), Some(16.0));
        // The last text has characters of more than one byte.
        for bad in ["", "nan", " 1", "1x", "1e999", "0x", "\u{29a};"] {
            assert_eq!(float(bad.as_bytes()), None, "{bad}");
        }
    }
}
