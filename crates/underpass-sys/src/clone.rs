//! Sharing extents between files: `ioctl_ficlonerange(2)`.
//!
//! A length of 0 means "to the end of the source" to the kernel, which is never what a caller
//! with a range of no bytes means: it is refused here.
//!
//! Source: ioctl_ficlonerange(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// Makes `len` bytes at `sink_at` of `sink` share the extents of those at `at` of `file`.
///
/// # Errors
///
/// `EINVAL` for a length of 0, for offsets that are not on block boundaries and for a range that
/// passes the end of `file`; `EOPNOTSUPP` where the file system shares no extents; `EXDEV` across
/// file systems.
pub fn clone_range(
    file: BorrowedFd<'_>,
    at: u64,
    len: u64,
    sink: BorrowedFd<'_>,
    sink_at: u64,
) -> Result<(), Errno> {
    if len == 0 {
        return Err(Errno::INVAL);
    }
    let range = libc::file_clone_range {
        src_fd: file.as_raw_fd().into(),
        src_offset: at,
        src_length: len,
        dest_offset: sink_at,
    };
    // SAFETY: ioctl_ficlonerange(2): FICLONERANGE reads one struct file_clone_range, which
    // outlives the call.
    let answer = unsafe { libc::ioctl(sink.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_memory_file_system_shares_no_extents_and_an_empty_range_is_refused() {
        let memory =
            |name| rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::empty()).unwrap();
        let (from, to) = (memory("from"), memory("to"));
        rustix::fs::ftruncate(&from, 4_096).unwrap();
        let answer = clone_range(from.as_fd(), 0, 4_096, to.as_fd(), 0);
        assert_eq!(answer, Err(Errno::OPNOTSUPP));
        assert_eq!(clone_range(from.as_fd(), 0, 0, to.as_fd(), 0), Err(Errno::INVAL));
    }
}
