//! Where the batches of one segment are, as far as memory knows.
//!
//! One batch in 4 KiB has an entry, as in Kafka's offset index; entries go to the file when the
//! segment is closed. The ends of the last appends are kept as well: there consumers that keep up
//! ask, and there what they may see ends.
//!
//! Every batch without an entry starts less than [`INTERVAL_BYTES`] behind the start of the batch
//! with the entry before it, or behind the start of the segment. So one read finds any batch.
//!
//! Source: `OffsetIndex.java`, `LogSegment.append`.

use std::collections::VecDeque;

/// Bytes of batches behind which the next batch gets an entry: Kafka's `log.index.interval.bytes`.
pub(crate) const INTERVAL_BYTES: u32 = 4096;

/// Ends of appends that are kept.
const RECENT_MAX: usize = 256;

/// A batch. Offsets count from the segment's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The lowest offset that is known to be answered by this batch.
    pub(crate) first: u32,
    /// Its last offset.
    pub(crate) last: u32,
    /// Where it starts.
    pub(crate) position: u32,
}

/// A place between two batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boundary {
    /// The offset of what follows.
    offset: u32,
    position: u32,
}

/// What an index knows of an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The batch that answers it starts here.
    At(u32),
    /// The batch that answers it starts here or later, but less than [`INTERVAL_BYTES`] later if it
    /// is not the one that `next` is about.
    From {
        /// Where to start looking.
        position: u32,
        /// The next batch that is known.
        next: Option<Entry>,
    },
}

/// The index of a segment.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    recent: VecDeque<Boundary>,
    /// Bytes since the start of the last batch with an entry.
    since_entry: u32,
}

impl Index {
    /// Notes a batch of `size` bytes behind all others. Whether it got an entry.
    pub(crate) fn push(&mut self, batch: Entry, size: u32) -> bool {
        let is_due = self.since_entry > INTERVAL_BYTES;
        if is_due {
            self.entries.push(batch);
            self.since_entry = 0;
        }
        self.since_entry = self.since_entry.saturating_add(size);
        is_due
    }

    /// Notes where an append ended: what follows has `offset` or a higher one.
    pub(crate) fn note_end(&mut self, offset: u32, position: u32) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Boundary { offset, position });
    }

    /// Where the batch is that holds `offset`, or the first one behind it.
    pub(crate) fn find(&self, offset: u32) -> Place {
        // What consumers may see ends at one of these, so this is answered first.
        let recent = self.recent_at_or_before(offset);
        if let Some(boundary) = recent
            && boundary.offset == offset
        {
            return Place::At(boundary.position);
        }
        let behind = self.entries_up_to(offset, |entry| entry.first);
        let before = behind.checked_sub(1).and_then(|at| self.entries.get(at));
        if let Some(entry) = before
            && (offset <= entry.last)
        {
            return Place::At(entry.position);
        }
        let position = before.map_or(0, |entry| entry.position);
        let position = position.max(recent.map_or(0, |boundary| boundary.position));
        match (offset, position) {
            // The segment's first batch has no entry.
            (0, 0) => Place::At(0),
            _ => Place::From { position, next: self.entries.get(behind).copied() },
        }
    }

    /// How many entries have a key of at most `most`. Keys grow evenly, as a rule, so the search
    /// begins where the key would be then: a large index has more entries than a CPU's cache.
    fn entries_up_to(&self, most: u32, key: impl Fn(&Entry) -> u32) -> usize {
        let entries = &self.entries[..];
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return 0 };
        let (low, high) = (u64::from(key(first)), u64::from(key(last)));
        let into = u64::from(most).saturating_sub(low) * entries.len() as u64;
        let guess = usize::try_from(into / (high - low + 1)).unwrap_or(usize::MAX);
        let guess = guess.min(entries.len() - 1);
        let is_in = |at: usize| key(&entries[at]) <= most;
        let (mut from, mut to, mut step) = (guess, guess, 1);
        while to < entries.len() && is_in(to) {
            (from, to, step) = (to, entries.len().min(to + step), step * 2);
        }
        while from > 0 && !is_in(from) {
            (to, from, step) = (from, from.saturating_sub(step), step * 2);
        }
        from + entries[from..to].partition_point(|entry| key(entry) <= most)
    }

    fn recent_at_or_before(&self, offset: u32) -> Option<Boundary> {
        let behind = self.recent.partition_point(|boundary| boundary.offset <= offset);
        self.recent.get(behind.checked_sub(1)?).copied()
    }

    /// The last known start of a batch in `after..=limit`, without `after`.
    pub(crate) fn cut(&self, after: u32, limit: u32) -> Option<u32> {
        let behind = self.entries_up_to(limit, |entry| entry.position);
        let entry = behind.checked_sub(1).map(|at| self.entries[at].position);
        let behind = self.recent.partition_point(|boundary| boundary.position <= limit);
        let recent = behind.checked_sub(1).map(|at| self.recent[at].position);
        entry.max(recent).filter(|position| *position > after)
    }

    /// The index of a closed segment: what is kept of it is what a file can hold.
    pub(crate) fn sealed(entries: Vec<Entry>) -> Self {
        Self { entries, ..Self::default() }
    }

    /// Closes the index: nothing is pushed any more.
    pub(crate) fn seal(&mut self) -> Self {
        let mut entries = std::mem::take(&mut self.entries);
        entries.shrink_to_fit();
        Self::sealed(entries)
    }

    /// An index with these entries, behind the last of which batches are pushed: first the one that
    /// the last entry is about.
    pub(crate) fn resumed(mut entries: Vec<Entry>) -> Self {
        // It gets its entry again.
        entries.pop();
        Self { entries, since_entry: INTERVAL_BYTES + 1, ..Self::default() }
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The entries, in their order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However unevenly offsets grow.
        #[test]
        fn a_search_that_begins_with_a_guess_finds_what_one_of_halves_finds(
            steps in prop::collection::vec(
                prop_oneof![8 => 1..5_u32, 1 => 1_000..90_000_000_u32], 0..40
            ),
            keys in prop::collection::vec(any::<u32>(), 8),
        ) {
            let mut position = 0;
            let entries: Vec<_> = steps
                .iter()
                .map(|step| {
                    position += step;
                    Entry { first: position, last: position, position }
                })
                .collect();
            let index = Index::sealed(entries.clone());
            let near = entries.iter().flat_map(|entry| [entry.first - 1, entry.first]);
            for key in near.chain(keys).chain([0, u32::MAX]) {
                let expected = entries.partition_point(|entry| entry.position <= key);
                prop_assert_eq!(index.entries_up_to(key, |entry| entry.position), expected);
            }
        }
    }
}
