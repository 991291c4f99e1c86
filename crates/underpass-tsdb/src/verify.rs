//! Verifies a block: every checksum, and that its parts agree with one another.
//!
//! | part | looked at |
//! |---|---|
//! | index | header, TOC, every section's checksum, padding, nothing between sections |
//! | symbols | order, count |
//! | series | each checksum, order, label names, symbols, order of chunks |
//! | postings | each checksum, order, and that a list holds just the series with its label |
//! | chunks | each checksum, that chunks and series have one another, zeros at the end |
//! | samples, if asked ([`Depth`]) | that they can be decoded, their count, order and times |
//! | tombstones | checksum, that the series exist |
//! | `meta.json` | counts and times against what was found |
//!
//! A block is read from end to end once, in pieces, and memory does not grow with the chunks: what
//! must agree is added up on both ways through the block (`verify/sum.rs`). Where sums differ or
//! something is damaged, the parts in question are read again to say what is lost.

mod careful;
mod compare;
mod contents;
mod label_indices;
mod lost;
mod overlaps;
mod postings;
mod segments;
mod series;
mod sum;
mod symbols;
mod walk;

use std::fmt;
use std::mem::discriminant;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub use lost::Lost;
pub use overlaps::overlaps;

use crate::block::Block;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Pattern, Window};
use crate::index::{HEADER_LEN, Index, toc};
use series::{ChunkSums, SeriesFacts};

/// How closely a block is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Every checksum, and structure.
    #[default]
    Checksums,
    /// Every sample too.
    Samples,
}

/// Findings that are kept; further ones are counted.
const KEPT_MAX: usize = 10_000;

/// What is wrong at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, and what.
    pub damage: Damage,
    /// What cannot be read because of it.
    pub lost: Lost,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.damage)?;
        if self.lost != Lost::default() {
            write!(f, "; lost: {}", self.lost)?;
        }
        Ok(())
    }
}

/// What was found in a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The block's name.
    pub block: String,
    /// Bytes that were read.
    pub bytes: u64,
    /// Checksums that were compared.
    pub checksums: u64,
    /// Series that can be read.
    pub series: u64,
    /// Chunks whose checksums are right.
    pub chunks: u64,
    /// Samples that these chunks say they hold.
    pub samples: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub further: u64,
    /// What is unusual and nothing is lost by.
    pub notes: Vec<String>,
}

