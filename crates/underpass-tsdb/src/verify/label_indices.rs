//! The obsolete label indices and the label offset table. Nothing reads them, and Prometheus up to
//! 3.5 writes them: a flipped byte in them harms no one, and is told.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Label Index", "Label Offset Table".

use std::ops::Range;

use super::Checks;
use super::walk::{content, padding, section};
use crate::damage::Section;
use crate::file::Window;
use crate::index::{Index, verify_section};

/// Checks them where there are any.
pub(super) fn check(index: &Index, checks: &mut Checks<'_>) {
    let toc = index.toc();
    let range = |start| start..index.end_of(start);
    if toc.label_indices != 0 && toc.label_indices != toc.postings {
        check_sections(index, range(toc.label_indices), Section::LabelIndices, checks);
    }
    if toc.label_offset_table != 0 && toc.label_offset_table != toc.postings_table {
        check_sections(index, range(toc.label_offset_table), Section::LabelOffsetTable, checks);
    }
}

/// Sections at multiples of four bytes, one after the other. Behind a damaged one, the next is
/// where length and checksum agree.
fn check_sections(index: &Index, range: Range<u64>, name: Section, checks: &mut Checks<'_>) {
    let (file, mut window) = (index.file(), Window::ahead(Window::AHEAD));
    let align = if name == Section::LabelIndices { 4 } else { 1 };
    let mut at = range.start;
    while at < range.end {
        let start = at.next_multiple_of(align).min(range.end);
        padding(file, at..start, align, name, &mut window, checks);
        if start == range.end {
            break;
        }
        let within = start..range.end;
        let whole =
            section(file, within, name, &mut window, checks, |piece, _| Some(piece.bytes.len()));
        at = match whole {
            Some(checked) if checked.is_sound => checked.end,
            Some(_) | None => next(index, start + align..range.end, name, &mut window),
        };
    }
}

fn next(index: &Index, range: Range<u64>, name: Section, window: &mut Window) -> u64 {
    let mut places = range.clone().step_by(4);
    let found = places.find(|start| {
        let file = index.file();
        let content = content(file, &(*start..range.end), name, window);
        content.is_ok_and(|content| {
            !content.is_empty() && verify_section(file, *start, name, window).is_ok()
        })
    });
    found.unwrap_or(range.end)
}
