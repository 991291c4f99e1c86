//! When the batches of one segment are from.
//!
//! Times need not rise with offsets. An entry says: the latest time so far is this, and it is the
//! time of the batch that ends at this offset. It is made together with an entry for an offset, if
//! the latest time has risen since the last, and once more when the segment is closed.
//!
//! Source: `TimeIndex.java`, `LogSegment.append`, `onBecomeInactiveSegment`.

/// A time, in ms since 1970, and the last offset of a batch, counted from the segment's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time: i64,
    pub(crate) offset: u32,
}

/// The times of a segment.
#[derive(Debug, Default)]
pub(crate) struct Times {
    latest: Option<Entry>,
    entries: Vec<Entry>,
}

impl Times {
    /// Notes a batch whose latest record is from `time`.
    pub(crate) fn push(&mut self, time: i64, offset: u32) {
        if self.latest.is_none_or(|latest| time > latest.time) {
            self.latest = Some(Entry { time, offset });
        }
    }

    /// Makes an entry of the latest time, unless it has one.
    pub(crate) fn enter(&mut self) {
        if let Some(latest) = self.latest
            && self.entries.last().is_none_or(|last| latest.time > last.time)
        {
            self.entries.push(latest);
        }
    }

    /// Times with these entries, behind the last of which batches are pushed.
    pub(crate) fn resumed(entries: Vec<Entry>) -> Self {
        Self { latest: entries.last().copied(), entries }
    }

    /// Closes the times; their entries.
    pub(crate) fn seal(&mut self) -> Vec<Entry> {
        self.enter();
        std::mem::take(&mut self.entries)
    }

    /// The latest time of all records, and the batch it is from.
    pub(crate) const fn latest(&self) -> Option<Entry> {
        self.latest
    }

    /// The entries, in their order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
