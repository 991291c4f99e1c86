//! The path of a byte by one method: boxes, and on the arrows between them what was measured.
//!
//! ```text
//!              [ disk ]
//!                 |   by devices
//!           [ page cache ]
//!            /        |
//! [ user memory ]     |   by reference, or copied
//!            \        |
//!          [ socket buffer ]
//!                 |   copied at the receiver
//!            [ receiver ]
//! ```
//!
//! Only a program that reads and writes takes the way through user memory; how the copies of the
//! sender share out over its two arrows is known from the calls, and not shown where these were
//! not seen one by one. The numbers are in the table too: the drawing adds no fact.
//!
//! Source: SVG 2, 5.7 (title and desc).

use maud::{Markup, html};
use underpass::Method;

use crate::compare::report::{Cache, Pair, Row, Verdict};
use crate::figure::{Figure, float};
use crate::page::class;

/// Left edge and width of the boxes of the way, and of user memory next to it.
const WAY: (u32, u32) = (150, 120);
const SIDE: (u32, u32) = (8, 112);

const BOX_HEIGHT: u32 = 34;

/// Top edges of the boxes.
const SOURCE: u32 = 4;
const CACHE: u32 = 80;
const USER: u32 = 154;
const BUFFER: u32 = 228;
const SINK: u32 = 304;

/// Where the way's arrows run, and where their words are.
const ARROW: u32 = 220;
const WORDS: u32 = 230;

/// The names of the boxes between these ends.
struct Stations {
    source: &'static str,
    cache: &'static str,
    buffer: &'static str,
    sink: &'static str,
}

const fn stations(pair: Pair) -> Stations {
    let (source, cache) = match pair {
        Pair::FileToTcp | Pair::FileToUnix | Pair::FileToPipe | Pair::FileToFile => {
            ("disk", "page cache")
        }
        Pair::SocketToSocket => ("peer", "socket buffer"),
    };
    let (buffer, sink) = match pair {
        Pair::FileToTcp | Pair::FileToUnix | Pair::SocketToSocket => ("socket buffer", "receiver"),
        Pair::FileToPipe => ("pipe", "receiver"),
        Pair::FileToFile => ("page cache", "disk"),
    };
    Stations { source, cache, buffer, sink }
}

/// Whether the bytes pass through the program's memory, are sent from a mapping, or neither.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Through,
    Mapped,
    Beneath,
}

const fn route(method: Method) -> Route {
    match method {
        Method::Copy => Route::Through,
        Method::MmapWrite | Method::ZeroCopySend | Method::UringSendZc => Route::Mapped,
        Method::Sendfile
        | Method::Splice
        | Method::CopyFileRange
        | Method::Clone
        | Method::UringSplice
        | _ => Route::Beneath,
    }
}

/// Draws the path that the bytes of a row took.
pub(super) fn of_row(row: &Row) -> Markup {
    let stations = stations(row.pair);
    let route = route(row.method);
    let fetched = fetched(row);
    let (into, out_of) = shares(row);
    let across = across(row);
    let received = received(row);
    let words = match route {
        Route::Through => format!("{into} into user memory, {out_of} out of it; {}", received.text),
        Route::Mapped | Route::Beneath => format!("{}; {}", across.text, received.text),
    };
    html! {
        svg.path viewBox="0 0 424 342" role="img" {
            title { (row.method) ": the path of a byte, " (row.pair) }
            desc { (fetched.text) "; " (words) }
            (station(WAY, SOURCE, stations.source, ""))
            (station(WAY, CACHE, stations.cache, ""))
            (station(WAY, BUFFER, stations.buffer, ""))
            (station(WAY, SINK, stations.sink, ""))
            (arrow(ARROW, SOURCE + BOX_HEIGHT, ARROW, CACHE, &fetched))
            @match route {
                Route::Through => {
                    (station(SIDE, USER, "user memory", ""))
                    (elbow(&into, &out_of))
                }
                Route::Mapped => {
                    (station(SIDE, USER, "mapping", "mapped"))
                    path.tie d=(format!("M{} {USER} V{} H{}", SIDE.0 + 56, CACHE + 17, WAY.0)) {}
                    (arrow(ARROW, CACHE + BOX_HEIGHT, ARROW, BUFFER, &across))
                }
                Route::Beneath => {
                    (station(SIDE, USER, "user memory", "idle"))
                    (arrow(ARROW, CACHE + BOX_HEIGHT, ARROW, BUFFER, &across))
                }
            }
            (arrow(ARROW, BUFFER + BOX_HEIGHT, ARROW, SINK, &received))
        }
    }
}

/// What is written on an arrow, and what kind of arrow it is.
struct Leg {
    text: String,
    class: &'static str,
}

