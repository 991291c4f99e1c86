//! Plots as SVG elements within the page.
//!
//! The plotting crate writes colours as attributes; the page's rules select these attributes and
//! put the reader's light or dark colour in their place, so every colour here is a name that the
//! style sheet knows. The SVG's own head is replaced: within HTML it needs no namespace, and it
//! gets a title and a description for those who do not see it.
//!
//! Source: SVG 2, 5.7 (title and desc); CSS Cascade 4, "presentational hints".

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use underpass::Method;

use crate::compare::report::{Cache, Link, Pair, Row, Verdict};
use crate::eyes::{Eyes, TASKS, Way};
use crate::figure::float;
use crate::page::Group;

/// What is drawn with; the style sheet gives each its colour.
const INK: RGBColor = RGBColor(1, 2, 3);
const RULE: RGBColor = RGBColor(4, 5, 6);
const REFERENCE: RGBColor = RGBColor(0x0b, 0x7a, 0x75);
const MIXED: RGBColor = RGBColor(0x8a, 0x6d, 0x00);
const COPIED: RGBColor = RGBColor(0xc2, 0x57, 0x0c);
const UNKNOWN: RGBColor = RGBColor(0x6b, 0x72, 0x80);

/// Colours of lines, one a method.
const LINES: [RGBColor; 9] = [
    RGBColor(0xc2, 0x57, 0x0c),
    RGBColor(0x8a, 0x6d, 0x00),
    RGBColor(0x0b, 0x7a, 0x75),
    RGBColor(0x1d, 0x4e, 0xd8),
    RGBColor(0x6d, 0x28, 0xd9),
    RGBColor(0xbe, 0x18, 0x5d),
    RGBColor(0x4d, 0x7c, 0x0f),
    RGBColor(0x03, 0x69, 0xa1),
    RGBColor(0x6b, 0x72, 0x80),
];

const WIDTH: u32 = 520;

/// Height of a bar with its gap, and of what is around the bars.
const BAR: u32 = 26;
const AROUND: u32 = 34;

/// Room for names to the left, of about 7 pixels a letter.
const NAMES: u32 = 116;

/// One bar: what it is of, its parts one after the other, and the range of its sum.
struct Bar {
    name: String,
    parts: Vec<(f64, RGBColor, f64)>,
    range: Option<(f64, f64)>,
    /// What stands behind it; the reason, if there are no parts.
    label: String,
}

/// Bars of throughput by method.
pub(super) fn throughput(group: &Group<'_>) -> Markup {
    let bars: Vec<Bar> = group
        .rows
        .iter()
        .map(|row| {
            let speed = &row.gb_per_s;
            let value = speed.median.value();
            Bar {
                name: row.method.to_string(),
                parts: value.map(|value| (value, color(&row.verdict), 1.0)).into_iter().collect(),
                range: speed.min.value().zip(speed.max.value()),
                label: value.map_or_else(|| "?".into(), |value| format!("{value:.2}")),
            }
        })
        .collect();
    bars_with_title(&bars, &format!("{}: GB/s by method", group.title()))
}

/// Bars of processor time by method, sender and receiver.
pub(super) fn processor_time(group: &Group<'_>) -> Markup {
    let bars: Vec<Bar> = group
        .rows
        .iter()
        .map(|row| {
            let sender = row.sender_cpu_s_per_gb.value();
            let receiver = row.receiver_cpu_s_per_gb.value();
            let color = color(&row.verdict);
            let parts = [sender.map(|s| (s, color, 1.0)), receiver.map(|r| (r, color, 0.45))];
            let label = match (sender, receiver) {
                (Some(sender), Some(receiver)) => format!("{sender:.3} + {receiver:.3}"),
                (Some(sender), None) => format!("{sender:.3}"),
                (None, _) => "?".to_owned(),
            };
            Bar {
                name: row.method.to_string(),
                parts: parts.into_iter().flatten().collect(),
                range: None,
                label,
            }
        })
        .collect();
    bars_with_title(&bars, &format!("{}: CPU s/GB by method", group.title()))
}

