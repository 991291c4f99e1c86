//! The series of one block that a selection asks for, one after the other.

use super::ids::Ids;
use super::plan::{Plan, plan};
use super::{Loss, Lost, Selection};
use crate::block::Block;
use crate::damage::{Damage, Fault, Section};
use crate::file::Window;
use crate::index::{SeriesEntry, SeriesId, Walk};
use crate::labels::Labels;
use crate::time::TimeRange;

/// With more series than this, everything that they share is worth loading.
const MANY: u64 = 1024;

/// Bytes of the index that are read at a time where many series are asked for.
const STRIDE: usize = 64 << 10;

/// Bytes of the symbol table that are read at a time.
const SYMBOL_STRIDE: usize = 4 << 10;

/// The series of a block, and the one that is looked at.
#[derive(Debug)]
pub(super) struct BlockSeries<'b> {
    /// The block's place in the selection.
    pub(super) place: usize,
    pub(super) id: SeriesId,
    pub(super) labels: Labels,
    /// Chunks outside the selection's range are left out.
    pub(super) entry: SeriesEntry,
    block: &'b Block,
    source: Source<'b>,
    /// Where the entry that was read last ends.
    end: u64,
    window: Window,
    symbols: Window,
}

/// Where series come from.
#[derive(Debug)]
enum Source<'b> {
    Nothing,
    Walk(Walk),
    Ids(Ids<'b>),
}

impl<'b> BlockSeries<'b> {
    pub(super) fn new(selection: &Selection<'b>, place: usize, losses: &mut Vec<Loss>) -> Self {
        let block = &selection.blocks[place];
        let mut damages = Vec::new();
        let (source, count) = match plan(block.index(), &selection.selectors, &mut damages) {
            Plan::Nothing => (Source::Nothing, 0),
            Plan::All => (Source::Walk(block.index().walk()), u64::MAX),
            Plan::Ids(ids, count) => (Source::Ids(ids), count),
        };
        losses.extend(damages.into_iter().map(|damage| Loss { damage, lost: None }));
        let loaded = block.index().symbols().load(block.index().file(), count);
        losses.extend(loaded.err().map(|damage| Loss { damage, lost: None }));
        let window = if count > MANY { Window::ahead(STRIDE) } else { Window::exact() };
        let (id, end) = (SeriesId(0), 0);
        let (labels, entry) = (Labels::default(), SeriesEntry::default());
        let symbols = Window::ahead(SYMBOL_STRIDE);
        Self { place, id, labels, entry, block, source, end, window, symbols }
    }

    /// Goes to the next series; `false` if there is none.
    pub(super) fn advance(&mut self, selection: &Selection<'_>, losses: &mut Vec<Loss>) -> bool {
        loop {
            match self.read_next(losses) {
                Ok(false) => return false,
                Ok(true) if self.is_wanted(selection, losses) => return true,
                Ok(true) => {}
                Err(damage) => losses.push(self.lost(damage)),
            }
        }
    }

    /// Reads the next entry.
    fn read_next(&mut self, losses: &mut Vec<Loss>) -> Result<bool, Damage> {
        let index = self.block.index();
        let next = match &mut self.source {
            Source::Nothing => return Ok(false),
            Source::Walk(walk) => match walk.next(index, &mut self.window, &mut self.entry) {
                None => return Ok(false),
                Some(id) => return id.map(|id| self.id = id).map(|()| true),
            },
            Source::Ids(ids) => ids.next(),
        };
        match next.and_then(|id| self.in_order(id)) {
            Ok(None) => Ok(false),
            Ok(Some(id)) => {
                self.id = id;
                index.series(id, &mut self.window, &mut self.entry)?;
                self.end = index.offset_of(id) + self.entry.len;
                Ok(true)
            }
            Err(damage) => {
                // The series behind the last one are all looked at. None is lost by that, unless
                // the list passed over some.
                self.source = Source::Walk(index.walk_from(self.end));
                let is_order = matches!(damage.fault, Fault::Order(_));
                let lost = is_order.then(|| self.anything());
                losses.push(Loss { damage, lost });
                self.read_next(losses)
            }
        }
    }

    fn in_order(&self, id: Option<SeriesId>) -> Result<Option<SeriesId>, Damage> {
        let index = self.block.index();
        match id {
            Some(next) if self.end > 0 && next <= self.id => {
                let fault = Fault::Order("series of a postings list");
                Err(index.file().damage(index.offset_of(next), Section::Postings, fault))
            }
            id => Ok(id),
        }
    }

    fn is_wanted(&mut self, selection: &Selection<'_>, losses: &mut Vec<Loss>) -> bool {
        let (range, deleted) = (selection.range, self.block.tombstones().of(self.id));
        self.entry.chunks.retain(|chunk| {
            let (min, max) = (chunk.min_time, chunk.max_time);
            let covers = |gone: &crate::Interval| gone.min <= min && max <= gone.max;
            range.overlaps(min, max) && !deleted.iter().any(covers)
        });
        if self.entry.chunks.is_empty() {
            return false;
        }
        let labels = self.block.index().labels(&self.entry, &mut self.symbols, &mut self.labels);
        match labels {
            Ok(()) => selection.matches(&self.labels),
            Err(damage) => {
                losses.push(self.lost(damage));
                false
            }
        }
    }

    fn lost(&self, damage: Damage) -> Loss {
        Loss { damage, lost: Some(self.anything()) }
    }

    /// A series that is not known, at any time of the block.
    fn anything(&self) -> Lost {
        let meta = self.block.meta();
        let range = meta.map_or(TimeRange::ALL, |meta| TimeRange {
            min: meta.min_time,
            max: meta.max_time.saturating_sub(1),
        });
        Lost { labels: None, range }
    }
}