impl Report {
    /// Of a block that cannot be opened.
    #[must_use]
    pub fn of_unopened(dir: &Path, damage: Damage) -> Self {
        let block = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let findings = vec![Finding { damage, lost: Lost::default() }];
        Self { block, findings, ..Self::default() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies a block. `progress` counts the bytes that have been looked at.
#[must_use]
pub fn verify(block: &Block, depth: Depth, progress: &AtomicU64) -> Report {
    let mut checks = Checks { report: Report::default(), progress };
    checks.report.block = block.name().to_owned();
    block.advise(Pattern::Sequential);
    for damage in block.damages() {
        checks.add(damage.clone());
    }
    let index = block.index();
    let facts = check_index(index, &mut checks);
    let samples = check_segments(block, &facts, depth, &mut checks);
    contents::check_tombstones(block, &facts, &mut checks);
    contents::check_meta(block, &facts, samples, &mut checks);
    contents::check_files(block, &mut checks);
    (checks.report.series, checks.report.samples) = (facts.count, samples.unwrap_or(0));
    checks.report
}

/// Where findings go, and what was done.
struct Checks<'p> {
    report: Report,
    progress: &'p AtomicU64,
}

impl Checks<'_> {
    fn add(&mut self, damage: Damage) {
        self.add_lost(damage, Lost::default());
    }

    /// The same damage is met on more than one way through a block, and told once.
    fn add_lost(&mut self, damage: Damage, lost: Lost) {
        let findings = &mut self.report.findings;
        let is_same = |known: &&mut Finding| is_same(&known.damage, &damage);
        if let Some(known) = findings.iter_mut().rev().take(100).find(is_same) {
            if known.lost == Lost::default() {
                known.lost = lost;
            }
        } else if findings.len() < KEPT_MAX {
            findings.push(Finding { damage, lost });
        } else {
            self.report.further += 1;
        }
    }

    fn note(&mut self, text: String) {
        self.report.notes.push(text);
    }

    const fn compared(&mut self) {
        self.report.checksums += 1;
    }

    fn advance(&mut self, bytes: u64) {
        self.report.bytes += bytes;
        self.progress.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Whether two damages are one, of which the numbers depend on how it was met.
fn is_same(one: &Damage, other: &Damage) -> bool {
    let place = |damage: &Damage| (damage.offset, damage.section, discriminant(&damage.fault));
    place(one) == place(other) && one.file == other.file
}

/// Checks all of the index. Header and TOC were read when it was opened.
fn check_index(index: &Index, checks: &mut Checks<'_>) -> SeriesFacts {
    checks.advance(HEADER_LEN.min(index.file().len()));
    checks.advance(toc::LEN.min(index.file().len()));
    checks.compared();
    let (symbols, symbols_end) = symbols::check(index, checks);
    let facts = series::check(index, &symbols, checks);
    label_indices::check(index, checks);
    let postings = postings::check(index, checks);
    let differ = symbols.is_sound && postings.is_sound && facts.labels != postings.labels;
    if differ || !facts.damaged.is_empty() {
        compare::check(index, &symbols, &facts, postings.is_sound, checks);
    }
    check_gaps(index, symbols_end.map(|symbols| symbols.end), postings.end, checks);
    facts
}

/// Nothing is between header and symbols, symbols and series, postings offset table and TOC.
fn check_gaps(
    index: &Index,
    symbols_end: Option<u64>,
    table_end: Option<u64>,
    checks: &mut Checks<'_>,
) {
    let (file, places) = (index.file(), index.toc());
    let mut window = Window::exact();
    let gaps = [
        (Some(HEADER_LEN), places.symbols, Section::Symbols),
        (symbols_end, places.series, Section::Series),
        (table_end, file.len().saturating_sub(toc::LEN), Section::PostingsTable),
    ];
    for (start, end, section) in gaps {
        let Some(start) = start.filter(|start| *start < end) else { continue };
        walk::padding(file, start..end, index.alignment(), section, &mut window, checks);
    }
}

/// Checks all segments; gives the count of samples, unless some cannot be counted.
fn check_segments(
    block: &Block,
    facts: &SeriesFacts,
    depth: Depth,
    checks: &mut Checks<'_>,
) -> Option<u64> {
    let mut samples = Some(0);
    let count = u32::try_from(block.segments().count()).unwrap_or(u32::MAX);
    for number in 0..count {
        let said = facts.segments.get(&number).copied().unwrap_or_default();
        match block.segment(number as usize) {
            Ok(file) => {
                let found = check_segment(block.index(), file, number, said, depth, checks);
                samples = samples.zip(found).map(|(all, found)| all + found);
            }
            Err(damage) => {
                careful::missing(block.index(), number, damage, checks);
                samples = None;
            }
        }
    }
    for (number, _) in facts.segments.range(count..) {
        if let Err(damage) = block.segment(*number as usize) {
            careful::missing(block.index(), *number, damage, checks);
            samples = None;
        }
    }
    samples
}

fn check_segment(
    index: &Index,
    file: &BlockFile,
    number: u32,
    said: ChunkSums,
    depth: Depth,
    checks: &mut Checks<'_>,
) -> Option<u64> {
    let found = segments::check(file, number, depth, checks);
    checks.report.chunks += found.sums.count;
    let can_compare_times = depth == Depth::Samples && found.unknown == 0;
    let differs = match can_compare_times {
        true => found.sums != said,
        false => (found.sums.count, found.sums.places) != (said.count, said.places),
    };
    if found.is_damaged || differs {
        careful::check(index, file, number, depth, checks);
    }
    let name = || file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    if found.unknown > 0 {
        let count = found.unknown;
        checks.note(format!("chunks/{}: {count} chunks of an unknown encoding", name()));
    }
    if let Some(zeros) = found.zeros.filter(|_| !found.is_damaged) {
        let count = file.len() - zeros;
        let text = format!(
            "chunks/{}: {count} bytes of zeros at its end: its writer did not close it",
            name()
        );
        checks.note(text);
    }
    (found.unknown == 0 && !found.is_damaged).then_some(found.samples)
}

/// Bytes of all files of a block: what [`verify`] is going to read.
#[must_use]
pub fn bytes_of(dir: &Path) -> u64 {
    let files = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let len = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |stat| stat.len());
    let top = files(dir).filter(|entry| entry.path().is_file()).map(len).sum::<u64>();
    top + files(&dir.join("chunks")).map(len).sum::<u64>()
}

/// A damage of a block's directory or of a file that cannot be opened.
fn of_file(path: &Path, section: Section, text: String) -> Damage {
    Damage { file: path.into(), offset: 0, section, fault: Fault::Mismatch(text) }
}
