//! The postings offset table: for each label pair, where its postings list is.
//!
//! Entries have no index and no fixed length, but in versions 2 and 3 they are sorted by name and
//! value. So a pair is found by bisection on the file itself: from any byte the next entry is found
//! as the place from which several entries in a row make sense. Version 1 is not sorted, and is
//! scanned.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Postings Offset Table"; tsdb/index/index.go,
//! `ReadPostingsOffsetTable`.

use std::ops::Range;

use super::PostingsList;
use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Malformed, Section};
use crate::file::{BlockFile, Window};

/// A table up to this size is scanned rather than bisected, in bytes.
const SCANNED: u64 = 4 << 10;

/// Bytes in which the start of an entry must be found.
const SYNC_BYTES: usize = 8 << 10;

/// Entries in a row that must make sense.
const SYNC_ENTRIES: usize = 6;

/// Entries in a row whose lists must be behind one another.
const BELIEVED_ENTRIES: usize = 3;

/// Entries whose order is looked at before the table is searched.
const ORDER_ENTRIES: usize = 64;

/// Every entry has a name and a value.
const KEYS: u8 = 2;

/// A label pair and the offset of its postings list. The pair of two empty strings is all series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableEntry<'a> {
    /// The label's name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Where the list starts, in bytes.
    pub offset: u64,
}

impl<'a> TableEntry<'a> {
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let at = cursor.at();
        let keys = cursor.u8()?;
        if keys != KEYS {
            let (what, wanted) = ("the count of keys", "not 2");
            return Err(Malformed { at, fault: Fault::Value { what, found: keys.into(), wanted } });
        }
        Ok(Self { name: cursor.counted()?, value: cursor.counted()?, offset: cursor.uvarint()? })
    }

    const fn key(&self) -> (&'a [u8], &'a [u8]) {
        (self.name, self.value)
    }
}

/// Where the table is in an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The entries, lengths and checksum left out.
    range: Range<u64>,
    count: u32,
    is_sorted: bool,
    /// Where postings lists are.
    lists: Range<u64>,
}

impl Table {
    /// Finds the table that starts at byte `start`; nothing but its two lengths is read.
    pub(crate) fn open(
        file: &BlockFile,
        start: u64,
        is_sorted: bool,
        lists: Range<u64>,
        window: &mut Window,
    ) -> Result<Self, Damage> {
        let section = Section::PostingsTable;
        let mut cursor = Cursor::new(file.read(start..start.saturating_add(8), section, window)?);
        let named = |fault| file.damage(start, section, fault);
        let (Ok(len), Ok(count)) = (cursor.u32(), cursor.u32()) else {
            return Err(named(Fault::Short { wanted: 8, left: 0 }));
        };
        let (wanted, left) = (u64::from(len) + 4 + checksum::LEN as u64, file.len() - start);
        if len < 4 || wanted > left {
            return Err(named(Fault::Short { wanted, left }));
        }
        Ok(Self { range: start + 8..start + 4 + u64::from(len), count, is_sorted, lists })
    }

