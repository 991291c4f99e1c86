//! The symbols of a damaged table, as far as the postings offset table confirms them.
//!
//! Every string that a series refers to is in the postings offset table too, as the name or the
//! value of a label. So a string of the damaged table that is there, and in order, is believed.
//! One that is not was damaged, or is not used by any series. Where a length was damaged, the next
//! place is found from which strings are known again. A symbol between two that are known is the
//! string that the postings offset table has between them, if there is just one for each.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};

use crate::cursor::Cursor;

/// Strings in the order of bytes.
pub(in crate::index) type Known = BTreeSet<Box<[u8]>>;

/// A symbol of a damaged table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::index) struct Symbol {
    /// Where its length is, from the first symbol on.
    pub(in crate::index) at: usize,
    /// `None` if it is not known.
    pub(in crate::index) text: Option<Box<[u8]>>,
}

/// Reads what can be read of the strings of a table that says it holds `count`.
pub(in crate::index) fn recover(bytes: &[u8], count: usize, known: &Known) -> Vec<Symbol> {
    let mut reader = Reader { bytes, known, found: Vec::new(), lost_at: None };
    let mut at = 0;
    while at < bytes.len() {
        at = reader.step(at);
    }
    reader.renumber(count);
    let Reader { mut found, .. } = reader;
    fill(&mut found, known);
    found
}

/// The symbol whose length is at `start`. Where a length was damaged, several have its place, and
/// the first of them is there.
pub(in crate::index) fn at(symbols: &[Symbol], start: usize) -> Option<&[u8]> {
    let place = symbols.partition_point(|symbol| symbol.at < start);
    symbols.get(place).filter(|symbol| symbol.at == start)?.text.as_deref()
}

struct Reader<'a> {
    bytes: &'a [u8],
    known: &'a Known,
    found: Vec<Symbol>,
    /// The first symbol whose length was damaged: how many there are in its place is a guess.
    lost_at: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Reads the string at `at`, and gives where the next one is.
    fn step(&mut self, at: usize) -> usize {
        match self.string(at) {
            Some((text, next)) if self.known.contains(text) => {
                self.confirm(at, text);
                next
            }
            // A string of the length that it had, unless that made it swallow others.
            Some((_, next)) if next == self.bytes.len() || self.is_known(next) => {
                match self.next_row(at) {
                    Some(row) if row < next => self.resume(at, row),
                    Some(_) | None => {
                        self.found.push(Symbol { at, text: None });
                        next
                    }
                }
            }
            Some(_) | None => {
                let row = self.next_row(at).unwrap_or(self.bytes.len());
                self.resume(at, row)
            }
        }
    }

    fn string(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let mut cursor = Cursor::new(self.bytes.get(at..)?);
        let text = cursor.counted().ok()?;
        Some((text, at + cursor.at()))
    }

    fn is_known(&self, at: usize) -> bool {
        self.string(at).is_some_and(|(text, _)| self.known.contains(text))
    }

    /// The first place behind `at` from which two strings in a row are known.
    fn next_row(&self, at: usize) -> Option<usize> {
        let is_row = |place: &usize| {
            let first = self.string(*place).filter(|(text, _)| self.known.contains(*text));
            let is_followed = |next| next == self.bytes.len() || self.is_known(next);
            first.is_some_and(|(_, next)| is_followed(next))
        };
        (at + 1..self.bytes.len()).find(is_row)
    }

    /// The length at `at` is damaged, and the next string is at `row`.
    fn resume(&mut self, at: usize, row: usize) -> usize {
        self.lost_at.get_or_insert(self.found.len());
        let whole = self.bytes.get(at + 1..row).unwrap_or_default();
        match self.known.contains(whole) {
            true => self.confirm(at, whole),
            false => self.found.push(Symbol { at, text: None }),
        }
        row
    }

    /// Symbols are in order: of two that are not, one was damaged into a string that is known.
    fn confirm(&mut self, at: usize, text: &[u8]) {
        let mut text = Some(text);
        let before = self.found.iter_mut().rev().filter(|symbol| symbol.text.is_some());
        for (place, last) in before.take(2).enumerate() {
            let is_behind = last.text.as_deref() < text;
            match place {
                _ if is_behind => break,
                0 if last.text.as_deref() == text => (last.text, text) = (None, None),
                0 => last.text = None,
                _ => text = None,
            }
        }
        self.found.push(Symbol { at, text: text.map(Into::into) });
    }

    /// How many symbols there are at a damaged length is what the count leaves for it.
    fn renumber(&mut self, count: usize) {
        let Some(place) = self.lost_at else { return };
        let extra = self.found.len().saturating_sub(count);
        let unknown = self.unknown_around(place);
        match count.checked_sub(self.found.len()) {
            Some(0) => {}
            // Not more than there can be.
            Some(missing) if count <= self.bytes.len() => {
                let at = self.found.get(place).map_or(0, |symbol| symbol.at);
                let symbols = std::iter::repeat_n(Symbol { at, text: None }, missing);
                self.found.splice(place..place, symbols);
            }
            None if extra < unknown.len() => {
                self.found.drain(unknown.end - extra..unknown.end);
            }
            Some(_) | None => {
                self.found.iter_mut().skip(place).for_each(|symbol| symbol.text = None);
            }
        }
    }

    /// The symbols that are not known, from before `place` to behind it.
    fn unknown_around(&self, place: usize) -> Range<usize> {
        let is_unknown = |symbol: &&Symbol| symbol.text.is_none();
        let (before, behind) = self.found.split_at(place.min(self.found.len()));
        let start = place - before.iter().rev().take_while(is_unknown).count();
        start..place + behind.iter().take_while(is_unknown).count()
    }
}

