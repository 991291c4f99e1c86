//! What of a file was in the page cache a moment ago.
//!
//! The gate costs two calls a piece, and a hot file is hot for every piece. So a part that was seen
//! whole is believed to be there for [`TRUSTED_FOR_MS`], and then, until [`SAMPLED_FOR_MS`] after
//! all its pages were counted, if three of them are there: to count the pages of 2 MiB takes 18 us,
//! to ask for three of them 3 us, and to send them 240 us. Pages are evicted in the order in which
//! they were read, so the first one goes first. The harm is bounded: a page that is missing without
//! being asked for makes its sender wait for the disk once.
//!
//! Source: cachestat(2); clock_gettime(2), `CLOCK_MONOTONIC_COARSE`.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::limits::QUANTUM;
use crate::warm::{self, Warmth};

/// What is believed as one.
const PART_BYTES: u64 = QUANTUM;

const TRUSTED_FOR_MS: u32 = 50;

/// How long a part of which all pages were there may be judged by a few of them.
const SAMPLED_FOR_MS: u32 = 10_000;

/// Parts that are remembered of one file: 1 GiB. Of a larger one a part takes the place of another.
const PARTS_MAX: u64 = 512;

/// What of a file was lately seen in the page cache, for all who send from it.
#[derive(Debug)]
pub struct Residency {
    extent: Range<u64>,
    seen: Box<[Seen]>,
}

/// What was seen of a part.
#[derive(Debug, Default)]
struct Seen {
    /// Its number plus one, whether it was whole, and when: 31, 1 and 32 bits.
    last: AtomicU64,
    /// When all its pages were found there.
    counted: AtomicU32,
}

impl Residency {
    /// Of a file that is sent from within `extent`, in bytes. One that grows has no end.
    #[must_use]
    pub fn new(extent: Range<u64>) -> Self {
        let parts = extent.end.div_ceil(PART_BYTES) - extent.start / PART_BYTES;
        let seen = (0..parts.clamp(1, PARTS_MAX)).map(|_| Seen::default()).collect();
        Self { extent, seen }
    }

    /// As [`warm::probe`], without a call where everything was there a moment ago.
    pub(crate) fn probe(&self, file: BorrowedFd<'_>, offset: u64, len: u64) -> Warmth {
        self.probe_at(now_ms(), file, offset, len)
    }

    fn probe_at(&self, now: u32, file: BorrowedFd<'_>, offset: u64, len: u64) -> Warmth {
        let end = offset + len;
        let parts = || offset / PART_BYTES..end.div_ceil(PART_BYTES);
        let is_asked = |part: u64| {
            let Range { start, end: part_end } = self.range(part);
            offset <= start && part_end <= end
        };
        if parts().all(|part| self.is_whole(file, part, now, is_asked(part))) {
            return Warmth::Hot;
        }
        let warmth = warm::probe(file, offset, len);
        if warmth == Warmth::Hot {
            for part in parts().filter(|part| is_asked(*part)) {
                self.note(part, now, true);
                self.note_counted(part, now);
            }
        }
        warmth
    }

    /// Whether a part is there, by what was seen or by a look. Its pages are not counted if they
    /// are all asked for: that question itself will tell.
    fn is_whole(&self, file: BorrowedFd<'_>, part: u64, now: u32, is_asked: bool) -> bool {
        if let Some(is_whole) = self.seen(part, now) {
            return is_whole;
        }
        let Range { start, end } = self.range(part);
        if self.was_counted(part, now) && warm::seems_whole(file, start, end - start, now.into()) {
            self.note(part, now, true);
            return true;
        }
        if is_asked {
            return false;
        }
        let is_whole = warm::is_whole(file, start, end - start);
        self.note(part, now, is_whole);
        if is_whole {
            self.note_counted(part, now);
        }
        is_whole
    }

    fn range(&self, part: u64) -> Range<u64> {
        let (start, end) = (part * PART_BYTES, part.saturating_add(1).saturating_mul(PART_BYTES));
        start.max(self.extent.start)..end.min(self.extent.end)
    }

    /// Whether a part was whole, if that was seen a moment ago.
    fn seen(&self, part: u64, now: u32) -> Option<bool> {
        let (what, when) = self.last(part)?;
        (now.wrapping_sub(when) < TRUSTED_FOR_MS).then_some(what)
    }

    /// Whether all pages of a part were found there not long ago, and it was whole ever since.
    fn was_counted(&self, part: u64, now: u32) -> bool {
        let counted = self.slot(part).counted.load(Ordering::Relaxed);
        let is_whole = self.last(part).is_some_and(|(is_whole, _)| is_whole);
        is_whole && now.wrapping_sub(counted) < SAMPLED_FOR_MS
    }

    /// What was seen last of a part, and when.
    fn last(&self, part: u64) -> Option<(bool, u32)> {
        let seen = self.slot(part).last.load(Ordering::Relaxed);
        let (what, when) = (seen >> 32, u32::try_from(seen & u64::from(u32::MAX)).ok()?);
        (what >> 1 == part + 1).then_some((what & 1 == 1, when))
    }

    fn note(&self, part: u64, now: u32, is_whole: bool) {
        let what = ((part + 1) << 1) | u64::from(is_whole);
        self.slot(part).last.store((what << 32) | u64::from(now), Ordering::Relaxed);
    }

    fn note_counted(&self, part: u64, now: u32) {
        self.slot(part).counted.store(now, Ordering::Relaxed);
    }

    fn slot(&self, part: u64) -> &Seen {
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
    fn for_a_while_three_pages_stand_for_a_part_and_then_all_are_counted_again() {
        let file = require!(on_disk());
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        let fetch = |from, to| warm::prefetch(file.as_fd(), from, to - from).unwrap();
        // Whether the first part seems to be there if one page of it is missing. A disk may bring
        // the page before the next question, so this one is asked alone.
        let seems_whole_without = |page: u64, now| {
            let answer = wait::until(Duration::from_secs(30), || {
                let residency = Residency::new(0..2 * PART_BYTES);
                fetch(0, PART_BYTES);
                if residency.probe_at(0, file.as_fd(), 0, PART_BYTES) != Warmth::Hot {
                    return None;
                }
                evict(&file);
                fetch(0, page);
                fetch(page + 4096, PART_BYTES);
                let there = cachestat::cached_pages(file.as_fd(), 0, PART_BYTES);
                let is_one_missing = there == Ok(PART_BYTES / 4096 - 1);
                is_one_missing.then(|| residency.is_whole(file.as_fd(), 0, now, true))
            });
            answer.expect("a part without one of its pages")
        };
        let middle = 100 * 4096;
        assert!(seems_whole_without(middle, SAMPLED_FOR_MS - 1));
        assert!(!seems_whole_without(middle, SAMPLED_FOR_MS));
        for page in [0, PART_BYTES - 4096] {
            assert!(!seems_whole_without(page, TRUSTED_FOR_MS));
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
