//! One pass over the series of a block, and over their chunks if these are asked for.

use super::activity::Activity;
use super::fill::Fill;
use super::load::Load;
use super::report::Depth;
use super::scan::{Damages, Scan, first_chunk};
use super::sizes::{self, Next, Segments};
use super::tally::{Pair, Seen, Sums, Tally};
use super::top::Top;
use crate::block::Block;
use crate::chunk::{self, Encoding};
use crate::damage::{Damage, Malformed, Section};
use crate::file::Window;
use crate::index::{ChunkMeta, SeriesEntry, SeriesId};
use crate::selector::METRIC_NAME;

/// What came out of a pass.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) sums: Sums,
    /// The series that take the most bytes, with the order in which they came.
    pub(super) largest: Top<u64, (Vec<Pair>, Load)>,
    /// First and last time of any chunk.
    pub(super) span: Option<(i64, i64)>,
    pub(super) activity: Option<Activity>,
    pub(super) fill: Option<Fill>,
    /// Chunks whose size could not be told.
    pub(super) unmeasured: u64,
    pub(super) damages: Damages,
}

/// Measures the series in `ids`, or all of them.
pub(super) fn measure(
    block: &Block,
    ids: Option<Vec<SeriesId>>,
    depth: Depth,
    limit: usize,
) -> Measured {
    let is_part = ids.is_some();
    let mut scan = Scan::new(block, ids);
    let mut pass = Pass::new(block, depth, limit);
    let (mut entry, mut following) = (SeriesEntry::default(), SeriesEntry::default());
    let mut id = scan.next(&mut entry);
    while let Some(current) = id {
        pass.learn_metric_name(&mut scan, &entry);
        id = scan.next(&mut following);
        let next = match (is_part, id) {
            (true, _) => scan.next_chunk(current, &entry),
            (false, Some(_)) => first_chunk(&following),
            (false, None) => Next::End,
        };
        pass.add(&entry, next);
        std::mem::swap(&mut entry, &mut following);
    }
    pass.finish(scan.damages)
}

/// A pass under way.
struct Pass<'b> {
    block: &'b Block,
    segments: Segments,
    alignment: u64,
    tally: Tally,
    /// Names that are not `__name__`, until it was met.
    other_names: Vec<u32>,
    /// Into which chunks are read, if they are.
    window: Option<Window>,
    series: u64,
    measured: Measured,
}

impl<'b> Pass<'b> {
    fn new(block: &'b Block, depth: Depth, limit: usize) -> Self {
        let meta = block.meta();
        let reads_chunks = depth == Depth::Chunks;
        Self {
            block,
            segments: segments(block),
            alignment: sizes::alignment(block.index().version()),
            tally: Tally::default(),
            other_names: Vec::new(),
            window: reads_chunks.then(|| Window::ahead(Window::AHEAD)),
            series: 0,
            measured: Measured {
                sums: Sums::default(),
                largest: Top::new(limit),
                span: None,
                activity: meta.and_then(|meta| Activity::new(meta.min_time, meta.max_time)),
                fill: reads_chunks.then(Fill::default),
                unmeasured: 0,
                damages: Damages::default(),
            },
        }
    }

    /// Finds out which symbol `__name__` is: in most blocks the first of the first series.
    fn learn_metric_name(&mut self, scan: &mut Scan<'_>, entry: &SeriesEntry) {
        if self.tally.metric_name.is_some() {
            return;
        }
        for (name, _) in &entry.labels {
            if self.other_names.contains(name) {
                continue;
            }
            if scan.symbol(*name).as_bytes() == METRIC_NAME {
                self.tally.metric_name = Some(*name);
                return;
            }
            self.other_names.push(*name);
        }
    }

    fn add(&mut self, entry: &SeriesEntry, next: Next) {
        let mut load = Load {
            series: 1,
            index_bytes: sizes::index_bytes(entry.len, entry.labels.len(), self.alignment),
            ..Load::default()
        };
        let nexts = entry.chunks.iter().skip(1).map(|chunk| Next::At(chunk.reference));
        for (chunk, next) in entry.chunks.iter().zip(nexts.chain([next])) {
            self.add_chunk(chunk, next, &mut load);
        }
        let covered_ms = self.add_times(&entry.chunks);
        self.tally.add(&Seen { labels: &entry.labels, covered_ms, load });
        let kept = || (entry.labels.clone(), load);
        self.measured.largest.offer(load.bytes(), self.series, kept);
        self.series += 1;
    }

    /// From the first sample to the last, in ms.
    fn add_times(&mut self, chunks: &[ChunkMeta]) -> u64 {
        let first = chunks.iter().map(|chunk| chunk.min_time).min();
        let last = chunks.iter().map(|chunk| chunk.max_time).max();
        let (Some(first), Some(last)) = (first, last) else { return 0 };
        let span = self.measured.span.get_or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
        if let Some(activity) = &mut self.measured.activity {
            activity.add(first, last);
        }
        u64::try_from(last.saturating_sub(first)).unwrap_or(0)
    }

    fn add_chunk(&mut self, chunk: &ChunkMeta, next: Next, load: &mut Load) {
        load.chunks += 1;
        let told = self.segments.chunk_bytes(chunk.reference, next);
        let read = self.read_chunk(chunk.reference, load);
        match read.or(told) {
            Some(bytes) => load.chunk_bytes = load.chunk_bytes.saturating_add(bytes),
            None => self.measured.unmeasured += 1,
        }
    }

    /// Bytes of the chunk, if chunks are read and this one can be.
    fn read_chunk(&mut self, reference: u64, load: &mut Load) -> Option<u64> {
        let window = self.window.as_mut()?;
        let chunk = match self.block.chunk(reference, window) {
            Ok(chunk) => chunk,
            Err(damage) => {
                self.measured.damages.add(damage);
                return None;
            }
        };
        let encoding = Encoding::try_from(chunk.encoding);
        let name = encoding.as_ref().map_or("unknown", |encoding| encoding.name());
        let counted = encoding.map_err(|fault| Malformed { at: 0, fault });
        let samples = counted.and_then(|encoding| chunk::sample_count(encoding, chunk.data));
        let samples = match samples {
            Ok(samples) => Some(samples),
            Err(wrong) => {
                self.measured.damages.add(of_chunk(self.block, reference, wrong));
                None
            }
        };
        let fill = self.measured.fill.get_or_insert_default();
        fill.add(chunk.encoding, name, samples, chunk.len);
        load.samples += u64::from(samples.unwrap_or(0));
        Some(chunk.len)
    }

    fn finish(mut self, damages: Damages) -> Measured {
        self.measured.sums = self.tally.finish();
        self.measured.activity = self.measured.activity.map(Activity::finish);
        self.measured.damages.extend(damages);
        self.measured
    }
}

/// What is wrong with a chunk whose checksum is right.
fn of_chunk(block: &Block, reference: u64, wrong: Malformed) -> Damage {
    let number = usize::try_from(reference >> 32).unwrap_or(usize::MAX);
    let path = block.segments().nth(number).unwrap_or(block.dir());
    wrong.within(&path.into(), reference & 0xffff_ffff, Section::Chunk)
}

/// Lengths of the block's segments; 0 of one that is not there.
fn segments(block: &Block) -> Segments {
    let len = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
    Segments(block.segments().map(len).collect())
}