/// Gives symbols between two known ones the strings between those, if there are as many.
fn fill(found: &mut [Symbol], known: &Known) {
    let mut start = 0;
    while let Some(first) = found[start..].iter().position(|symbol| symbol.text.is_none()) {
        let first = start + first;
        let len = found[first..].iter().take_while(|symbol| symbol.text.is_none()).count();
        let end = first + len;
        let low = first.checked_sub(1).and_then(|before| found[before].text.clone());
        let high = found.get(end).and_then(|symbol| symbol.text.clone());
        let is_in_order = low.as_ref().zip(high.as_ref()).is_none_or(|(low, high)| low < high);
        let low = low.map_or(Bound::Unbounded, Bound::Excluded);
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        let between = is_in_order.then(|| known.range((low, high)).take(len + 1));
        let between: Vec<_> = between.into_iter().flatten().collect();
        if between.len() == len {
            for (symbol, text) in found[first..end].iter_mut().zip(between) {
                symbol.text = Some(text.clone());
            }
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 7] = ["__name__", "a", "ab", "b:9090", "b:9091", "job", "up"];

    fn table() -> Vec<u8> {
        WORDS
            .iter()
            .flat_map(|word| [&[u8::try_from(word.len()).unwrap()], word.as_bytes()].concat())
            .collect()
    }

    fn known() -> Known {
        WORDS.iter().map(|word| word.as_bytes().into()).collect()
    }

    fn text(symbol: &Symbol) -> Option<&str> {
        symbol.text.as_deref().map(|text| std::str::from_utf8(text).unwrap())
    }

    fn texts(found: &[Symbol]) -> Vec<Option<&str>> {
        found.iter().map(text).collect()
    }

    #[test]
    fn every_flipped_byte_of_a_table_is_put_right() {
        for at in 0..table().len() {
            for flip in 1..=255 {
                let mut bytes = table();
                bytes[at] ^= flip;
                let found = recover(&bytes, WORDS.len(), &known());
                for (place, text) in texts(&found).into_iter().enumerate() {
                    // Never a wrong one; and all but those next to a length that leads on.
                    assert!(
                        text.is_none_or(|text| text == WORDS[place]),
                        "{at} ^ {flip}: {found:?}"
                    );
                }
                let lost = texts(&found).iter().filter(|text| text.is_none()).count();
                assert_eq!((lost, found.len()), (0, WORDS.len()), "{at} ^ {flip}: {found:?}");
            }
        }
    }

    #[test]
    fn of_symbols_that_have_a_place_the_first_is_there() {
        let symbol = |at, text: &str| Symbol { at, text: Some(text.as_bytes().into()) };
        let symbols = [symbol(0, "a"), symbol(2, "b"), symbol(2, "c"), symbol(2, "d")];
        assert_eq!(at(&symbols, 2), Some(&b"b"[..]));
        assert_eq!(at(&symbols, 0), Some(&b"a"[..]));
        assert_eq!(at(&symbols, 1), None);
        assert_eq!(at(&symbols, 3), None);
    }

    #[test]
    fn a_string_that_no_series_uses_is_not_believed_and_misleads_no_other() {
        let mut known = known();
        known.remove(&b"ab"[..]);
        let found = recover(&table(), WORDS.len(), &known);
        let mut wanted = WORDS.map(Some);
        wanted[2] = None;
        assert_eq!(texts(&found), wanted);
    }

    #[test]
    fn nothing_is_believed_without_a_postings_offset_table() {
        let found = recover(&table(), WORDS.len(), &Known::new());
        assert!(found.iter().all(|symbol| symbol.text.is_none()), "{found:?}");
    }
}
