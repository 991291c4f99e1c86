//! A claim's measurements as a sheet.

use crate::claims::{Claim, Found, Unit, Verdict};
use crate::sheet::text::WIDTH;
use crate::sheet::{Cell, Notes, Sheet};
use crate::words;

/// A claim with more kinds of measurements shows them in a list.
const HEADS_MAX: usize = 6;

/// The measurements of a claim; those named `A: B` as rows A under columns B.
pub(crate) fn measurements(claim: &Claim) -> Sheet {
    let cell = |found: &Found| match found {
        Found::Answer(answer) => Cell::Words(answer.clone()),
        Found::Figure { figure, unit } => Cell::Figure(figure.clone(), quantity(*unit)),
    };
    let split = claim.lines.iter().map(|line| line.what.split_once(": "));
    let split: Vec<(&str, &str)> = split.collect::<Option<_>>().unwrap_or_default();
    let (mut names, mut heads): (Vec<&str>, Vec<&str>) = split.iter().copied().unzip();
    for texts in [&mut names, &mut heads] {
        let mut seen = std::collections::BTreeSet::new();
        texts.retain(|text| seen.insert(*text));
    }
    if heads.len() < 2 || heads.len() > HEADS_MAX || names.len() < 2 {
        let mut sheet = Sheet::new("measured", [("", "found")]);
        for line in &claim.lines {
            sheet.push(line.what.clone(), "", vec![cell(&line.found)]);
        }
        return sheet;
    }
    let mut sheet = Sheet::new("measured", heads.iter().map(|head| ("", *head)));
    for name in names {
        let found = |head: &&str| {
            let at = split.iter().position(|it| *it == (name, *head));
            at.map_or(Cell::Empty, |at| cell(&claim.lines[at].found))
        };
        sheet.push(name.to_owned(), "", heads.iter().map(found).collect());
    }
    sheet
}

/// Under what a claim holds, or why it cannot be told.
pub(crate) fn conclusion(claim: &Claim) -> Option<String> {
    match &claim.verdict {
        Verdict::HoldsIf(when) => Some(format!("holds if {}", words::printable(when))),
        Verdict::Unavailable(why) => Some(words::printable(why)),
        Verdict::Holds | Verdict::DoesNotHold => None,
    }
}

/// How a claim's unit is written.
fn quantity(unit: Unit) -> fn(f64) -> String {
    fn counted(value: f64, one: &str, many: &str) -> String {
        format!("{} {}", words::whole(value), if value == 1.0 { one } else { many })
    }
    match unit {
        Unit::Nanoseconds => words::time,
        Unit::Bytes => words::bytes_of,
        Unit::Pages => |value| counted(value, "page", "pages"),
        Unit::Calls => |value| counted(value, "call", "calls"),
        Unit::Crossings => |value| counted(value, "crossing", "crossings"),
        Unit::Switches => |value| counted(value, "switch", "switches"),
        Unit::Faults => |value| counted(value, "fault", "faults"),
        Unit::Copies => |value| format!("{} per byte", words::copies(value)),
        Unit::GbPerS => |value| format!("{} GB/s", words::decimal(value)),
        Unit::CpuSPerGb => |value| format!("{} CPU s/GB", words::decimal(value)),
        Unit::Times => |value| format!("× {}", words::decimal(value)),
    }
}

/// A claim with its measurements, and what they come to.
pub(super) fn append(text: &mut String, claim: &Claim, notes: &mut Notes) {
    let start = format!("\n{}: ", claim.verdict.name().to_uppercase());
    words::paragraph(text, &start, "  ", claim.sentence, WIDTH);
    measurements(claim).append(text, notes);
    if let Some(conclusion) = conclusion(claim) {
        words::paragraph(text, "  => ", "     ", &conclusion, WIDTH);
    }
    if !claim.explanation.is_empty() {
        let explanation = words::printable(&claim.explanation);
        words::paragraph(text, "     ", "     ", &explanation, WIDTH);
    }
}