    /// How many entries there are, as the table says.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the table, lengths and checksum included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.range.end - self.range.start) + 12
    }

    /// Compares the table's checksum.
    ///
    /// # Errors
    ///
    /// If it is wrong.
    pub fn verify(&self, file: &BlockFile, window: &mut Window) -> Result<(), Damage> {
        if self.range.is_empty() && self.count == 0 {
            return Ok(());
        }
        super::verify_section(file, self.range.start - 8, Section::PostingsTable, window)
    }

    /// Looks at the order of the first entries, which a search relies on. It tells an index of
    /// version 1 whose version was changed: its table is not sorted.
    ///
    /// # Errors
    ///
    /// If they are not sorted.
    pub(crate) fn check_order(&self, file: &BlockFile) -> Result<(), Damage> {
        let mut cursor = self.entries();
        let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
        for _ in 0..ORDER_ENTRIES {
            let at = cursor.at();
            let Some(entry) = cursor.peek(file)?.filter(|_| self.is_sorted) else { break };
            let key = (entry.name.to_vec(), entry.value.to_vec());
            if last.is_some_and(|last| last >= key) {
                return Err(file.damage(at, Section::PostingsTable, Fault::Order("entries")));
            }
            last = Some(key);
            cursor.advance();
        }
        Ok(())
    }

    /// All entries, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> TableCursor {
        TableCursor::from(self.range.start, self.range.end)
    }

    /// The entries from the first on that is not before this pair. In version 1: all entries.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn seek(&self, file: &BlockFile, name: &[u8], value: &[u8]) -> Result<TableCursor, Damage> {
        if !self.is_sorted {
            return Ok(self.entries());
        }
        let mut window = Window::exact();
        let (mut low, mut high) = (self.range.start, self.range.end);
        while high - low > SCANNED {
            let middle = low + (high - low) / 2;
            match self.sync(file, middle, high, &mut window)? {
                Some((start, key)) if (key.0.as_slice(), key.1.as_slice()) < (name, value) => {
                    low = start;
                }
                Some(_) | None => high = middle,
            }
        }
        if low != self.range.start && !self.is_believable(file, low, &mut window) {
            low = self.range.start;
        }
        let mut cursor = TableCursor::from(low, self.range.end);
        while cursor.peek(file)?.is_some_and(|entry| entry.key() < (name, value)) {
            cursor.advance();
        }
        Ok(cursor)
    }

    /// Whether the entry at byte `at`, which was found from a byte in the middle, is one.
    ///
    /// A label value can hold what looks like entries. Where their lists are it cannot know:
    /// writers put the lists behind one another in the order of the table.
    fn is_believable(&self, file: &BlockFile, at: u64, window: &mut Window) -> bool {
        let mut cursor = TableCursor::from(at, self.range.end);
        let mut next_list = None;
        for _ in 0..BELIEVED_ENTRIES {
            let Ok(entry) = cursor.peek(file) else { return false };
            let Some(TableEntry { offset, .. }) = entry else { break };
            let Ok(list) = PostingsList::find(file, offset, window) else { return false };
            if next_list.is_some_and(|next| next != offset) {
                return false;
            }
            next_list = Some(offset + list.bytes());
            cursor.advance();
        }
        true
    }

    /// The first entry that starts at byte `from` or after it, and its key.
    #[expect(clippy::type_complexity, reason = "a place and a pair of strings")]
    fn sync(
        &self,
        file: &BlockFile,
        from: u64,
        end: u64,
        window: &mut Window,
    ) -> Result<Option<(u64, (Vec<u8>, Vec<u8>))>, Damage> {
        let most = usize::try_from(self.range.end - from).unwrap_or(SYNC_BYTES).min(SYNC_BYTES);
        let reaches_end = from + most as u64 == self.range.end;
        let bytes = file.read_up_to(from, most, Section::PostingsTable, window)?;
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == KEYS) {
            let start = from + at as u64;
            if start >= end {
                break;
            }
            if let Some(entry) = self.first_of_row(&bytes[at..], reaches_end) {
                return Ok(Some((start, (entry.name.to_vec(), entry.value.to_vec()))));
            }
        }
        Ok(None)
    }

    /// The entry at the start of `bytes`, if those that follow it make sense too.
    fn first_of_row<'b>(&self, bytes: &'b [u8], reaches_end: bool) -> Option<TableEntry<'b>> {
        let mut cursor = Cursor::new(bytes);
        let first = self.sensible(&mut cursor)?;
        let mut last = first;
        for _ in 1..SYNC_ENTRIES {
            if cursor.is_empty() && reaches_end {
                break;
            }
            let next = self.sensible(&mut cursor)?;
            if next.key() <= last.key() {
                return None;
            }
            last = next;
        }
        Some(first)
    }

    fn sensible<'b>(&self, cursor: &mut Cursor<'b>) -> Option<TableEntry<'b>> {
        let entry = TableEntry::decode(cursor).ok()?;
        (self.lists.contains(&entry.offset) && entry.offset % 4 == 0).then_some(entry)
    }

    /// Where the postings list of a pair is; `None` if no series has it.
    ///
    /// # Errors
    ///
    /// If the table is damaged where it was read.
    pub fn find(&self, file: &BlockFile, name: &[u8], value: &[u8]) -> Result<Option<u64>, Damage> {
        let mut cursor = self.seek(file, name, value)?;
        while let Some(entry) = cursor.peek(file)? {
            if entry.key() == (name, value) {
                return Ok(Some(entry.offset));
            }
            if self.is_sorted {
                break;
            }
            cursor.advance();
        }
        Ok(None)
    }
}

/// A place in the table, from which entries are read one after the other.
#[derive(Debug)]
pub struct TableCursor {
    at: u64,
    end: u64,
    /// The entry at this place, once it was looked at.
    found: Option<Found>,
    window: Window,
}

/// An entry, by the lengths of its parts.
#[derive(Debug, Clone, Copy)]
struct Found {
    name_start: usize,
    name_end: usize,
    value_start: usize,
    value_end: usize,
    len: usize,
    offset: u64,
}

impl Found {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let entry = TableEntry::decode(&mut cursor)?;
        let start = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
        let (name_start, value_start) = (start(entry.name), start(entry.value));
        Ok(Self {
            name_start,
            name_end: name_start + entry.name.len(),
            value_start,
            value_end: value_start + entry.value.len(),
            len: cursor.at(),
            offset: entry.offset,
        })
    }
}

impl TableCursor {
    fn from(at: u64, end: u64) -> Self {
        Self { at, end, found: None, window: Window::ahead(64 << 10) }
    }

    /// The entry at this place; `None` at the end. Looking again gives the same.
    ///
    /// # Errors
    ///
    /// If the bytes here do not make an entry.
    pub fn peek(&mut self, file: &BlockFile) -> Result<Option<TableEntry<'_>>, Damage> {
        if self.at >= self.end {
            return Ok(None);
        }
        let found = match self.found {
            Some(found) => found,
            None => self.look(file)?,
        };
        let range = self.at..self.at + found.len as u64;
        let bytes = file.read(range, Section::PostingsTable, &mut self.window)?;
        let name = &bytes[found.name_start..found.name_end];
        let value = &bytes[found.value_start..found.value_end];
        Ok(Some(TableEntry { name, value, offset: found.offset }))
    }

    /// Reads on until the whole entry is there.
    fn look(&mut self, file: &BlockFile) -> Result<Found, Damage> {
        let section = Section::PostingsTable;
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let mut wanted = most.min(512);
        loop {
            let bytes = file.read_up_to(self.at, wanted, section, &mut self.window)?;
            match Found::decode(bytes) {
                Ok(found) => return Ok(*self.found.insert(found)),
                Err(Malformed { fault: Fault::Short { .. }, .. }) if wanted < most => {
                    wanted = most.min(wanted * 8);
                }
                Err(malformed) => return Err(malformed.within(file.path(), self.at, section)),
            }
        }
    }

    /// Goes past the entry that was looked at.
    pub fn advance(&mut self) {
        self.at += self.found.take().map_or(0, |found| found.len as u64);
    }

    /// Where the entry is in the file.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }
}
