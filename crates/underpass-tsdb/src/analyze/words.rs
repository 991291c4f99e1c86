//! Numbers and names as people read them.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::time::Rfc3339;

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A change, with its sign: `+1,234`, `-5`, `0`.
pub(super) fn change(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        Ordering::Less => format!("-{}", count(before - after)),
        Ordering::Equal => "0".to_owned(),
        Ordering::Greater => format!("+{}", count(after - before)),
    }
}

/// A number of bytes in the unit that suits it: `412 B`, `1.5 MiB`, `128 MiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    match value < 99.95 {
        true => format!("{value:.1} {unit}"),
        false => format!("{value:.0} {unit}"),
    }
}

/// A change of bytes, with its sign: `+1.5 MiB`, `-20 B`, `0`.
pub(super) fn size_change(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        Ordering::Less => format!("-{}", size(before - after)),
        Ordering::Equal => "0".to_owned(),
        Ordering::Greater => format!("+{}", size(after - before)),
    }
}

/// A share in percent with one decimal, cut and not rounded, so that 100 % is all of it.
pub(super) fn share(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// `part` for each of `whole`, with two decimals.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub(super) fn each(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.2}", part as f64 / whole as f64),
    }
}

/// A block's time range: its length and both ends.
pub(super) fn range(min_time: Option<i64>, max_time: Option<i64>) -> String {
    let (Some(min), Some(max)) = (min_time, max_time) else { return "not known".to_owned() };
    let length = u64::try_from(max.saturating_sub(min)).unwrap_or(0);
    format!("{} ({} to {})", duration(length), Rfc3339(min), Rfc3339(max))
}

/// A length of time in its two largest units: `2 h 15 min`, `12.5 s`.
pub(super) fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
    let mut text = String::new();
    let mut rest = ms;
    for (length, unit) in UNITS {
        let whole = rest / length;
        if whole > 0 {
            write!(text, "{whole} {unit} ").expect("a String takes all text");
        }
        rest %= length;
    }
    match (rest.is_multiple_of(1_000), rest / 1_000, rest % 1_000) {
        (true, 0, _) if !text.is_empty() => {}
        (true, seconds, _) => write!(text, "{seconds} s").expect("a String takes all text"),
        (false, seconds, ms) => {
            let decimals = format!("{ms:03}");
            let decimals = decimals.trim_end_matches('0');
            write!(text, "{seconds}.{decimals} s").expect("a String takes all text");
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_changes_are_grouped() {
        let shown = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        let changes = [(5, 5), (5, 1_005), (1_005, 5)].map(|(before, after)| change(before, after));
        assert_eq!(changes, ["0", "+1,000", "-1,000"]);
        let changes = [(5, 5), (5, 2_053), (90, 5)];
        let changes = changes.map(|(before, after)| size_change(before, after));
        assert_eq!(changes, ["0", "+2.0 KiB", "-85 B"]);
    }

    #[test]
    fn sizes_are_in_the_unit_that_suits_them() {
        let shown = [0, 1_023, 1_024, 1_536, 24_662_016, 1 << 30, u64::MAX].map(size);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "23.5 MiB", "1.0 GiB", "16.0 EiB"]
        );
        assert_eq!(size((1 << 20) - 1), "1.0 MiB", "not 1024 KiB");
    }

    #[test]
    fn a_share_is_all_only_if_it_is() {
        let shown = [(1, 1), (999_999, 1_000_000), (1, 3), (0, 5), (0, 0)];
        let shown = shown.map(|(part, whole)| share(part, whole));
        assert_eq!(shown, ["100.0 %", "99.9 %", "33.3 %", "0.0 %", "0.0 %"]);
        assert_eq!((each(7, 2), each(7, 0)), ("3.50".into(), "-".into()));
    }

    #[test]
    fn lengths_of_time_leave_out_what_is_zero() {
        let shown = [0, 45, 12_500, 60_000, 2_985_001, 7_200_000, 90_061_000].map(duration);
        let wanted =
            ["0 s", "0.045 s", "12.5 s", "1 min", "49 min 45.001 s", "2 h", "1 d 1 h 1 min 1 s"];
        assert_eq!(shown, wanted);
    }
}
