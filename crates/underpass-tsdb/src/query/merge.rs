//! The series of several blocks as one, in the order of their labels.
//!
//! Source: Prometheus, `storage/merge.go`, `genericMergeSeriesSet`.

use super::block_series::BlockSeries;
use super::heap::Heap;
use super::{Loss, Part, Selection, Series};

/// The series of a selection, one after the other in the order of their labels.
#[derive(Debug)]
pub struct MergedSeries<'s> {
    selection: &'s Selection<'s>,
    blocks: Vec<BlockSeries<'s>>,
    heap: Heap,
    /// The blocks that have the current series, which go to their next one before it is taken.
    current: Vec<usize>,
    losses: Vec<Loss>,
}

impl<'s> MergedSeries<'s> {
    pub(super) fn new(selection: &'s Selection<'s>) -> Self {
        let mut losses = Vec::new();
        let places = selection.places();
        let blocks: Vec<_> = places
            .into_iter()
            .map(|place| BlockSeries::new(selection, place, &mut losses))
            .collect();
        let current = (0..blocks.len()).collect();
        Self { selection, blocks, heap: Heap::default(), current, losses }
    }

    /// The next series over what was there; `false` behind the last.
    pub fn next_into(&mut self, series: &mut Series) -> bool {
        for number in std::mem::take(&mut self.current) {
            if self.blocks[number].advance(self.selection, &mut self.losses) {
                let blocks = &self.blocks;
                self.heap.push(number, |a, b| blocks[a].labels < blocks[b].labels);
            }
        }
        series.parts.clear();
        while let Some(number) = self.heap.first() {
            let labels = &self.blocks[number].labels;
            if series.parts.is_empty() {
                series.labels.clone_from(labels);
            } else if *labels != series.labels {
                break;
            }
            let blocks = &self.blocks;
            self.heap.pop(|a, b| blocks[a].labels < blocks[b].labels);
            self.current.push(number);
            series.parts.push(self.part(number));
        }
        !series.parts.is_empty()
    }

    fn part(&mut self, number: usize) -> Part {
        let BlockSeries { place, id, entry, .. } = &mut self.blocks[number];
        Part { block: *place, id: *id, chunks: std::mem::take(&mut entry.chunks) }
    }

    /// What could not be read since this was asked last.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}

impl Iterator for MergedSeries<'_> {
    type Item = Series;

    fn next(&mut self) -> Option<Series> {
        let mut series = Series::default();
        self.next_into(&mut series).then_some(series)
    }
}
