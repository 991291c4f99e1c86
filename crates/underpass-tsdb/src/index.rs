//! The index of a block: symbols, series, postings.
//!
//! Opening it reads its first five bytes and its last 52. Whatever of it is damaged, the rest is
//! there: series are found by walking over their entries where postings cannot be read.
//!
//! Source: Prometheus, tsdb/docs/format/index.md (whose "version(1)" is stale: writers write 2),
//! tsdb/index/index.go.

pub mod postings;
mod recover;
pub mod series;
pub mod symbols;
pub mod table;
pub mod toc;
mod walk;

use std::path::Path;
use std::sync::OnceLock;

pub use postings::{Postings, PostingsList};
pub use series::{ChunkMeta, SeriesEntry, SeriesId};
pub use symbols::Symbols;
pub use table::{Table, TableCursor, TableEntry};
pub use toc::Toc;
pub use walk::Walk;

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{Backend, BlockFile, Window};
use crate::labels::Labels;

/// The first four bytes of an index.
pub const MAGIC: u32 = 0xbaaa_d700;

/// Bytes of magic number and version.
pub const HEADER_LEN: u64 = 5;

/// Entries of series start at multiples of this, except in version 1.
const ALIGNMENT: u64 = 16;

/// Bytes of the longest entry that is believed: one of a series with a million chunks.
const ENTRY_MAX: u64 = 16 << 20;

/// Bytes of an entry that are read before its length is known.
const ENTRY_GUESS: usize = 256;

/// An index, open for reading.
#[derive(Debug)]
pub struct Index {
    file: BlockFile,
    version: u8,
    toc: Toc,
    /// Where the TOC begins, or the file ends if there is none.
    end: u64,
    symbols: Symbols,
    table: Table,
    damages: Vec<Damage>,
    table_checked: OnceLock<Result<(), Damage>>,
}

impl Index {
    /// Opens the index at `path`.
    ///
    /// # Errors
    ///
    /// If there is no such file, or the kernel cannot open or map it. Damage is not an
    /// error here: see [`damages`](Self::damages).
    pub fn open(path: &Path, backend: Backend) -> Result<Self, Damage> {
        let file = BlockFile::open(path, backend)?;
        let mut window = Window::exact();
        let mut damages = Vec::new();
        let version = read_header(&file, &mut window, &mut damages);
        let toc = read_toc(&file, &mut window).map_err(|damage| damages.push(damage));
        let (end, is_lost) = (file.len().saturating_sub(toc::LEN), toc.is_err());
        let index = Self::with(file, version, toc.unwrap_or_default(), end, damages);
        if !is_lost {
            return Ok(index);
        }
        let recover::Sections { toc, end } = recover::sections(&index);
        Ok(Self::with(index.file, version, toc, end, index.damages))
    }

