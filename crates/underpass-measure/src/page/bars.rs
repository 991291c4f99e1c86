//! Figures as bars: a list of names, bars and numbers, so that it reads without its drawing too.

use maud::{Markup, html};

use crate::compare::report::Row;
use crate::eyes::{Eyes, tasks};
use crate::sheet::class;
use crate::terms::Cache;
use crate::words::decimal;

/// One bar: what it is of, its parts one after the other, and the range of its runs.
struct Bar {
    name: String,
    class: &'static str,
    parts: Vec<f64>,
    range: Option<(f64, f64)>,
    label: String,
}

/// Throughput by method.
pub(super) fn throughput(rows: &[&Row]) -> Markup {
    let bar = |row: &&Row| {
        let speed = &row.gb_per_s;
        let value = speed.median.value()?;
        Some(Bar {
            name: row.method.to_string(),
            class: class(row),
            parts: vec![value],
            range: speed.min.value().zip(speed.max.value()),
            label: decimal(value),
        })
    };
    let caption = "GB/s, with the range of the runs as a thin line; more is better";
    drawn(caption, &rows.iter().filter_map(bar).collect::<Vec<_>>())
}

/// Processor time by method, sender and receiver.
pub(super) fn processor_time(rows: &[&Row]) -> Markup {
    let bar = |row: &&Row| {
        let sender = row.sender_cpu_s_per_gb.value()?;
        let receiver = row.receiver_cpu_s_per_gb.value();
        let plus = receiver.map(|it| format!(" + {}", decimal(it))).unwrap_or_default();
        Some(Bar {
            name: row.method.to_string(),
            class: class(row),
            parts: std::iter::once(sender).chain(receiver).collect(),
            range: None,
            label: format!("{}{plus}", decimal(sender)),
        })
    };
    let caption =
        "Processor time in s/GB: the sender's and, lighter, the receiver's; less is better";
    drawn(caption, &rows.iter().filter_map(bar).collect::<Vec<_>>())
}

/// Reading through a mapping against read(2), warm or cold.
pub(super) fn eyes(eyes: &Eyes, cache: Cache) -> Markup {
    let bar = |(task, order): (crate::eyes::Task, crate::eyes::Order)| {
        let (read, mapping) = eyes.pair(task, order, cache)?;
        let times = mapping.times(read).value()?;
        Some(Bar {
            name: format!("{} {}", order.name(), task.name()),
            class: if times > 1.0 { "reference" } else { "copied" },
            parts: vec![times],
            range: None,
            label: format!("× {}", decimal(times)),
        })
    };
    let caption = format!(
        "How many times as quick a mapping is as read(2), {cache}; below 1 read(2) is quicker"
    );
    drawn(&caption, &tasks().filter_map(bar).collect::<Vec<_>>())
}

/// Nothing if there is no bar.
fn drawn(caption: &str, bars: &[Bar]) -> Markup {
    let end = |bar: &Bar| bar.range.map_or(0.0, |(_, max)| max).max(bar.parts.iter().sum());
    let most = bars.iter().map(end).fold(0.0, f64::max);
    let percent = |value: f64| format!("{:.2}%", 100.0 * value / most.max(1e-12));
    let width = |value: f64| format!("width:{}", percent(value));
    html! {
        @if !bars.is_empty() {
            figure {
                figcaption { (caption) }
                ul.bars {
                    @for bar in bars {
                        li {
                            span.name { (bar.name) }
                            span.track aria-hidden="true" {
                                @for part in &bar.parts {
                                    i class=(bar.class) style=(width(*part)) {}
                                }
                                @if let Some((min, max)) = bar.range {
                                    b style=(format!("left:{};{}", percent(min), width(max - min)))
                                        {}
                                }
                            }
                            span.value { (bar.label) }
                        }
                    }
                }
            }
        }
    }
}
