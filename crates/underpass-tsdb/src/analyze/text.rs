//! A report as text: a head, and a table for each list, with the numbers to the left of the names.

use std::fmt::Write;

use super::difference::{Difference, Side};
use super::fill::Fill;
use super::ranking::{self, Ranking};
use super::report::{Depth, Report};
use super::words::{change, count, each, range, share, size, size_change};

/// Writes a report for a terminal. Control characters in labels are written as Rust escapes them.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    facts_of(&mut text, &facts(report));
    for ranking in ranking::rankings(report) {
        table(&mut text, &ranking);
    }
    if let Some(fill) = &report.fill {
        chunks(&mut text, fill, report);
    }
    text
}

/// Writes what two blocks differ in for a terminal.
#[must_use]
pub fn render_difference(difference: &Difference) -> String {
    let mut text = String::new();
    facts_of(&mut text, &difference_facts(difference));
    for ranking in ranking::changes(difference) {
        table(&mut text, &ranking);
    }
    text
}

/// The lines before the lists of a difference, each with its name.
pub(super) fn difference_facts(difference: &Difference) -> Vec<(&'static str, String)> {
    let Difference { before, after, series, .. } = difference;
    let of = |side: &Side| format!("{}, {}", side.block, range(side.min_time, side.max_time));
    let counts = |name: &'static str, before: u64, after: u64| {
        (name, format!("{} to {}: {}", count(before), count(after), change(before, after)))
    };
    let sizes = |name: &'static str, before: u64, after: u64| {
        (name, format!("{} to {}: {}", size(before), size(after), size_change(before, after)))
    };
    let mut facts = vec![("before", of(before)), ("after", of(after))];
    facts.push(counts("series", before.total.series, after.total.series));
    let (kept, gone, new) = (count(series.kept), count(series.gone), count(series.new));
    facts.push(("of these", format!("{kept} in both, {gone} gone, {new} new")));
    if let (Some(before), Some(after)) = (before.samples, after.samples) {
        facts.push(counts("samples", before, after));
    }
    facts.push(counts("chunks", before.total.chunks, after.total.chunks));
    facts.push(sizes("bytes of series", before.total.bytes(), after.total.bytes()));
    facts.push(sizes("files", before.files.total(), after.files.total()));
    facts.push(counts("label names", before.label_names, after.label_names));
    facts.push(counts("label pairs", before.label_pairs, after.label_pairs));
    facts
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

fn facts_of(text: &mut String, facts: &[(&str, String)]) {
    for (name, value) in facts {
        line(text, format_args!("{name:<22}{}", printable(value)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::fixture;

    #[test]
    fn the_head_says_what_was_counted() {
        let text = render(&fixture::report());
        for line in [
            "block                 01HX",
            "selectors             {a<\"b\"}",
            "time range            2 h (1970-01-01T00:00:00.000Z to 1970-01-01T02:00:00.000Z)",
            "series                2,000",
            "samples               123,456",
            "bytes of series       19.6 KiB: 19.5 KiB in chunks, 64 B in index",
            "not measured          4 chunks, which are not in the order of series",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("postings offset table 1.5 KiB, rest 500 B), tombstones 9 B\n"));
    }

    #[test]
    fn numbers_stand_under_their_columns_and_names_behind_them() {
        let text = render(&fixture::report());
        let (_, table) = text.split_once("Metrics with the most series\n").unwrap();
        let rows: Vec<&str> = table.lines().take(3).collect();
        let wanted = [
            "series  of series    bytes  of bytes  in chunks  in index  chunks  samples  \
             bytes a sample  metric",
            " 1,500     75.0 %  9.8 KiB    50.1 %    9.8 KiB      64 B   3,000  300,000  \
             \x20         0.03  up",
            "   500     25.0 %  9.8 KiB    50.1 %    9.8 KiB      64 B   1,000  100,000  \
             \x20         0.10  (without a name)",
        ];
        assert_eq!(rows, wanted);
    }

    #[test]
    fn a_label_does_nothing_to_a_terminal() {
        let text = render(&fixture::report());
        assert!(text.contains("pod=\\u{1b}[2J\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn chunks_have_a_bar_for_their_share() {
        let text = render(&fixture::report());
        let bar = "#".repeat(20);
        for line in [format!("     21 to 30   50.0 %  {bar}"), "     31 to 40    0.0 %  ".into()] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(
            text.contains("           1               0        60 B               -  unknown\n")
        );
    }

    #[test]
    fn a_difference_has_both_blocks_and_the_change() {
        let text = render_difference(&fixture::difference());
        for line in [
            "series                1,000 to 2,000: +1,000",
            "of these              900 in both, 100 gone, 1,100 new",
            "bytes of series       48.9 KiB to 19.6 KiB: -29.3 KiB",
            "-1.0 KiB  2.1 KiB  1.1 KiB      +2     2    4      +4  <up>",
            "  10    20   30  pod",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
