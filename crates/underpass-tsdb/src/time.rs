//! Points in time as people type them, in milliseconds since 1970 as Prometheus counts.
//!
//! A plain integer is in milliseconds, as promtool has it; `s` behind the number or a decimal
//! point makes it seconds. Nothing is guessed from the size of a number. Anything else is a date
//! of RFC 3339.

use std::fmt;

/// Samples from one time to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first time, in milliseconds.
    pub min: i64,
    /// The last time, in milliseconds.
    pub max: i64,
}

impl TimeRange {
    /// All of it.
    pub const ALL: Self = Self { min: i64::MIN, max: i64::MAX };

    /// Whether a time is within.
    #[must_use]
    pub const fn contains(self, time: i64) -> bool {
        self.min <= time && time <= self.max
    }

    /// Whether it has a time in common with `min..=max`.
    #[must_use]
    pub const fn overlaps(self, min: i64, max: i64) -> bool {
        self.min <= max && min <= self.max
    }

    /// Whether all of `min..=max` is within.
    #[must_use]
    pub const fn covers(self, min: i64, max: i64) -> bool {
        self.min <= min && max <= self.max
    }
}

/// A text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It is not one of the three forms.
    #[error(
        "give milliseconds (1700000000000), seconds (1700000000s, 1700000000.5) or a date \
         (2023-11-14T22:13:20Z, 2023-11-14T23:13:20.5+01:00)"
    )]
    Form,
    /// It is a number that milliseconds in 64 bits do not reach.
    #[error("the time is too far from 1970 for milliseconds in 64 bits")]
    Range,
}

/// Reads a time; gives milliseconds since 1970.
///
/// # Errors
///
/// If it is not a time, or too far away.
pub fn parse_time(text: &str) -> Result<i64, TimeError> {
    let unsigned = text.trim_start_matches(['-', '+']);
    if text.len() - unsigned.len() > 1 {
        return Err(TimeError::Form);
    }
    let is_negative = text.starts_with('-');
    match unsigned.strip_suffix('s') {
        Some(number) => seconds(number, is_negative),
        None if unsigned.contains(['T', 't', ' ']) && unsigned.len() == text.len() => date(text),
        None if unsigned.contains('.') => seconds(unsigned, is_negative),
        None => scaled(digits(unsigned)?, 0, 1, is_negative),
    }
}

/// Seconds with or without a fraction; what is below a millisecond is cut off.
fn seconds(text: &str, is_negative: bool) -> Result<i64, TimeError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    scaled(digits(whole)?, thousandths(fraction)?, 1000, is_negative)
}

fn scaled(whole: i128, rest: i128, unit: i128, is_negative: bool) -> Result<i64, TimeError> {
    let value = whole.checked_mul(unit).and_then(|value| value.checked_add(rest));
    let value = value.map(|value| if is_negative { -value } else { value });
    value.and_then(|value| i64::try_from(value).ok()).ok_or(TimeError::Range)
}

fn digits(text: &str) -> Result<i128, TimeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError::Form);
    }
    text.parse().map_err(|_| TimeError::Range)
}

fn thousandths(fraction: &str) -> Result<i128, TimeError> {
    digits(fraction)?;
    digits(&fraction.bytes().map(char::from).chain("00".chars()).take(3).collect::<String>())
}

/// RFC 3339, section 5.6. The offset is required: a time without one is of no known place.
fn date(text: &str) -> Result<i64, TimeError> {
    let (day, time) = text.split_at_checked(10).ok_or(TimeError::Form)?;
    let days = days_since_1970(day)?;
    let time = time.strip_prefix(['T', 't', ' ']).ok_or(TimeError::Form)?;
    let at = time.find(['Z', 'z', '+', '-']).ok_or(TimeError::Form)?;
    let (clock, offset) = time.split_at(at);
    Ok((days * 86_400_000) + of_clock(clock)? - of_offset(offset)?)
}

