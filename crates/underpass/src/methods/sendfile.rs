//! sendfile(2): a file's pages to a socket, pipe or device, by reference.
//!
//! Source: sendfile(2). A count above 0x7ffff000 is cut to it; steps are far smaller.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::methods::count;

pub(crate) fn through(
    file: BorrowedFd<'_>,
    mut at: u64,
    sink: BorrowedFd<'_>,
    max: u64,
) -> Result<u64, Errno> {
    rustix::fs::sendfile(sink, file, Some(&mut at), count(max)).map(|n| n as u64)
}
