//! The series: checksums, order, references to symbols, order and times of chunks.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sum::{self, Sum, mix};
use super::symbols::Symbols;
use super::walk::padding;
use super::{Checks, Lost};
use crate::damage::{Damage, Fault, Section};
use crate::file::Window;
use crate::index::{ChunkMeta, Index, SeriesEntry, SeriesId};

/// The segment of a reference, counted from 0, and the offset in it.
pub(super) fn segment_of(reference: u64) -> (u32, u32) {
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    (low(reference >> 32), low(reference))
}

/// What the series say, to be held against postings, chunks and `meta.json`.
#[derive(Debug, Default)]
pub(super) struct SeriesFacts {
    pub(super) count: u64,
    pub(super) chunks: u64,
    /// Of the first and the last sample of all.
    pub(super) times: Option<(i64, i64)>,
    /// Of labels, each multiplied by the number of its series.
    pub(super) labels: Sum,
    /// By segment, what the series say of its chunks.
    pub(super) segments: BTreeMap<u32, ChunkSums>,
    /// Where entries are damaged, in bytes.
    pub(super) damaged: Vec<(Range<u64>, Damage)>,
    /// Whether a label refers to a symbol that there is not.
    pub(super) has_strays: bool,
}

/// What is said of the chunks of a segment, in sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ChunkSums {
    pub(super) count: u64,
    /// Of where they are.
    pub(super) places: Sum,
    /// Of where they are, and the times of their first and last sample.
    pub(super) times: Sum,
}

impl ChunkSums {
    pub(super) fn add(&mut self, chunk: &ChunkMeta) {
        self.count += 1;
        self.places.add(mix(chunk.reference));
        self.times.add(sum::chunk(chunk.reference, chunk.min_time, chunk.max_time));
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.places.merge(other.places);
        self.times.merge(other.times);
    }
}

/// Checks all series, of which damaged entries are only noted: the postings know their labels.
pub(super) fn check(index: &Index, symbols: &Symbols, checks: &mut Checks<'_>) -> SeriesFacts {
    let mut reader = Reader {
        index,
        symbols,
        facts: SeriesFacts::default(),
        last: Vec::new(),
        segment: Default::default(),
    };
    let mut walk = index.walk();
    let mut window = Window::ahead(Window::AHEAD);
    let mut entry = SeriesEntry::default();
    let mut expected = index.toc().series;
    loop {
        let before = walk.at();
        let Some(found) = walk.next(index, &mut window, &mut entry) else { break };
        match found {
            Ok(id) => {
                let start = index.offset_of(id);
                reader.pad(expected..start, &mut window, checks);
                checks.compared();
                checks.advance(entry.len);
                reader.add(id, &entry, checks);
                expected = start + entry.len;
            }
            Err(damage) => {
                let start = before.next_multiple_of(index.alignment());
                reader.pad(expected..start.min(damage.offset), &mut window, checks);
                expected = walk.at();
                reader.facts.damaged.push((start..expected, damage));
            }
        }
    }
    let end = index.end_of(index.toc().series);
    reader.pad(expected..end, &mut window, checks);
    reader.end_segment(0);
    reader.facts
}

struct Reader<'i> {
    index: &'i Index,
    symbols: &'i Symbols,
    facts: SeriesFacts,
    /// Labels of the series before.
    last: Vec<(u32, u32)>,
    /// The segment of the chunk before, and what was said of it since another one was named.
    segment: (u32, ChunkSums),
}

impl Reader<'_> {
    fn pad(&self, gap: Range<u64>, window: &mut Window, checks: &mut Checks<'_>) {
        if !gap.is_empty() {
            let file = self.index.file();
            padding(file, gap, self.index.alignment(), Section::Series, window, checks);
        }
    }

    fn add(&mut self, id: SeriesId, entry: &SeriesEntry, checks: &mut Checks<'_>) {
        self.facts.count += 1;
        self.add_labels(id, entry, checks);
        self.add_chunks(id, entry, checks);
    }

    fn add_labels(&mut self, id: SeriesId, entry: &SeriesEntry, checks: &mut Checks<'_>) {
        let number = mix(id.0.into());
        self.facts.labels.add(number.wrapping_mul(sum::pair(sum::text(b""), sum::text(b""))));
        for &(name, value) in &entry.labels {
            match (self.symbols.number(name), self.symbols.number(value)) {
                (Some(name), Some(value)) => {
                    self.facts.labels.add(number.wrapping_mul(sum::pair(name, value)));
                }
                (None, _) => self.stray(id, name, checks),
                (Some(_), None) => self.stray(id, value, checks),
            }
        }
        // Symbols are sorted, so that the order of their references is that of their text.
        if !entry.labels.is_sorted_by(|one, next| one.0 < next.0) {
            self.report(id, Fault::Order("label names"), checks);
        }
        if self.facts.count > 1 && self.last >= entry.labels {
            self.report(id, Fault::Order("series"), checks);
        }
        self.last.clone_from(&entry.labels);
    }

    /// With a damaged symbol table, it is not the series that is wrong.
    fn stray(&mut self, id: SeriesId, symbol: u32, checks: &mut Checks<'_>) {
        self.facts.has_strays = true;
        if self.symbols.is_sound {
            let fault = Fault::Reference { what: "symbol", reference: symbol.into() };
            self.report(id, fault, checks);
        }
    }

    fn add_chunks(&mut self, id: SeriesId, entry: &SeriesEntry, checks: &mut Checks<'_>) {
        self.facts.chunks += entry.chunks.len() as u64;
        let mut last: Option<&ChunkMeta> = None;
        for chunk in &entry.chunks {
            self.add_reference(chunk);
            let (min, max) = self.facts.times.unwrap_or((chunk.min_time, chunk.max_time));
            self.facts.times = Some((min.min(chunk.min_time), max.max(chunk.max_time)));
            let follows = last.is_none_or(|last| last.max_time < chunk.min_time);
            if !follows || chunk.max_time < chunk.min_time {
                self.report(id, Fault::Order("the times of the chunks"), checks);
            }
            last = Some(chunk);
        }
    }

    /// Chunks of a segment follow one another.
    fn add_reference(&mut self, chunk: &ChunkMeta) {
        let (number, _) = segment_of(chunk.reference);
        if self.segment.0 != number {
            self.end_segment(number);
        }
        self.segment.1.add(chunk);
    }

    fn end_segment(&mut self, next: u32) {
        let (number, sums) = std::mem::replace(&mut self.segment, (next, ChunkSums::default()));
        if sums.count > 0 {
            self.facts.segments.entry(number).or_default().merge(sums);
        }
    }

    fn report(&self, id: SeriesId, fault: Fault, checks: &mut Checks<'_>) {
        let file = self.index.file();
        let damage = file.damage(self.index.offset_of(id), Section::Series, fault);
        checks.add_lost(damage, Lost::of_series(self.index, id));
    }
}
