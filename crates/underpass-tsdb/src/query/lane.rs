//! Chunks whose times do not overlap, and their samples one after the other.

use crate::index::{ChunkMeta, SeriesId};
use crate::sample::Samples;

use super::Series;

/// A chunk of a series in one of the blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) block: usize,
    pub(super) id: SeriesId,
    pub(super) chunk: ChunkMeta,
}

/// Chunks in the order of time, and the sample that is looked at.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) sources: Vec<Source>,
    /// Of the next chunk to be decoded.
    pub(super) next: usize,
    /// Samples of the chunk that was decoded last.
    pub(super) samples: Samples,
    floats: usize,
    histograms: usize,
    pub(super) current: Option<Current>,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) time: i64,
    pub(super) kind: Kind,
}

/// What kind of sample it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Histogram,
}

impl Lane {
    fn of(sources: Vec<Source>) -> Self {
        Self { sources, ..Self::default() }
    }

    fn first(&self) -> Option<i64> {
        self.sources.first().map(|source| source.chunk.min_time)
    }

    fn last(&self) -> Option<i64> {
        self.sources.last().map(|source| source.chunk.max_time)
    }

    /// Goes to the next sample and gives its time. `decode` puts those of a chunk behind others.
    pub(super) fn advance(&mut self, mut decode: impl FnMut(&Source, &mut Samples)) -> Option<i64> {
        match self.current.map(|current| current.kind) {
            Some(Kind::Float) => self.floats += 1,
            Some(Kind::Histogram) => self.histograms += 1,
            None => {}
        }
        self.current = self.look();
        while self.current.is_none() {
            let source = self.sources.get(self.next)?;
            self.next += 1;
            self.samples.clear();
            (self.floats, self.histograms) = (0, 0);
            decode(source, &mut self.samples);
            self.current = self.look();
        }
        self.current.map(|current| current.time)
    }

    /// A chunk has samples of one kind.
    fn look(&self) -> Option<Current> {
        let float = self.samples.floats.get(self.floats);
        let float = float.map(|one| Current { time: one.time, kind: Kind::Float });
        let histogram = self.samples.histograms.get(self.histograms);
        let histogram = histogram.map(|one| Current { time: one.time, kind: Kind::Histogram });
        float.or(histogram)
    }

    /// Adds the current sample to others.
    pub(super) fn copy_current(&self, into: &mut Samples) {
        match self.current.map(|current| current.kind) {
            Some(Kind::Float) => into.floats.push(self.samples.floats[self.floats]),
            Some(Kind::Histogram) => {
                into.histograms.push(self.samples.histograms[self.histograms].clone());
            }
            None => {}
        }
    }
}

/// Lanes that the chunks of one block have at most. A chunk of each is decoded at the same time,
/// and no writer leaves more than a few that overlap.
const LANES_MAX: usize = 64;

/// The chunks of a series in lanes: one if no two overlap in time, as it mostly is; else one for
/// each block, or more for a block whose own chunks overlap. Those for which there would be too
/// many lanes are given to `refuse`.
pub(super) fn lanes(series: &Series, mut refuse: impl FnMut(Source)) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::with_capacity(series.parts.len());
    for part in &series.parts {
        let own = lanes.len();
        let mut chunks = part.chunks.clone();
        if !chunks.is_sorted_by_key(|chunk| chunk.min_time) {
            chunks.sort_by_key(|chunk| chunk.min_time);
        }
        for chunk in chunks {
            let is_full = lanes.len() - own == LANES_MAX;
            let source = Source { block: part.block, id: part.id, chunk };
            let is_behind = |lane: &&mut Lane| lane.last() < Some(chunk.min_time);
            match lanes[own..].iter_mut().find(is_behind) {
                Some(lane) => lane.sources.push(source),
                None if is_full => refuse(source),
                None => lanes.push(Lane::of(vec![source])),
            }
        }
    }
    join(lanes)
}

/// Makes one of lanes that follow each other in time.
fn join(lanes: Vec<Lane>) -> Vec<Lane> {
    if lanes.len() < 2 {
        return lanes;
    }
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    order.sort_by_key(|lane| lanes[*lane].first());
    let follows = order.windows(2).all(|pair| lanes[pair[0]].last() < lanes[pair[1]].first());
    if !follows {
        return lanes;
    }
    let sources = order.into_iter().flat_map(|lane| lanes[lane].sources.iter().copied());
    vec![Lane::of(sources.collect())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Part;

    /// Times of the chunks in each lane, of parts with these chunks.
    fn lanes_of(parts: &[&[(i64, i64)]]) -> Vec<Vec<(i64, i64)>> {
        let chunk = |&(min_time, max_time): &_| ChunkMeta { min_time, max_time, reference: 0 };
        let part = |(block, chunks): (usize, &&[(i64, i64)])| Part {
            block,
            id: SeriesId(0),
            chunks: chunks.iter().map(chunk).collect(),
        };
        let parts = parts.iter().enumerate().map(part).collect();
        let times = |source: &Source| (source.chunk.min_time, source.chunk.max_time);
        let lanes = lanes(&Series { parts, ..Series::default() }, |_| {});
        lanes.iter().map(|lane| lane.sources.iter().map(times).collect()).collect()
    }

    #[test]
    fn more_chunks_at_one_time_than_can_be_decoded_together_are_refused() {
        let chunk = |reference| ChunkMeta { min_time: 0, max_time: 9, reference };
        let chunks = (0..70).map(chunk).collect();
        let parts = vec![Part { block: 0, id: SeriesId(0), chunks }];
        let mut refused = Vec::new();
        let series = Series { parts, ..Series::default() };
        let lanes = lanes(&series, |source| refused.push(source.chunk.reference));
        assert_eq!((lanes.len(), refused), (64, (64..70).collect()));
    }

    #[test]
    fn chunks_are_in_one_lane_unless_they_overlap() {
        for (parts, lanes) in [
            (&[&[(0, 9), (10, 19)][..]][..], vec![vec![(0, 9), (10, 19)]]),
            (&[&[(10, 19)], &[(0, 9)]], vec![vec![(0, 9), (10, 19)]]),
            (&[&[(10, 19), (0, 9)]], vec![vec![(0, 9), (10, 19)]]),
            (&[&[(0, 9), (9, 19), (20, 29)]], vec![vec![(0, 9), (20, 29)], vec![(9, 19)]]),
            (&[&[(5, 15), (16, 20)], &[(0, 9)]], vec![vec![(5, 15), (16, 20)], vec![(0, 9)]]),
        ] {
            assert_eq!(lanes_of(parts), lanes, "{parts:?}");
        }
    }
}
