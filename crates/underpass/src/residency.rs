//! What of a file was in the page cache a moment ago.
//!
//! The gate costs two calls a piece, and a hot file is hot for every piece. So a part that was seen
//! whole is believed to be there for [`TRUSTED_FOR_MS`]. The harm is bounded: a page that is
//! evicted within that time makes its sender wait for the disk once.
//!
//! Source: cachestat(2); clock_gettime(2), `CLOCK_MONOTONIC_COARSE`.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::QUANTUM;
use crate::warm::{self, Warmth};

/// What is believed as one.
const PART_BYTES: u64 = QUANTUM;

const TRUSTED_FOR_MS: u32 = 50;

/// Parts that are remembered of one file: 1 GiB. Of a larger one a part takes the place of another.
const PARTS_MAX: u64 = 512;

/// What of a file was lately seen in the page cache, for all who send from it.
#[derive(Debug)]
pub struct Residency {
    extent: Range<u64>,
    /// Number of the part plus one, whether it was whole, and when: 31, 1 and 32 bits.
    seen: Box<[AtomicU64]>,
}

impl Residency {
    /// Of a file that is sent from within `extent`, in bytes. One that grows has no end.
    #[must_use]
    pub fn new(extent: Range<u64>) -> Self {
        let parts = extent.end.div_ceil(PART_BYTES) - extent.start / PART_BYTES;
        let seen = (0..parts.clamp(1, PARTS_MAX)).map(|_| AtomicU64::new(0)).collect();
        Self { extent, seen }
    }

    /// As [`warm::probe`], without a call where everything was there a moment ago.
    pub(crate) fn probe(&self, file: BorrowedFd<'_>, offset: u64, len: u64) -> Warmth {
        let (now, end) = (now_ms(), offset + len);
        let parts = || offset / PART_BYTES..end.div_ceil(PART_BYTES);
        let is_whole = |part| self.seen(part, now).unwrap_or_else(|| self.look(file, part, now));
        let range = |part| self.range(part);
        let is_asked = |part: u64| offset <= range(part).start && range(part).end <= end;
        if parts().all(|part| match self.seen(part, now) {
            // The question itself will tell.
            None if is_asked(part) => false,
            _ => is_whole(part),
        }) {
            return Warmth::Hot;
        }
        let warmth = warm::probe(file, offset, len);
        if warmth == Warmth::Hot {
            parts().filter(|part| is_asked(*part)).for_each(|part| self.note(part, now, true));
        }
        warmth
    }

    /// Looks whether a part is there as a whole. Nothing is read for it.
    fn look(&self, file: BorrowedFd<'_>, part: u64, now: u32) -> bool {
        let Range { start, end } = self.range(part);
        let is_whole = warm::is_whole(file, start, end - start);
        self.note(part, now, is_whole);
        is_whole
    }

    fn range(&self, part: u64) -> Range<u64> {
        let (start, end) = (part * PART_BYTES, part.saturating_add(1).saturating_mul(PART_BYTES));
        start.max(self.extent.start)..end.min(self.extent.end)
    }

    /// Whether a part was whole, if that was seen a moment ago.
    fn seen(&self, part: u64, now: u32) -> Option<bool> {
        let seen = self.slot(part).load(Ordering::Relaxed);
        let [when, what] = [seen & u64::from(u32::MAX), seen >> 32];
        let age = u64::from(now).wrapping_sub(when) & u64::from(u32::MAX);
        (what >> 1 == part + 1 && age < u64::from(TRUSTED_FOR_MS)).then_some(what & 1 == 1)
    }

    fn note(&self, part: u64, now: u32, is_whole: bool) {
        let what = ((part + 1) << 1) | u64::from(is_whole);
        self.slot(part).store((what << 32) | u64::from(now), Ordering::Relaxed);
    }

    fn slot(&self, part: u64) -> &AtomicU64 {
        let at = usize::try_from(part % self.seen.len() as u64).unwrap_or(0);
        &self.seen[at]
    }
}

