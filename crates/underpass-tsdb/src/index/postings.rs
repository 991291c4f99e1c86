//! A postings list: the series that have a label, in ascending order.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Postings".

use super::series::SeriesId;
use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};

/// Up to this many bytes a list's checksum is compared before its first use.
pub(crate) const VERIFIED_MAX: u64 = 1 << 20;

/// Bytes of a list that are read at a time.
const STRIDE: usize = 16 << 10;

/// Where a list is in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostingsList {
    /// Of its first series, in the file.
    start: u64,
    count: u32,
}

impl PostingsList {
    /// Finds the list at byte `offset`, and compares its checksum unless it is large.
    ///
    /// # Errors
    ///
    /// If the lengths contradict each other or the file, or the checksum is wrong.
    pub(crate) fn open(file: &BlockFile, offset: u64, window: &mut Window) -> Result<Self, Damage> {
        let list = Self::find(file, offset, window)?;
        if list.bytes() <= VERIFIED_MAX {
            list.verify(file, window)?;
        }
        Ok(list)
    }

    /// The same without the checksum.
    pub(crate) fn find(file: &BlockFile, offset: u64, window: &mut Window) -> Result<Self, Damage> {
        let head = file.read(offset..offset.saturating_add(8), Section::Postings, window)?;
        let mut cursor = Cursor::new(head);
        let named = |fault| file.damage(offset, Section::Postings, fault);
        let (Ok(len), Ok(count)) = (cursor.u32(), cursor.u32()) else {
            return Err(named(Fault::Short { wanted: 8, left: 0 }));
        };
        if u64::from(len) != 4 + 4 * u64::from(count) {
            let wanted = "not 4 bytes for the count and 4 for each series";
            let what = "the length";
            return Err(named(Fault::Value { what, found: len.into(), wanted }));
        }
        let list = Self { start: offset + 8, count };
        let (wanted, left) = (list.bytes(), file.len() - offset);
        if wanted > left {
            return Err(named(Fault::Short { wanted, left }));
        }
        Ok(list)
    }

    /// Compares the list's checksum.
    ///
    /// # Errors
    ///
    /// If it is wrong.
    pub fn verify(&self, file: &BlockFile, window: &mut Window) -> Result<(), Damage> {
        super::verify_section(file, self.start - 8, Section::Postings, window)
    }

    /// How many series there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes in the file, lengths and checksum included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        8 + 4 * self.count as u64 + checksum::LEN as u64
    }

    /// The series, from the first on.
    #[must_use]
    pub fn iter<'f>(&self, file: &'f BlockFile) -> Postings<'f> {
        Postings { file, list: *self, at: 0, window: Window::ahead(STRIDE) }
    }
}

/// The series of a list, one after the other, read as they are asked for.
#[derive(Debug)]
pub struct Postings<'f> {
    file: &'f BlockFile,
    list: PostingsList,
    /// Of the next series in the list.
    at: u32,
    window: Window,
}

impl Postings<'_> {
    /// How many are left.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.list.count - self.at
    }

    /// The next series.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn next_id(&mut self) -> Result<Option<SeriesId>, Damage> {
        if self.at >= self.list.count {
            return Ok(None);
        }
        let id = self.id(self.at)?;
        self.at += 1;
        Ok(Some(id))
    }

    /// The next series that is not before `least`; those between are passed over. Steps double, so
    /// that of a long list little is read.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn seek(&mut self, least: SeriesId) -> Result<Option<SeriesId>, Damage> {
        let (mut step, mut low) = (1_u32, self.at);
        let mut high = self.at;
        while high < self.list.count && self.id(high)? < least {
            low = high + 1;
            high = high.saturating_add(step);
            step = step.saturating_mul(2);
        }
        let mut end = high.min(self.list.count);
        while low < end {
            let middle = low + (end - low) / 2;
            match self.id(middle)? < least {
                true => low = middle + 1,
                false => end = middle,
            }
        }
        self.at = low;
        self.next_id()
    }

    fn id(&mut self, at: u32) -> Result<SeriesId, Damage> {
        let start = self.list.start + 4 * u64::from(at);
        let bytes = self.file.read(start..start + 4, Section::Postings, &mut self.window)?;
        Ok(SeriesId(u32::from_be_bytes(bytes.try_into().unwrap_or_default())))
    }
}
