//! The path of a byte by each method: stations, and on the way between two of them what was
//! measured there. Only a program that reads and writes takes the way through its own memory.
//! The numbers are in the tables too: a path adds no fact.

use maud::{Markup, html};
use underpass::Method;

use crate::compare::report::{Row, Verdict};
use crate::figure::{Figure, float};
use crate::methods::facts;
use crate::sheet::class;
use crate::terms::{Cache, Pair};
use crate::words;

/// What is written on the way from one station to the next, and what colours it.
type Leg = (String, &'static str);

/// The paths of a group's rows.
pub(super) fn of_rows(rows: &[&Row], is_in_memory: bool) -> Markup {
    html! {
        div.paths {
            @for row in rows {
                @let (start, steps) = path(row, is_in_memory);
                div {
                    h3 { (row.method) }
                    ol.path {
                        li.station { (start) }
                        @for ((words, class), station) in &steps {
                            li class=(format!("leg {class}")) { span { (words) } }
                            li.station { (station) }
                        }
                    }
                }
            }
        }
    }
}

/// Where a byte is first, and each way it takes with where it is then.
fn path(row: &Row, is_in_memory: bool) -> (&'static str, Vec<(Leg, &'static str)>) {
    let is_of_socket = row.pair == Pair::SocketToSocket;
    let cache = match facts(row.method).maps {
        _ if is_of_socket => "socket buffer",
        true => "mapped page cache",
        false => "page cache",
    };
    if row.pair == Pair::FileToFile && matches!(row.verdict, Verdict::ByReference { .. }) {
        return ("the file's extents", vec![(across(row), "extents of both files")]);
    }
    let (buffer, end) = match row.pair {
        Pair::FileToTcp | Pair::FileToUnix | Pair::SocketToSocket => ("socket buffer", "receiver"),
        Pair::FileToPipe => ("pipe", "receiver"),
        Pair::FileToFile => ("other file's cache", "disk"),
    };
    let (start, mut steps) = if is_in_memory && !is_of_socket {
        (cache, Vec::new())
    } else {
        (if is_of_socket { "peer" } else { "disk" }, vec![(fetched(row), cache)])
    };
    if row.method == Method::Copy {
        let (into, out_of) = halves(row);
        steps.extend([((into, "copied"), "user memory"), ((out_of, "copied"), buffer)]);
    } else {
        steps.push((across(row), buffer));
    }
    if !(is_in_memory && row.pair == Pair::FileToFile) {
        steps.push((received(row), end));
    }
    (start, steps)
}

/// From the source into memory.
fn fetched(row: &Row) -> Leg {
    match row.cache {
        _ if row.pair == Pair::SocketToSocket => ("arrives".into(), "device"),
        Cache::Warm => ("cached already".into(), "none"),
        Cache::Cold => (format!("by device {}", copies(&row.dma_copies)), "device"),
    }
}

/// Beneath user memory.
fn across(row: &Row) -> Leg {
    let copied = format!("copied {}", copies(&row.sender_copies));
    let percent = |share: f64| format!("by reference {}", words::percent(share));
    let words = match &row.verdict {
        Verdict::ByReference { share, .. } => percent(*share),
        Verdict::Mixed { share, .. } => format!("{}, {copied}", percent(*share)),
        Verdict::Copied { .. } => copied,
        Verdict::Unknown { .. } => "cannot be told".into(),
    };
    (words, class(row))
}

/// To the other end.
fn received(row: &Row) -> Leg {
    let class = match row.receiver_copies.value() {
        _ if row.pair == Pair::FileToFile => return ("written back".into(), "device"),
        None => "unknown",
        Some(copies) if copies > 0.05 => "copied",
        Some(_) => "reference",
    };
    (format!("copied {}", copies(&row.receiver_copies)), class)
}

/// The sender's copies into user memory and out of it, as the calls tell them apart.
fn halves(row: &Row) -> (String, String) {
    let reads = row.calls.iter().filter(|it| it.name.contains("read") || it.name.contains("recv"));
    let bytes: Vec<&Figure> = reads.map(|calls| &calls.bytes).collect();
    let read: Option<f64> = bytes.iter().map(|bytes| bytes.value()).sum();
    let known = read.filter(|_| !bytes.is_empty()).zip(row.sender_copies.value());
    known.map_or_else(
        || (format!("copied {} in all", copies(&row.sender_copies)), "copied".into()),
        |(read, all)| {
            let into = read / float(row.bytes.max(1));
            let out_of = (all - into).max(0.0);
            (
                format!("copied ~{}", words::copies(into)),
                format!("copied ~{}", words::copies(out_of)),
            )
        },
    )
}

fn copies(figure: &Figure) -> String {
    figure
        .value()
        .map_or_else(|| "?".into(), |it| format!("{}{}", figure.mark(), words::copies(it)))
}
