//! The reading half of a log.
//!
//! A plan names bytes and moves none: whole batches of one segment, from memory's index. Only where
//! the index has no entry for the offset, or no end that is near enough, headers are read.

use std::ops::Deref;
use std::sync::Arc;

use super::error::ReadError;
use super::index::{Index, Place};
use super::load;
use super::look::Look;
use super::next_read::NextRead;
use super::segment::Segment;
use super::state::Shared;
use crate::open_files::{FileKey, OpenFile};
use crate::wire::{FileRange, Records};

/// Whether a reader may wait for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Never: what is not in memory is [`ReadError::Cold`].
    Now,
    /// As long as it takes.
    Wait,
}

/// What answers a read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whole batches, the first of which holds the offset asked for, or is the first behind it.
    pub records: Records,
    /// Whether more is visible behind them: the limit was reached, or the segment ended.
    pub is_cut: bool,
}

impl Plan {
    const EMPTY: Self = Self { records: Records::None, is_cut: false };
}

/// Reads a log while it is appended to.
#[derive(Debug, Clone)]
pub(crate) struct LogReader {
    pub(super) shared: Arc<Shared>,
}

/// An index in memory.
pub(super) enum Known<'a> {
    Active(&'a Index),
    Closed(Arc<Index>),
}

impl Deref for Known<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        match self {
            Self::Active(index) => index,
            Self::Closed(index) => index,
        }
    }
}

/// What is asked of a log.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    from: i64,
    visible: i64,
    max_bytes: u64,
    min_one: bool,
}

/// Where in a segment a read starts and ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) key: FileKey,
    pub(super) base: i64,
    /// The offset asked for, counted from the base.
    offset: u32,
    start: Place,
    /// The offset that ends what may be seen, counted from the base, and where that is.
    visible: (u32, Place),
    /// Bytes of whole batches.
    size: u32,
}

impl Spot {
    /// Notes where the batch behind offset `last` starts.
    fn note_next(&self, last: Option<i64>, position: u32) {
        let offset = last.and_then(|last| u32::try_from(last - self.base + 1).ok());
        if let Some(offset) = offset {
            NextRead { key: self.key, offset, position }.note();
        }
    }

    /// Whether later segments have something before offset `visible`.
    fn goes_on(&self, visible: i64) -> bool {
        self.base.saturating_add(i64::from(self.visible.0)) < visible
    }
}

/// What memory's index says.
enum Answer {
    Nothing,
    Range(Spot, u32, u32),
    Look(Spot),
    /// The segment's index is not in memory.
    Load(FileKey, i64, u32),
}

impl LogReader {
    /// The first offset that can be read.
    #[must_use]
    pub(crate) fn start_offset(&self) -> i64 {
        self.shared.start()
    }

    /// The offset behind the last that was written.
    #[must_use]
    pub(crate) fn end_offset(&self) -> i64 {
        self.shared.end()
    }

    /// The epoch of the leader that appends.
    pub(crate) fn epoch(&self) -> i32 {
        self.shared.epochs().latest().unwrap_or(0)
    }

