//! Numbers as text: the shortest digits that read back as the same number.
//!
//! Integers are made eight digits at a time, in a register; all other numbers are left to zmij,
//! whose digits are laid out anew where it has another notation.
//!
//! Source: Go's strconv/ftoa.go, `if precision was the shortest possible, use precision 6 for this
//! decision`; Prometheus' util/jsonutil/marshal.go, `MarshalFloat`.

use std::ops::Range;

/// Which numbers are written with an exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notation {
    /// As Go's `%g`, and so promtool's: those below 1e-4, and those from 1e+06 on.
    Go,
    /// As Prometheus' query API: those below 1e-6, and those from 1e+21 on.
    Api,
}

impl Notation {
    const fn plain(self) -> Range<i32> {
        match self {
            Self::Go => -4..6,
            Self::Api => -6..21,
        }
    }
}

/// A number as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    notation: Notation,
    bits: u64,
    bytes: [u8; Self::SPACE],
    len: usize,
}

impl Number {
    /// More than the 25 bytes that the longest number has, for copies of sixteen bytes.
    pub(crate) const SPACE: usize = 32;

    /// Zero.
    pub(crate) fn new(notation: Notation) -> Self {
        let mut zero = Self { notation, bits: 0, bytes: [0; Self::SPACE], len: 0 };
        zero.push(*b"0");
        zero
    }

    /// Another number. One that is the same, bit for bit, keeps its text.
    #[inline]
    pub(crate) fn set(&mut self, value: f64) {
        if self.bits != value.to_bits() {
            self.bits = value.to_bits();
            self.write(value);
        }
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text, whatever is behind it, and its length: for copies of fixed length.
    pub(crate) const fn padded(&self) -> (&[u8; Self::SPACE], usize) {
        (&self.bytes, self.len)
    }

    fn write(&mut self, value: f64) {
        self.len = 0;
        if value.is_sign_negative() && !value.is_nan() {
            self.push(*b"-");
        }
        let size = value.abs();
        match integer(size) {
            Some(0) => self.push(*b"0"),
            Some(integer) => self.push_integer(integer),
            None if size.is_finite() => self.push_fraction(size),
            None if value.is_nan() => self.push(*b"NaN"),
            None if value > 0.0 => self.push(*b"+Inf"),
            None => self.push(*b"Inf"),
        }
    }

    fn push<const N: usize>(&mut self, text: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&text);
        self.len += N;
    }

    fn push_slice(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    fn push_integer(&mut self, integer: u64) {
        if integer < 1_000_000 {
            let digits = eight_digits(integer);
            let leading = digits.trailing_zeros() / 8;
            let text = digits >> (8 * leading) | u64::from_ne_bytes([b'0'; 8]);
            return self.push_first(8 - leading, text.to_le_bytes());
        }
        let digits = sixteen_digits(integer);
        let leading = digits.trailing_zeros() / 8;
        let digits = digits >> (8 * leading);
        let text = digits | u128::from_ne_bytes([b'0'; 16]);
        let exponent = 15 - leading.cast_signed();
        if self.notation.plain().contains(&exponent) {
            return self.push_first(16 - leading, text.to_le_bytes());
        }
        let [first, rest @ ..] = text.to_le_bytes();
        self.push([first]);
        // Zeros at the end are left out, and the point with them.
        match 15 - digits.leading_zeros() / 8 {
            0 => {}
            count => {
                self.push(*b".");
                self.push_first(count, rest);
            }
        }
        self.push_exponent(exponent);
    }

    /// The first `count` bytes of `text`.
    fn push_first<const N: usize>(&mut self, count: u32, text: [u8; N]) {
        let len = self.len;
        self.push(text);
        self.len = len + count as usize;
    }

    fn push_exponent(&mut self, exponent: i32) {
        let (sign, size) = (if exponent < 0 { b'-' } else { b'+' }, exponent.unsigned_abs());
        if size < 100 {
            self.push([b'e', sign, digit(size / 10), digit(size % 10)]);
        } else {
            self.push([b'e', sign, digit(size / 100), digit(size / 10 % 10), digit(size % 10)]);
        }
    }

    /// A number that is not an integer below 1e15.
    fn push_fraction(&mut self, value: f64) {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        // Here zmij, Go and the API have one notation.
        if (1e-4..1e6).contains(&value) {
            return self.push_slice(text);
        }
        let (digits, count, exponent) = parts(text);
        let digits = &digits[..count];
        if self.notation.plain().contains(&exponent) {
            return self.push_plain(digits, exponent);
        }
        self.push([digits[0]]);
        if count > 1 {
            self.push(*b".");
            self.push_slice(&digits[1..]);
        }
        self.push_exponent(exponent);
    }

    fn push_plain(&mut self, digits: &[u8], exponent: i32) {
        let whole = exponent.saturating_add(1).unsigned_abs() as usize;
        if exponent < 0 {
            self.push_slice(&b"0.00000"[..1 + exponent.unsigned_abs() as usize]);
            self.push_slice(digits);
        } else if let Some((before, after)) = digits.split_at_checked(whole) {
            self.push_slice(before);
            if !after.is_empty() {
                self.push(*b".");
                self.push_slice(after);
            }
        } else {
            self.push_slice(digits);
            self.push_slice(&[b'0'; 21][..whole - digits.len()]);
        }
    }
}

/// The integer below 1e15 that a number, which is not negative, is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 1e15")]
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn integer(value: f64) -> Option<u64> {
    let integer = value as u64;
    (value < 1e15 && integer as f64 == value).then_some(integer)
}

/// The digits of a number below 1e16 with zeros before them, from the lowest byte on.
fn sixteen_digits(number: u64) -> u128 {
    let (high, low) = (number / 100_000_000, number % 100_000_000);
    u128::from(eight_digits(high)) | u128::from(eight_digits(low)) << 64
}

/// The digits of a number below 1e8 with zeros before them, from the lowest byte on: halves of
/// four digits, then quarters of two, then single ones are divided all at once by multiplications
/// that are exact for numbers so small.
pub(crate) const fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 5_243) >> 19) & 0x0000_007f_0000_007f;
    let quarters = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((quarters - 10 * tens) << 8)
}

