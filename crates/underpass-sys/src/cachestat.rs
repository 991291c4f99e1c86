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

/// Pages of bytes `offset..offset + len` of the file that are in the page cache.
///
/// # Errors
///
/// `EPERM` if the file is somebody else's and not writable by the caller, `ENOSYS` before 6.5,
/// `EOPNOTSUPP` for hugetlbfs.
pub fn cached_pages(file: BorrowedFd<'_>, offset: u64, len: u64) -> Result<u64, Errno> {
    let range = Range { off: offset, len };
    let mut counts = Counts::default();
    let (fd, no_flags) = (file.as_raw_fd(), 0);
    // SAFETY: linux/syscalls.h, sys_cachestat (syscall(2)): reads `range`, fills `counts` in,
    // and keeps neither.
    let answer =
        unsafe { libc::syscall(SYS_CACHESTAT, fd, &raw const range, &raw mut counts, no_flags) };
    if answer < 0 { Err(last_errno()) } else { Ok(counts.nr_cache) }
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
}