/// Milliseconds of `hh:mm:ss` with or without a fraction.
fn of_clock(text: &str) -> Result<i64, TimeError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let [hour, minute, second] = fields(whole, ':', [2, 2, 2])?;
    // A leap second is the one after it, as POSIX counts.
    if hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError::Form);
    }
    let fraction = i64::try_from(thousandths(fraction)?).map_err(|_| TimeError::Form)?;
    Ok((hour * 3600 + minute * 60 + second) * 1000 + fraction)
}

/// Milliseconds of `Z`, `+hh:mm` or `-hh:mm`.
fn of_offset(text: &str) -> Result<i64, TimeError> {
    if matches!(text, "Z" | "z") {
        return Ok(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let [hour, minute] = fields(&text[1..], ':', [2, 2])?;
    if hour > 23 || minute > 59 {
        return Err(TimeError::Form);
    }
    Ok(sign * (hour * 60 + minute) * 60_000)
}

/// Numbers of these many digits each, and nothing else.
fn fields<const N: usize>(
    text: &str,
    separator: char,
    lengths: [usize; N],
) -> Result<[i64; N], TimeError> {
    let parts: Vec<&str> = text.split(separator).collect();
    if !parts.iter().map(|part| part.len()).eq(lengths) {
        return Err(TimeError::Form);
    }
    let mut numbers = [0; N];
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = i64::try_from(digits(part)?).map_err(|_| TimeError::Form)?;
    }
    Ok(numbers)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, `YYYY-MM-DD`.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`.
fn days_since_1970(text: &str) -> Result<i64, TimeError> {
    let [year, month, day] = fields(text, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return Err(TimeError::Form);
    }
    // A year begins in March, so that a leap day ends it.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok(era * 146_097 + day_of_era - 719_468)
}

const fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A time in milliseconds since 1970, shown as a date of RFC 3339 in UTC with milliseconds. Years
/// of more than four digits, which it does not have, are shown as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339(pub i64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (year, month, day) = date_of(days);
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of the day with this number, 1970-01-01 being 0.
///
/// Source: Howard Hinnant, as above, `civil_from_days`.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_point_is_in_milliseconds_and_others_in_seconds() {
        for (text, time) in [
            ("0", 0),
            ("1700000000000", 1_700_000_000_000),
            ("1700000000", 1_700_000_000),
            ("-5", -5),
            ("+5", 5),
            ("1700000000s", 1_700_000_000_000),
            ("1700000000.5", 1_700_000_000_500),
            ("1700000000.5s", 1_700_000_000_500),
            ("1.0019", 1001),
            ("-1.5", -1500),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_time(text), Ok(time), "{text}");
        }
    }

    /// The numbers are those of date(1).
    #[test]
    fn a_date_is_read_with_its_offset() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14t22:13:20.125z", 1_700_000_000_125),
            ("2023-11-14 23:13:20+01:00", 1_700_000_000_000),
            ("2023-11-14T16:43:20.5-05:30", 1_700_000_000_500),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2024-02-29T12:00:00Z", 1_709_208_000_000),
            ("2024-03-01T00:00:00Z", 1_709_251_200_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            assert_eq!(parse_time(text), Ok(time), "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_as_a_date() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_700_000_000_125, "2023-11-14T22:13:20.125Z"),
            (1_709_208_000_000, "2024-02-29T12:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (i64::MAX, "292278994-08-17T07:12:55.807Z"),
            (i64::MIN, "-292275055-05-16T16:47:04.192Z"),
        ] {
            assert_eq!(Rfc3339(time).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "--5",
            "s",
            ".5",
            "1.",
            "1e3",
            "1.5e3",
            "NaN",
            "now",
            "5m",
            "0x10",
            "1_000",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:61Z",
            "2023-11-14T22:13Z",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20Zs",
            "-2023-11-14T22:13:20Z",
            "2023-11-1\u{e9}T22:13:20Z",
            "1700000000 s",
        ] {
            assert_eq!(parse_time(text), Err(TimeError::Form), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "9223372036854776s"] {
            assert_eq!(parse_time(text), Err(TimeError::Range), "{text}");
        }
    }
}
