//! Times as RFC 3339 has them, in UTC, before 1970 too.
//!
//! Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.

/// `1700000000000` as `2023-11-14T22:13:20Z`, with ms where there are any.
pub(super) fn rfc3339(ms: i64) -> String {
    let (day, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(day);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    let fraction = match rest % 1_000 {
        0 => String::new(),
        ms => format!(".{ms:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a day counted from 1970-01-01.
const fn civil(day: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last of its year, and in eras of
    // 400 years, which are 146,097 days each.
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `date -u -d @SECONDS --iso-8601=seconds`.
    #[test]
    fn days_are_those_of_the_calendar() {
        let shown = [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (-2_203_977_600_000, "1900-02-28T00:00:00Z"),
            (1_700_002_935_001, "2023-11-14T23:02:15.001Z"),
        ];
        for (ms, text) in shown {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn the_ends_of_the_range_are_times_too() {
        assert_eq!(rfc3339(i64::MIN), "-292275055-05-16T16:47:04.192Z");
        assert_eq!(rfc3339(i64::MAX), "292278994-08-17T07:12:55.807Z");
    }
}
