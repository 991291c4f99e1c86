//! A report as one HTML page: what takes the space, series over time, and the lists with bars.
//!
//! The page needs nothing but itself: no script, no font, no image and no address of one. Labels
//! are escaped by the macro that writes them. Colours follow the reader's preference for light or
//! dark, and none of them says what a word next to it does not.
//!
//! Source: Web Content Accessibility Guidelines 2.2, 1.4.1 (use of colour), 1.4.3 (contrast).

mod plot;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::difference::Difference;
use super::fill::Fill;
use super::ranking::{self, Ranking};
use super::report::Report;
use super::text;
use super::words::{count, each, share, size};

/// Rules for light and dark, wide and narrow.
const STYLE: &str = include_str!("page/style.css");

/// Renders a report as one self-contained page.
#[must_use]
pub fn render(report: &Report) -> String {
    let rankings = ranking::rankings(report);
    let contents = [
        Some(("space", "What takes the space")),
        report.activity.is_some().then_some(("activity", "Series over time")),
        report.fill.is_some().then_some(("chunks", "Chunks")),
    ];
    let lists = rankings.iter().map(|ranking| (ranking.id, ranking.title));
    let contents: Vec<_> = contents.into_iter().flatten().chain(lists).collect();
    let body = html! {
        (head("A block of Prometheus, counted", &text::facts(report)))
        (nav(&contents))
        main {
            section id="space" { h2 { "What takes the space" } (plot::space(report)) }
            @if let Some(activity) = &report.activity {
                section id="activity" { h2 { "Series over time" } (plot::activity(activity)) }
            }
            @if let Some(fill) = &report.fill { (chunks(fill, report)) }
            @for ranking in &rankings { (list(ranking)) }
        }
    };
    whole(&report.block, &body)
}

/// Renders what two blocks differ in as one self-contained page.
#[must_use]
pub fn render_difference(difference: &Difference) -> String {
    let rankings = ranking::changes(difference);
    let contents: Vec<_> = rankings.iter().map(|ranking| (ranking.id, ranking.title)).collect();
    let body = html! {
        (head("Two blocks of Prometheus, compared", &text::difference_facts(difference)))
        (nav(&contents))
        main {
            @for ranking in &rankings { (list(ranking)) }
        }
    };
    whole(&format!("{} and {}", difference.before.block, difference.after.block), &body)
}

fn whole(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "underpass tsdb analyze: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn head(title: &str, facts: &[(&str, String)]) -> Markup {
    html! {
        header {
            h1 { (title) }
            p.soft { "Made by " code { "underpass tsdb analyze" } "." }
            dl { @for (name, value) in facts { dt { (name) } dd { (value) } } }
        }
    }
}

fn nav(contents: &[(&str, &str)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul { @for (id, title) in contents { li { a href=(format!("#{id}")) { (title) } } } }
        }
    }
}

/// A list as a table whose rows have a bar each.
fn list(ranking: &Ranking) -> Markup {
    let most = ranking.rows.iter().map(|row| row.amount).max().unwrap_or(0);
    html! {
        section id=(ranking.id) {
            h2 { (ranking.title) }
            div.scroll tabindex="0" role="region" aria-label=(ranking.title) {
                table {
                    thead {
                        tr {
                            th scope="col" { (ranking.of) }
                            @for column in &ranking.columns { th scope="col" { (column) } }
                        }
                    }
                    tbody {
                        @for row in &ranking.rows {
                            tr {
                                th scope="row" {
                                    (breakable(&row.name))
                                    (plot::bar(row.amount, most))
                                }
                                @for cell in &row.cells { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A name that is broken at its underscores rather than within a word.
fn breakable(name: &str) -> Markup {
    html! { @for word in name.split_inclusive('_') { (word) wbr; } }
}

fn chunks(fill: &Fill, report: &Report) -> Markup {
    let counted = report.total.chunks.saturating_sub(fill.uncounted);
    html! {
        section id="chunks" {
            h2 { "Chunks" }
            figure {
                figcaption { "Chunks by their samples; Prometheus begins another after 120" }
                (plot::fill(fill, counted))
            }
            div.scroll tabindex="0" role="region" aria-label="Encodings of chunks" {
                table {
                    thead {
                        tr {
                            th scope="col" { "encoding" }
                            @for column in ["chunks", "of chunks", "samples", "bytes",
                                "samples a chunk", "bytes a sample"] {
                                th scope="col" { (column) }
                            }
                        }
                    }
                    tbody {
                        @for load in fill.encodings.values() {
                            tr {
                                th scope="row" { (load.name) }
                                td { (count(load.chunks)) }
                                td { (share(load.chunks, report.total.chunks)) }
                                td { (count(load.samples)) }
                                td { (size(load.bytes)) }
                                td { (each(load.samples, load.chunks)) }
                                td { (each(load.bytes, load.samples)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
