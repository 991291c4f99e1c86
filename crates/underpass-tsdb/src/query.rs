//! Queries: the series of several blocks that selectors match, merged by their labels, and the
//! samples of each in the order of time.
//!
//! A [`Selection`] finds the series, from postings where it can; [`MergedSeries`] hands them out
//! one after the other, and a [`Reader`], of which each thread has its own, decodes the samples.
//! Labels are matched again when they are known, so a wrong postings list brings no wrong series;
//! and where postings cannot be read, all series are looked at instead.
//!
//! Source: Prometheus, `tsdb/querier.go`, `storage/merge.go`.

mod block_series;
mod chain;
mod decoder;
mod heap;
mod ids;
mod lane;
mod merge;
mod plan;
mod reader;
mod values;

use std::fmt;

pub use merge::MergedSeries;
pub use reader::{Batches, Reader};

use crate::block::Block;
use crate::damage::Damage;
use crate::index::{ChunkMeta, SeriesId};
use crate::labels::Labels;
use crate::selector::Selector;
use crate::time::{Rfc3339, TimeRange};

/// What is asked of some blocks.
#[derive(Debug)]
pub struct Selection<'b> {
    blocks: &'b [Block],
    /// A series is selected if one of them matches it; every series if there are none.
    selectors: Vec<Selector>,
    range: TimeRange,
}

/// A series with samples in the range of a selection, as far as the index says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Where it is, in the order in which Prometheus prefers one block's samples to another's.
    pub parts: Vec<Part>,
}

/// A series in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The block's place among the blocks of the selection.
    pub block: usize,
    /// The series there.
    pub id: SeriesId,
    /// Those of its chunks that have times in the range and were not deleted as a whole.
    pub chunks: Vec<ChunkMeta>,
}

/// What could not be read, and what is missing for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub damage: Damage,
    /// What is missing; `None` if it was found in another way.
    pub lost: Option<Lost>,
}

/// Samples that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Of which series; `None` if its labels are not known.
    pub labels: Option<Labels>,
    /// The times between which they are.
    pub range: TimeRange,
}

impl<'b> Selection<'b> {
    /// The series of `blocks` that a selector matches and that have samples in `range`. Without
    /// selectors that is every series.
    #[must_use]
    pub const fn new(blocks: &'b [Block], selectors: Vec<Selector>, range: TimeRange) -> Self {
        Self { blocks, selectors, range }
    }

    /// The blocks.
    #[must_use]
    pub const fn blocks(&self) -> &'b [Block] {
        self.blocks
    }

    /// Of which one must match a series; every series is selected if there are none.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The range of time.
    #[must_use]
    pub const fn range(&self) -> TimeRange {
        self.range
    }

    /// The series, in the order of their labels.
    #[must_use]
    pub fn series(&self) -> MergedSeries<'_> {
        MergedSeries::new(self)
    }

    /// A reader of their samples. Each thread needs its own.
    #[must_use]
    pub fn reader(&self) -> Reader<'b> {
        Reader::new(self.blocks, self.range)
    }

    /// The places of the blocks with times in the range, the one that begins first before others.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        let is_wanted = |place: &usize| {
            let meta = self.blocks[*place].meta();
            // A block ends before its `maxTime`, and what cannot be said is looked at.
            self.range == TimeRange::ALL
                || meta.is_none_or(|meta| {
                    self.range.overlaps(meta.min_time, meta.max_time.saturating_sub(1))
                })
        };
        let mut places: Vec<_> = (0..self.blocks.len()).filter(is_wanted).collect();
        places.sort_by_key(|place| self.blocks[*place].meta().map(|meta| meta.min_time));
        places
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.selectors.is_empty() || self.selectors.iter().any(|selector| selector.matches(labels))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", self.damage)?;
        match &self.lost {
            Some(lost) => write!(f, "lost: {lost}"),
            None => f.write_str("nothing is lost"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.labels {
            Some(labels) => write!(f, "{labels}")?,
            None => f.write_str("a series of unknown labels")?,
        }
        if self.range == TimeRange::ALL {
            return Ok(());
        }
        write!(f, " from {} to {}", Rfc3339(self.range.min), Rfc3339(self.range.max))
    }
}
