//! Which bytes of an object are in its file, and their checksums.
//!
//! A hole in a sparse file reads as zeros, and nothing but this list tells it from bytes that came:
//! `preadv2(RWF_NOWAIT)` of a hole answers as if it were in memory. So bytes are in the file before
//! they are in the list, and a reader asks the list first.
//!
//! Checksums are of exact bytes, not of whole pages: what was asked for may begin and end anywhere.
//! Neighbours are joined within a cell of a grid, so that a list has a bound: without one, a file
//! that is read by 100 bytes here and there would have a list longer than itself.

use std::ops::Range;

/// The most cells of a grid, which is the most pieces of a whole object.
const CELLS_MAX: u64 = 1 << 14;

/// No cell is smaller.
pub(crate) const CELL_BYTES_MIN: u64 = 64 << 10;

/// Bytes that are there, one after the other, within one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    /// More than none.
    pub(crate) len: u32,
    pub(crate) crc32c: u32,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }
}

/// The bytes of an object that are in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extents {
    /// The length of the object.
    len: u64,
    /// Sorted; no two have a byte in common, and no two of one cell touch.
    pieces: Vec<Piece>,
    /// The same without checksums: sorted, and no two touch.
    runs: Vec<Range<u64>>,
}

impl Extents {
    /// None of an object's `len` bytes.
    pub(crate) const fn none(len: u64) -> Self {
        Self { len, pieces: Vec::new(), runs: Vec::new() }
    }

    /// What a list that was kept says; `None` if it cannot be one of such an object.
    pub(crate) fn of_pieces(len: u64, pieces: &[Piece]) -> Option<Self> {
        let mut this = Self::none(len);
        for piece in pieces {
            let last = this.runs.last().map_or(0, |run| run.end);
            let end = piece.start.checked_add(u64::from(piece.len))?;
            let is_within = piece.len > 0 && end <= len && end <= this.cell(piece.start).end;
            if !is_within || piece.start < last {
                return None;
            }
            this.insert(*piece);
        }
        Some(this)
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that are there.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.end_from(0) == self.len
    }

    /// Up to where all bytes from `at` on are there: `at` if that one is missing.
    pub(crate) fn end_from(&self, at: u64) -> u64 {
        let next = self.runs.partition_point(|run| run.end <= at);
        self.runs.get(next).filter(|run| run.start <= at).map_or(at, |run| run.end)
    }

    /// The first bytes at `at` or after it that are missing: none at the end of the object.
    pub(crate) fn gap_from(&self, at: u64) -> Range<u64> {
        let start = self.end_from(at).min(self.len);
        let next = self.runs.partition_point(|run| run.start < start);
        start..self.runs.get(next).map_or(self.len, |run| run.start)
    }

    /// Whether nothing of a piece is there.
    pub(crate) fn lack(&self, piece: &Piece) -> bool {
        let gap = self.gap_from(piece.start);
        gap.start == piece.start && piece.end() <= gap.end
    }

    /// The cell of the grid that has the byte at `at`; the last one ends with the object.
    pub(crate) fn cell(&self, at: u64) -> Range<u64> {
        cell(self.len, at)
    }

    /// Adds bytes that were written to the file.
    ///
    /// # Panics
    ///
    /// If some of them are there already, or not in one cell: they would be summed twice.
    pub(crate) fn insert(&mut self, piece: Piece) {
        let cell = self.cell(piece.start);
        assert!(piece.len > 0 && piece.end() <= cell.end, "{piece:?} is not within {cell:?}");
        let at = self.pieces.partition_point(|other| other.start < piece.start);
        let before = at.checked_sub(1).map(|before| self.pieces[before]);
        let after = self.pieces.get(at).copied();
        assert!(
            before.is_none_or(|before| before.end() <= piece.start),
            "{piece:?} after {before:?}"
        );
        assert!(after.is_none_or(|after| piece.end() <= after.start), "{piece:?} before {after:?}");
        let touching = |first: &Piece, second: &Piece| {
            first.end() == second.start && cell.contains(&first.start) && second.end() <= cell.end
        };
        let (mut whole, mut replaced) = (piece, at..at);
        if let Some(before) = before.filter(|before| touching(before, &piece)) {
            whole = joined(before, whole);
            replaced.start -= 1;
        }
        if let Some(after) = after.filter(|after| touching(&piece, after)) {
            whole = joined(whole, after);
            replaced.end += 1;
        }
        self.pieces.splice(replaced, [whole]);
        self.insert_run(piece.start..piece.end());
    }

    fn insert_run(&mut self, run: Range<u64>) {
        let first = self.runs.partition_point(|other| other.end < run.start);
        let after = self.runs.partition_point(|other| other.start <= run.end);
        let touched = &self.runs[first..after];
        let start = touched.first().map_or(run.start, |other| other.start.min(run.start));
        let end = touched.last().map_or(run.end, |other| other.end.max(run.end));
        self.runs.splice(first..after, std::iter::once(start..end));
    }

    /// Takes the piece out that has the byte at `at`.
    pub(crate) fn take(&mut self, at: u64) -> Option<Piece> {
        let index = self.pieces.partition_point(|piece| piece.end() <= at);
        self.pieces.get(index).filter(|piece| piece.start <= at)?;
        let piece = self.pieces.remove(index);
        let within = self.runs.partition_point(|run| run.end <= piece.start);
        let run = self.runs[within].clone();
        let rest = [run.start..piece.start, piece.end()..run.end];
        self.runs.splice(within..=within, rest.into_iter().filter(|rest| !rest.is_empty()));
        Some(piece)
    }
}

