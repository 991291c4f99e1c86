//! The gate before every call that would otherwise wait for a disk.
//!
//! On Linux neither sendfile(2) nor splice(2) is non-blocking with respect to the disk: a page
//! that is not in the page cache stalls the calling thread, `O_NONBLOCK` or not. A read with
//! `RWF_NOWAIT` is the one unprivileged question that answers truthfully, and asking it also
//! starts the read; but it sees one byte, hence one folio. cachestat(2) sees every page of a
//! range in one call, but counts pages still under I/O as there. So a range is hot if cachestat
//! misses none of its pages and the last byte, which readahead brings in last, can be read.
//!
//! Where cachestat is not available (before 6.5, or the file is another user's), the last byte
//! of every [`PROBE_STRIDE`] is asked, and a smaller hole in between can stall the caller.
//! mincore(2) says "resident" to non-owners whatever is true, and is not asked.
//!
//! Source: readv(2), `RWF_NOWAIT` (4.14 and later); cachestat(2) (6.5 and later).

use std::io::IoSliceMut;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use underpass_sys::cachestat;

/// Distance between probes: the default readahead window (128 KiB), the unit in which the
/// kernel usually brings a file in.
const PROBE_STRIDE: u64 = 128 * 1024;

/// The unit in which cachestat(2) counts.
const PAGE: u64 = 4096;

/// The most one fetching call moves; sendfile(2) itself stops at 0x7ffff000.
const FETCH_CALL_BYTES: usize = 1 << 20;

/// What the page cache holds of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// Every probed page is there; a call over the range will not wait for the disk.
    Hot,
    /// The first `hot` bytes are there, the page after them is not; its read has been started.
    Cold { hot: u64 },
}

/// Asks whether `len` bytes at `offset` can be taken from the page cache without waiting.
///
/// Costs two system calls, about 1 µs, four where nothing is there, or one per [`PROBE_STRIDE`].
/// Errors other than "not there yet" count as hot, because the transfer's own call will meet and
/// report them; so does `EOPNOTSUPP`, which memory file systems answer and which means there is
/// no disk.
pub(crate) fn probe(file: BorrowedFd<'_>, offset: u64, len: u64) -> Warmth {
    if len <= PROBE_STRIDE {
        return probe_by_stride(file, offset, len);
    }
    let known = match has_pages(file, offset, len) {
        None if is_cold(file, offset) => return Warmth::Cold { hot: 0 },
        // A disk may be as quick as the question: then a page is there that was not.
        None => has_pages(file, offset, len),
        known => known,
    };
    match known {
        Some(true) if !is_cold(file, offset + len - 1) => Warmth::Hot,
        None | Some(true) => probe_by_stride(file, offset, len),
        Some(false) => match probe_by_stride(file, offset, len) {
            Warmth::Cold { hot } if has_pages(file, offset, hot) == Some(true) => {
                Warmth::Cold { hot }
            }
            // There is a hole, and it is between two probes.
            Warmth::Cold { .. } | Warmth::Hot => Warmth::Cold { hot: 0 },
        },
    }
}

/// Whether the page cache holds every page of a range, even if still on its way; nothing where
/// that cannot be known.
fn has_pages(file: BorrowedFd<'_>, offset: u64, len: u64) -> Option<bool> {
    let pages = (offset + len).div_ceil(PAGE) - offset / PAGE;
    match cachestat::cached_pages(file, offset, len) {
        // overlayfs has its pages in another inode's cache, and cachestat finds none at all.
        Ok(0) | Err(_) => None,
        Ok(cached) => Some(cached >= pages),
    }
}

/// Whether all of a range is known to be there. Nothing is read for the answer.
pub(crate) fn is_whole(file: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    has_pages(file, offset, len) == Some(true) && !is_cold(file, offset + len - 1)
}

