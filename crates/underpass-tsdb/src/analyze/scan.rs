//! The series of a block in the order of its index, those that are damaged left out and noted.

use crate::Labels;
use crate::block::Block;
use crate::damage::Damage;
use crate::file::Window;
use crate::index::{SeriesEntry, SeriesId, Walk};

use super::sizes::{self, Next};

/// Damages that are kept; of further ones only the number is.
const DAMAGES_KEPT: usize = 1_000;

/// Bytes of the symbol table that are read at a time, where it is not in memory.
const TEXT_AHEAD: usize = 1 << 10;

/// The same damage within this many is told once.
const REPEATED_WITHIN: usize = 8;

/// What was found damaged on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damages {
    /// The first of them.
    pub kept: Vec<Damage>,
    /// How many more there were.
    pub more: u64,
}

impl Damages {
    /// Notes one.
    pub(super) fn add(&mut self, damage: Damage) {
        // A damaged symbol table is met once for every label.
        if self.kept.iter().rev().take(REPEATED_WITHIN).any(|known| *known == damage) {
            return;
        }
        match self.kept.len() < DAMAGES_KEPT {
            true => self.kept.push(damage),
            false => self.more += 1,
        }
    }

    /// What was found when the block was opened.
    pub(super) fn of(block: &Block) -> Self {
        Self { kept: block.damages().to_vec(), more: 0 }
    }

    /// Notes those of another block or pass.
    pub fn extend(&mut self, other: Self) {
        other.kept.into_iter().for_each(|damage| self.add(damage));
        self.more += other.more;
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.kept.len() as u64 + self.more
    }
}

/// Which series of a block are read.
#[derive(Debug)]
enum Source {
    All(Walk),
    Some(std::vec::IntoIter<SeriesId>),
}

/// Series, one after the other.
#[derive(Debug)]
pub(super) struct Scan<'b> {
    pub(super) block: &'b Block,
    source: Source,
    window: Window,
    text_window: Window,
    behind: SeriesEntry,
    pub(super) damages: Damages,
}

impl<'b> Scan<'b> {
    /// Of all series, or of those in `ids`.
    pub(super) fn new(block: &'b Block, ids: Option<Vec<SeriesId>>) -> Self {
        let loaded = block.index().symbols().load(block.index().file(), u64::MAX);
        let mut damages = Damages::default();
        loaded.err().into_iter().for_each(|damage| damages.add(damage));
        let source = match ids {
            Some(ids) => Source::Some(ids.into_iter()),
            None => Source::All(block.index().walk()),
        };
        Self {
            block,
            source,
            window: Window::ahead(Window::AHEAD),
            text_window: Window::ahead(TEXT_AHEAD),
            behind: SeriesEntry::default(),
            damages,
        }
    }

    /// The next series that can be read, over what was in `entry`.
    pub(super) fn next(&mut self, entry: &mut SeriesEntry) -> Option<SeriesId> {
        let index = self.block.index();
        loop {
            let read = match &mut self.source {
                Source::All(walk) => walk.next(index, &mut self.window, entry)?,
                Source::Some(ids) => {
                    let id = ids.next()?;
                    index.series(id, &mut self.window, entry).map(|()| id)
                }
            };
            match read {
                Ok(id) => return Some(id),
                Err(damage) => self.damages.add(damage),
            }
        }
    }

    /// Where the chunk after the last one of `entry` is, by the entry behind it in the index.
    pub(super) fn next_chunk(&mut self, id: SeriesId, entry: &SeriesEntry) -> Next {
        let index = self.block.index();
        let step = sizes::alignment(index.version());
        let behind = (index.offset_of(id) + entry.len).next_multiple_of(step);
        if behind >= index.end_of(index.toc().series) {
            return Next::End;
        }
        let Ok(id) = u32::try_from(behind / step) else { return Next::Unknown };
        match index.series(SeriesId(id), &mut self.window, &mut self.behind) {
            Ok(()) => first_chunk(&self.behind),
            Err(_) => Next::Unknown,
        }
    }

    /// The labels of an entry, over what was in `labels`; those that can be read.
    pub(super) fn labels(&mut self, entry: &SeriesEntry, labels: &mut Labels) {
        if let Err(damage) = self.block.index().labels(entry, &mut self.text_window, labels) {
            self.damages.add(damage);
        }
    }

    /// Bytes of a symbol; 0 if it cannot be read.
    pub(super) fn symbol_len(&mut self, reference: u32) -> u64 {
        let index = self.block.index();
        let len = |text: &[u8]| text.len() as u64;
        let found = index.symbols().get(index.file(), reference, &mut self.text_window, len);
        found.unwrap_or_else(|damage| {
            self.damages.add(damage);
            0
        })
    }

    /// A symbol as text.
    pub(super) fn symbol(&mut self, reference: u32) -> String {
        let index = self.block.index();
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let found = index.symbols().get(index.file(), reference, &mut self.text_window, text);
        found.unwrap_or_else(|damage| {
            self.damages.add(damage);
            format!("(symbol {reference}, unreadable)")
        })
    }
}

/// Where the first chunk of a series is.
pub(super) fn first_chunk(entry: &SeriesEntry) -> Next {
    entry.chunks.first().map_or(Next::Unknown, |chunk| Next::At(chunk.reference))
}
