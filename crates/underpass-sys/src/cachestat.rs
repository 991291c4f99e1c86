//! How much of a file's range the page cache holds: `cachestat(2)`, Linux 6.5 and later.
//!
//! Pages still being read from the disk are counted as held, so a full count alone does not say
//! that a call over the range will not wait.
//!
//! Source: `Documentation/admin-guide/mm/`, mm/filemap.c (`cachestat`); there is no man page yet.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// `struct cachestat_range` of linux/mman.h.
#[repr(C)]
struct Range {
    off: u64,
    len: u64,
}

/// `struct cachestat` of linux/mman.h, in pages.
#[repr(C)]
#[derive(Default)]
struct Counts {
    nr_cache: u64,
    nr_dirty: u64,
    nr_writeback: u64,
    nr_evicted: u64,
    nr_recently_evicted: u64,
}

/// Pages of a range of a file, by what the page cache knows of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// In the cache, those still being read from the disk among them.
    pub cached: u64,
    /// Changed in memory and not given to the disk yet.
    pub dirty: u64,
    /// Given to the disk, which has not taken them yet.
    pub writeback: u64,
    /// Once in the cache and not now, as far as the cache remembers.
    pub evicted: u64,
}

/// What the page cache knows of bytes `offset..offset + len` of the file.
///
/// # Errors
///
/// `EPERM` if the file is somebody else's and not writable by the caller, `ENOSYS` before 6.5,
/// `EOPNOTSUPP` for hugetlbfs.
pub fn pages(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<Pages, Errno> {
    let range = Range { off: offset, len };
    let mut counts = Counts::default();
    let (fd, no_flags) = (file.as_raw_fd(), 0);
    // SAFETY: linux/syscalls.h, sys_cachestat (syscall(2)): reads `range`, fills `counts` in,
    // and keeps neither.
    let answer =
        unsafe { libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut counts, no_flags) };
    if answer < 0 {
        return Err(last_errno());
    }
    Ok(Pages {
        cached: counts.nr_cache,
        dirty: counts.nr_dirty,
        writeback: counts.nr_writeback,
        evicted: counts.nr_evicted,
    })
}

/// Pages of bytes `offset..offset + len` of the file that are in the page cache.
///
/// # Errors
///
/// Those of [`pages`].
pub fn cached_pages(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<u64, Errno> {
    pages(file, offset, len).map(|pages| pages.cached)
}

/// Number 451 on every architecture (asm-generic/unistd.h).
const SYS_CACHESTAT: libc::c_long = 451;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn pages_written_are_counted_and_pages_of_a_hole_are_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 3 * 4_096]).unwrap();
        file.set_len(10 * 4_096).unwrap();
        match cached_pages(file.as_fd(), 4_096, 9 * 4_096) {
            Ok(pages) => assert_eq!(pages, 2),
            Err(errno) => assert_eq!(errno, Errno::NOSYS, "only an old kernel may refuse"),
        }
    }

    #[test]
    fn pages_written_are_dirty_until_they_are_synced() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 3 * 4_096]).unwrap();
        let before = match pages(file.as_fd(), 0, 3 * 4_096) {
            Ok(before) => before,
            Err(errno) => return assert_eq!(errno, Errno::NOSYS, "only an old kernel may refuse"),
        };
        // A file system in memory has no disk that its pages could wait for.
        let is_memory = rustix::fs::fstatfs(&file).unwrap().f_type == libc::TMPFS_MAGIC;
        let dirty = if is_memory { 0 } else { 3 };
        assert_eq!((before.cached, before.dirty), (3, dirty));
        file.sync_all().unwrap();
        let after = pages(file.as_fd(), 0, 3 * 4_096).unwrap();
        assert_eq!((after.dirty, after.writeback), (0, 0));
    }
}