/// Whether the first page of a range is there, the last one, and one between them that `seed`
/// chooses.
pub(crate) fn seems_whole(file: BorrowedFd<'_>, offset: u64, len: u64, seed: u64) -> bool {
    // Steele, Lea and Flood (2014), the increment of SplitMix64: neighbours lead far apart.
    let chosen = (seed ^ offset).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32) % len.max(1);
    [0, len.saturating_sub(1), chosen].iter().all(|at| !is_cold(file, offset + at))
}

/// Asks the first byte, and the last one of each stride: readahead brings a stride in from its
/// front, so a stride of which only the first page is there is still on its way.
fn probe_by_stride(file: BorrowedFd<'_>, offset: u64, len: u64) -> Warmth {
    if len > 0 && is_cold(file, offset) {
        return Warmth::Cold { hot: 0 };
    }
    let mut hot = 0;
    while hot < len {
        let end = len.min(hot + PROBE_STRIDE);
        if is_cold(file, offset + end - 1) {
            return Warmth::Cold { hot };
        }
        hot = end;
    }
    Warmth::Hot
}

fn is_cold(file: BorrowedFd<'_>, at: u64) -> bool {
    let mut byte = [0];
    let answer =
        rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT);
    answer == Err(Errno::AGAIN)
}

/// Brings `len` bytes at `offset` into the page cache, waiting for the disk.
///
/// For a thread that may wait. sendfile(2) into /dev/null waits for each page and copies none.
/// Where /dev/null cannot be opened, for a sandbox, a root without it or want of descriptors, a
/// byte of each page is read. A range that ends past the end of the file is fetched up to there.
///
/// # Errors
///
/// Those of sendfile(2) and pread(2): `EIO` where the disk cannot be read.
pub(crate) fn prefetch(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    let end = offset.saturating_add(len);
    match rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(null) => send_to(&null, file, offset, end),
        Err(_) => touch_pages(file, offset, end),
    }
}

