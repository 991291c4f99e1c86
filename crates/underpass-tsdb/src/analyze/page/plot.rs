//! Bars and a plot over time.
//!
//! Bars are boxes of HTML, so that their words keep their size in a narrow window; what has two
//! dimensions is SVG, with its words around it as HTML. Every figure of a plot is in words too.
//!
//! Source: SVG 2, 5.7 (title and desc), 7.8 (preserveAspectRatio).

use std::fmt::Write;

use maud::{Markup, html};

use crate::analyze::activity::Activity;
use crate::analyze::fill::Fill;
use crate::analyze::report::Report;
use crate::analyze::words::{count, duration, share, size};
use crate::time::Rfc3339;

/// A bar as long as its part of the greatest.
pub(super) fn bar(amount: u64, most: u64) -> Markup {
    html! { span.bar aria-hidden="true" { span style=(width(amount, most)) {} } }
}

/// A width in percent, of a tenth.
fn width(part: u64, whole: u64) -> String {
    let tenths = (u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(0).min(1_000);
    format!("width:{}.{}%", tenths / 10, tenths % 10)
}

/// The files of the block, as parts of one bar and as a list.
pub(super) fn space(report: &Report) -> Markup {
    let files = &report.files;
    let parts = [
        ("chunks", files.chunks),
        ("index: series", files.series),
        ("index: postings", files.postings),
        ("index: symbols", files.symbols),
        ("index: postings offset table", files.postings_table),
        ("index: headers, obsolete tables, padding", files.index_rest()),
        ("tombstones", files.tombstones),
    ];
    let total = files.total();
    html! {
        figure {
            figcaption { (size(total)) " in the files of the block" }
            div.stack aria-hidden="true" {
                @for (at, (_, bytes)) in parts.iter().enumerate() {
                    span class=(format!("part-{at}")) style=(format!("flex-grow:{bytes}")) {}
                }
            }
            ul.key {
                @for (at, (name, bytes)) in parts.iter().enumerate() {
                    li {
                        span class=(format!("swatch part-{at}")) {}
                        (name) ": " (size(*bytes)) ", " (share(*bytes, total))
                    }
                }
            }
        }
    }
}

/// A bar for each class of fill.
pub(super) fn fill(fill: &Fill, counted: u64) -> Markup {
    let most = fill.chunks_by_samples.iter().copied().max().unwrap_or(0);
    html! {
        dl.bars {
            @for (at, chunks) in fill.chunks_by_samples.iter().enumerate() {
                dt { (Fill::class(at)) }
                dd { (bar(*chunks, most)) (count(*chunks)) ", " (share(*chunks, counted)) }
            }
        }
    }
}

/// Units of the plot over time; it is stretched to the width there is.
const WIDTH: u64 = 600;
const HEIGHT: u64 = 200;

/// Series over time, and how many came and went.
pub(super) fn activity(activity: &Activity) -> Markup {
    let (most, least) = ends(&activity.series);
    // Those that are there at the block's start did not come, nor do those at its end leave.
    let came = activity.started.get(1..).unwrap_or_default();
    let left = activity.ended.split_last().map_or(&[][..], |(_, left)| left);
    let steps = activity.series.len() as u64;
    let length = activity.step_ms.saturating_mul(steps);
    let end = activity.start.saturating_add_unsigned(length);
    let words = format!(
        "between {} and {} series at a time, in {steps} steps of {}",
        count(least),
        count(most),
        duration(activity.step_ms),
    );
    html! {
        figure {
            figcaption { "Series that had samples, " (words) }
            (steps_of(&activity.series, most, "series", &words))
            (axis(activity.start, end))
        }
        div.plots {
            (turnover("Series with their first sample after the first step", came, "came"))
            (turnover("Series with their last sample before the last step", left, "left"))
        }
    }
}

fn turnover(what: &str, values: &[u64], class: &str) -> Markup {
    let (most, _) = ends(values);
    let words = format!("up to {} in a step", count(most));
    html! {
        figure {
            figcaption { (what) ", " (words) }
            (steps_of(values, most, class, &words))
        }
    }
}

fn ends(values: &[u64]) -> (u64, u64) {
    let (most, least) = (values.iter().copied().max(), values.iter().copied().min());
    (most.unwrap_or(0), least.unwrap_or(0))
}

fn axis(start: i64, end: i64) -> Markup {
    html! { p.axis { span { (Rfc3339(start)) } span { (Rfc3339(end)) } } }
}

/// Values as an area of steps, from 0 to the greatest.
fn steps_of(values: &[u64], most: u64, class: &str, words: &str) -> Markup {
    html! {
        div.frame {
            span.most { (count(most)) }
            svg class=(class) viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
                preserveAspectRatio="none" {
                title { (class) " over time" }
                desc { (words) }
                path d=(outline(values, most)) {}
            }
            span.least { "0" }
        }
    }
}

fn outline(values: &[u64], most: u64) -> String {
    let mut path = format!("M0 {HEIGHT}");
    let steps = values.len().max(1) as u64;
    for (value, step) in values.iter().zip(0_u64..) {
        let height = u128::from(HEIGHT) * u128::from(*value);
        let top = u128::from(HEIGHT) - height.checked_div(most.into()).unwrap_or(0);
        let right = (step + 1) * WIDTH / steps;
        write!(path, "V{top}H{right}").expect("a String takes all text");
    }
    write!(path, "V{HEIGHT}Z").expect("a String takes all text");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_goes_from_step_to_step_and_back_to_the_ground() {
        assert_eq!(outline(&[1, 4, 0, 2], 4), "M0 200V150H150V0H300V200H450V100H600V200Z");
        assert_eq!(outline(&[0, 0], 0), "M0 200V200H300V200H600V200Z");
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!(width(1, 3), "width:33.3%");
        assert_eq!((width(5, 5), width(0, 0)), ("width:100.0%".into(), "width:0.0%".into()));
        assert_eq!(width(9, 5), "width:100.0%", "no longer than its place");
    }
}
