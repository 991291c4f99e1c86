//! Lines by size of transfer, as SVG. Equal distances are equal factors in both directions, since
//! sizes and figures go over several powers. Each line has its name at its end.
//!
//! Source: SVG 2, 5.7 (title and desc).

use maud::{Markup, html};
use underpass::Method;

use crate::compare::report::Row;
use crate::figure::{Figure, float};
use crate::words;

/// The drawing, and the part of it that lines are in.
const SIZE: (f64, f64) = (450.0, 300.0);
const LEFT: f64 = 44.0;
const RIGHT: f64 = 312.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 268.0;

/// What the names at the ends of lines are apart.
const APART: f64 = 16.0;

/// A method's place among all of them, and its points.
type Line = (usize, Method, Vec<(f64, f64)>);

/// Draws one figure of these rows; nothing if no two sizes have it.
pub(super) fn by_size(rows: &[&Row], title: &str, figure: fn(&Row) -> &Figure) -> Markup {
    let lines: Vec<Line> = Method::ALL
        .iter()
        .enumerate()
        .filter_map(|(at, method)| {
            let its = rows.iter().filter(|row| row.method == *method);
            let known =
                its.filter_map(|row| Some((float(row.transfer_bytes), figure(row).value()?)));
            let mut points: Vec<_> = known.filter(|(_, value)| *value > 0.0).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            (points.len() > 1).then_some((at, *method, points))
        })
        .collect();
    let words = lines.iter().map(|(_, method, points)| {
        let values: Vec<String> = points.iter().map(|(_, value)| words::decimal(*value)).collect();
        format!("{method}: {}", values.join(", "))
    });
    let words: Vec<String> = words.collect();
    html! {
        @if !lines.is_empty() {
            figure {
                figcaption { (title) ": upwards, by size of one transfer from left to right; equal \
                    distances are equal factors" }
                svg.lines viewBox=(format!("0 0 {} {}", SIZE.0, SIZE.1)) role="img" {
                    title { (title) " by size of transfer" }
                    desc { (words.join("; ")) }
                    (drawn(&lines))
                }
            }
        }
    }
}

fn drawn(lines: &[Line]) -> Markup {
    let points = || lines.iter().flat_map(|(.., points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points().map(of);
        values.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it)))
    };
    let (sizes, values) = (range(|point| point.0), range(|point| point.1));
    let ticks = ticks(values);
    let values = (ticks[0].min(values.0), ticks[ticks.len() - 1].max(values.1));
    let part = |value: f64, (low, high): (f64, f64)| (value / low).ln() / (high / low).ln();
    let x = |size: f64| LEFT + (RIGHT - LEFT) * part(size, sizes);
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * part(value, values);
    let mut all: Vec<f64> = points().map(|point| point.0).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    // No name is closer to the next than it is high.
    let mut ends: Vec<(f64, &Line)> =
        lines.iter().map(|line| (y(line.2[line.2.len() - 1].1), line)).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = TOP;
    for (at, _) in &mut ends {
        *at = at.max(least);
        least = *at + APART;
    }
    let mut most = BOTTOM;
    for (at, _) in ends.iter_mut().rev() {
        *at = at.min(most);
        most = *at - APART;
    }
    html! {
        @for tick in &ticks {
            path.rule d=(format!("M{LEFT} {:.1}H{RIGHT}", y(*tick))) {}
            text.tick.value x=(LEFT - 6.0) y=(format!("{:.1}", y(*tick) + 4.0)) {
                (plain(*tick))
            }
        }
        @for size in &all {
            path.rule d=(format!("M{:.1} {TOP}V{BOTTOM}", x(*size))) {}
            text.tick x=(format!("{:.1}", x(*size))) y=(BOTTOM + 20.0) { (words::bytes_of(*size)) }
        }
        @for (name_at, (at, method, points)) in &ends {
            @let place = |point: &(f64, f64)| format!("{:.1} {:.1}", x(point.0), y(point.1));
            @let path: Vec<String> = points.iter().map(place).collect();
            @let end = points[points.len() - 1];
            g class=(format!("line-{at}")) {
                path.line d=(format!("M{}", path.join("L"))) {}
                @for (size, value) in points {
                    circle r="3" cx=(format!("{:.1}", x(*size))) cy=(format!("{:.1}", y(*value))) {}
                }
                path.tie d=(format!(
                    "M{:.1} {:.1}L{:.1} {name_at:.1}", x(end.0) + 4.0, y(end.1), RIGHT + 14.0
                )) {}
                text x=(RIGHT + 17.0) y=(format!("{:.1}", name_at + 4.0)) { (method) }
            }
        }
    }
}

/// `0.01`, `1`, `100`.
fn plain(tick: f64) -> String {
    let text = words::decimal(tick);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Values that begin with 1, or with 1, 2 and 5 where that are few, from the last below all to
/// the first above.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let powers = || (-9..=9).map(|power| 10_f64.powi(power));
    let around = |all: Vec<f64>| -> Vec<f64> {
        let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1);
        all[first..=last.max(first)].to_vec()
    };
    let tens = around(powers().collect());
    if tens.len() > 3 {
        return tens;
    }
    around(powers().flat_map(|power| [power, 2.0 * power, 5.0 * power]).collect())
}