fn send_to(null: &OwnedFd, file: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<(), Errno> {
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(FETCH_CALL_BYTES);
        match rustix::fs::sendfile(null, file, Some(&mut at), want) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn touch_pages(file: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<(), Errno> {
    while at < end {
        match rustix::io::pread(file, &mut [0_u8; 1], at) {
            Ok(0) => break,
            Ok(_) => at = (at / PAGE + 1) * PAGE,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::ops::Not;
    use std::os::fd::AsFd;
    use std::thread;
    use std::time::Duration;

    use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetStatus};
    use underpass_testkit::skip::Missing;
    use underpass_testkit::{require, wait};

    use super::*;

    fn on_disk(len: usize) -> std::fs::File {
        let mut file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all(&vec![7; len]).unwrap();
        file.sync_all().unwrap();
        file
    }

    /// Until none of it is there: pages that another CPU has just handled are spared.
    fn evict(file: &std::fs::File) {
        let len = file.metadata().unwrap().len();
        let evicted = wait::until(Duration::from_secs(10), || {
            rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            let left = cachestat::cached_pages(file.as_fd(), 0, len);
            left.is_ok_and(|pages| pages > 0).not().then_some(())
        });
        evicted.expect("the file leaves the page cache");
    }

    /// What is said to be there is there. A disk may be as quick as the question, so what is said
    /// to be missing may have come.
    fn probe_truly(file: &std::fs::File, len: u64) -> Warmth {
        let said = probe(file.as_fd(), 0, len);
        let hot = match said {
            Warmth::Hot => len,
            Warmth::Cold { hot } => hot,
        };
        if hot > 0 && cachestat::cached_pages(file.as_fd(), 0, 1).is_ok() {
            assert_eq!(has_pages(file.as_fd(), 0, hot), Some(true), "{said:?} of {len}");
        }
        said
    }

    #[test]
    fn an_evicted_range_is_cold_and_fetching_makes_it_hot() {
        let file = on_disk(1 << 20);
        let cold = wait::until(Duration::from_secs(10), || {
            evict(&file);
            (probe_truly(&file, 1 << 20) == Warmth::Cold { hot: 0 }).then_some(())
        });
        assert!(cold.is_some());
        let hot = wait::until(Duration::from_secs(10), || {
            prefetch(file.as_fd(), 0, 1 << 20).unwrap();
            (probe_truly(&file, 1 << 20) == Warmth::Hot).then_some(())
        });
        assert!(hot.is_some());
    }

    /// Has this thread open no file for writing from now on.
    fn open_nothing() -> Result<(), Missing> {
        let ruleset = Ruleset::default().handle_access(AccessFs::WriteFile).unwrap();
        let restricted = ruleset.create().unwrap().restrict_self().unwrap();
        if restricted.ruleset == RulesetStatus::NotEnforced {
            return Err(Missing::new("Landlock is not there"));
        }
        Ok(())
    }

    #[test]
    fn fetching_needs_no_device_that_a_sandbox_may_forbid() {
        let confined = || {
            let file = on_disk(1 << 20);
            open_nothing()?;
            std::fs::File::options().write(true).open("/dev/null").unwrap_err();
            evict(&file);
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
            // From and to the middle of a page, and to the end of the file.
            for (from, to) in [(5_000, 300_001), (300_001, u64::MAX)] {
                let there = wait::until(Duration::from_secs(10), || {
                    prefetch(file.as_fd(), from, to - from).unwrap();
                    let end = to.min(1 << 20);
                    (probe(file.as_fd(), from, end - from) == Warmth::Hot).then_some(())
                });
                assert!(there.is_some(), "{from} to {to}");
            }
            Ok(())
        };
        require!(thread::spawn(confined).join().unwrap());
    }

    /// As when a fetch has ended in the middle of a stride and readahead has stopped.
    #[test]
    fn a_stride_of_which_only_the_front_is_there_is_not_hot() {
        let file = on_disk(1 << 20);
        for len in [256 * 1024, 1 << 20] {
            evict(&file);
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
            prefetch(file.as_fd(), 0, 192 * 1024).unwrap();
            assert_ne!(probe_truly(&file, len), Warmth::Hot, "{len}");
        }
    }

    #[test]
    fn a_cold_tail_is_found_although_the_head_is_hot() {
        let file = on_disk(1 << 20);
        evict(&file);
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        prefetch(file.as_fd(), 0, 512 * 1024).unwrap();
        assert_ne!(probe_truly(&file, 1 << 20), Warmth::Hot);
    }

    #[test]
    fn a_hole_between_two_probes_is_found() {
        let file = on_disk(1 << 20);
        let known = has_pages(file.as_fd(), 0, 1 << 20);
        require!(known.ok_or_else(|| Missing::new("cachestat(2) does not tell of files here")));
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        let answer = wait::until(Duration::from_secs(10), || {
            evict(&file);
            for (from, to) in [(0, 136), (140, 1024)] {
                prefetch(file.as_fd(), from * 1024, (to - from) * 1024).unwrap();
            }
            let is_holed = has_pages(file.as_fd(), 136 * 1024, 4 * 1024).is_none()
                && has_pages(file.as_fd(), 0, 136 * 1024) == Some(true)
                && has_pages(file.as_fd(), 140 * 1024, 884 * 1024) == Some(true);
            is_holed.then(|| probe(file.as_fd(), 0, 1 << 20))
        });
        assert_eq!(answer, Some(Warmth::Cold { hot: 0 }));
    }

    #[test]
    fn past_the_end_and_memory_files_are_hot() {
        let file = on_disk(10);
        assert_eq!(probe(file.as_fd(), 10, 5), Warmth::Hot);
        assert_eq!(probe(file.as_fd(), 0, 0), Warmth::Hot);
        prefetch(file.as_fd(), 5, 1 << 40).unwrap();
        let memory = rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::empty()).unwrap();
        rustix::io::write(&memory, b"abc").unwrap();
        assert_eq!(probe(memory.as_fd(), 0, 3), Warmth::Hot);
    }
}
