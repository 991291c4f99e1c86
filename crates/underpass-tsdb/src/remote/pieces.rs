//! The chunks of a series in the order in which they are sent.
//!
//! Clients read chunk after chunk and expect samples in order of time. So chunks that overlap are
//! one piece, whose samples are merged and encoded anew; all others leave as they are.
//!
//! Source: prometheus/storage/remote/codec.go `chunkedSeriesIterator`.

use std::ops::Range;

use crate::index::{ChunkMeta, SeriesId};
use crate::query::{Part, Series};

/// Some of a series' chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A chunk that overlaps no other and lost no sample to a tombstone.
    Whole {
        /// The place of its block.
        block: usize,
        /// The series there.
        id: SeriesId,
        /// Where it is.
        chunk: ChunkMeta,
    },
    /// Chunks whose samples have to be read.
    Mixed(Vec<Part>),
}

/// A chunk, and which of the series' parts it is from.
type OfPart = (usize, ChunkMeta);

/// The pieces of a series, by time. `is_touched` is whether a tombstone takes samples of a chunk.
pub(super) fn pieces(
    series: &Series,
    is_touched: impl Fn(&Part, &ChunkMeta) -> bool,
) -> Vec<Piece> {
    let chunks = by_time(series);
    let piece = |group: Range<usize>| {
        let group = chunks.get(group).unwrap_or_default();
        match group {
            [(part, chunk)] if !is_touched(&series.parts[*part], chunk) => {
                let Part { block, id, .. } = series.parts[*part];
                Piece::Whole { block, id, chunk: *chunk }
            }
            _ => Piece::Mixed(parts(series, group)),
        }
    };
    groups(&chunks).into_iter().map(piece).collect()
}

fn by_time(series: &Series) -> Vec<OfPart> {
    let of_part = |(index, part): (usize, &Part)| {
        part.chunks.iter().map(move |chunk| (index, *chunk)).collect::<Vec<_>>()
    };
    let mut chunks: Vec<OfPart> = series.parts.iter().enumerate().flat_map(of_part).collect();
    chunks.sort_by_key(|(_, chunk)| chunk.min_time);
    chunks
}

/// Chunks that overlap are together.
fn groups(chunks: &[OfPart]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut last = i64::MIN;
    for (index, (_, chunk)) in chunks.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if chunk.min_time <= last => group.end = index + 1,
            _ => groups.push(index..index + 1),
        }
        last = last.max(chunk.max_time);
    }
    groups
}

/// The series' parts, in their order, with these chunks alone.
fn parts(series: &Series, chunks: &[OfPart]) -> Vec<Part> {
    let with_chunks = |(index, part): (usize, &Part)| {
        let own = chunks.iter().filter(|(of, _)| *of == index).map(|(_, chunk)| *chunk);
        Part { block: part.block, id: part.id, chunks: own.collect() }
    };
    let parts = series.parts.iter().enumerate().map(with_chunks);
    parts.filter(|part| !part.chunks.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(min_time: i64, max_time: i64) -> ChunkMeta {
        ChunkMeta { min_time, max_time, reference: min_time.unsigned_abs() }
    }

    fn part(block: usize, times: &[(i64, i64)]) -> Part {
        let chunks = times.iter().map(|&(min, max)| chunk(min, max)).collect();
        Part { block, id: SeriesId(7), chunks }
    }

    fn series(parts: &[Part]) -> Series {
        Series { parts: parts.to_vec(), ..Series::default() }
    }

    fn whole(block: usize, min: i64, max: i64) -> Piece {
        Piece::Whole { block, id: SeriesId(7), chunk: chunk(min, max) }
    }

    #[test]
    fn chunks_that_overlap_are_mixed_and_others_are_whole() {
        let two = series(&[
            part(4, &[(0, 9), (10, 19), (30, 39)]),
            part(2, &[(19, 29), (40, 49), (45, 46), (49, 50)]),
        ]);
        let mixed = Piece::Mixed(vec![part(4, &[(10, 19)]), part(2, &[(19, 29)])]);
        let nested = Piece::Mixed(vec![part(2, &[(40, 49), (45, 46), (49, 50)])]);
        let wanted = [whole(4, 0, 9), mixed, whole(4, 30, 39), nested];
        assert_eq!(pieces(&two, |_, _| false), wanted);
    }

    #[test]
    fn a_chunk_within_a_longer_one_does_not_end_it() {
        let one = series(&[part(0, &[(0, 100), (10, 20), (50, 60), (101, 102)])]);
        let mixed = Piece::Mixed(vec![part(0, &[(0, 100), (10, 20), (50, 60)])]);
        assert_eq!(pieces(&one, |_, _| false), [mixed, whole(0, 101, 102)]);
    }

    #[test]
    fn a_chunk_that_a_tombstone_touches_is_read() {
        let one = series(&[part(1, &[(0, 9), (10, 19)])]);
        let touched = |_: &Part, chunk: &ChunkMeta| chunk.min_time == 10;
        let wanted = [whole(1, 0, 9), Piece::Mixed(vec![part(1, &[(10, 19)])])];
        assert_eq!(pieces(&one, touched), wanted);
    }

    #[test]
    fn chunks_out_of_order_are_sorted() {
        let one = series(&[part(0, &[(10, 19), (0, 9)]), part(1, &[(-5, -1)])]);
        let wanted = [whole(1, -5, -1), whole(0, 0, 9), whole(0, 10, 19)];
        assert_eq!(pieces(&one, |_, _| false), wanted);
    }
}
