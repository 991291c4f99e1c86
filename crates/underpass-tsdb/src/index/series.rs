//! A series entry: the symbols of its labels, and its chunks.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Series"; tsdb/index/index.go, `Decoder.Series`.

use crate::cursor::Cursor;
use crate::damage::{Fault, Malformed};

/// A series of one index: where its entry is. In versions 2 and 3 entries start at multiples of 16
/// bytes, and this counts those; in version 1 it counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// A chunk as its series' entry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Of its first sample, in milliseconds since 1970.
    pub min_time: i64,
    /// Of its last sample.
    pub max_time: i64,
    /// The segment, counted from 0, in the upper 32 bits; the offset in it in the lower ones.
    pub reference: u64,
}

/// What a series' entry says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesEntry {
    /// Symbols of names and values, in the order of the names.
    pub labels: Vec<(u32, u32)>,
    /// Its chunks, in the order of time.
    pub chunks: Vec<ChunkMeta>,
    /// Bytes of the entry in the index, length and checksum included.
    pub len: u64,
}

impl SeriesEntry {
    /// Reads the body of an entry, whose checksum was checked, over what was there.
    ///
    /// # Errors
    ///
    /// If the body ends too early, or has more behind its last chunk. What was read is kept.
    pub fn decode(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.labels.clear();
        self.chunks.clear();
        let mut cursor = Cursor::new(body);
        for _ in 0..cursor.uvarint()? {
            let name = symbol(&mut cursor)?;
            self.labels.push((name, symbol(&mut cursor)?));
        }
        let count = cursor.uvarint()?;
        if count > 0 {
            self.decode_chunks(&mut cursor, count)?;
        }
        if cursor.is_empty() {
            return Ok(());
        }
        let found = cursor.rest().len() as i128;
        Err(cursor.malformed(Fault::Value {
            what: "the count of bytes behind the last chunk",
            found,
            wanted: "not 0",
        }))
    }

    fn decode_chunks(&mut self, cursor: &mut Cursor<'_>, count: u64) -> Result<(), Malformed> {
        let min_time = cursor.varint()?;
        let max_time = min_time.wrapping_add_unsigned(cursor.uvarint()?);
        let mut last = ChunkMeta { min_time, max_time, reference: cursor.uvarint()? };
        self.chunks.push(last);
        for _ in 1..count {
            let min_time = last.max_time.wrapping_add_unsigned(cursor.uvarint()?);
            let max_time = min_time.wrapping_add_unsigned(cursor.uvarint()?);
            let reference = last.reference.wrapping_add_signed(cursor.varint()?);
            last = ChunkMeta { min_time, max_time, reference };
            self.chunks.push(last);
        }
        Ok(())
    }
}

fn symbol(cursor: &mut Cursor<'_>) -> Result<u32, Malformed> {
    let at = cursor.at();
    let reference = cursor.uvarint()?;
    u32::try_from(reference)
        .map_err(|_| Malformed { at, fault: Fault::Reference { what: "symbol", reference } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_times_and_references_that_its_deltas_add_up_to() {
        // Two labels (1: 2, 3: 4), two chunks: [1000, 1015] at 8, [1030, 1040] at 7 before it.
        let body = [2, 1, 2, 3, 4, 2, 0xd0, 0x0f, 15, 8, 15, 10, 13];
        let mut entry = SeriesEntry::default();
        entry.decode(&body).unwrap();
        assert_eq!(entry.labels, [(1, 2), (3, 4)]);
        let chunk = |min_time, max_time, reference| ChunkMeta { min_time, max_time, reference };
        assert_eq!(entry.chunks, [chunk(1000, 1015, 8), chunk(1030, 1040, 1)]);
    }

    #[test]
    fn a_body_that_is_cut_anywhere_or_too_long_is_malformed() {
        let body = [2, 1, 2, 3, 4, 2, 0xd0, 0x0f, 15, 8, 15, 10, 13, 99];
        let mut entry = SeriesEntry::default();
        for cut in 0..body.len() - 1 {
            let error = entry.decode(&body[..cut]).unwrap_err();
            assert!(error.at <= cut, "{cut}: {error}");
        }
        assert_eq!(entry.decode(&body).unwrap_err().at, 13);
        let count_of_labels = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert!(entry.decode(&count_of_labels).is_err());
    }
}
