//! The symbol table: its checksum, its order, and a number for each symbol.

use super::walk::{Piece, Sectioned, section};
use super::{Checks, sum};
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};
use crate::index::Index;

/// A number for each symbol of an index, by which labels are compared without their text.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    numbers: Vec<u64>,
    /// In version 1, where each symbol is: references are offsets.
    places: Vec<u64>,
    by_offset: bool,
    /// Whether every symbol is what its writer wrote.
    pub(super) is_sound: bool,
}

impl Symbols {
    /// The number of the symbol with this reference; `None` if there is none.
    pub(super) fn number(&self, reference: u32) -> Option<u64> {
        let at = match self.by_offset {
            true => self.places.binary_search(&reference.into()).ok()?,
            false => reference as usize,
        };
        self.numbers.get(at).copied()
    }
}

/// Checks the symbol table. Where it ends is `None` if its length is wrong.
pub(super) fn check(index: &Index, checks: &mut Checks<'_>) -> (Symbols, Option<Sectioned>) {
    let (file, start) = (index.file(), index.toc().symbols);
    let within = start..index.end_of(start);
    let (mut reader, mut window) = (Reader::new(index), Window::ahead(Window::AHEAD));
    let checked = section(file, within, Section::Symbols, &mut window, checks, |piece, _| {
        Some(reader.take(piece, file))
    });
    let is_sound = checked.is_some_and(|checked| checked.is_sound);
    if is_sound && reader.fault.is_none() {
        reader.compare_count(file, start, checks);
    }
    if let Some(damage) = reader.fault.take().filter(|_| is_sound) {
        checks.add(damage);
    }
    reader.symbols.is_sound = is_sound;
    (reader.symbols, checked)
}

#[derive(Debug, Default)]
struct Reader {
    symbols: Symbols,
    count: Option<u32>,
    last: Vec<u8>,
    /// What is wrong with symbols whose checksum may be right.
    fault: Option<Damage>,
}

impl Reader {
    fn new(index: &Index) -> Self {
        let symbols = Symbols { by_offset: index.version() == 1, ..Symbols::default() };
        Self { symbols, ..Self::default() }
    }

    fn take(&mut self, piece: Piece<'_>, file: &BlockFile) -> usize {
        let mut cursor = Cursor::new(piece.bytes);
        if self.count.is_none() {
            match cursor.u32() {
                Ok(count) => self.count = Some(count),
                Err(_) => return 0,
            }
        }
        let mut taken = cursor.at();
        while !cursor.is_empty() {
            let place = piece.at + cursor.at() as u64;
            match cursor.counted() {
                Ok(symbol) => self.add(symbol, place, file),
                Err(_) if !piece.is_last => break,
                Err(wrong) => {
                    let damage = wrong.within(file.path(), piece.at, Section::Symbols);
                    self.fault.get_or_insert(damage);
                    break;
                }
            }
            taken = cursor.at();
        }
        taken
    }

    fn add(&mut self, symbol: &[u8], place: u64, file: &BlockFile) {
        if !self.symbols.numbers.is_empty() && *symbol <= *self.last {
            let damage = file.damage(place, Section::Symbols, Fault::Order("symbols"));
            self.fault.get_or_insert(damage);
        }
        self.last.clear();
        self.last.extend_from_slice(symbol);
        self.symbols.numbers.push(sum::text(symbol));
        if self.symbols.by_offset {
            self.symbols.places.push(place);
        }
    }

    fn compare_count(&mut self, file: &BlockFile, start: u64, checks: &mut Checks<'_>) {
        let (said, found) = (self.count.unwrap_or(0), self.symbols.numbers.len());
        if said as usize != found {
            let text = format!("the table says that it holds {said} symbols, and holds {found}");
            checks.add(file.damage(start + 4, Section::Symbols, Fault::Mismatch(text)));
        }
    }
}
