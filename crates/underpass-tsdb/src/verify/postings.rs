//! The postings offset table and the postings lists: checksums, order, and that each list holds
//! just the series that have its label.
//!
//! Lists follow one another in the order of the table, with zeros between them up to a multiple of
//! four bytes; in version 1 the table may be in any order.

use std::ops::Range;

use super::Checks;
use super::sum::{self, Sum, mix};
use super::walk::{Piece, padding, section};
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};
use crate::index::{Index, PostingsList, TableEntry};

/// Lists start at multiples of this.
const ALIGNMENT: u64 = 4;

/// What table and lists say, to be held against the series.
#[derive(Debug, Default)]
pub(super) struct PostingsFacts {
    /// Of the lists' sums, each multiplied by the number of its label.
    pub(super) labels: Sum,
    /// Whether the table is as it was written.
    pub(super) is_sound: bool,
    /// Where the table ends, if its length is right.
    pub(super) end: Option<u64>,
}

/// Where postings lists are in an index.
fn range_of_lists(index: &Index) -> Range<u64> {
    let start = index.toc().postings;
    start..index.end_of(start)
}

/// Checks the table, and each list.
pub(super) fn check(index: &Index, checks: &mut Checks<'_>) -> PostingsFacts {
    let (file, start) = (index.file(), index.toc().postings_table);
    let within = start..index.end_of(start);
    let mut window = Window::ahead(Window::AHEAD);
    let whole = |piece: Piece<'_>, _: &mut Checks<'_>| Some(piece.bytes.len());
    let table = section(file, within, Section::PostingsTable, &mut window, checks, whole);
    // Where the table is damaged, it may lead anywhere.
    let is_sound = table.is_some_and(|table| table.is_sound);
    let mut facts = PostingsFacts { end: table.map(|table| table.end), ..Default::default() };
    match is_sound.then(|| follow(index, checks)) {
        Some(Ok(labels)) => (facts.labels, facts.is_sound) = (labels, true),
        Some(Err(damage)) => checks.add(damage),
        None => search(index, checks),
    }
    facts
}

/// Goes from entry to entry of a table whose checksum is right, and checks the list of each.
fn follow(index: &Index, checks: &mut Checks<'_>) -> Result<Sum, Damage> {
    let (file, mut cursor) = (index.file(), index.table().entries());
    let within = range_of_lists(index);
    let mut runs = Runs::new(within.start);
    let (mut keys, mut labels) = (Keys::default(), Sum::default());
    let mut window = Window::ahead(Window::AHEAD);
    let mut entries = 0_u32;
    while let Some(entry) = cursor.peek(file)? {
        entries = entries.saturating_add(1);
        let (offset, number) = (entry.offset, keys.number(&entry));
        let is_after = keys.follows(&entry) || index.version() == 1;
        if !is_after {
            let fault = Fault::Order("entries");
            checks.add(file.damage(cursor.at(), Section::PostingsTable, fault));
        }
        runs.reach(file, offset, &mut window, checks);
        let list = check_list(file, offset..within.end.max(offset), &mut window, checks);
        labels.add(list.map_or(0, |list| list.sum.times(number)));
        runs.pass(list.map(|list| list.end));
        cursor.advance();
    }
    compare_count(index, entries, checks);
    runs.finish(file, within.end, &mut window, checks);
    Ok(labels)
}

fn compare_count(index: &Index, found: u32, checks: &mut Checks<'_>) {
    let said = index.table().count();
    if said != found {
        let text = format!("the table says that it holds {said} entries, and holds {found}");
        let start = index.toc().postings_table;
        checks.add(index.file().damage(start, Section::PostingsTable, Fault::Mismatch(text)));
    }
}

/// The pair of the entry before, and numbers of names, which repeat.
#[derive(Debug, Default)]
struct Keys {
    name: Vec<u8>,
    value: Vec<u8>,
    name_number: Option<u64>,
}

impl Keys {
    fn number(&mut self, entry: &TableEntry<'_>) -> u64 {
        let known = self.name_number.filter(|_| *self.name == *entry.name);
        let name = known.unwrap_or_else(|| sum::text(entry.name));
        self.name_number.get_or_insert(name);
        sum::pair(name, sum::text(entry.value))
    }

    /// Whether the entry is behind the one before, which it replaces.
    fn follows(&mut self, entry: &TableEntry<'_>) -> bool {
        let is_first = self.name.is_empty() && self.value.is_empty();
        let is_after = (&*self.name, &*self.value) < (entry.name, entry.value);
        if *self.name != *entry.name {
            self.name = entry.name.to_vec();
            self.name_number = Some(sum::text(entry.name));
        }
        self.value.clear();
        self.value.extend_from_slice(entry.value);
        is_first || is_after
    }
}

