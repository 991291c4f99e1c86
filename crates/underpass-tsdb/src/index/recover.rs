//! The sections of an index whose TOC is damaged, or was cut off with the end of the file.
//!
//! The symbol table is behind the header and has a length, series begin behind it, and the
//! postings offset table ends where the TOC begins: its length leads there. Its entries lead to the
//! postings lists, and the list of all series to the last of them. Without a table, as in a file
//! that was cut, series are those entries whose checksums are right.

pub(super) mod symbols;

use super::table::Table;
use super::toc::{self, Toc};
use super::{HEADER_LEN, Index, PostingsList, SeriesEntry, SeriesId, Walk, verify_section};
use crate::damage::Section;
use crate::file::{BlockFile, Window};

/// Bytes that are looked through at a time.
const STRIDE: u64 = 64 << 10;

/// Sections of an index, and where the last of them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) toc: Toc,
    pub(super) end: u64,
}

/// Finds the sections again.
pub(super) fn sections(index: &Index) -> Sections {
    let file = &index.file;
    let before_toc = file.len().saturating_sub(toc::LEN);
    let found = symbols_end(file).and_then(|series| {
        let with_table = table_before(file, series, before_toc);
        let with_table = with_table.and_then(|table| from_table(index, series, table));
        let toc = with_table.map(|toc| Sections { toc, end: before_toc });
        toc.or_else(|| Some(without_table(index, series)))
    });
    found.unwrap_or_else(|| Sections { toc: Toc::default(), end: before_toc })
}

/// Where the symbol table ends, which is where series begin.
fn symbols_end(file: &BlockFile) -> Option<u64> {
    let mut window = Window::exact();
    let len = file.read(HEADER_LEN..HEADER_LEN + 4, Section::Symbols, &mut window).ok()?;
    let len = u64::from(u32::from_be_bytes(len.try_into().ok()?));
    let end = HEADER_LEN + 4 + len + 4;
    (end <= file.len()).then_some(end)
}

/// Where the section starts that ends at `end`: its length leads there, and its checksum is right.
fn table_before(file: &BlockFile, from: u64, end: u64) -> Option<u64> {
    let mut window = Window::exact();
    let mut high = end.checked_sub(12)?;
    while high >= from {
        let low = high.saturating_sub(STRIDE).max(from);
        let bytes = file.read(low..high + 4, Section::PostingsTable, &mut window).ok()?;
        let places = bytes.windows(4).enumerate().rev();
        let fits = |(at, len): (usize, &[u8])| {
            let start = low + at as u64;
            let len = u64::from(u32::from_be_bytes(len.try_into().ok()?));
            (start + 4 + len + 4 == end).then_some(start)
        };
        let starts: Vec<u64> = places.filter_map(fits).collect();
        let mut ahead = Window::ahead(Window::AHEAD);
        let is_sound =
            |start: &u64| verify_section(file, *start, Section::PostingsTable, &mut ahead).is_ok();
        if let Some(start) = starts.into_iter().find(is_sound) {
            return Some(start);
        }
        high = low.checked_sub(1)?;
    }
    None
}

/// The sections that a postings offset table leads to; `None` if it leads nowhere.
fn from_table(index: &Index, series: u64, start: u64) -> Option<Toc> {
    let (file, mut window) = (&index.file, Window::exact());
    let table = Table::open(file, start, index.version != 1, series..start, &mut window).ok()?;
    let (mut lists, mut lists_end) = (start, series);
    let mut cursor = table.entries();
    while let Some(entry) = cursor.peek(file).ok()? {
        lists = lists.min(entry.offset);
        // The list behind all others tells where the label offset table is.
        if entry.offset >= lists_end {
            lists_end = end_of_list(file, entry.offset, &mut window).unwrap_or(lists_end);
        }
        cursor.advance();
    }
    let offset = table.find(file, b"", b"").ok()??;
    let series_end = end_of_last_series(index, offset, &mut window)
        .unwrap_or_else(|| end_of_series(index, series, lists));
    Some(Toc {
        symbols: HEADER_LEN,
        series,
        label_indices: series_end,
        label_offset_table: lists_end,
        postings: lists,
        postings_table: start,
    })
}

fn end_of_list(file: &BlockFile, offset: u64, window: &mut Window) -> Option<u64> {
    let list = PostingsList::open(file, offset, window).ok()?;
    Some(offset + list.bytes())
}

/// The last of the list of all series.
fn end_of_last_series(index: &Index, offset: u64, window: &mut Window) -> Option<u64> {
    let list = PostingsList::open(&index.file, offset, window).ok()?;
    let end = offset + list.bytes() - 4;
    let id = index.file.read(end - 4..end, Section::Postings, window).ok()?;
    let id = SeriesId(u32::from_be_bytes(id.try_into().ok()?));
    let mut entry = SeriesEntry::default();
    index.series(id, window, &mut entry).ok()?;
    Some(index.offset_of(id) + entry.len)
}

/// A file that was cut has neither TOC nor table.
fn without_table(index: &Index, series: u64) -> Sections {
    let end = end_of_series(index, series, index.file.len());
    let toc = Toc { symbols: HEADER_LEN, series, ..Toc::default() };
    Sections { toc, end }
}

/// Where the last entry ends whose checksum is right.
fn end_of_series(index: &Index, series: u64, limit: u64) -> u64 {
    let mut walk = Walk { at: series, end: limit };
    let (mut window, mut entry) = (Window::ahead(Window::AHEAD), SeriesEntry::default());
    let mut end = series;
    while let Some(found) = walk.next(index, &mut window, &mut entry) {
        if let Ok(id) = found {
            end = index.offset_of(id) + entry.len;
        }
    }
    end
}