/// Bars of what the program's own eyes saw, warm and cold.
pub(super) fn eyes(eyes: &Eyes) -> Markup {
    html! {
        @for cache in [Cache::Warm, Cache::Cold] {
            @let bars = eyes_bars(eyes, cache);
            @if !bars.is_empty() {
                figure {
                    figcaption {
                        "How many times as quick a mapping is as read(2), " (cache)
                        "; beyond 1 the mapping is quicker"
                    }
                    (bars_with_title(&bars, &format!("Mapping against read(2), {cache}")))
                }
            }
        }
    }
}

fn eyes_bars(eyes: &Eyes, cache: Cache) -> Vec<Bar> {
    let pairs = TASKS.into_iter().filter_map(|(task, order)| {
        let (read, mapping) = eyes.pair(task, order, cache)?;
        debug_assert_eq!((read.way, mapping.way), (Way::Read, Way::Mapping));
        let speeds = read.gb_per_s.median.value().zip(mapping.gb_per_s.median.value());
        let times = speeds.map(|(read, mapping)| mapping / read);
        let color = if times.is_some_and(|times| times > 1.0) { REFERENCE } else { COPIED };
        Some(Bar {
            name: format!("{} {}", short(order.name()), task.name()),
            parts: times.map(|times| (times, color, 1.0)).into_iter().collect(),
            range: None,
            label: times.map_or_else(|| "?".into(), |times| format!("\u{d7} {times:.2}")),
        })
    });
    pairs.collect()
}

