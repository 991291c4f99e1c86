//! Tombstones: samples that were deleted and not yet taken out of the block.
//!
//! Source: Prometheus, tsdb/tombstones/tombstones.go. Its format document is stale: there is no
//! offset at the end, and the checksum is of the records alone.

use std::collections::HashMap;

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Fault, Malformed};
use crate::index::SeriesId;

/// The first four bytes of the file.
pub const MAGIC: u32 = 0x0130_ba30;

/// A range of time, both ends included, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// The first of it.
    pub min: i64,
    /// The last of it.
    pub max: i64,
}

/// What was deleted of each series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tombstones {
    /// Sorted, without overlaps.
    intervals: HashMap<SeriesId, Vec<Interval>>,
    /// As the file has them.
    records: u64,
}

impl Tombstones {
    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// If magic number, version, checksum or a record is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let wrong = |at, what, found: u64, wanted| {
            Err(Malformed { at, fault: Fault::Value { what, found: found.into(), wanted } })
        };
        let magic = cursor.u32()?;
        if magic != MAGIC {
            return wrong(0, "the magic number", magic.into(), "not 0x0130ba30 of tombstones");
        }
        let version = cursor.u8()?;
        if version != 1 {
            return wrong(4, "the version", version.into(), "not 1");
        }
        let start = cursor.at();
        let within = |mut malformed: Malformed| {
            malformed.at += start;
            malformed
        };
        let records = checksum::content(cursor.rest()).map_err(within)?;
        Self::decode_records(records).map_err(within)
    }

    fn decode_records(records: &[u8]) -> Result<Self, Malformed> {
        let mut all = Self::default();
        let mut cursor = Cursor::new(records);
        while !cursor.is_empty() {
            let at = cursor.at();
            let reference = cursor.uvarint()?;
            let (min, max) = (cursor.varint()?, cursor.varint()?);
            let id = u32::try_from(reference).map(SeriesId);
            let fault = Fault::Reference { what: "series", reference };
            let id = id.map_err(|_| Malformed { at, fault })?;
            all.intervals.entry(id).or_default().push(Interval { min, max });
            all.records += 1;
        }
        all.intervals.values_mut().for_each(merge);
        Ok(all)
    }

    /// What was deleted of a series: sorted, without overlaps.
    #[must_use]
    pub fn of(&self, id: SeriesId) -> &[Interval] {
        self.intervals.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The series of which something was deleted, in no order.
    pub fn series(&self) -> impl Iterator<Item = SeriesId> {
        self.intervals.keys().copied()
    }

    /// How many records the file holds.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Whether nothing was deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }
}

/// Makes one of those that overlap or touch.
fn merge(intervals: &mut Vec<Interval>) {
    intervals.retain(|interval| interval.min <= interval.max);
    intervals.sort_unstable();
    intervals.dedup_by(|next, kept| {
        let touches = next.min <= kept.max.saturating_add(1);
        if touches {
            kept.max = kept.max.max(next.max);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Series 3 from 10 to 20, series 1 from -1 to 1, series 3 from 15 to 30.
    const FILE: [u8; 18] = [0x01, 0x30, 0xba, 0x30, 1, 3, 20, 40, 1, 1, 2, 3, 30, 60, 0, 0, 0, 0];

    fn file() -> [u8; 18] {
        let mut file = FILE;
        let sum = crc32c::crc32c(&file[5..14]);
        file[14..].copy_from_slice(&sum.to_be_bytes());
        file
    }

    #[test]
    fn records_of_a_series_are_merged() {
        let tombstones = Tombstones::decode(&file()).unwrap();
        assert_eq!(tombstones.of(SeriesId(3)), [Interval { min: 10, max: 30 }]);
        assert_eq!(tombstones.of(SeriesId(1)), [Interval { min: -1, max: 1 }]);
        assert_eq!(tombstones.of(SeriesId(2)), []);
    }

    #[test]
    fn the_nine_bytes_of_prometheus_are_none() {
        let empty = [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0];
        assert!(Tombstones::decode(&empty).unwrap().is_empty());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let file = file();
        for bit in 0..file.len() * 8 {
            let mut flipped = file;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::decode(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..file.len() {
            assert!(Tombstones::decode(&file[..cut]).is_err(), "cut at {cut}");
        }
    }
}
