//! The symbol table: every label name and value, once.
//!
//! A symbol's number is its place in the table, which has no index. So the place of every 32nd is
//! kept, as far as one was asked for; a command that reads all series loads the whole table.
//!
//! Source: Prometheus, tsdb/docs/format/index.md, "Symbol Table"; tsdb/index/index.go, `Symbols`.

use std::ops::Range;
use std::sync::{OnceLock, PoisonError, RwLock};

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};

/// Of how many symbols the place of one is kept.
const STEP: u32 = 32;

/// The largest table that is loaded as a whole, in bytes.
const LOADED_MAX: u64 = 64 << 20;

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
    loaded: OnceLock<Option<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Symbols {
    /// Finds the table that starts at byte `start`; nothing but its two lengths is read.
    pub(crate) fn open(
        file: &BlockFile,
        start: u64,
        by_offset: bool,
        window: &mut Window,
    ) -> Result<Self, Damage> {
        let head = file.read(start..start.saturating_add(8), Section::Symbols, window)?;
        let mut cursor = Cursor::new(head);
        let named = |fault| file.damage(start, Section::Symbols, fault);
        let (len, count) = (cursor.u32(), cursor.u32());
        let (Ok(len), Ok(count)) = (len, count) else {
            return Err(named(Fault::Short { wanted: 8, left: 0 }));
        };
        let (first, end) = (start + 8, start + 4 + u64::from(len));
        let wanted = end.saturating_add(checksum::LEN as u64);
        if len < 4 || wanted > file.len() {
            let left = file.len() - start;
            return Err(named(Fault::Short { wanted: wanted - start, left }));
        }
        Ok(Self { range: first..end, count, by_offset, ..Self::default() })
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

    /// Loads the whole table, unless it is larger than 64 MiB: afterwards a look-up is fast.
    pub fn load(&self, file: &BlockFile) {
        self.loaded.get_or_init(|| {
            let fits = !self.by_offset && self.range.end - self.range.start <= LOADED_MAX;
            fits.then(|| self.read_all(file))?
        });
    }

    fn read_all(&self, file: &BlockFile) -> Option<Loaded> {
        let mut window = Window::exact();
        let bytes = file.read(self.range.clone(), Section::Symbols, &mut window).ok()?;
        let mut cursor = Cursor::new(bytes);
        let mut loaded = Loaded { text: Vec::with_capacity(bytes.len()), ends: Vec::new() };
        while !cursor.is_empty() {
            loaded.text.extend_from_slice(cursor.counted().ok()?);
            loaded.ends.push(u32::try_from(loaded.text.len()).ok()?);
        }
        Some(loaded)
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
        if let Some(Some(loaded)) = self.loaded.get() {
            let at = reference as usize;
            let end = loaded.ends.get(at).ok_or_else(|| self.unknown(file, reference))?;
            let start = at.checked_sub(1).map_or(0, |before| loaded.ends[before]);
            return Ok(take(&loaded.text[start as usize..*end as usize]));
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
