//! A comparison as one HTML page: tables, plots, the path of a byte, and what textbooks say.
//!
//! The page needs nothing but itself: no script, no font, no image and no address of one. Whatever
//! came from outside, such as a file's name, is escaped by the macro that writes it. Colours
//! follow the reader's preference for light or dark, and none of them says what a word next to it
//! does not.
//!
//! Source: Web Content Accessibility Guidelines 2.2, 1.4.1 (use of colour), 1.4.3 (contrast).

mod diagram;
mod number;
mod plot;
mod table;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::claims::{Claim, Found, Verdict as Judgement};
use crate::compare::report::{Cache, Link, Pair, Report, Row, Verdict};
use crate::eyes::Eyes;
use crate::page::number::Notes;
use crate::words;

/// Rules for light and dark, wide and narrow.
const STYLE: &str = include_str!("page/style.css");

/// Renders a report, and what else was measured with it, as one self-contained page.
#[must_use]
pub fn render(report: &Report, eyes: Option<&Eyes>, claims: Option<&[Claim]>) -> String {
    let mut notes = Notes::default();
    let groups = groups(&report.rows);
    let body = html! {
        header {
            h1 { "From a file to the other end: what was copied" }
            p {
                "Measured by " code { "underpass compare" } " on Linux " (report.machine.kernel)
                ": " (report.conditions.file) "."
            }
            (legend())
        }
        nav aria-label="Contents" { (contents(&groups, eyes.is_some(), claims.is_some())) }
        main {
            @for group in &groups {
                section id=(group.id()) {
                    h2 { (group.title()) }
                    (figures(group))
                    (table::of_rows(group, &mut notes))
                    (diagrams(group))
                }
            }
            (sizes(&report.rows))
            @if let Some(eyes) = eyes { (seen(eyes, &mut notes)) }
            @if let Some(claims) = claims { (judged(claims, &mut notes)) }
            (conditions(report))
            (notes.list())
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "underpass compare: " (report.conditions.file) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// Rows that can be compared with each other: the same bytes between the same ends.
struct Group<'a> {
    pair: Pair,
    link: Option<Link>,
    cache: Cache,
    rows: Vec<&'a Row>,
}

impl Group<'_> {
    fn title(&self) -> String {
        let over = self.link.map(|link| format!(" over {link}")).unwrap_or_default();
        format!("{}{over}, {}", self.pair, self.cache)
    }

    fn id(&self) -> String {
        let link = self.link.map(|link| format!("-{}", link.name())).unwrap_or_default();
        format!("{}{link}-{}", self.pair.name(), self.cache.name())
    }
}

/// Rows of whole transfers by ends and cache state, in the report's order.
fn groups(rows: &[Row]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows.iter().filter(|row| row.transfer_bytes >= row.bytes) {
        let is_its = |group: &&mut Group<'_>| {
            (group.pair, group.link, group.cache) == (row.pair, row.link, row.cache)
        };
        match groups.iter_mut().find(is_its) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group {
                pair: row.pair,
                link: row.link,
                cache: row.cache,
                rows: vec![row],
            }),
        }
    }
    groups
}

fn contents(groups: &[Group<'_>], has_eyes: bool, has_claims: bool) -> Markup {
    html! {
        ul {
            @for group in groups { li { a href=(format!("#{}", group.id())) { (group.title()) } } }
            @if has_eyes { li { a href="#eyes" { "To the program's own eyes" } } }
            @if has_claims { li { a href="#claims" { "What textbooks say" } } }
            li { a href="#conditions" { "Machine and conditions" } }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span.key { span.swatch.reference {} "by reference" } " "
            span.key { span.swatch.mixed {} "partly" } " "
            span.key { span.swatch.copied {} "copied" } " "
            span.key { span.swatch.unknown {} "cannot be told" }
        }
        p.legend {
            "A number without a mark was measured; " b { "~" } " was derived from measured ones; "
            b { "?" } " is not available here. The notes say how and why."
        }
    }
}

/// What colours a row.
fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::ByReference { .. } => "reference",
        Verdict::Mixed { .. } => "mixed",
        Verdict::Copied { .. } => "copied",
        Verdict::Unknown { .. } => "unknown",
    }
}

