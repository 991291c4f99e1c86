//! Claims as text for a terminal.
//!
//! A figure that was derived is marked `~`, and one that is not available is `?` with the reason
//! after it: neither can be taken for a measured one.

use crate::claims::{Claim, Found, Line, Unit, Verdict};
use crate::figure::Figure;
use crate::words;

/// Columns that the text keeps to.
const WIDTH: usize = 80;

/// Columns of measurements' names at most, before dots and the figure.
const NAME_WIDTH_MAX: usize = 60;

/// The claims, each with its measurements, as lines of at most 80 columns where words allow.
#[must_use]
pub fn render(claims: &[Claim]) -> String {
    let mut text = String::new();
    for claim in claims {
        let verdict = claim.verdict.name().to_uppercase();
        words::paragraph(&mut text, &format!("{verdict}: "), "  ", claim.sentence, WIDTH);
        let widths = claim.lines.iter().map(|line| line.what.chars().count());
        let width = widths.max().unwrap_or(0).min(NAME_WIDTH_MAX);
        for line in &claim.lines {
            measurement(&mut text, line, width);
        }
        if let Some(detail) = claim.verdict.detail() {
            let word = match &claim.verdict {
                Verdict::HoldsIf(_) => "holds if ",
                Verdict::Unavailable(_) | Verdict::Holds | Verdict::DoesNotHold => "",
            };
            let detail = format!("{word}{detail}");
            words::paragraph(&mut text, "  => ", "     ", &detail, WIDTH);
        }
        if !claim.explanation.is_empty() {
            words::paragraph(&mut text, "     ", "     ", &claim.explanation, WIDTH);
        }
        text.push('\n');
    }
    text.push_str("No mark: measured. ~: derived. ?: not available here.\n");
    text
}

/// A name, dots and the figure; the figure on the next line where there is no room for it.
fn measurement(text: &mut String, line: &Line, width: usize) {
    let name = &line.what;
    let dots = ".".repeat(width.saturating_sub(name.chars().count()) + 3);
    let found = match &line.found {
        Found::Answer(answer) => words::printable(answer),
        Found::Figure { figure, unit } => figure_text(figure, *unit),
    };
    let whole = format!("  {name} {dots} {found}");
    if whole.chars().count() <= WIDTH {
        text.push_str(&whole);
        text.push('\n');
    } else {
        words::paragraph(text, "  ", "    ", name, WIDTH);
        words::paragraph(text, "      ... ", "          ", &found, WIDTH);
    }
}

/// A figure with its mark and its unit; with the reason, if there is none.
fn figure_text(figure: &Figure, unit: Unit) -> String {
    match figure {
        Figure::Unavailable(why) => format!("? ({why})"),
        Figure::Measured(value) | Figure::Derived { value, .. } => {
            format!("{}{}", figure.mark(), quantity(*value, unit))
        }
    }
}

/// A number in the unit that suits its size.
#[must_use]
pub(crate) fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds => words::scaled(value, 1000.0, &["ns", "µs", "ms", "s"]),
        Unit::Bytes => words::bytes_of(value),
        Unit::Pages => whole(value, "page", "pages"),
        Unit::Calls => whole(value, "call", "calls"),
        Unit::Crossings => whole(value, "crossing", "crossings"),
        Unit::Switches => whole(value, "switch", "switches"),
        Unit::Faults => whole(value, "fault", "faults"),
        Unit::Copies => format!("{value:.2} per byte"),
        Unit::GbPerS => format!("{value:.2} GB/s"),
        Unit::CpuSPerGb => format!("{value:.3} CPU s/GB"),
        Unit::Times => format!("x {value:.2}"),
    }
}

fn whole(value: f64, one: &str, many: &str) -> String {
    format!("{value:.0} {}", if value == 1.0 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_printed_with_its_verdict_its_marks_and_its_reason() {
        let claim = Claim {
            name: "x",
            sentence: "Books are right.",
            lines: vec![
                Line::new("measured", Figure::Measured(1_536.0), Unit::Bytes),
                Line::new("derived", Figure::Derived { value: 2.0, from: "a / b" }, Unit::Copies),
                Line::new("missing", Figure::Unavailable("no disk".into()), Unit::Faults),
                Line::answer("asked", "EINVAL"),
                Line::new("name ".repeat(15).trim_end(), Figure::Measured(2.0), Unit::GbPerS),
            ],
            verdict: Verdict::HoldsIf("it is dark".into()),
            explanation: "word ".repeat(30),
        };
        let text = render(&[claim]);
        assert!(text.starts_with("HOLDS IF: Books are right.\n  measured ..."), "{text}");
        for wanted in ["... 1.5 KiB\n", "... ~2.00 per byte\n", "... ? (no disk)\n", "... EINVAL\n"]
        {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(text.contains("name\n      ... 2.00 GB/s\n"), "{text}");
        assert!(text.contains("\n  => holds if it is dark\n     word word"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn numbers_are_given_in_the_unit_that_suits_them() {
        for (value, unit, wanted) in [
            (61.4, Unit::Nanoseconds, "61.4 ns"),
            (1_500.0, Unit::Nanoseconds, "1.5 µs"),
            (3e10, Unit::Nanoseconds, "30 s"),
            (999.9, Unit::Nanoseconds, "1.0 µs"),
            (67_108_864.0, Unit::Bytes, "64 MiB"),
            (0.0, Unit::Bytes, "0 B"),
            (1.0, Unit::Faults, "1 fault"),
            (4_096.0, Unit::Pages, "4096 pages"),
            (0.9, Unit::Times, "x 0.90"),
        ] {
            assert_eq!(quantity(value, unit), wanted);
        }
    }
}
