//! Label names, and the values of one of them.
//!
//! Where everything is asked for they come from the postings offset tables alone, merged in order:
//! the memory that takes does not grow with their number. With selectors or times they are those
//! of the selected series.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::block::Block;
use crate::damage::{Damage, Fault, Section};
use crate::dump::quote;
use crate::index::{Index, TableCursor};
use crate::query::{Loss, Selection};
use crate::time::TimeRange;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names<'n> {
    /// The names of labels.
    Labels,
    /// The values of the label of this name.
    Values(&'n [u8]),
}

/// A name on a line: in quotes if it is not just text, or begins with a quote.
#[must_use]
pub fn text(name: &[u8]) -> String {
    let plain = std::str::from_utf8(name).ok().filter(|text| !text.starts_with('"'));
    if let Some(plain) = plain.filter(|text| !text.is_empty() && !text.contains(char::is_control)) {
        return plain.to_owned();
    }
    let mut quoted = Vec::new();
    quote::go(name, &mut quoted);
    String::from_utf8_lossy(&quoted).into_owned()
}

/// A name as a JSON string. What is not UTF-8 has U+FFFD instead.
#[must_use]
pub fn json(name: &[u8]) -> String {
    let mut quoted = Vec::new();
    quote::json(name, &mut quoted);
    String::from_utf8_lossy(&quoted).into_owned()
}

impl Names<'_> {
    /// Hands the names of a selection to `take`, sorted and each once, until that breaks. Gives
    /// what could not be read.
    pub fn each(
        self,
        selection: &Selection<'_>,
        take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Vec<Loss> {
        if selection.selectors().is_empty() && selection.range() == TimeRange::ALL {
            return self.of_tables(selection.blocks(), take);
        }
        let (names, losses) = self.of_series(selection);
        names.iter().try_for_each(|name| take(name)).is_break();
        losses
    }

    /// Of all the labels that the selected series have.
    fn of_series(self, selection: &Selection<'_>) -> (BTreeSet<Box<[u8]>>, Vec<Loss>) {
        let (mut merged, mut names) = (selection.series(), BTreeSet::new());
        for series in merged.by_ref() {
            for (name, value) in series.labels.iter() {
                let found = match self {
                    Self::Labels => name,
                    Self::Values(wanted) if wanted == name => value,
                    Self::Values(_) => continue,
                };
                if !names.contains(found) {
                    names.insert(found.into());
                }
            }
        }
        (names, merged.take_losses())
    }

    fn of_tables(
        self,
        blocks: &[Block],
        take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut lists: Vec<_> = blocks.iter().map(|block| self.list(block, &mut losses)).collect();
        while let Some(least) = lists.iter().filter_map(|list| list.current.as_deref()).min() {
            let least = Box::<[u8]>::from(least);
            if take(&least).is_break() {
                break;
            }
            for list in lists.iter_mut().filter(|list| list.current.as_ref() == Some(&least)) {
                self.advance(list, &mut losses);
            }
        }
        losses
    }

    fn list<'b>(self, block: &'b Block, losses: &mut Vec<Loss>) -> List<'b> {
        let index = block.index();
        let start = match self {
            Self::Labels => (&[][..], &b"\0"[..]),
            Self::Values(name) => (name, &[][..]),
        };
        let cursor =
            index.check_table().and_then(|()| index.table().seek(index.file(), start.0, start.1));
        let source = cursor.map(Source::Table);
        let mut list = List { block, source: Source::Names(BTreeSet::new()), current: None };
        match source {
            Ok(source) if index.version() != 1 => list.source = source,
            Ok(_) => self.fall_back(&mut list, losses),
            Err(damage) => {
                losses.push(Loss { damage, lost: None });
                self.fall_back(&mut list, losses);
            }
        }
        self.advance(&mut list, losses);
        list
    }

    /// Takes the names from the series, of those behind the current one.
    fn fall_back(self, list: &mut List<'_>, losses: &mut Vec<Loss>) {
        let blocks = std::slice::from_ref(list.block);
        let all = Selection::new(blocks, Vec::new(), TimeRange::ALL);
        let (mut names, further) = self.of_series(&all);
        if let Some(current) = &list.current {
            names = names.split_off(current);
            names.remove(current);
        }
        losses.extend(further);
        list.source = Source::Names(names);
    }

    fn advance(self, list: &mut List<'_>, losses: &mut Vec<Loss>) {
        if let Source::Table(cursor) = &mut list.source {
            match self.next(cursor, list.block.index(), list.current.as_deref()) {
                Ok(next) => {
                    list.current = next;
                    return;
                }
                Err(damage) => {
                    losses.push(Loss { damage, lost: None });
                    self.fall_back(list, losses);
                }
            }
        }
        if let Source::Names(names) = &mut list.source {
            list.current = names.pop_first();
        }
    }

    /// The next name in a table.
    fn next(
        self,
        cursor: &mut TableCursor,
        index: &Index,
        current: Option<&[u8]>,
    ) -> Result<Option<Box<[u8]>>, Damage> {
        let file = index.file();
        if let (Self::Labels, Some(current)) = (self, current) {
            // No name is between this one and the same with a zero behind it.
            *cursor = index.table().seek(file, &[current, b"\0"].concat(), &[])?;
        }
        let at = cursor.at();
        let found = match (self, cursor.peek(file)?) {
            (Self::Labels, Some(entry)) => entry.name,
            (Self::Values(name), Some(entry)) if entry.name == name => entry.value,
            (_, Some(_) | None) => return Ok(None),
        };
        if current.is_some_and(|current| found <= current) {
            let fault = Fault::Order("entries");
            return Err(file.damage(at, Section::PostingsTable, fault));
        }
        let found = found.into();
        cursor.advance();
        Ok(Some(found))
    }
}

/// The names of one block, from one on.
#[derive(Debug)]
struct List<'b> {
    block: &'b Block,
    source: Source,
    current: Option<Box<[u8]>>,
}

#[derive(Debug)]
enum Source {
    Table(TableCursor),
    Names(BTreeSet<Box<[u8]>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_and_can_be_told_from_a_quoted_one() {
        for (name, line) in [
            (&b"up"[..], "up"),
            ("größe 1".as_bytes(), "größe 1"),
            (b"", r#""""#),
            (b"a\nb", r#""a\nb""#),
            (b"\"up\"", r#""\"up\"""#),
            (b"\xff", r#""\xff""#),
        ] {
            assert_eq!(text(name), line);
        }
        assert_eq!(json(b"a\"\xff"), "\"a\\\"\u{fffd}\"");
    }
}
