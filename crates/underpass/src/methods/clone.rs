//! ioctl_ficlonerange(2): the sink's range shares the source's extents, all of it or nothing.
//!
//! No byte is moved, so one call does the whole range whatever its length. Offsets must be on
//! block boundaries, and so must the end, unless it is the end of the source.
//!
//! Source: ioctl_ficlonerange(2); btrfs since 2.6.29, xfs since 4.9 with reflink=1.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

pub(crate) fn through(
    file: BorrowedFd<'_>,
    at: u64,
    sink: BorrowedFd<'_>,
    sink_at: u64,
    len: u64,
) -> Result<u64, Errno> {
    underpass_sys::clone::clone_range(file, at, len, sink, sink_at).map(|()| len)
}
