//! A comparison as one HTML page: what to take away first, then figures, and how they are known.
//!
//! The page needs nothing but itself: no script, no font, no image and no address of one. Whatever
//! came from outside, such as a file's name, is escaped by the macro that writes it. Colours
//! follow the reader's preference for light or dark, and none of them says what a word next to it
//! does not.
//!
//! Source: Web Content Accessibility Guidelines 2.2, 1.4.1 (use of colour), 1.4.3 (contrast),
//! 1.4.10 (reflow).

mod bars;
mod lines;
mod paths;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use underpass::Method;

use crate::cache::IN_MEMORY;
use crate::claims::{Claim, Verdict};
use crate::compare::report::{Report, Row};
use crate::eyes::Eyes;
use crate::methods::facts;
use crate::sheet::{self, Notes, Sheet};
use crate::terms::Cache;
use crate::words;

/// Rules for light and dark, wide and narrow.
const STYLE: &str = include_str!("page/style.css");

/// Renders a report, and what else was measured with it, as one self-contained page.
#[must_use]
pub(crate) fn render(report: &Report, eyes: Option<&Eyes>, claims: Option<&[Claim]>) -> String {
    let mut notes = Notes::default();
    let is_in_memory = IN_MEMORY.contains(&report.conditions.file_system.as_str());
    let body = html! {
        header {
            h1 { "From a file to the other end: what was copied" }
            p {
                "Measured by " code { "underpass compare" } " on Linux " (report.machine.kernel)
                ": " (words::printable(&report.conditions.file)) "."
            }
        }
        main {
            (summary(report, eyes, claims))
            (contents(report, eyes.is_some(), claims.is_some()))
            @if !report.rows.is_empty() { (methods(&report.rows)) }
            @for (at, rows) in sheet::groups(&report.rows).iter().enumerate() {
                (group(rows, at == 0, is_in_memory, &mut notes))
            }
            (by_size(&report.rows, &mut notes))
            @if let Some(eyes) = eyes { (seen(eyes, &mut notes)) }
            @if let Some(claims) = claims { (judged(claims, &mut notes)) }
            (conditions(report))
            (notes.html())
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "underpass compare: " (words::printable(&report.conditions.file)) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn summary(report: &Report, eyes: Option<&Eyes>, claims: Option<&[Claim]>) -> Markup {
    html! {
        section.summary id="summary" {
            h2 { "In short" }
            ul {
                @for it in sheet::takeaways(report, eyes, claims) {
                    li { a href=(format!("#{}", it.id)) { (it.of) } ": " (it.text) }
                }
            }
        }
    }
}

fn contents(report: &Report, has_eyes: bool, has_claims: bool) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul {
                @if !report.rows.is_empty() { li { a href="#methods" { "The methods" } } }
                @for rows in sheet::groups(&report.rows) {
                    li { a href=(format!("#{}", sheet::id(rows[0]))) { (sheet::title(rows[0])) } }
                }
                @if has_eyes { li { a href="#eyes" { "To the program's own eyes" } } }
                @if has_claims { li { a href="#claims" { "What textbooks say" } } }
                li { a href="#conditions" { "Machine and conditions" } }
            }
        }
    }
}

fn methods(rows: &[Row]) -> Markup {
    let is_used = |method: &&Method| rows.iter().any(|row| row.method == **method);
    html! {
        section id="methods" {
            h2 { "The methods" }
            dl {
                @for method in Method::ALL.iter().filter(is_used) {
                    dt { (method) } dd { (facts(*method).sentence) }
                }
            }
            p.legend {
                @for (class, words) in [
                    ("reference", "by reference"),
                    ("mixed", "partly"),
                    ("copied", "copied"),
                    ("unknown", "cannot be told"),
                ] {
                    span.key { span class=(format!("swatch {class}")) {} (words) } " "
                }
            }
            p.legend {
                "A number without a mark was measured; " b { "~" } " was derived from measured \
                ones; " b { "?" } " is not available here. The notes say how and why."
            }
        }
    }
}

