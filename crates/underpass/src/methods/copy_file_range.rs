//! copy_file_range(2): from file to file inside the kernel, extents shared where that is possible.
//!
//! Source: copy_file_range(2). Across file systems of different types `EXDEV` since 5.19; within
//! one that shares no extents it copies page to page.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::methods::count;

pub(crate) fn through(
    file: BorrowedFd<'_>,
    mut at: u64,
    sink: BorrowedFd<'_>,
    mut sink_at: u64,
    max: u64,
) -> Result<u64, Errno> {
    rustix::fs::copy_file_range(file, Some(&mut at), sink, Some(&mut sink_at), count(max))
        .map(|n| n as u64)
}
