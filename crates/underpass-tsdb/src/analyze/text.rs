//! A report as text: a head, and a table for each list, with the numbers to the left of the names.

use std::fmt::Write;

use super::fill::Fill;
use super::ranking::{self, Ranking};
use super::report::{Depth, Report};
use super::words::{count, each, range, share, size};

/// Writes a report for a terminal. Control characters in labels are written as Rust escapes them.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    head(&mut text, report);
    for ranking in ranking::rankings(report) {
        table(&mut text, &ranking);
    }
    if let Some(fill) = &report.fill {
        chunks(&mut text, fill, report);
    }
    text
}

/// The lines before the lists, each with its name.
pub(super) fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![("block", report.block.clone())];
    if !report.selectors.is_empty() {
        facts.push(("selectors", report.selectors.join(" or ")));
    }
    facts.push(("time range", range(report.min_time, report.max_time)));
    facts.push(("series", count(report.total.series)));
    facts.extend(report.samples.map(|samples| ("samples", samples_of(samples, report))));
    if report.depth != Depth::Postings {
        let load = &report.total;
        facts.push(("chunks", count(load.chunks)));
        let parts = (size(load.bytes()), size(load.chunk_bytes), size(load.index_bytes));
        facts.push((
            "bytes of series",
            format!("{}: {} in chunks, {} in index", parts.0, parts.1, parts.2),
        ));
    }
    facts.push(("label names", count(report.label_names)));
    facts.push(("label pairs", count(report.label_pairs)));
    facts.push(("labels of all series", count(report.label_entries)));
    facts.push(("files", files(report)));
    if report.chunks_unmeasured > 0 {
        let chunks = count(report.chunks_unmeasured);
        facts.push((
            "not measured",
            format!("{chunks} chunks, which are not in the order of series"),
        ));
    }
    facts
}

fn samples_of(samples: u64, report: &Report) -> String {
    match report.selectors.is_empty() && samples > 0 {
        true => {
            format!("{}, {} bytes each", count(samples), each(report.files.total(), samples))
        }
        false => count(samples),
    }
}

fn files(report: &Report) -> String {
    let files = &report.files;
    format!(
        "{}: chunks {}, index {} (symbols {}, series {}, postings {}, postings offset table {}, \
         rest {}), tombstones {}",
        size(files.total()),
        size(files.chunks),
        size(files.index),
        size(files.symbols),
        size(files.series),
        size(files.postings),
        size(files.postings_table),
        size(files.index_rest()),
        size(files.tombstones),
    )
}

fn head(text: &mut String, report: &Report) {
    for (name, value) in facts(report) {
        line(text, format_args!("{name:<22}{}", printable(&value)));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes all text");
}

fn table(text: &mut String, ranking: &Ranking) {
    line(text, format_args!("\n{}", ranking.title));
    let widths: Vec<usize> = (0..ranking.columns.len()).map(|at| width(ranking, at)).collect();
    let mut row = |cells: &mut dyn Iterator<Item = &str>, name: &str| {
        for (cell, width) in cells.zip(&widths) {
            write!(text, "{cell:>width$}  ").expect("a String takes all text");
        }
        line(text, format_args!("{}", printable(name)));
    };
    row(&mut ranking.columns.iter().copied(), ranking.of);
    for entry in &ranking.rows {
        row(&mut entry.cells.iter().map(String::as_str), &entry.name);
    }
}

fn width(ranking: &Ranking, column: usize) -> usize {
    let cells = ranking.rows.iter().filter_map(|row| row.cells.get(column));
    cells.map(|cell| cell.len()).fold(ranking.columns[column].len(), usize::max)
}

/// Columns of the longest bar.
const BAR: u64 = 40;

fn chunks(text: &mut String, fill: &Fill, report: &Report) {
    line(text, format_args!("\nChunks by their samples"));
    let counted = report.total.chunks - fill.uncounted;
    for (at, chunks) in fill.chunks_by_samples.iter().enumerate() {
        let bar = usize::try_from(chunks * BAR / counted.max(1)).unwrap_or(0);
        let class = Fill::class(at);
        let (share, bar) = (share(*chunks, counted), "#".repeat(bar));
        line(text, format_args!("{class:>13}  {share:>7}  {bar}"));
    }
    line(text, format_args!("\nEncodings of chunks"));
    let (chunks, samples, bytes) = ("chunks", "samples", "bytes");
    line(text, format_args!("{chunks:>12}  {samples:>14}  {bytes:>10}  bytes a sample  encoding"));
    for load in fill.encodings.values() {
        let (chunks, samples) = (count(load.chunks), count(load.samples));
        let (bytes, each) = (size(load.bytes), each(load.bytes, load.samples));
        let name = &load.name;
        line(text, format_args!("{chunks:>12}  {samples:>14}  {bytes:>10}  {each:>14}  {name}"));
    }
}

/// What may be written to a terminal of a label that somebody else chose.
fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    let isolates = |c| matches!(c, '\u{2066}'..='\u{2069}');
    let is_hidden = |c: char| c.is_control() || turns(c) || isolates(c);
    let escape = |c: char| match is_hidden(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}