/// The cell of the grid of an object of `len` bytes that has the byte at `at`.
pub(crate) fn cell(len: u64, at: u64) -> Range<u64> {
    let bytes = len.div_ceil(CELLS_MAX).next_power_of_two().max(CELL_BYTES_MIN);
    let start = at / bytes * bytes;
    start..(start + bytes).min(len).max(start)
}

fn joined(first: Piece, second: Piece) -> Piece {
    let second_len = usize::try_from(second.len).expect("32 bits");
    Piece {
        start: first.start,
        len: first.len + second.len,
        crc32c: crc32c::crc32c_combine(first.crc32c, second.crc32c, second_len),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are never zero, as those of a hole are.
    fn content(range: Range<u64>) -> Vec<u8> {
        range.map(|at| u8::try_from(at % 251 + 1).unwrap()).collect()
    }

    fn piece(range: Range<u64>) -> Piece {
        let len = u32::try_from(range.end - range.start).unwrap();
        Piece { start: range.start, len, crc32c: crc32c::crc32c(&content(range)) }
    }

    /// What a fill does: the missing part of each range, cell by cell.
    fn arrive(extents: &mut Extents, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let gap = extents.gap_from(at);
            let end = gap.end.min(range.end).min(extents.cell(gap.start).end);
            if gap.start >= end {
                break;
            }
            extents.insert(piece(gap.start..end));
            at = end;
        }
    }

    proptest! {
        #[test]
        fn a_list_is_what_a_map_of_every_byte_would_be(
            len in 1_u64..400_000,
            ranges in prop::collection::vec((0_u64..400_000, 1_u64..100_000), 0..30),
            asked in prop::collection::vec(0_u64..400_000, 1..20),
        ) {
            let mut extents = Extents::none(len);
            let mut map = vec![false; usize::try_from(len).unwrap()];
            for (start, bytes) in ranges {
                let range = start.min(len)..(start + bytes).min(len);
                let index = |at| usize::try_from(at).unwrap();
                map[index(range.start)..index(range.end)].fill(true);
                arrive(&mut extents, range);
            }
            let there = map.iter().filter(|byte| **byte).count();
            prop_assert_eq!(extents.bytes(), there as u64);
            prop_assert_eq!(extents.is_whole(), there as u64 == len);
            for at in asked.into_iter().filter(|at| *at < len) {
                let rest = &map[usize::try_from(at).unwrap()..];
                let run = rest.iter().take_while(|byte| **byte).count() as u64;
                prop_assert_eq!(extents.end_from(at), at + run);
                let gap = rest[usize::try_from(run).unwrap()..].iter().take_while(|byte| !**byte);
                prop_assert_eq!(extents.gap_from(at), at + run..at + run + gap.count() as u64);
            }
            for found in extents.pieces() {
                prop_assert_eq!(*found, piece(found.start..found.end()));
            }
            prop_assert_eq!(Extents::of_pieces(len, extents.pieces()), Some(extents.clone()));
        }
    }

    #[test]
    fn neighbours_in_a_cell_are_one_piece_and_those_of_two_cells_are_two() {
        let mut extents = Extents::none(200_000);
        for range in [0..10, 20..30, 10..20, 65_000..65_536, 65_536..65_600] {
            extents.insert(piece(range));
        }
        let found: Vec<_> =
            extents.pieces().iter().map(|piece| (piece.start, piece.end())).collect();
        assert_eq!(found, [(0, 30), (65_000, 65_536), (65_536, 65_600)]);
        assert_eq!(extents.end_from(65_000), 65_600);
    }

    #[test]
    fn a_large_object_has_a_bounded_list() {
        let len = 10 << 30;
        assert_eq!(Extents::none(len).cell(len - 1), len - (1 << 20)..len);
        assert_eq!(Extents::none(0).cell(0), 0..0);
        assert_eq!(Extents::none(100).cell(99), 0..100);
    }

    #[test]
    fn what_cannot_have_been_kept_is_not_believed() {
        let of = |pieces: &[(u64, u32)]| {
            let pieces: Vec<_> =
                pieces.iter().map(|&(start, len)| Piece { start, len, crc32c: 0 }).collect();
            Extents::of_pieces(200_000, &pieces)
        };
        assert!(of(&[(0, 10), (10, 10), (65_536, 65_536)]).is_some());
        for wrong in [
            &[(0, 0)][..],
            &[(0, 65_537)],
            &[(199_999, 2)],
            &[(u64::MAX, 1)],
            &[(10, 10), (0, 5)],
            &[(0, 10), (9, 5)],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_piece_that_is_taken_out_is_a_gap() {
        let mut extents = Extents::none(200_000);
        arrive(&mut extents, 0..200_000);
        assert!(extents.is_whole());
        assert_eq!(extents.take(70_000), Some(piece(65_536..131_072)));
        assert_eq!(extents.take(70_000), None);
        assert_eq!(extents.gap_from(0), 65_536..131_072);
        assert_eq!(extents.end_from(131_072), 200_000);
        // The first, the last, and one between two gaps.
        for at in [0, 199_999, 131_072] {
            assert!(extents.take(at).is_some());
        }
        assert_eq!(extents, Extents::none(200_000));
    }
}