/// The first shows all but its numbers; of the others it is asked for.
fn group(rows: &[&Row], is_first: bool, is_in_memory: bool, notes: &mut Notes) -> Markup {
    let [copied, cost, took, discarded, seen] = sheet::of_group(rows);
    html! {
        section id=(sheet::id(rows[0])) {
            h2 { (sheet::title(rows[0])) }
            div.figures { (bars::throughput(rows)) (bars::processor_time(rows)) }
            (more("How often every byte was copied", is_first, copied.html(notes)))
            (more("The path of a byte", is_first, paths::of_rows(rows, is_in_memory)))
            (more("What was seen of each method", false, seen.html(notes)))
            (more("Cost, page faults and memory in numbers", false, html! {
                (cost.html(notes)) (took.html(notes)) (discarded.html(notes))
            }))
        }
    }
}

fn more(title: &str, is_open: bool, content: Markup) -> Markup {
    html! { details open[is_open] { summary { (title) } (content) } }
}

fn by_size(rows: &[Row], notes: &mut Notes) -> Markup {
    let places = sheet::by_size(rows);
    html! {
        @if !places.is_empty() {
            section id="sizes" {
                h2 { "By size of transfer" }
                @for (sheets, rows) in &places {
                    h3 { (sheet::title(rows[0])) }
                    div.figures {
                        (lines::by_size(rows, "GB/s", |row| &row.gb_per_s.median))
                        (lines::by_size(rows, "CPU s/GB of the sender", |row| {
                            &row.sender_cpu_s_per_gb
                        }))
                    }
                    (more("In numbers", false, all(sheets, notes)))
                }
            }
        }
    }
}

fn all(sheets: &[Sheet], notes: &mut Notes) -> Markup {
    html! { @for sheet in sheets { (sheet.html(notes)) } }
}

fn seen(eyes: &Eyes, notes: &mut Notes) -> Markup {
    let [looked, others @ ..] = sheet::of_eyes(eyes);
    html! {
        section id="eyes" {
            h2 { "To the program's own eyes: read(2) or a mapping" }
            p {
                (words::size(eyes.bytes)) " of " (words::printable(&eyes.file)) ", "
                (words::of(eyes.repeats.into(), "run")) " of each task: every word is summed up, \
                or one is searched for, in sequence or at random places."
            }
            div.figures { (bars::eyes(eyes, Cache::Warm)) (bars::eyes(eyes, Cache::Cold)) }
            (looked.html(notes))
            (more("Time per piece, disk and ranges", false, all(&others, notes)))
        }
    }
}

fn judged(claims: &[Claim], notes: &mut Notes) -> Markup {
    html! {
        section id="claims" {
            h2 { "What textbooks say, and what this machine shows" }
            @for claim in claims {
                article id=(format!("claim-{}", claim.name)) {
                    h3 {
                        span class=(format!("badge {}", badge(&claim.verdict))) {
                            (claim.verdict.name())
                        }
                        " " (claim.sentence)
                    }
                    @if let Some(so) = sheet::conclusion(claim) { p.detail { (so) } }
                    @if !claim.explanation.is_empty() {
                        p { (words::printable(&claim.explanation)) }
                    }
                    @if !claim.lines.is_empty() {
                        (more("Measurements", false, sheet::measurements(claim).html(notes)))
                    }
                }
            }
        }
    }
}

const fn badge(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "reference",
        Verdict::HoldsIf(_) => "mixed",
        Verdict::DoesNotHold => "copied",
        Verdict::Unavailable(_) => "unknown",
    }
}

fn conditions(report: &Report) -> Markup {
    let not_run = report.not_run();
    html! {
        section id="conditions" {
            h2 { "Machine and conditions" }
            @for about in report.about() { p { (about) "." } }
            @if !report.conditions.notes.is_empty() {
                h3 { "Also to know" }
                ul { @for note in &report.conditions.notes { li { (words::printable(note)) } } }
            }
            @if !not_run.is_empty() {
                h3 { "Not available here" }
                ul { @for line in &not_run { li { (words::printable(line)) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
