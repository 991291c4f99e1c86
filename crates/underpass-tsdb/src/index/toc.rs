//! The table of contents: the index' last 52 bytes.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "TOC".

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::Malformed;

/// Bytes of a table of contents, its checksum included.
pub const LEN: u64 = 52;

/// Where the sections of an index start, in bytes. Zero: there is no such section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Toc {
    /// The symbol table.
    pub symbols: u64,
    /// The series.
    pub series: u64,
    /// The label indices, which nothing reads any more.
    pub label_indices: u64,
    /// The label offset table, which nothing reads any more.
    pub label_offset_table: u64,
    /// The postings lists.
    pub postings: u64,
    /// The postings offset table.
    pub postings_table: u64,
}

impl Toc {
    /// Reads it from the index' last [`LEN`] bytes.
    ///
    /// # Errors
    ///
    /// If the checksum is wrong or there are fewer bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(checksum::content(bytes)?);
        Ok(Self {
            symbols: cursor.u64()?,
            series: cursor.u64()?,
            label_indices: cursor.u64()?,
            label_offset_table: cursor.u64()?,
            postings: cursor.u64()?,
            postings_table: cursor.u64()?,
        })
    }

    /// Where the section that starts at `start` ends: where the next one starts, or at `last`,
    /// where the TOC begins.
    #[must_use]
    pub fn end_of(&self, start: u64, last: u64) -> u64 {
        let starts = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_offset_table,
            self.postings,
            self.postings_table,
        ];
        let next = starts.into_iter().filter(|next| *next > start).min();
        next.unwrap_or(last).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_end_where_the_next_one_starts() {
        let toc = Toc {
            symbols: 5,
            series: 100,
            label_indices: 0,
            label_offset_table: 0,
            postings: 400,
            postings_table: 500,
        };
        assert_eq!(toc.end_of(5, 600), 100);
        assert_eq!(toc.end_of(100, 600), 400);
        assert_eq!(toc.end_of(500, 600), 600);
        assert_eq!(toc.end_of(400, 398), 398, "no section goes past the file");
    }
}
