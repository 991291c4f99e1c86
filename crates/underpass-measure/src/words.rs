//! Numbers and paragraphs as people read them: grouped counts, sizes, shares, lines.
//!
//! A share is cut and not rounded, so that 100 % means all of it and 0 % none.

use crate::figure::float;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// A whole number of a figure, as [`count`] writes it.
pub(crate) fn whole(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

/// Three significant digits: `0.00213`, `2.13`, `213`; and all those of whole thousands.
pub(crate) fn decimal(value: f64) -> String {
    let rounded = format!("{value:.2e}");
    let power = rounded.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok());
    match power {
        _ if value == 0.0 => "0".to_owned(),
        Some(..-6) => rounded,
        Some(power @ ..2) => format!("{value:.0$}", (2 - power).unsigned_abs() as usize),
        Some(_) | None => whole(value),
    }
}

/// How many times each byte was copied: `2.00`, and `<0.01` for what is less and not nothing.
pub(crate) fn copies(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.01 => "<0.01".to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn grouped(digits: &str) -> String {
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
pub(crate) fn of(number: u64, noun: &str) -> String {
    let plural = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{plural}", count(number))
}

/// A number of bytes in the unit that suits it: `64 KiB`, `1.5 MiB`, `128 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytes_of(float(bytes))
}

/// A figure of bytes, as [`size`] writes it.
pub(crate) fn bytes_of(value: f64) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Nanoseconds in the unit that suits them: `61.4 ns`, `1.5 ms`.
pub(crate) fn time(value: f64) -> String {
    scaled(value, 1000.0, &["ns", "µs", "ms", "s"])
}

/// A figure in the largest of `units`, each `step` times the one before, that leaves at least one.
pub(crate) fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if value < step * 0.9995 {
            break;
        }
        value /= step;
        unit = larger;
    }
    if value.fract() == 0.0 || value >= 99.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// An error with its causes: `a failed: b: c`.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What may be written to a terminal of a name that somebody else chose: control characters, and
/// those that turn the direction of writing, are written as `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2028}'..='\u{2029}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut text, c| {
        match is_hidden(c) {
            true => text.extend(c.escape_unicode()),
            false => text.push(c),
        }
        text
    })
}

/// Appends a paragraph broken at spaces into lines of `columns` at most, where words allow. The
/// first line begins with `start` and the others with `indent`.
pub(crate) fn paragraph(text: &mut String, start: &str, indent: &str, words: &str, columns: usize) {
    text.push_str(start);
    let (mut column, mut is_first) = (start.chars().count(), true);
    for word in words.split_whitespace().map(printable) {
        let len = word.chars().count();
        if !is_first && column + 1 + len > columns {
            text.push('\n');
            text.push_str(indent);
            column = indent.chars().count();
        } else if !is_first {
            text.push(' ');
            column += 1;
        }
        text.push_str(&word);
        (column, is_first) = (column + len, false);
    }
    text.push('\n');
}

/// Text broken at spaces into lines of `width` at most. The end of a word that is longer, such as
/// a path, tells more than its beginning.
pub(crate) fn broken(text: &str, width: usize) -> Vec<String> {
    let words: Vec<String> = text.split_whitespace().map(|word| shortened(word, width)).collect();
    let mut lines = String::new();
    paragraph(&mut lines, "", "", &words.join(" "), width);
    lines.lines().map(str::to_owned).collect()
}

fn shortened(word: &str, width: usize) -> String {
    let len = word.chars().count();
    if len <= width {
        return word.to_owned();
    }
    let end: String = word.chars().skip(len - width.saturating_sub(1)).collect();
    format!("…{end}")
}

/// The share of `part` in `whole` as `97.3 %`, cut after the first decimal; `<0.1 %` for what
/// is less than that and not nothing; `–` if there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> String {
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

/// A share from 0 to 1 as `99.9 %`, cut as [`share`] is, and `50 %` where nothing is cut.
pub(crate) fn percent(share: f64) -> String {
    let percent = (share * 1000.0).floor() / 10.0;
    match percent {
        0.0 if share > 0.0 => "<0.1 %".to_owned(),
        _ if percent.fract() == 0.0 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
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
        let texts = [0, 1022, 1024, 1536, 268_435_456, u64::MAX].map(size);
        assert_eq!(texts, ["0 B", "1022 B", "1 KiB", "1.5 KiB", "256 MiB", "16 EiB"]);
    }

    #[test]
    fn a_decimal_has_three_digits_however_small_it_is() {
        for (value, wanted) in [
            (0.0, "0"),
            (0.002_134, "0.00213"),
            (3.21e-9, "3.21e-9"),
            (0.099_96, "0.100"),
            (9.996, "10.0"),
            (99.96, "100"),
            (2_723.351, "2,723"),
            (121_638_400.0, "121,638,400"),
        ] {
            assert_eq!(decimal(value), wanted);
        }
        assert_eq!([0.0, 0.004, 1.0, 12.345].map(copies), ["0", "<0.01", "1.00", "12.35"]);
    }

    #[test]
    fn the_end_of_a_long_path_is_kept() {
        assert_eq!(broken("/a/very/long/path", 8), ["…ng/path"]);
        assert_eq!(broken("over there", 8), ["over", "there"]);
        assert_eq!(broken("", 8), [""]);
    }

    #[test]
    fn a_paragraph_is_broken_between_words_and_keeps_its_indent() {
        let mut text = String::new();
        paragraph(&mut text, "- ", "  ", "one two  three\nfour", 9);
        assert_eq!(text, "- one two\n  three\n  four\n");
        text.clear();
        paragraph(&mut text, "", "", "extraordinarily a", 5);
        assert_eq!(text, "extraordinarily\na\n");
    }

    #[test]
    fn what_a_name_would_have_a_terminal_do_is_written_out() {
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}\u{9b}é"),
            "a\\u{1b}[2J\\u{a}b\\u{202e}\\u{9b}é"
        );
        let mut text = String::new();
        paragraph(&mut text, "", "", "of /srv/\u{7}\u{1b}]0;x", 80);
        assert_eq!(text, "of /srv/\\u{7}\\u{1b}]0;x\n");
    }

    #[test]
    fn a_hundred_percent_is_all_of_it_and_zero_is_none() {
        assert_eq!(share(999_999, 1_000_000), "99.9 %");
        assert_eq!(share(1_000_000, 1_000_000), "100 %");
        assert_eq!(share(1, 1_000_000), "<0.1 %");
        assert_eq!(share(0, 1_000_000), "0 %");
        assert_eq!(share(0, 0), "–");
        assert_eq!(share(973, 1000), "97.3 %");
        let texts = [0.0, 0.000_01, 0.5, 0.999_99, 1.0].map(percent);
        assert_eq!(texts, ["0 %", "<0.1 %", "50 %", "99.9 %", "100 %"]);
    }
}
