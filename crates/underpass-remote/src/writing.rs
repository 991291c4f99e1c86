//! What fills are writing at this moment.
//!
//! A fill looks where it may write before its bytes come. Until they are there, another one may
//! have begun in the midst of them: what two have got is written, and summed, by one.

use std::ops::Range;

use crate::extents::Extents;

/// Which fill writes which bytes, by its number.
#[derive(Debug, Default)]
pub(crate) struct Writing(Vec<(u64, Range<u64>)>);

impl Writing {
    /// What of `range` is not there and written by no other; it is this fill's until it ends.
    pub(crate) fn begin(
        &mut self,
        fill: u64,
        range: Range<u64>,
        there: &Extents,
    ) -> Vec<Range<u64>> {
        let (mut free, mut at) = (Vec::new(), range.start);
        while at < range.end {
            let gap = there.gap_from(at);
            let start = self.end_from(gap.start);
            let end = gap.end.min(self.next(start)).min(range.end);
            if start < end {
                free.push(start..end);
            }
            at = end.max(start);
        }
        self.0.extend(free.iter().map(|range| (fill, range.clone())));
        free
    }

    /// It has written, or gives up.
    pub(crate) fn end(&mut self, fill: u64) {
        self.0.retain(|(writes, _)| *writes != fill);
    }

    /// Whether some of these bytes are being written.
    pub(crate) fn touches(&self, range: &Range<u64>) -> bool {
        self.0.iter().any(|(_, other)| other.start < range.end && range.start < other.end)
    }

    /// Up to where all bytes from `at` on are being written.
    fn end_from(&self, mut at: u64) -> u64 {
        while let Some((_, other)) = self.0.iter().find(|(_, other)| other.contains(&at)) {
            at = other.end;
        }
        at
    }

    /// Where the next bytes are that are being written.
    fn next(&self, at: u64) -> u64 {
        self.0
            .iter()
            .map(|(_, other)| other.start)
            .filter(|start| *start >= at)
            .min()
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extents::Piece;

    #[test]
    fn each_byte_is_written_by_one() {
        let mut there = Extents::none(1000);
        there.insert(Piece { start: 100, len: 50, crc32c: 0 });
        let mut writing = Writing::default();
        let mut begin = |fill, range| {
            let free = writing.begin(fill, range, &there);
            free.into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(begin(1, 0..200), [(0, 100), (150, 200)]);
        assert_eq!(begin(2, 180..400), [(200, 400)]);
        assert_eq!(begin(3, 20..390), []);
        assert!(writing.touches(&(399..500)) && !writing.touches(&(400..500)));
        writing.end(1);
        let free = writing.begin(3, 90..500, &there);
        assert_eq!(free, [90..100, 150..200, 400..500]);
    }
}
