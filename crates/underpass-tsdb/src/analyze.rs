//! What a block holds and what it costs: cardinality, bytes on disk, churn, how full chunks are.
//!
//! promtool says which labels have many values and not what they take on disk. Here the bytes of
//! chunks and index are told by metric and by series, from the index alone: see `sizes`. Churn is
//! promtool's, so that the two can be compared: the part of the block's time range that series do
//! not cover, added up, in series.
//!
//! Source: Prometheus cmd/promtool/tsdb.go, `analyzeBlock`.

mod activity;
mod cardinality;
mod compare;
pub mod difference;
mod fill;
#[cfg(test)]
mod fixture;
mod lists;
mod load;
mod measure;
#[cfg(feature = "html")]
pub mod page;
mod ranking;
pub mod report;
mod scan;
mod sizes;
mod tally;
pub mod text;
mod top;
mod words;

use crate::block::Block;
use crate::index::SeriesId;
use crate::query::Selection;
use crate::selector::Selector;
use crate::time::TimeRange;

pub use activity::Activity;
pub use difference::Difference;
pub use fill::{EncodingLoad, Fill};
pub use load::Load;
pub use report::{Depth, Report};
pub use scan::Damages;

use difference::{ByMetric, Side};
use lists::Writer;
use measure::Measured;
use report::Files;
use scan::Scan;

/// Which series count, and how they are told.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The selectors as they were typed; none where all series count.
    pub selectors: Vec<String>,
    /// The series; `None` for all.
    pub ids: Option<Vec<SeriesId>>,
}

impl Part {
    /// The series of a block that one of these selectors matches, with the selectors' texts; all
    /// series if there are none.
    #[must_use]
    pub fn of(block: &Block, selectors: &[(String, Selector)]) -> (Self, Damages) {
        let mut damages = Damages::default();
        if selectors.is_empty() {
            return (Self::default(), damages);
        }
        let (texts, selectors) = selectors.iter().cloned().unzip();
        let selection = Selection::new(std::slice::from_ref(block), selectors, TimeRange::ALL);
        let mut series = selection.series();
        let ids = series.by_ref().flat_map(|series| series.parts).map(|part| part.id).collect();
        series.take_losses().into_iter().for_each(|loss| damages.add(loss.damage));
        (Self { selectors: texts, ids: Some(ids) }, damages)
    }
}

/// The figures of a block, and what of it could not be read. Each list has `limit` entries, or all
/// if that is 0.
///
/// [`Depth::Postings`] is of all series; parts of a block need [`Depth::Series`].
#[must_use]
pub fn analyze(block: &Block, part: &Part, depth: Depth, limit: usize) -> (Report, Damages) {
    if depth == Depth::Postings && part.ids.is_none() {
        return from_postings(block, limit);
    }
    let measured = measure::measure(block, part.ids.clone(), depth, limit);
    let (report, _, damages) = report(block, part, depth, measured, limit);
    (report, damages)
}

/// What two blocks differ in, and what of them could not be read.
#[must_use]
pub fn difference(
    (before, before_part): (&Block, &Part),
    (after, after_part): (&Block, &Part),
    depth: Depth,
    limit: usize,
) -> (Difference, Damages) {
    let side = |block, part: &Part| {
        let measured = measure::measure(block, part.ids.clone(), depth, 1);
        let (report, metrics, damages) = report(block, part, depth, measured, 1);
        (Side::of(report), metrics, damages)
    };
    let (before_side, before_metrics, mut damages) = side(before, before_part);
    let (after_side, after_metrics, more) = side(after, after_part);
    damages.extend(more);
    // Damage of the series was met in the passes above.
    let (comparison, _) =
        compare::compare((before, before_part.ids.clone()), (after, after_part.ids.clone()));
    let difference =
        comparison.finish((before_side, &before_metrics), (after_side, &after_metrics), limit);
    (difference, damages)
}

fn from_postings(block: &Block, limit: usize) -> (Report, Damages) {
    let found = cardinality::count(block, limit);
    let mut damages = Damages::of(block);
    damages.extend(found.damages);
    let (min_time, max_time) = range(block, None).unzip();
    let report = Report {
        block: block.name().to_owned(),
        depth: Depth::Postings,
        selectors: Vec::new(),
        min_time,
        max_time,
        total: Load { series: found.series, ..Load::default() },
        samples: block.meta().map(|meta| meta.stats.num_samples),
        label_names: found.label_names,
        label_pairs: found.label_pairs,
        label_entries: found.label_entries,
        files: files(block),
        chunks_unmeasured: 0,
        top: found.lists,
        activity: None,
        fill: None,
    };
    (report, damages)
}

fn report(
    block: &Block,
    part: &Part,
    depth: Depth,
    mut measured: Measured,
    limit: usize,
) -> (Report, ByMetric, Damages) {
    let mut damages = Damages::of(block);
    damages.extend(std::mem::take(&mut measured.damages));
    let times = range(block, measured.span);
    let range_ms = times.and_then(|(min, max)| u64::try_from(max.saturating_sub(min)).ok());
    let mut scan = Scan::new(block, Some(Vec::new()));
    let mut writer = Writer { scan: &mut scan, limit, range_ms };
    let counted = measured.fill.as_ref().map(|_| measured.sums.total.samples);
    let whole = block.meta().filter(|_| part.ids.is_none()).map(|meta| meta.stats.num_samples);
    let metrics = writer.by_metric(&measured.sums);
    let (min_time, max_time) = times.unzip();
    let report = Report {
        block: block.name().to_owned(),
        depth,
        selectors: part.selectors.clone(),
        min_time,
        max_time,
        total: measured.sums.total,
        samples: counted.or(whole),
        label_names: measured.sums.names().len() as u64,
        label_pairs: measured.sums.pairs.len() as u64,
        label_entries: measured.sums.label_entries,
        files: files(block),
        chunks_unmeasured: measured.unmeasured,
        activity: measured.activity.take(),
        fill: measured.fill.take(),
        top: writer.lists(measured),
    };
    damages.extend(scan.damages);
    (report, metrics, damages)
}

/// The block's time range, half-open: as its meta.json has it, or else its chunks.
fn range(block: &Block, span: Option<(i64, i64)>) -> Option<(i64, i64)> {
    let told = block.meta().map(|meta| (meta.min_time, meta.max_time));
    told.or_else(|| span.map(|(first, last)| (first, last.saturating_add(1))))
}

fn files(block: &Block) -> Files {
    let len = |path: &std::path::Path| path.metadata().map_or(0, |metadata| metadata.len());
    let index = block.index();
    let (toc, index_len) = (index.toc(), index.file().len());
    let section = |start| match start {
        0 => 0,
        start => index.end_of(start).saturating_sub(start),
    };
    Files {
        chunks: block.segments().map(len).sum(),
        index: index_len,
        symbols: section(toc.symbols),
        series: section(toc.series),
        postings: section(toc.postings),
        postings_table: section(toc.postings_table),
        tombstones: len(&block.dir().join("tombstones")),
    }
}