    /// The epoch of the leader that wrote `offset`, or that will.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let epochs = self.shared.epochs();
        epochs.at(offset).or_else(|| epochs.latest()).unwrap_or(0)
    }

    /// The largest epoch up to `epoch`, and the offset behind its last record; `None` if `epoch` is
    /// later than all, or negative.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.shared.epochs().end_of(epoch, self.shared.end())
    }

    /// Bytes of all segments.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.segments().iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// What answers a read from offset `from` on: whole batches of at most `max_bytes` that end at
    /// `visible` or before. With `min_one`, the first batch whatever its size.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub(crate) fn plan(
        &self,
        from: i64,
        visible: i64,
        max_bytes: u64,
        min_one: bool,
        patience: Patience,
    ) -> Result<Plan, ReadError> {
        let (start, end) = (self.shared.start(), self.shared.end());
        if from < start || from > end {
            return Err(ReadError::OutOfRange { offset: from, start, end });
        }
        let mut wanted = Wanted { from, visible: visible.min(end), max_bytes, min_one };
        loop {
            match self.answer(&wanted) {
                Answer::Nothing => return Ok(Plan::EMPTY),
                Answer::Range(spot, start, end) => {
                    let file = self.file(spot.key, spot.base, wanted.from)?;
                    let range = u64::from(start)..u64::from(end);
                    let records = Records::File(FileRange { file, range });
                    let is_cut = spot.visible.1 != Place::At(end) || spot.goes_on(wanted.visible);
                    return Ok(Plan { records, is_cut });
                }
                Answer::Load(..) if patience == Patience::Now => return Err(ReadError::Cold),
                Answer::Load(key, base, size) => drop(load::index(&self.shared, key, base, size)?),
                Answer::Look(spot) => match self.look(&spot, &wanted, patience)? {
                    Some(plan) => return Ok(plan),
                    // The segment has nothing from that offset on: it is in the next one.
                    None => match self.next_base(spot.base) {
                        Some(base) => wanted.from = base,
                        None => return Ok(Plan::EMPTY),
                    },
                },
            }
        }
    }

    /// What can be said without looking into a file.
    fn answer(&self, wanted: &Wanted) -> Answer {
        if wanted.from >= wanted.visible {
            return Answer::Nothing;
        }
        let segments = self.shared.segments();
        let behind = segments.partition_point(|segment| segment.base <= wanted.from);
        let at = behind.saturating_sub(1);
        let segment = &segments[at];
        let next = segments.get(behind).map(|next| next.base);
        let Some(index) = self.index(segment) else {
            return Answer::Load(segment.key, segment.base, segment.size);
        };
        let spot = spot(segment, &index, next, wanted);
        let (Place::At(start), Place::At(end)) = (spot.start, spot.visible.1) else {
            return Answer::Look(spot);
        };
        match cut(&index, start, end, wanted.max_bytes) {
            Some(end) => Answer::Range(spot, start, end),
            None => Answer::Look(spot),
        }
    }

    /// The base of the segment behind the one at `base`.
    fn next_base(&self, base: i64) -> Option<i64> {
        let segments = self.shared.segments();
        segments.get(segments.partition_point(|segment| segment.base <= base)).map(|next| next.base)
    }

    /// What can be said after a look into the file.
    fn look(
        &self,
        spot: &Spot,
        wanted: &Wanted,
        patience: Patience,
    ) -> Result<Option<Plan>, ReadError> {
        let file = self.file(spot.key, spot.base, wanted.from)?;
        let mut look = Look::new(&file, &self.shared, spot.base, spot.size, patience);
        let (offset, place) = spot.visible;
        let end = look.find(offset, place)?;
        let start = look.find(spot.offset, spot.start)?;
        if start >= end {
            let is_last = wanted.visible <= spot.base.saturating_add(i64::from(offset));
            return Ok(is_last.then_some(Plan::EMPTY));
        }
        let visible_end = end;
        let end = match self.known_cut(spot.base, start, end, wanted.max_bytes) {
            Some(known) if !look.holds(start..known) => known,
            // There is no place to cut, or so little before it that it is in memory by now.
            _ => {
                let (end, last) = look.walk(start, end, wanted.max_bytes, wanted.min_one)?;
                spot.note_next(last, end);
                end
            }
        };
        let is_empty = start == end;
        let records = if is_empty { Records::None } else { look.records(start..end) };
        let is_cut = end < visible_end || spot.goes_on(wanted.visible);
        Ok(Some(Plan { records, is_cut }))
    }

    /// The file of a segment that has offset `from`, unless it was deleted a moment ago.
    fn file(&self, key: FileKey, base: i64, from: i64) -> Result<Arc<OpenFile>, ReadError> {
        self.shared.file(key, base).map_err(|error| {
            let (start, end) = (self.shared.start(), self.shared.end());
            if error.is_missing() && from < start {
                return ReadError::OutOfRange { offset: from, start, end };
            }
            error.into()
        })
    }

    fn known_cut(&self, base: i64, start: u32, end: u32, max_bytes: u64) -> Option<u32> {
        let segments = self.shared.segments();
        let at = segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        cut(&*self.index(&segments[at])?, start, end, max_bytes)
    }

    /// The index of a segment, if it is in memory.
    pub(super) fn index<'a>(&self, segment: &'a Segment) -> Option<Known<'a>> {
        match &segment.index {
            Some(index) => Some(Known::Active(index)),
            None => self.shared.files.index(segment.key).map(Known::Closed),
        }
    }
}

/// What a segment's index says of a read.
fn spot(segment: &Segment, index: &Index, next: Option<i64>, wanted: &Wanted) -> Spot {
    let Segment { base, key, size, .. } = *segment;
    let offset = segment.relative(wanted.from);
    let visible = match next {
        Some(next) if next <= wanted.visible => (segment.relative(next), Place::At(size)),
        _ => {
            let visible = segment.relative(wanted.visible);
            (visible, index.find(visible))
        }
    };
    let noted = |start| match start {
        Place::From { .. } => NextRead::position(key, offset).map(Place::At),
        Place::At(_) => None,
    };
    let start = index.find(offset);
    let start = noted(start).unwrap_or(start);
    Spot { key, base, offset, start, visible, size }
}

/// Where a read of at most `max_bytes` from `start` on may end, if the index has such a place.
fn cut(index: &Index, start: u32, end: u32, max_bytes: u64) -> Option<u32> {
    let limit = start.saturating_add(u32::try_from(max_bytes).unwrap_or(u32::MAX));
    if start < end && end <= limit {
        return Some(end);
    }
    index.cut(start, limit).filter(|at| *at <= end)
}