#[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
const fn digit(number: u32) -> u8 {
    b'0' + number as u8
}

/// The digits of a number as zmij writes it, how many they are without zeros at either end, and
/// the exponent of the first.
fn parts(text: &[u8]) -> ([u8; 24], usize, i32) {
    let end = text.iter().position(|&byte| byte == b'e').unwrap_or(text.len());
    let (mantissa, exponent) = (&text[..end], text.get(end + 1..).unwrap_or_default());
    let point = mantissa.iter().position(|&byte| byte == b'.').unwrap_or(end);
    let (mut digits, mut count, mut before) = ([0; 24], 0, 0);
    for &byte in mantissa.iter().filter(|byte| **byte != b'.') {
        if count == 0 && byte == b'0' {
            before += 1;
        } else {
            digits[count] = byte;
            count += 1;
        }
    }
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    let written = std::str::from_utf8(exponent).ok().and_then(|text| text.parse::<i32>().ok());
    let first = i32::try_from(point).unwrap_or_default() - 1 - before;
    (digits, count, first + written.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by Go 1.26: `%g`, and `MarshalFloat` of Prometheus' util/jsonutil.
    const NUMBERS: [(f64, &str, &str); 37] = [
        (0.0, "0", "0"),
        (1.0, "1", "1"),
        (10.0, "10", "10"),
        (100_000.0, "100000", "100000"),
        (999_999.0, "999999", "999999"),
        (1e6, "1e+06", "1000000"),
        (1_234_567.0, "1.234567e+06", "1234567"),
        (123_456_789.0, "1.23456789e+08", "123456789"),
        (12_345_678_900_000.0, "1.23456789e+13", "12345678900000"),
        (999_999_999_999_999.0, "9.99999999999999e+14", "999999999999999"),
        (1e15, "1e+15", "1000000000000000"),
        (9_007_199_254_740_993.0, "9.007199254740992e+15", "9007199254740992"),
        (123_456_789_012_345_680_000.0, "1.2345678901234568e+20", "123456789012345680000"),
        (98_765_432_109_876_544.0, "9.876543210987654e+16", "98765432109876540"),
        (1e20, "1e+20", "100000000000000000000"),
        (1e21, "1e+21", "1e+21"),
        (1.5e21, "1.5e+21", "1.5e+21"),
        (1e22, "1e+22", "1e+22"),
        (1e100, "1e+100", "1e+100"),
        (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
        (0.5, "0.5", "0.5"),
        (0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"),
        (1.0 / 3.0, "0.3333333333333333", "0.3333333333333333"),
        (12.25, "12.25", "12.25"),
        (999_999.999_999_999_9, "999999.9999999999", "999999.9999999999"),
        (123_456.789, "123456.789", "123456.789"),
        (1_234_567.891, "1.234567891e+06", "1234567.891"),
        (1_700_000_000.123, "1.700000000123e+09", "1700000000.123"),
        (1e-4, "0.0001", "0.0001"),
        (1.234e-4, "0.0001234", "0.0001234"),
        (9.99e-5, "9.99e-05", "0.0000999"),
        (1.234e-5, "1.234e-05", "0.00001234"),
        (1e-5, "1e-05", "0.00001"),
        (1.000_000_000_000_000_2e-6, "1.0000000000000002e-06", "0.0000010000000000000002"),
        (9.99e-7, "9.99e-07", "9.99e-07"),
        (1e-10, "1e-10", "1e-10"),
        (5e-324, "5e-324", "5e-324"),
    ];

    #[test]
    fn numbers_are_written_as_go_and_the_api_write_them() {
        for (notation, which) in [(Notation::Go, 0), (Notation::Api, 1)] {
            let mut number = Number::new(notation);
            for (value, go, api) in NUMBERS {
                let expected = [go, api][which];
                number.set(value);
                assert_eq!(str::from_utf8(number.text()).unwrap(), expected);
                number.set(-value);
                assert_eq!(str::from_utf8(number.text()).unwrap(), format!("-{expected}"));
            }
        }
    }

    #[test]
    fn what_is_not_finite_has_a_name() {
        let mut number = Number::new(Notation::Go);
        let values = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN];
        for (value, expected) in values.into_iter().zip(["+Inf", "-Inf", "NaN", "NaN"]) {
            number.set(value);
            assert_eq!(str::from_utf8(number.text()).unwrap(), expected);
        }
    }

    #[test]
    fn a_number_that_follows_itself_keeps_its_text_and_zero_is_not_minus_zero() {
        let mut number = Number::new(Notation::Go);
        assert_eq!(number.text(), b"0");
        for (value, expected) in [(-0.0, "-0"), (-0.0, "-0"), (0.0, "0"), (7.0, "7"), (0.0, "0")] {
            number.set(value);
            assert_eq!(str::from_utf8(number.text()).unwrap(), expected);
        }
    }
}