/// From the source into memory.
fn fetched(row: &Row) -> Leg {
    if row.pair == Pair::SocketToSocket {
        return Leg { text: "arrives".into(), class: "device" };
    }
    match row.cache {
        Cache::Warm => Leg { text: "cached already".into(), class: "none" },
        Cache::Cold => Leg { text: format!("DMA {}", figure(&row.dma_copies)), class: "device" },
    }
}

/// Beneath user memory.
fn across(row: &Row) -> Leg {
    let copies = format!("copied {}", figure(&row.sender_copies));
    let text = match &row.verdict {
        Verdict::ByReference { share, .. } => format!("by reference {}", percent(*share)),
        Verdict::Mixed { share, .. } => format!("by ref. {}, {copies}", percent(*share)),
        Verdict::Copied { .. } => copies,
        Verdict::Unknown { .. } => "cannot be told".into(),
    };
    Leg { text, class: class(&row.verdict) }
}

/// To the other end.
fn received(row: &Row) -> Leg {
    match (&row.receiver_copies, row.pair) {
        (_, Pair::FileToFile) => Leg { text: "written back".into(), class: "device" },
        (figure @ Figure::Unavailable(_), _) => {
            Leg { text: format!("copied {}", self::figure(figure)), class: "unknown" }
        }
        (figure, _) => {
            let is_copied = figure.value().is_some_and(|copies| copies > 0.05);
            let class = if is_copied { "copied" } else { "reference" };
            Leg { text: format!("copied {}", self::figure(figure)), class }
        }
    }
}

/// The sender's copies into user memory and out of it, as the calls tell them apart.
fn shares(row: &Row) -> (String, String) {
    let read: Vec<&Figure> = row
        .calls
        .iter()
        .filter(|calls| calls.name.contains("read") || calls.name.contains("recv"))
        .map(|calls| &calls.bytes)
        .collect();
    let values: Option<f64> = read.iter().map(|bytes| bytes.value()).sum();
    let known = values.filter(|_| !read.is_empty()).zip(row.sender_copies.value());
    let Some((read, copies)) = known else {
        return (format!("copied {} in all", figure(&row.sender_copies)), "copied".into());
    };
    let into = read / bytes(row);
    (format!("copied ~{into:.2}"), format!("copied ~{:.2}", (copies - into).max(0.0)))
}

fn bytes(row: &Row) -> f64 {
    float(row.bytes.max(1))
}

fn figure(figure: &Figure) -> String {
    figure.value().map_or_else(|| "?".into(), |value| format!("{}{value:.2}", figure.mark()))
}

/// Rounded down, so that 100 means all.
fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

fn station((x, width): (u32, u32), y: u32, name: &str, class: &str) -> Markup {
    let (around, inside) = (format!("station {class}"), format!("name {class}"));
    html! {
        rect class=(around) x=(x) y=(y) width=(width) height=(BOX_HEIGHT) rx="6" {}
        text class=(inside) x=(x + width / 2) y=(y + 22) { (name) }
    }
}

fn arrow(x1: u32, y1: u32, x2: u32, y2: u32, leg: &Leg) -> Markup {
    let tip = y2 - 1;
    html! {
        path class=(format!("leg {}", leg.class)) d=(format!("M{x1} {y1} L{x2} {}", y2 - 8)) {}
        (head(x2, tip, leg.class))
        text class=(format!("words {}", leg.class)) x=(WORDS) y=(u32::midpoint(y1, y2) + 5) {
            (leg.text)
        }
    }
}

/// Through user memory and back.
fn elbow(into: &str, out_of: &str) -> Markup {
    let (middle, side) = (SIDE.0 + SIDE.1 / 2, WAY.0);
    let (top, bottom) = (CACHE + BOX_HEIGHT / 2, BUFFER + BOX_HEIGHT / 2);
    html! {
        path.leg.copied d=(format!("M{side} {top} H{middle} V{}", USER - 8)) {}
        (head(middle, USER - 1, "copied"))
        path.leg.copied d=(format!("M{middle} {} V{bottom} H{}", USER + BOX_HEIGHT, side - 8)) {}
        path.head.copied d=(format!("M{} {bottom} l-9 -5 v10 z", side - 1)) {}
        text.words.copied x=(middle + 8) y=(USER - 16) { (into) }
        text.words.copied x=(middle + 8) y=(USER + BOX_HEIGHT + 22) { (out_of) }
    }
}

fn head(x: u32, tip: u32, class: &str) -> Markup {
    html! { path class=(format!("head {class}")) d=(format!("M{x} {tip} l-5 -9 h10 z")) {} }
}
