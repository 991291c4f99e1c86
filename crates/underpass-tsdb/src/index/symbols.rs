//! The symbol table: every label name and value, once.
//!
//! A symbol's number is its place in the table, which has no index. So the place of every 32nd is
//! kept, as far as one was asked for; a command that reads many series loads the whole table, and
//! so does every command that reads a small one. A table that is loaded has its checksum compared;
//! of a damaged one what the postings offset table confirms is used (`recover/symbols.rs`).
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Symbol Table"; tsdb/index/index.go, `Symbols`.

use std::ops::Range;
use std::sync::{OnceLock, PoisonError, RwLock};

use super::recover::symbols::{Known, Symbol, at, recover};
use super::table::Table;
use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};

/// Of how many symbols the place of one is kept.
const STEP: u32 = 32;

/// The largest table that is loaded as a whole, in bytes.
const LOADED_MAX: u64 = 64 << 20;

/// A table up to this size is loaded whatever is asked of it.
const SMALL: u64 = 1 << 20;

/// A table up to this size is compared with its checksum whatever is asked of it: some 2 ms.
const CHECKED_MAX: u64 = 16 << 20;

/// With more series than this, every table is loaded.
const MANY: u64 = 1024;

/// The largest damaged table that is looked through for what is left of it, in bytes.
const RECOVERED_MAX: u64 = 1 << 30;

/// Bytes read at a time while places are looked for.
const STRIDE: usize = 64 << 10;

/// The symbols of an index.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Where they are in the file, count and checksum left out.
    range: Range<u64>,
    count: u32,
    /// In version 1 a symbol's number is its offset in the file.
    by_offset: bool,
    places: RwLock<Vec<u64>>,
    loaded: OnceLock<Loaded>,
    checked: OnceLock<bool>,
    /// Where strings of a damaged table are found as well.
    table: Table,
    /// Where the next section starts.
    end: u64,
    /// What was wrong with its length.
    length: Option<Damage>,
}

#[derive(Debug)]
enum Loaded {
    /// All of them, one behind the other.
    Whole { text: Vec<u8>, ends: Vec<u32> },
    /// The table is too large for that, and its checksum is right.
    Sound,
    /// What is left of a damaged table.
    Recovered { symbols: Vec<Symbol>, damage: Damage },
}

impl Symbols {
    /// Finds the table in the bytes `section` of the file; nothing but its two lengths is read. If
    /// these are wrong, the table is taken to end with the section.
    pub(crate) fn open(
        file: &BlockFile,
        section: Range<u64>,
        by_offset: bool,
        window: &mut Window,
    ) -> Result<Self, Damage> {
        let start = section.start;
        let head = file.read(start..start.saturating_add(8), Section::Symbols, window)?;
        let mut cursor = Cursor::new(head);
        let named = |fault| file.damage(start, Section::Symbols, fault);
        let (len, count) = (cursor.u32(), cursor.u32());
        let (Ok(len), Ok(count)) = (len, count) else {
            return Err(named(Fault::Short { wanted: 8, left: 0 }));
        };
        let (wanted, left) = (u64::from(len) + 8, section.end.saturating_sub(start));
        let fits = len >= 4 && wanted <= left;
        let length = (!fits).then(|| named(Fault::Short { wanted, left }));
        let end = if fits { start + 4 + u64::from(len) } else { section.end.saturating_sub(4) };
        let range = start + 8..end.max(start + 8);
        Ok(Self { range, count, by_offset, end: section.end, length, ..Self::default() })
    }

    /// Where strings of a damaged table are found as well.
    pub(crate) fn confirmed_by(self, table: &Table) -> Self {
        Self { table: table.clone(), ..self }
    }

    /// What is wrong with its length.
    pub(crate) const fn damage(&self) -> Option<&Damage> {
        self.length.as_ref()
    }