    /// An index with its sections at these places.
    fn with(file: BlockFile, version: u8, toc: Toc, end: u64, mut damages: Vec<Damage>) -> Self {
        let (by_offset, mut window) = (version == 1, Window::exact());
        let within = |start| start..toc.end_of(start, end);
        let mut keep = |damage| damages.push(damage);
        let symbols = match toc.symbols {
            0 => Symbols::default(),
            start => Symbols::open(&file, within(start), by_offset, &mut window)
                .map_err(&mut keep)
                .unwrap_or_default(),
        };
        symbols.damage().cloned().map(&mut keep);
        let lists = within(toc.postings);
        let table = match toc.postings_table {
            0 => Table::default(),
            start => Table::open(&file, start, !by_offset, lists, &mut window)
                .map_err(&mut keep)
                .unwrap_or_default(),
        };
        let symbols = symbols.confirmed_by(&table);
        let table_checked = OnceLock::new();
        Self { file, version, toc, end, symbols, table, damages, table_checked }
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &BlockFile {
        &self.file
    }

    /// Its version: 1, 2 or 3. One that is none of these is read as 2.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// Where its sections are.
    #[must_use]
    pub const fn toc(&self) -> &Toc {
        &self.toc
    }

    /// Where the section that starts at `start` ends.
    #[must_use]
    pub fn end_of(&self, start: u64) -> u64 {
        self.toc.end_of(start, self.end)
    }

    /// Where the last section ends: where the TOC begins, or at the file's end if that was cut.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The symbol table.
    #[must_use]
    pub const fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The postings offset table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// What was found damaged when it was opened.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// Entries of series start at multiples of this, in bytes.
    #[must_use]
    pub const fn alignment(&self) -> u64 {
        if self.version == 1 { 1 } else { ALIGNMENT }
    }

    /// Where the entry of a series starts, in bytes.
    #[must_use]
    pub fn offset_of(&self, id: SeriesId) -> u64 {
        u64::from(id.0) * self.alignment()
    }

    /// Reads the entry of a series, whose checksum is compared.
    ///
    /// # Errors
    ///
    /// If there is none at that place, or it is damaged.
    pub fn series(
        &self,
        id: SeriesId,
        window: &mut Window,
        entry: &mut SeriesEntry,
    ) -> Result<(), Damage> {
        self.series_at(self.offset_of(id), ENTRY_MAX, window, entry)
    }

    fn series_at(
        &self,
        start: u64,
        most: u64,
        window: &mut Window,
        entry: &mut SeriesEntry,
    ) -> Result<(), Damage> {
        let (section, path) = (Section::Series, self.file.path());
        let malformed = |wrong: crate::Malformed| wrong.within(path, start, section);
        let head = self.file.read_up_to(start, ENTRY_GUESS, section, window)?;
        let mut cursor = Cursor::new(head);
        let len = cursor.uvarint().map_err(malformed)?;
        let (before, rest) = (cursor.at(), len.saturating_add(checksum::LEN as u64));
        let end = (start + before as u64).saturating_add(rest);
        if len > most {
            let left = self.end.saturating_sub(start);
            return Err(self.file.damage(start, section, Fault::Short { wanted: rest, left }));
        }
        let bytes = self.file.read(start..end, section, window)?;
        let body = checksum::content(&bytes[before..])
            .map_err(|wrong| self.file.or_lost(malformed(wrong), end))?;
        entry.len = before as u64 + rest;
        entry.decode(body).map_err(|mut wrong| {
            wrong.at += before;
            malformed(wrong)
        })
    }

    /// All series by walking over their entries, for which no postings are needed.
    #[must_use]
    pub fn walk(&self) -> Walk {
        let end = self.end_of(self.toc.series);
        let at = if self.toc.series == 0 { end } else { self.toc.series.min(end) };
        Walk { at, end }
    }

    /// The same from the entry that ends at byte `end` on.
    #[must_use]
    pub(crate) fn walk_from(&self, end: u64) -> Walk {
        let walk = self.walk();
        Walk { at: walk.at.max(end), ..walk }
    }

    /// The labels of an entry, over what was there.
    ///
    /// # Errors
    ///
    /// If a symbol does not exist or cannot be read.
    pub fn labels(
        &self,
        entry: &SeriesEntry,
        window: &mut Window,
        labels: &mut Labels,
    ) -> Result<(), Damage> {
        labels.clear();
        for &(name, value) in &entry.labels {
            for symbol in [name, value] {
                let take = |text: &[u8]| labels.push_text(text);
                self.symbols.get(&self.file, symbol, window, take)?;
            }
        }
        Ok(())
    }

    /// The series that have a label; `None` if there is none. `("", "")` are all series.
    ///
    /// # Errors
    ///
    /// If the table or the list is damaged. A table or a list of more than 1 MiB is believed; see
    /// [`verify_table`](Self::verify_table).
    pub fn postings(
        &self,
        name: &[u8],
        value: &[u8],
        window: &mut Window,
    ) -> Result<Option<PostingsList>, Damage> {
        self.check_table()?;
        let Some(offset) = self.table.find(&self.file, name, value)? else {
            // What is not there must not be what a damaged entry hides.
            return self.verify_table().map(|()| None);
        };
        PostingsList::open(&self.file, offset, window).map(Some)
    }

    /// Compares the checksum of a small postings offset table once, before it is used first.
    ///
    /// # Errors
    ///
    /// If it is wrong.
    pub fn check_table(&self) -> Result<(), Damage> {
        if self.table.bytes() > postings::VERIFIED_MAX {
            return Ok(());
        }
        self.verify_table()
    }

    /// Compares the checksum of the postings offset table once, however large it is, and looks at
    /// the order of its first entries.
    ///
    /// # Errors
    ///
    /// If one of them is wrong, or the table was not found when the index was opened.
    pub fn verify_table(&self) -> Result<(), Damage> {
        let missing = || {
            let found = self
                .damages
                .iter()
                .find(|damage| matches!(damage.section, Section::Toc | Section::PostingsTable));
            found.cloned().map_or(Ok(()), Err)
        };
        let verify = || {
            if self.table == Table::default() {
                return missing();
            }
            self.table.verify(&self.file, &mut Window::ahead(Window::AHEAD))?;
            self.table.check_order(&self.file)
        };
        self.table_checked.get_or_init(verify).clone()
    }
}

fn read_header(file: &BlockFile, window: &mut Window, damages: &mut Vec<Damage>) -> u8 {
    let named = |offset, fault| file.damage(offset, Section::Header, fault);
    let bytes = match file.read(0..HEADER_LEN, Section::Header, window) {
        Ok(bytes) => bytes,
        Err(damage) => {
            damages.push(damage);
            return 2;
        }
    };
    let mut cursor = Cursor::new(bytes);
    let (magic, version) = (cursor.u32().unwrap_or(0), cursor.u8().unwrap_or(0));
    if magic != MAGIC {
        let (what, wanted) = ("the magic number", "not 0xbaaad700 of an index");
        damages.push(named(0, Fault::Value { what, found: magic.into(), wanted }));
    }
    if matches!(version, 1..=3) {
        return version;
    }
    let (what, wanted) = ("the version", "not 1, 2 or 3; it is read as 2");
    damages.push(named(4, Fault::Value { what, found: version.into(), wanted }));
    2
}

fn read_toc(file: &BlockFile, window: &mut Window) -> Result<Toc, Damage> {
    let start = file.len().saturating_sub(toc::LEN);
    let bytes = file.read(start..file.len(), Section::Toc, window)?;
    let toc = Toc::decode(bytes);
    toc.map_err(|wrong| file.or_lost(wrong.within(file.path(), start, Section::Toc), file.len()))
}

/// Compares the checksum of a section that starts with its length in four bytes at `start`.
pub(crate) fn verify_section(
    file: &BlockFile,
    start: u64,
    section: Section,
    window: &mut Window,
) -> Result<(), Damage> {
    let len = u64::from(read_u32(file, start, section, window)?);
    let (mut at, end) = (start + 4, start + 4 + len);
    let mut computed = 0;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(Window::AHEAD);
        let bytes = file.read_up_to(at, most, section, window)?;
        if bytes.is_empty() {
            let (wanted, left) = (end - at, 0);
            return Err(file.damage(at, section, Fault::Short { wanted, left }));
        }
        computed = crc32c::crc32c_append(computed, bytes);
        at += bytes.len() as u64;
    }
    let stored = read_u32(file, end, section, window)?;
    if stored == computed {
        return Ok(());
    }
    Err(file.or_lost(file.damage(start, section, Fault::Checksum { stored, computed }), end))
}

fn read_u32(
    file: &BlockFile,
    start: u64,
    section: Section,
    window: &mut Window,
) -> Result<u32, Damage> {
    let bytes = file.read(start..start.saturating_add(4), section, window)?;
    Ok(u32::from_be_bytes(bytes.try_into().unwrap_or_default()))
}
