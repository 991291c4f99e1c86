//! Timestamps as text. One follows another by seconds, so only the last six digits are made anew.

use std::io::Write;

use super::number::eight_digits;

/// What timestamps count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// `1700000000123`.
    Milliseconds,
    /// `1700000000.123`, as Go's `%.3f` of the milliseconds divided by 1000.
    Seconds,
}

/// The last timestamp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    unit: Unit,
    /// Millions of milliseconds, and their digits.
    millions: i64,
    digits: [u8; 16],
    count: usize,
}

/// Timestamps that have at least a million milliseconds, and of which a float64 holds every
/// thousandth of a second.
const COMMON: std::ops::Range<i64> = 1_000_000..4_000_000_000_000_000;

impl Clock {
    /// Bytes that a timestamp may need, and those of fixed length that are written for it.
    pub(super) const SPACE: usize = 32;

    pub(super) const fn new(unit: Unit) -> Self {
        Self { unit, millions: i64::MIN, digits: [0; 16], count: 0 }
    }

    /// Writes a timestamp at the start of `into`, and returns its length.
    #[inline]
    pub(super) fn write(&mut self, time: i64, into: &mut [u8; Self::SPACE]) -> usize {
        if !COMMON.contains(&time) {
            return self.write_rare(time, into);
        }
        let (millions, rest) = (time / 1_000_000, time % 1_000_000);
        if millions != self.millions {
            self.set_millions(millions);
        }
        let digits = eight_digits(rest.unsigned_abs()) >> 16 | u64::from_ne_bytes([b'0'; 8]);
        let (text, len) = match self.unit {
            Unit::Milliseconds => (digits, 6),
            Unit::Seconds => (digits & 0xff_ffff | u64::from(b'.') << 24 | digits >> 24 << 32, 7),
        };
        into[..16].copy_from_slice(&self.digits);
        into[self.count..self.count + 8].copy_from_slice(&text.to_le_bytes());
        self.count + len
    }

    #[cold]
    fn set_millions(&mut self, millions: i64) {
        self.millions = millions;
        let mut rest = self.digits.as_mut_slice();
        // A number below 4e9 has at most ten digits.
        write!(rest, "{millions}").unwrap_or_default();
        self.count = 16 - rest.len();
    }

    #[cold]
    #[expect(clippy::cast_precision_loss, reason = "as promtool does")]
    fn write_rare(self, time: i64, into: &mut [u8; Self::SPACE]) -> usize {
        let mut rest = into.as_mut_slice();
        let written = match self.unit {
            Unit::Milliseconds => write!(rest, "{time}"),
            Unit::Seconds => write!(rest, "{:.3}", time as f64 / 1000.0),
        };
        written.unwrap_or_default();
        Self::SPACE - rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(unit: Unit, times: &[i64]) -> Vec<String> {
        let mut clock = Clock::new(unit);
        let mut write = |time| {
            let mut into = [b'x'; Clock::SPACE];
            let len = clock.write(time, &mut into);
            String::from_utf8(into[..len].to_vec()).unwrap()
        };
        times.iter().map(|&time| write(time)).collect()
    }

    const TIMES: [i64; 14] = [
        1_700_000_000_000,
        1_700_000_015_007,
        1_700_000_999_999,
        1_700_001_000_000,
        999_999_999_999,
        1_000_000,
        999_999,
        1_000,
        0,
        -1,
        -1_500,
        i64::MIN,
        i64::MAX,
        3_999_999_999_999_999,
    ];

    #[test]
    fn milliseconds_are_integers() {
        assert_eq!(texts(Unit::Milliseconds, &TIMES), TIMES.map(|time| time.to_string()));
    }

    /// Printed by Go 1.26's `%.3f`.
    #[test]
    fn seconds_have_three_decimals() {
        let expected = [
            "1700000000.000",
            "1700000015.007",
            "1700000999.999",
            "1700001000.000",
            "999999999.999",
            "1000.000",
            "999.999",
            "1.000",
            "0.000",
            "-0.001",
            "-1.500",
            "-9223372036854776.000",
            "9223372036854776.000",
            "3999999999999.999",
        ];
        assert_eq!(texts(Unit::Seconds, &TIMES), expected);
    }
}