    /// How many there are, as the table says.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the table, lengths and checksum included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.range.end - self.range.start) + 12
    }

    /// Where the symbols are in the file, lengths and checksum left out.
    #[must_use]
    pub const fn range(&self) -> &Range<u64> {
        &self.range
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
        super::verify_section(file, self.range.start - 8, Section::Symbols, window)
    }

    /// Loads the whole table before symbols of `series` series are looked up, unless that would be
    /// slower than to look them up, or the table is larger than 64 MiB.
    ///
    /// # Errors
    ///
    /// If the table is damaged. What can be known of it is there, and is used.
    pub fn load(&self, file: &BlockFile, series: u64) -> Result<(), Damage> {
        let is_few = series <= MANY && self.bytes() > SMALL && self.length.is_none();
        if is_few && (self.bytes() > CHECKED_MAX || self.is_checked(file)) {
            return Ok(());
        }
        let loaded = self.loaded.get_or_init(|| {
            let read = self.length.clone().map_or_else(|| self.read_all(file), Err);
            read.unwrap_or_else(|damage| self.recover(file, damage))
        });
        match loaded {
            Loaded::Recovered { damage, .. } => Err(damage.clone()),
            Loaded::Whole { .. } | Loaded::Sound => Ok(()),
        }
    }

    /// Whether the checksum of the table is right, which is computed once.
    fn is_checked(&self, file: &BlockFile) -> bool {
        let check = || self.verify(file, &mut Window::ahead(Window::AHEAD)).is_ok();
        *self.checked.get_or_init(check)
    }

    fn read_all(&self, file: &BlockFile) -> Result<Loaded, Damage> {
        let mut window = Window::exact();
        if self.by_offset || self.range.end - self.range.start > LOADED_MAX {
            return self.verify(file, &mut Window::ahead(Window::AHEAD)).map(|()| Loaded::Sound);
        }
        if self.range.is_empty() && self.count == 0 {
            return Ok(Loaded::Sound);
        }
        let (start, end) = (self.range.start - 4, self.range.end + checksum::LEN as u64);
        let bytes = file.read(start..end, Section::Symbols, &mut window)?;
        let wrong = |wrong: crate::Malformed, at| wrong.within(file.path(), at, Section::Symbols);
        let content = checksum::content(bytes)
            .map_err(|damage| file.or_lost(wrong(damage, self.range.start - 8), end))?;
        let mut cursor = Cursor::new(&content[4..]);
        let (mut text, mut ends) = (Vec::with_capacity(content.len()), Vec::new());
        while !cursor.is_empty() {
            let symbol = cursor.counted().map_err(|damage| wrong(damage, self.range.start))?;
            text.extend_from_slice(symbol);
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Ok(Loaded::Whole { text, ends })
    }

    fn recover(&self, file: &BlockFile, damage: Damage) -> Loaded {
        let mut window = Window::exact();
        // Its length may be what is damaged.
        let end = self.end.saturating_sub(checksum::LEN as u64).max(self.range.end);
        let end = end.min(self.range.start + RECOVERED_MAX).min(file.len());
        let bytes = file.read(self.range.start..end, Section::Symbols, &mut window);
        let known = self.known(file).unwrap_or_default();
        let symbols = bytes.map(|bytes| recover(bytes, self.count as usize, &known));
        Loaded::Recovered { symbols: symbols.unwrap_or_default(), damage }
    }

    /// All names and values of the postings offset table.
    fn known(&self, file: &BlockFile) -> Result<Known, Damage> {
        self.table.verify(file, &mut Window::ahead(Window::AHEAD))?;
        let (mut known, mut cursor) = (Known::new(), self.table.entries());
        while let Some(entry) = cursor.peek(file)? {
            for text in [entry.name, entry.value].into_iter().filter(|text| !text.is_empty()) {
                if !known.contains(text) {
                    known.insert(text.into());
                }
            }
            cursor.advance();
        }
        Ok(known)
    }

    /// Hands symbol `reference` to `take`.
    ///
    /// # Errors
    ///
    /// If there is no such symbol, or the table is damaged on the way to it.
    pub fn get<T>(
        &self,
        file: &BlockFile,
        reference: u32,
        window: &mut Window,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Damage> {
        match self.loaded.get() {
            Some(Loaded::Whole { text, ends }) => {
                let at = reference as usize;
                let end = ends.get(at).ok_or_else(|| self.unknown(file, reference))?;
                let start = at.checked_sub(1).map_or(0, |before| ends[before]);
                return Ok(take(&text[start as usize..*end as usize]));
            }
            Some(Loaded::Recovered { symbols, damage }) => {
                let found = self.recovered(symbols, reference);
                return found.map(take).ok_or_else(|| damage.clone());
            }
            Some(Loaded::Sound) | None => {}
        }
        let start = match self.by_offset {
            true => u64::from(reference),
            false => self.start_of(file, reference, window)?,
        };
        if !self.range.contains(&start) {
            return Err(self.unknown(file, reference));
        }
        self.at(file, start, window).map(take)
    }

    fn recovered<'s>(&self, symbols: &'s [Symbol], reference: u32) -> Option<&'s [u8]> {
        if self.by_offset {
            let start = u64::from(reference).checked_sub(self.range.start)?;
            return at(symbols, usize::try_from(start).ok()?);
        }
        symbols.get(reference as usize)?.text.as_deref()
    }

    fn unknown(&self, file: &BlockFile, reference: u32) -> Damage {
        let fault = Fault::Reference { what: "symbol", reference: reference.into() };
        file.damage(self.range.start, Section::Symbols, fault)
    }

    /// The symbol whose length is at byte `start`.
    fn at<'w>(
        &self,
        file: &BlockFile,
        start: u64,
        window: &'w mut Window,
    ) -> Result<&'w [u8], Damage> {
        let most = |len: u64| usize::try_from(len.min(self.range.end - start)).unwrap_or(0);
        let head = file.read_up_to(start, most(256), Section::Symbols, window)?;
        let mut cursor = Cursor::new(head);
        let malformed =
            |wrong: crate::Malformed| wrong.within(file.path(), start, Section::Symbols);
        let len = cursor.uvarint().map_err(malformed)?;
        let wanted = len.saturating_add(cursor.at() as u64);
        let bytes = file.read_up_to(start, most(wanted), Section::Symbols, window)?;
        Cursor::new(bytes).counted().map_err(malformed)
    }

    /// Where symbol `reference` starts.
    fn start_of(
        &self,
        file: &BlockFile,
        reference: u32,
        window: &mut Window,
    ) -> Result<u64, Damage> {
        if reference >= self.count {
            return Err(self.unknown(file, reference));
        }
        let wanted = (reference / STEP) as usize;
        let known = self.places.read().unwrap_or_else(PoisonError::into_inner).get(wanted).copied();
        let near = known.map_or_else(|| self.find_place(file, wanted), Ok)?;
        self.skip(file, near, reference % STEP, window)
    }

    /// Where the symbol `count` behind the one at `start` starts.
    fn skip(
        &self,
        file: &BlockFile,
        start: u64,
        count: u32,
        window: &mut Window,
    ) -> Result<u64, Damage> {
        let mut at = start;
        for _ in 0..count {
            let most = usize::try_from(self.range.end.saturating_sub(at)).unwrap_or(STRIDE);
            let head = file.read_up_to(at, most.min(10), Section::Symbols, window)?;
            let mut cursor = Cursor::new(head);
            let len = cursor
                .uvarint()
                .map_err(|wrong| wrong.within(file.path(), at, Section::Symbols))?;
            at = at.saturating_add(len).saturating_add(cursor.at() as u64);
        }
        Ok(at)
    }

    /// Finds further places until the one with this number is known.
    fn find_place(&self, file: &BlockFile, wanted: usize) -> Result<u64, Damage> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            places.push(self.range.start);
        }
        let mut window = Window::ahead(STRIDE);
        while places.len() <= wanted {
            let last = places[places.len() - 1];
            places.push(self.skip(file, last, STEP, &mut window)?);
        }
        Ok(places[wanted])
    }
}