fn now_ms() -> u32 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let ms = u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000;
    u32::try_from(ms & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use underpass_sys::cachestat;
    use underpass_testkit::skip::Missing;
    use underpass_testkit::{require, wait};

    use super::*;

    /// Three parts and a half, on a disk, of which it can be told what is in the page cache.
    fn on_disk() -> Result<std::fs::File, Missing> {
        let mut file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all(&vec![7; usize::try_from(7 * PART_BYTES / 2).unwrap()]).unwrap();
        file.sync_all().unwrap();
        match cachestat::cached_pages(file.as_fd(), 0, 1) {
            Ok(_) => Ok(file),
            Err(_) => Err(Missing::new("cachestat(2) does not tell of files here")),
        }
    }

    fn evict(file: &std::fs::File) {
        let evicted = wait::until(Duration::from_secs(10), || {
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            let left = cachestat::cached_pages(file.as_fd(), 0, 4 * PART_BYTES);
            (left == Ok(0)).then_some(())
        });
        evicted.expect("the file leaves the page cache");
    }

    /// A test that is held up for longer sees what a process does that is.
    fn soon<T>(mut attempt: impl FnMut() -> T) -> T {
        let tried = wait::until(Duration::from_secs(30), || {
            let start = now_ms();
            let answer = attempt();
            (now_ms().wrapping_sub(start) < TRUSTED_FOR_MS / 2).then_some(answer)
        });
        tried.expect("an attempt that is not held up")
    }

    #[test]
    fn what_was_seen_is_believed_for_a_while_and_then_looked_at_again() {
        let file = require!(on_disk());
        let extent = 0..7 * PART_BYTES / 2;
        let (residency, first) = soon(|| {
            warm::prefetch(file.as_fd(), 0, 4 * PART_BYTES).unwrap();
            let residency = Residency::new(extent.clone());
            let first = residency.probe(file.as_fd(), PART_BYTES + 100, 4096);
            evict(&file);
            let trusted = [(PART_BYTES, PART_BYTES), (PART_BYTES + 5, 100)]
                .map(|(offset, len)| residency.probe(file.as_fd(), offset, len));
            (residency, [first, trusted[0], trusted[1]])
        });
        assert_eq!(first, [Warmth::Hot; 3]);
        let cold = wait::until(Duration::from_secs(10), || {
            let warmth = residency.probe(file.as_fd(), PART_BYTES, PART_BYTES);
            evict(&file);
            (warmth != Warmth::Hot).then_some(())
        });
        assert!(cold.is_some());
    }

    /// What of a part was asked says nothing of its rest.
    #[test]
    fn a_part_of_which_pages_are_missing_is_not_believed() {
        let file = require!(on_disk());
        let answers = soon(|| {
            evict(&file);
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
            warm::prefetch(file.as_fd(), 0, 64 << 10).unwrap();
            let residency = Residency::new(0..u64::MAX);
            let hot = residency.probe(file.as_fd(), 0, 64 << 10);
            let len = PART_BYTES / 2;
            let behind = residency.probe(file.as_fd(), len, 4096);
            [hot == Warmth::Hot, behind == Warmth::Hot]
        });
        assert_eq!(answers, [true, false]);
    }

    /// The whole file was asked for, so the next one is not asked.
    #[test]
    fn a_small_file_is_a_part_of_its_own_and_so_is_the_end_of_a_large_one() {
        let file = require!(on_disk());
        for (offset, len) in [(0, 100 << 10), (3 * PART_BYTES, PART_BYTES / 2)] {
            let trusted = soon(|| {
                warm::prefetch(file.as_fd(), offset, len).unwrap();
                let residency = Residency::new(offset..offset + len);
                let first = residency.probe(file.as_fd(), offset, len);
                evict(&file);
                [first, residency.probe(file.as_fd(), offset, len)]
            });
            assert_eq!(trusted, [Warmth::Hot; 2]);
        }
    }

    #[test]
    fn a_part_is_not_taken_for_the_one_in_whose_place_it_is() {
        let residency = Residency::new(0..PARTS_MAX * PART_BYTES * 2);
        residency.note(3, 1_000, true);
        assert_eq!(residency.seen(3, 1_049), Some(true));
        assert_eq!(residency.seen(3, 1_050), None);
        assert_eq!(residency.seen(3 + PARTS_MAX, 1_000), None);
        residency.note(3 + PARTS_MAX, 1_000, false);
        assert_eq!([3, 3 + PARTS_MAX].map(|part| residency.seen(part, 1_000)), [None, Some(false)]);
        // The clock begins again after 49 days.
        residency.note(4, u32::MAX, true);
        assert_eq!(residency.seen(4, 48), Some(true));
    }
}
