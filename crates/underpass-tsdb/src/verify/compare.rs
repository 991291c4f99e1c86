//! Series and postings lists that disagree: which lists, and the labels of series that are lost.
//!
//! Only where sums differ or entries are damaged is this looked at, since it keeps a number for
//! each label pair in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::series::SeriesFacts;
use super::sum::{self, Sum, mix};
use super::symbols::Symbols;
use super::{Checks, Lost};
use crate::Labels;
use crate::damage::{Damage, Fault, Section};
use crate::file::Window;
use crate::index::{Index, PostingsList, SeriesEntry, SeriesId, TableEntry};

/// Lost series whose labels are kept.
const LOST_MAX: usize = 10_000;

/// Reports damaged series with the labels that the postings know, and lists that do not hold the
/// series they should.
pub(super) fn check(
    index: &Index,
    symbols: &Symbols,
    facts: &SeriesFacts,
    is_table_sound: bool,
    checks: &mut Checks<'_>,
) {
    let ranges = facts.damaged.iter().map(|(range, _)| range.clone()).collect();
    let can_compare = symbols.is_sound && !facts.has_strays;
    let mut comparison = Comparison { index, ranges, ..Comparison::new(index) };
    if is_table_sound {
        if can_compare {
            comparison.add_series(symbols);
        }
        if let Err(damage) = comparison.add_lists(can_compare, checks) {
            checks.add(damage);
        }
    }
    for (range, damage) in &facts.damaged {
        comparison.report_series(range, damage.clone(), checks);
    }
}

struct Comparison<'i> {
    index: &'i Index,
    /// Where entries of series are damaged.
    ranges: Vec<Range<u64>>,
    /// By label pair, the series that have it, and the symbols.
    pairs: HashMap<u64, (Sum, (u32, u32))>,
    /// Series in damaged entries.
    lost: BTreeMap<SeriesId, Labels>,
}

impl<'i> Comparison<'i> {
    fn new(index: &'i Index) -> Self {
        Self { index, ranges: Vec::new(), pairs: HashMap::new(), lost: BTreeMap::new() }
    }

    fn add_series(&mut self, symbols: &Symbols) {
        let (mut walk, mut window) = (self.index.walk(), Window::ahead(Window::AHEAD));
        let mut entry = SeriesEntry::default();
        let empty = sum::text(b"");
        while let Some(found) = walk.next(self.index, &mut window, &mut entry) {
            let Ok(id) = found else { continue };
            let mut add = |pair, references| {
                let (sum, _) =
                    self.pairs.entry(pair).or_insert_with(|| (Sum::default(), references));
                sum.add(mix(id.0.into()));
            };
            add(sum::pair(empty, empty), (u32::MAX, u32::MAX));
            for &(name, value) in &entry.labels {
                let numbers = symbols.number(name).zip(symbols.number(value));
                if let Some((left, right)) = numbers {
                    add(sum::pair(left, right), (name, value));
                }
            }
        }
    }

    fn add_lists(&mut self, can_compare: bool, checks: &mut Checks<'_>) -> Result<(), Damage> {
        let mut cursor = self.index.table().entries();
        let mut window = Window::exact();
        while let Some(entry) = cursor.peek(self.index.file())? {
            let pair = sum::pair(sum::text(entry.name), sum::text(entry.value));
            let wanted = self.pairs.remove(&pair);
            // Of a label of lost series alone, both are sums of nothing.
            let wanted = wanted.map(|(sum, _)| sum).unwrap_or_default();
            match self.sum_of(&entry, &mut window) {
                Ok(found) if can_compare && found != wanted => self.report_list(&entry, checks),
                // A damaged list has been told.
                Ok(_) | Err(_) => {}
            }
            cursor.advance();
        }
        if can_compare && !self.pairs.is_empty() {
            self.report_missing(checks);
        }
        Ok(())
    }

    /// The sum of a list's series, but for those in damaged entries, whose labels are kept.
    ///
    /// # Errors
    ///
    /// If the list is damaged, which has been told.
    fn sum_of(&mut self, entry: &TableEntry<'_>, window: &mut Window) -> Result<Sum, Damage> {
        let file = self.index.file();
        let list = PostingsList::find(file, entry.offset, window)?;
        list.verify(file, window)?;
        let (mut ids, mut sum) = (list.iter(file), Sum::default());
        while let Some(id) = ids.next_id()? {
            let offset = self.index.offset_of(id);
            if !self.ranges.iter().any(|range| range.contains(&offset)) {
                sum.add(mix(id.0.into()));
            } else if !entry.name.is_empty() && self.lost.len() < LOST_MAX {
                self.lost.entry(id).or_default().push(entry.name, entry.value);
            }
        }
        Ok(sum)
    }

    fn report_list(&self, entry: &TableEntry<'_>, checks: &mut Checks<'_>) {
        let mut labels = Labels::default();
        labels.push(entry.name, entry.value);
        let text = match entry.name.is_empty() {
            true => "the list of all series does not hold just the series that there are".into(),
            false => format!("the list of {labels} does not hold just the series with that label"),
        };
        let fault = Fault::Mismatch(text);
        checks.add(self.index.file().damage(entry.offset, Section::Postings, fault));
    }

    /// Labels of series for which the table has no list.
    fn report_missing(&self, checks: &mut Checks<'_>) {
        let mut labels = Labels::default();
        let first = self.pairs.values().map(|(_, symbols)| *symbols).min();
        let entry = SeriesEntry { labels: first.into_iter().collect(), ..SeriesEntry::default() };
        let read = self.index.labels(&entry, &mut Window::exact(), &mut labels);
        let first = read.map_or_else(|_| "all series".into(), |()| labels.to_string());
        let count = self.pairs.len();
        let text =
            format!("{count} labels of the series have no postings list, {first} among them");
        let start = self.index.toc().postings_table;
        let fault = Fault::Mismatch(text);
        checks.add(self.index.file().damage(start, Section::PostingsTable, fault));
    }

    fn report_series(&self, range: &Range<u64>, damage: Damage, checks: &mut Checks<'_>) {
        let lost = self.lost.iter().filter(|(id, _)| range.contains(&self.index.offset_of(**id)));
        checks.add_lost(damage, Lost::of_labels(lost.map(|(_, labels)| labels)));
    }
}