/// A list whose length is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// Behind its checksum.
    end: u64,
    /// Of the numbers of its series.
    pub(super) sum: Sum,
    /// Whether its checksum is right.
    pub(super) is_sound: bool,
}

/// Checks the list at the start of `within`: its length, its checksum and its order.
pub(super) fn check_list(
    file: &BlockFile,
    within: Range<u64>,
    window: &mut Window,
    checks: &mut Checks<'_>,
) -> Option<List> {
    let start = within.start;
    if let Err(damage) = PostingsList::find(file, start, window) {
        checks.add(damage);
        return None;
    }
    let (mut sum, mut last, mut is_ordered) = (Sum::default(), None, true);
    let mut skipped = false;
    let checked = section(file, within, Section::Postings, window, checks, |piece, _| {
        // The count, which was compared with the length, and series of four bytes each.
        let before = if std::mem::replace(&mut skipped, true) { 0 } else { 4 };
        let (ids, rest) = piece.bytes.get(before..).unwrap_or_default().as_chunks();
        for id in ids {
            let id = u32::from_be_bytes(*id);
            sum.add(mix(id.into()));
            is_ordered &= last.replace(id).is_none_or(|last| last < id);
        }
        Some(piece.bytes.len() - rest.len())
    })?;
    if checked.is_sound && !is_ordered {
        checks.add(file.damage(start, Section::Postings, Fault::Order("series of the list")));
    }
    Some(List { end: checked.end, sum, is_sound: checked.is_sound })
}

/// Checks the lists that there are, without a table that says where: one after the other, and after
/// a damaged one from the next place at which length, count and checksum agree.
fn search(index: &Index, checks: &mut Checks<'_>) {
    let (file, within) = (index.file(), range_of_lists(index));
    let mut window = Window::ahead(Window::AHEAD);
    let mut at = within.start.next_multiple_of(ALIGNMENT);
    while at + 12 <= within.end {
        let found = check_list(file, at..within.end, &mut window, checks);
        at = match found {
            Some(list) if list.is_sound => list.end.next_multiple_of(ALIGNMENT),
            Some(_) | None => next_list(file, at + ALIGNMENT..within.end, &mut window),
        };
    }
}

fn next_list(file: &BlockFile, within: Range<u64>, window: &mut Window) -> u64 {
    let mut at = within.start;
    while at + 12 <= within.end {
        let list = PostingsList::find(file, at, window);
        if list.is_ok_and(|list| list.verify(file, window).is_ok()) {
            return at;
        }
        at += ALIGNMENT;
    }
    within.end
}

/// What of the lists' part of the index was met: all of it should be, but for padding.
#[derive(Debug)]
struct Runs {
    runs: Vec<Run>,
}

/// Lists that follow one another.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: u64,
    /// `None` behind a list whose length is damaged.
    end: Option<u64>,
}

impl Runs {
    fn new(start: u64) -> Self {
        Self { runs: vec![Run { start, end: Some(start) }] }
    }

    /// The next list is at `offset`.
    fn reach(
        &mut self,
        file: &BlockFile,
        offset: u64,
        window: &mut Window,
        checks: &mut Checks<'_>,
    ) {
        let end = self.runs.last().and_then(|run| run.end);
        match end {
            Some(end) if end.next_multiple_of(ALIGNMENT) == offset => {
                pad(file, end..offset, window, checks);
            }
            Some(_) | None => self.runs.push(Run { start: offset, end: Some(offset) }),
        }
    }

    fn pass(&mut self, end: Option<u64>) {
        if let Some(run) = self.runs.last_mut() {
            run.end = end;
        }
    }

    fn finish(mut self, file: &BlockFile, end: u64, window: &mut Window, checks: &mut Checks<'_>) {
        self.runs.push(Run { start: end, end: None });
        self.runs.sort_unstable_by_key(|run| run.start);
        for pair in self.runs.windows(2) {
            if let [Run { end: Some(end), .. }, next] = pair {
                pad(file, *end..next.start, window, checks);
            }
        }
    }
}

fn pad(file: &BlockFile, gap: Range<u64>, window: &mut Window, checks: &mut Checks<'_>) {
    if !gap.is_empty() {
        padding(file, gap, ALIGNMENT, Section::Postings, window, checks);
    }
}
