//! The samples of a chunk, without those that were deleted or not asked for.

use super::lane::Source;
use super::{Loss, Lost};
use crate::Interval;
use crate::block::Block;
use crate::checksum;
use crate::chunk::{Encoding, decode};
use crate::damage::{Damage, Fault, Section};
use crate::file::Window;
use crate::labels::Labels;
use crate::sample::Samples;
use crate::time::TimeRange;

/// Reads chunks of some blocks.
#[derive(Debug)]
pub(super) struct Decoder<'b> {
    blocks: &'b [Block],
    range: TimeRange,
    window: Window,
    pub(super) losses: Vec<Loss>,
}

/// How many samples there were before.
#[derive(Debug, Clone, Copy)]
struct Before {
    floats: usize,
    histograms: usize,
}

impl<'b> Decoder<'b> {
    pub(super) fn new(blocks: &'b [Block], range: TimeRange) -> Self {
        Self { blocks, range, window: Window::exact(), losses: Vec::new() }
    }

    /// Adds the samples of a chunk of the series with these labels.
    pub(super) fn decode(&mut self, source: &Source, labels: &Labels, into: &mut Samples) {
        let before = Before { floats: into.floats.len(), histograms: into.histograms.len() };
        if let Err(damage) = self.read(source, into) {
            self.lose(damage, source, labels, before.last_time(into));
        }
        self.trim(source, before, into);
    }

    fn read(&mut self, source: &Source, into: &mut Samples) -> Result<(), Damage> {
        let (block, reference) = (&self.blocks[source.block], source.chunk.reference);
        let chunk = block.chunk(reference, &mut self.window)?;
        let file = block.segment(usize::try_from(reference >> 32).unwrap_or(usize::MAX))?;
        let start = reference & 0xffff_ffff;
        let encoding = Encoding::try_from(chunk.encoding)
            .map_err(|fault| file.damage(start, Section::Chunk, fault))?;
        let data_at = start + chunk.len - (chunk.data.len() + checksum::LEN) as u64;
        decode(encoding, chunk.data, into)
            .map_err(|malformed| malformed.within(file.path(), data_at, Section::Chunk))
    }

    /// A chunk that overlaps with too many others of its series.
    pub(super) fn refuse(&mut self, source: &Source, labels: &Labels) {
        let index = self.blocks[source.block].index();
        let fault = Fault::Order("the times of the chunks");
        let damage = index.file().damage(index.offset_of(source.id), Section::Series, fault);
        self.lose(damage, source, labels, None);
    }

    fn lose(&mut self, damage: Damage, source: &Source, labels: &Labels, read_to: Option<i64>) {
        let first = read_to.map_or(source.chunk.min_time, |last| last.saturating_add(1));
        let range = TimeRange {
            min: first.max(self.range.min),
            max: source.chunk.max_time.min(self.range.max),
        };
        let labels = Some(labels.clone());
        self.losses.push(Loss { damage, lost: Some(Lost { labels, range }) });
    }

    /// Takes out of the samples behind the others what is not in the range or was deleted.
    fn trim(&self, source: &Source, before: Before, into: &mut Samples) {
        let (min, max) = (source.chunk.min_time, source.chunk.max_time);
        let deleted = self.blocks[source.block].tombstones().of(source.id);
        let touches = |gone: &Interval| TimeRange { min, max }.overlaps(gone.min, gone.max);
        if self.range.covers(min, max) && !deleted.iter().any(touches) {
            return;
        }
        let range = self.range;
        let keeps = |time| {
            let is_deleted = |gone: &Interval| gone.min <= time && time <= gone.max;
            range.contains(time) && !deleted.iter().any(is_deleted)
        };
        retain_from(&mut into.floats, before.floats, |float| keeps(float.time));
        retain_from(&mut into.histograms, before.histograms, |sample| keeps(sample.time));
    }
}

impl Before {
    /// The time of the last sample that was added since.
    fn last_time(self, samples: &Samples) -> Option<i64> {
        let float = samples.floats[self.floats..].last().map(|float| float.time);
        let histogram = samples.histograms[self.histograms..].last().map(|sample| sample.time);
        float.max(histogram)
    }
}

/// Of the items from `start` on, keeps those that it should.
fn retain_from<T>(items: &mut Vec<T>, start: usize, keeps: impl Fn(&T) -> bool) {
    let mut at = 0;
    items.retain(|item| {
        at += 1;
        at <= start || keeps(item)
    });
}