fn short(order: &'static str) -> &'static str {
    if order == "sequential" { "sequent." } else { order }
}

fn color(verdict: &Verdict) -> RGBColor {
    match verdict {
        Verdict::ByReference { .. } => REFERENCE,
        Verdict::Mixed { .. } => MIXED,
        Verdict::Copied { .. } => COPIED,
        Verdict::Unknown { .. } => UNKNOWN,
    }
}

fn bars_with_title(bars: &[Bar], title: &str) -> Markup {
    let height = BAR * u32::try_from(bars.len()).unwrap_or(0) + AROUND;
    let words: Vec<String> =
        bars.iter().map(|bar| format!("{}: {}", bar.name, bar.label)).collect();
    svg((WIDTH, height), title, &words.join("; "), |area| draw_bars(area, bars))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw_bars<'a>(area: &Area<'a>, bars: &[Bar]) -> Drawn<'a> {
    let ends = bars.iter().map(|bar| {
        let sum: f64 = bar.parts.iter().map(|(value, ..)| value).sum();
        sum.max(bar.range.map_or(0.0, |(_, max)| max))
    });
    // The label is to the right of the longest bar.
    let end = ends.fold(0.0, f64::max).max(1e-6) * 1.34;
    let rows = f64::from(u32::try_from(bars.len()).unwrap_or(0));
    let mut chart = ChartBuilder::on(area)
        .margin_right(8)
        .margin_top(4)
        .set_label_area_size(LabelAreaPosition::Left, NAMES)
        .set_label_area_size(LabelAreaPosition::Bottom, 24)
        .build_cartesian_2d(0.0..end, rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(5)
        .x_label_style(text(12))
        .axis_style(RULE)
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (at, bar) in (0_u32..).zip(bars) {
        let (top, middle, bottom) =
            (f64::from(at) + 0.18, f64::from(at) + 0.5, f64::from(at) + 0.82);
        let mut start = 0.0;
        for (value, color, opacity) in &bar.parts {
            let corners = [(start, top), (start + value, bottom)];
            chart.draw_series([Rectangle::new(corners, color.mix(*opacity).filled())])?;
            start += value;
        }
        let mut behind = start;
        if let Some((min, max)) = bar.range {
            chart.draw_series([PathElement::new(vec![(min, middle), (max, middle)], INK)])?;
            behind = behind.max(max);
        }
        let name = text(13).pos(Pos::new(HPos::Right, VPos::Center));
        let label = text(13).pos(Pos::new(HPos::Left, VPos::Center));
        chart.draw_series([
            EmptyElement::at((0.0, middle)) + Text::new(bar.name.clone(), (-8, 0), name)
        ])?;
        chart.draw_series([
            EmptyElement::at((behind, middle)) + Text::new(bar.label.clone(), (7, 0), label)
        ])?;
    }
    Ok(())
}

fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Lines by size of transfer, one plot a link and figure; `None` if one size was measured.
pub(super) fn by_size(rows: &[Row]) -> Option<Markup> {
    let mut plots = Vec::new();
    for link in Link::ALL {
        let is_its = |row: &&Row| {
            (row.pair, row.link, row.cache) == (Pair::FileToTcp, Some(link), Cache::Warm)
        };
        let its: Vec<&Row> = rows.iter().filter(is_its).collect();
        if its.iter().all(|row| row.transfer_bytes >= row.bytes) {
            continue;
        }
        let speed = lines(&its, |row| row.gb_per_s.median.value());
        let time = lines(&its, |row| row.sender_cpu_s_per_gb.value());
        for (lines, what) in [(speed, "GB/s"), (time, "CPU s/GB of the sender")] {
            plots.push(sizes(&lines, &format!("{} over {link}: {what}", Pair::FileToTcp)));
        }
    }
    (!plots.is_empty()).then(|| html! { @for plot in plots { (plot) } })
}

/// By method: sizes and figures, smallest size first.
type Lines = BTreeMap<usize, (Method, Vec<(f64, f64)>)>;

fn lines(rows: &[&Row], figure: impl Fn(&Row) -> Option<f64>) -> Lines {
    let mut lines = Lines::new();
    for row in rows {
        let Some(value) = figure(row) else { continue };
        let place = Method::ALL.iter().position(|method| *method == row.method).unwrap_or(0);
        let line = lines.entry(place).or_insert_with(|| (row.method, Vec::new()));
        line.1.push((size(row).log2(), value));
    }
    for (_, points) in lines.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

fn size(row: &Row) -> f64 {
    float(row.transfer_bytes.min(row.bytes))
}

fn sizes(lines: &Lines, title: &str) -> Markup {
    let words = lines.values().map(|(method, points)| {
        let values: Vec<String> = points.iter().map(|(_, value)| format!("{value:.3}")).collect();
        format!("{method}: {}", values.join(", "))
    });
    let words: Vec<String> = words.collect();
    html! {
        figure {
            figcaption { (title) " by bytes of a transfer, both in powers" }
            (svg((WIDTH, 300), title, &words.join("; "), |area| draw_lines(area, lines)))
            p.legend {
                @for (place, (method, _)) in lines {
                    span.key { span class=(format!("swatch line-{place}")) {} (method) } " "
                }
            }
        }
    }
}

/// What a figure is at least, to have a power.
const LEAST: f64 = 1e-4;

/// Sizes by powers of two and figures by powers of ten: both go over several.
fn draw_lines<'a>(area: &Area<'a>, lines: &Lines) -> Drawn<'a> {
    let powers = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|(size, value)| (*size, value.max(LEAST).log10())).collect()
    };
    let lines: Vec<_> = lines.iter().map(|(at, (_, points))| (*at, powers(points))).collect();
    let points = || lines.iter().flat_map(|(_, points)| points);
    let least = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (first, last) = (least(|point| point.0), most(|point| point.0));
    let (bottom, top) = (least(|point| point.1).floor(), most(|point| point.1).ceil());
    if first > last {
        return Ok(());
    }
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(22)
        .set_label_area_size(LabelAreaPosition::Left, 46)
        .set_label_area_size(LabelAreaPosition::Bottom, 26)
        .build_cartesian_2d(first..last.max(first + 1.0), bottom..top.max(bottom + 1.0))?;
    chart
        .configure_mesh()
        .x_labels(8)
        .y_labels(4)
        .y_label_formatter(&|power| format!("{}", (10_f64.powf(*power) * 100.0).round() / 100.0))
        .x_label_formatter(&|log| super::words::bytes_of(log.exp2()))
        .label_style(text(12))
        .axis_style(RULE)
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (place, points) in &lines {
        let color = LINES[place % LINES.len()];
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
        let dots = points.iter().map(|point| Circle::new(*point, 3, color.filled()));
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// An SVG element of this size with what `draw` draws, for eyes and for ears.
fn svg(
    (width, height): (u32, u32),
    title: &str,
    words: &str,
    draw: impl for<'a> FnOnce(&Area<'a>) -> Drawn<'a>,
) -> Markup {
    let mut text = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        draw(&area).is_ok() && area.present().is_ok()
    };
    let inside = text.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>"));
    let Some((inside, _)) = inside.filter(|_| drawn) else {
        return html! { p { (words) } };
    };
    html! {
        svg.plot viewBox=(format!("0 0 {width} {height}")) role="img" {
            title { (title) }
            desc { (words) }
            (PreEscaped(inside))
        }
    }
}