fn figures(group: &Group<'_>) -> Markup {
    html! {
        div.plots {
            figure {
                figcaption {
                    "Throughput in GB/s, with the lowest and the highest run; more is better"
                }
                (plot::throughput(group))
            }
            figure {
                figcaption {
                    "Processor time in s/GB, of the sender and, lighter, of the receiver; "
                    "less is better"
                }
                (plot::processor_time(group))
            }
        }
    }
}

fn diagrams(group: &Group<'_>) -> Markup {
    html! {
        details open[group.pair == Pair::FileToTcp] {
            summary { "The path of a byte, by method" }
            div.diagrams {
                @for row in &group.rows {
                    figure {
                        figcaption { (row.method) }
                        (diagram::of_row(row))
                    }
                }
            }
        }
    }
}

fn sizes(rows: &[Row]) -> Markup {
    let Some(plots) = plot::by_size(rows) else { return html! {} };
    html! {
        section id="sizes" {
            h2 { "By size of transfer" }
            div.plots { (plots) }
        }
    }
}

fn seen(eyes: &Eyes, notes: &mut Notes) -> Markup {
    html! {
        section id="eyes" {
            h2 { "To the program's own eyes: read(2) against a mapping" }
            p { (words::size(eyes.bytes)) " of " (eyes.file.display()) ", "
                (words::of(eyes.repeats.into(), "run")) " of each." }
            div.plots { (plot::eyes(eyes)) }
            (table::of_eyes(eyes, notes))
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
                    @if let Some(detail) = claim.verdict.detail() { p.detail { (detail) } }
                    @if !claim.explanation.is_empty() { p { (claim.explanation) } }
                    (lines(claim, notes))
                }
            }
        }
    }
}

fn badge(verdict: &Judgement) -> &'static str {
    match verdict {
        Judgement::Holds => "reference",
        Judgement::HoldsIf(_) => "mixed",
        Judgement::DoesNotHold => "copied",
        Judgement::Unavailable(_) => "unknown",
    }
}

fn lines(claim: &Claim, notes: &mut Notes) -> Markup {
    let name = format!("Measurements: {}", claim.sentence);
    html! {
        @if !claim.lines.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(name) {
                table.lines {
                    thead { tr { th scope="col" { "Measured" } th scope="col" { "Found" } } }
                    tbody {
                        @for line in &claim.lines {
                            tr {
                                th scope="row" { (line.what) }
                                td {
                                    @match &line.found {
                                        Found::Answer(answer) => (answer),
                                        Found::Figure { figure, unit } => {
                                            (number::marked(figure, notes, |value| {
                                                crate::sheet::quantity(*unit)(value)
                                            }))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn conditions(report: &Report) -> Markup {
    let (machine, held) = (&report.machine, &report.conditions);
    let processor = |number: Option<usize>| {
        number.map_or_else(|| "not pinned".to_owned(), |number| format!("processor {number}"))
    };
    html! {
        section id="conditions" {
            h2 { "Machine and conditions" }
            dl {
                dt { "Kernel" } dd { (machine.kernel) }
                dt { "Processor" }
                dd { (machine.processor) ", " (machine.processors) " to be used" }
                dt { "Memory" } dd { (words::size(machine.memory_bytes)) }
                dt { "Evidence" } dd { "Tier " (machine.tier) ": " (machine.tier_reason) }
                dt { "File" }
                dd { (held.file) ", inode " (held.inode) ", " (held.file_system) ", "
                    (words::size(held.file_bytes)) }
                dt { "Runs" } dd { (held.repeats) " of each row, interleaved; medians" }
                dt { "Congestion control" }
                dd { (held.congestion_control) "; the kernel's default is "
                    (machine.default_congestion_control) }
                dt { "Sender" } dd { (processor(held.sender_processor)) }
                dt { "Receiver" }
                dd { (processor(held.receiver_processor)) ", "
                    (words::size(held.receiver_call_bytes as u64)) " a call" }
            }
            @if !held.notes.is_empty() {
                h3 { "Also to know" }
                ul { @for note in &held.notes { li { (note) } } }
            }
            @if !report.absent.is_empty() {
                h3 { "Not run" }
                ul {
                    @for absent in &report.absent {
                        li {
                            (absent.method) ", " (absent.pair)
                            @if let Some(link) = absent.link { " over " (link) }
                            ": " (absent.why)
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
