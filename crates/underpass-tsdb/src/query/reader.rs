//! The samples of a series, in the order of time and a batch at a time.

use super::chain::Chain;
use super::decoder::Decoder;
use super::lane::{Lane, lanes};
use super::{Loss, Series};
use crate::block::Block;
use crate::sample::{HistogramSample, Reset, Samples};
use crate::time::TimeRange;

/// A batch ends with the chunk that brings it to this many samples, or with this many where
/// chunks overlap: floats that stay in the processor's cache.
const BATCH: usize = 4096;

/// Decodes the samples of series. Each thread needs its own.
#[derive(Debug)]
pub struct Reader<'b> {
    decoder: Decoder<'b>,
}

/// The samples of one series, a batch at a time.
#[derive(Debug)]
pub struct Batches<'r, 'b> {
    decoder: &'r mut Decoder<'b>,
    series: &'r Series,
    lanes: Vec<Lane>,
    chain: Chain,
}

impl<'b> Reader<'b> {
    pub(super) fn new(blocks: &'b [Block], range: TimeRange) -> Self {
        Self { decoder: Decoder::new(blocks, range) }
    }

    /// The samples of a series of the selection that this reader is of.
    pub fn read<'r>(&'r mut self, series: &'r Series) -> Batches<'r, 'b> {
        let refuse = |source| self.decoder.refuse(&source, &series.labels);
        let (lanes, chain) = (lanes(series, refuse), Chain::default());
        Batches { decoder: &mut self.decoder, series, lanes, chain }
    }

    /// What could not be read since this was asked last.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.decoder.losses)
    }
}

impl Batches<'_, '_> {
    /// The next samples over what was there; `false` behind the last.
    pub fn next_into(&mut self, samples: &mut Samples) -> bool {
        samples.clear();
        if self.lanes.len() == 1 {
            self.follow(samples);
        } else {
            self.merge(samples);
        }
        !samples.is_empty()
    }

    /// All samples that are left, behind those that are there.
    pub fn read_all(&mut self, into: &mut Samples) {
        let mut samples = Samples::default();
        while self.next_into(&mut samples) {
            into.floats.append(&mut samples.floats);
            into.histograms.append(&mut samples.histograms);
        }
    }

    /// The next chunks of the only lane.
    fn follow(&mut self, samples: &mut Samples) {
        let lane = &mut self.lanes[0];
        while samples.len() < BATCH {
            let Some(source) = lane.sources.get(lane.next) else { break };
            lane.next += 1;
            self.decoder.decode(source, &self.series.labels, samples);
        }
    }

    /// The next samples of lanes that overlap.
    fn merge(&mut self, samples: &mut Samples) {
        let (decoder, labels) = (&mut *self.decoder, &self.series.labels);
        while samples.len() < BATCH {
            let next = self.chain.next(&mut self.lanes, |source, into| {
                decoder.decode(source, labels, into);
            });
            let Some(next) = next else { break };
            let before = samples.histograms.len();
            self.lanes[next.lane].copy_current(samples);
            if !next.is_consecutive {
                samples.histograms.get_mut(before).into_iter().for_each(forget_reset);
            }
        }
    }
}

/// Behind a sample of another lane nothing is known of resets. A gauge has none. Of the first
/// sample of a chunk nothing was known before.
///
/// Source: Prometheus, `storage/merge.go`, `chainSampleIterator.AtHistogram`.
fn forget_reset(sample: &mut HistogramSample) {
    if sample.histogram.reset != Reset::Gauge {
        sample.histogram.reset = Reset::Unknown;
    }
}
