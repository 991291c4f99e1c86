//! All series by walking over their entries, which needs no postings and continues past damage.

use super::{ENTRY_MAX, Index, SeriesEntry, SeriesId};
use crate::damage::Damage;
use crate::file::Window;

/// An entry that is looked for behind a damaged one is believed up to this length: the checksum of
/// what only looks like a length must not take long at each of many places.
const SOUGHT_MAX: u64 = 64 << 10;

/// A place among the entries of series, from which they are read one after the other.
#[derive(Debug, Clone)]
pub struct Walk {
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Walk {
    /// The next series, its entry over what was there; `None` behind the last. After a damaged
    /// entry the walk continues with the next place at which an entry's checksum is right.
    ///
    /// # Errors
    ///
    /// If an entry is damaged: its series is lost.
    pub fn next(
        &mut self,
        index: &Index,
        window: &mut Window,
        entry: &mut SeriesEntry,
    ) -> Option<Result<SeriesId, Damage>> {
        // Between entries there are at most 15 zeros: each starts at a multiple of 16 bytes.
        self.at = self.at.next_multiple_of(index.alignment());
        if self.at >= self.end {
            return None;
        }
        let start = self.at;
        let id = SeriesId(u32::try_from(start / index.alignment()).ok()?);
        match index.series_at(start, ENTRY_MAX, window, entry) {
            Ok(()) => {
                self.at = (start + entry.len).next_multiple_of(index.alignment());
                Some(Ok(id))
            }
            Err(damage) => {
                self.resume(index, window, entry);
                Some(Err(damage))
            }
        }
    }

    fn resume(&mut self, index: &Index, window: &mut Window, entry: &mut SeriesEntry) {
        self.at += index.alignment();
        while self.at < self.end && index.series_at(self.at, SOUGHT_MAX, window, entry).is_err() {
            self.at += index.alignment();
        }
    }

    /// Where the next entry is, or padding before it.
    #[must_use]
    pub const fn at(&self) -> u64 {
        self.at
    }
}
