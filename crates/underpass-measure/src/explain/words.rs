//! Numbers as people read them: grouped counts, sizes, shares.
//!
//! A share is cut and not rounded, so that 100 % means all of it and 0 % none.

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
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

/// A count with its noun, in the singular for one.
#[must_use]
pub fn of(number: u64, noun: &str) -> String {
    let plural = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{plural}", count(number))
}

/// A number of bytes in the largest unit that leaves at least one: `256.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = None;
    for name in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = Some(name);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// The share of `part` in `whole` as `97.3 %`, cut after the first decimal; `<0.1 %` for what
/// is less than that and not nothing; `–` if there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    let Some(tenths) = (u128::from(part) * 1000).checked_div(u128::from(whole)) else {
        return "–".to_owned();
    };
    match (tenths, part) {
        (0, 0) => "0 %".to_owned(),
        (0, _) => "<0.1 %".to_owned(),
        (1000, _) => "100 %".to_owned(),
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_three() {
        let texts = [0, 7, 999, 1_000, 65_536, 268_435_456].map(count);
        assert_eq!(texts, ["0", "7", "999", "1,000", "65,536", "268,435,456"]);
        assert_eq!((of(1, "call").as_str(), of(2, "call").as_str()), ("1 call", "2 calls"));
        assert_eq!(of(2, "process"), "2 processes");
    }

    #[test]
    fn sizes_take_the_largest_unit_that_leaves_one() {
        let texts = [0, 1023, 1024, 1536, 268_435_456, u64::MAX].map(size);
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "256.0 MiB", "15.9 EiB"]);
    }

    #[test]
    fn a_hundred_percent_is_all_of_it_and_zero_is_none() {
        assert_eq!(share(999_999, 1_000_000), "99.9 %");
        assert_eq!(share(1_000_000, 1_000_000), "100 %");
        assert_eq!(share(1, 1_000_000), "<0.1 %");
        assert_eq!(share(0, 1_000_000), "0 %");
        assert_eq!(share(0, 0), "–");
        assert_eq!(share(973, 1000), "97.3 %");
    }
}
