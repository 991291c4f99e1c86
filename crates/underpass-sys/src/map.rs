//! Windows of files as memory that only the kernel reads: `mmap(2)`.
//!
//! No slice of a window is ever made, so nothing in this process relies on the file staying as
//! it is. The kernel, asked to write(2) or send(2) from a page behind the end of a file that
//! was truncated, answers a short count and then `EFAULT`; no signal is raised. The rest of the
//! page that holds the end of the file reads as zeros: the caller must know the file's size.
//!
//! Source: mmap(2), write(2) ("EFAULT buf is outside your accessible address space").

use std::ffi::c_void;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::last_errno;

/// The most one window maps, in bytes.
pub const WINDOW_MAX: usize = 64 << 20;

/// A shared, read-only mapping of part of a file. Unmapped when dropped.
#[derive(Debug)]
pub struct Map {
    base: NonNull<c_void>,
    len: usize,
}

// SAFETY: mmap(2): a mapping belongs to the process, not to a thread, and this type gives no
// access to its memory except through system calls.
unsafe impl Send for Map {}
// SAFETY: mmap(2): as for Send; the methods only have the kernel read from the mapping.
unsafe impl Sync for Map {}

impl Map {
    /// Maps `len` bytes (1 to [`WINDOW_MAX`]) at `offset`, a multiple of the page size.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another length or offset; those of mmap(2): `ENODEV` where the file system
    /// has no mappings, `ENOMEM` at the limit of mappings, `EACCES` for a file not open to read.
    pub fn new(file: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        if len == 0 || len > WINDOW_MAX {
            return Err(Errno::INVAL);
        }
        // SAFETY: mmap(2): with a null hint and without MAP_FIXED the kernel chooses an unused
        // range, so no memory of the process is replaced.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                offset,
            )
        }?;
        Ok(Self { base: NonNull::new(base).ok_or(Errno::NOMEM)?, len })
    }

    /// Writes `range` of the window to `sink`: write(2). Returns the count, which may be short.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `range` is not in the window; those of write(2), `EFAULT` among them for
    /// pages behind the end of the file.
    pub fn write_to(&self, sink: BorrowedFd<'_>, range: Range<usize>) -> Result<usize, Errno> {
        let (start, len) = self.part(range)?;
        // SAFETY: write(2) only reads `len` bytes from `start`, which lie within the mapping, and
        // reports unreadable ones as EFAULT; no reference to them is made.
        let n = unsafe { libc::write(sink.as_raw_fd(), start, len) };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// Writes `range` of the window to byte `at` of the file `sink`: pwrite(2).
    ///
    /// # Errors
    ///
    /// As [`Map::write_to`], and `EINVAL` for an offset past 2^63 - 1.
    pub fn write_at(
        &self,
        sink: BorrowedFd<'_>,
        range: Range<usize>,
        at: u64,
    ) -> Result<usize, Errno> {
        let (start, len) = self.part(range)?;
        let at = i64::try_from(at).map_err(|_| Errno::INVAL)?;
        // SAFETY: pwrite(2) only reads `len` bytes from `start`, which lie within the mapping,
        // and reports unreadable ones as EFAULT; no reference to them is made.
        let n = unsafe { libc::pwrite(sink.as_raw_fd(), start, len, at) };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// Sends `range` of the window on a socket: send(2), with the flags `MSG_NOSIGNAL` and, as
    /// asked, `MSG_MORE` and `MSG_ZEROCOPY`.
    ///
    /// With `MSG_ZEROCOPY` the kernel holds the file's pages itself until the peer has them; the
    /// window may be unmapped before.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `range` is not in the window; those of send(2), `EFAULT` among them for pages
    /// behind the end of the file.
    pub fn send(
        &self,
        socket: BorrowedFd<'_>,
        range: Range<usize>,
        more: bool,
        zero_copy: bool,
    ) -> Result<usize, Errno> {
        let (start, len) = self.part(range)?;
        let more = if more { libc::MSG_MORE } else { 0 };
        let zero_copy = if zero_copy { libc::MSG_ZEROCOPY } else { 0 };
        let flags = libc::MSG_NOSIGNAL | more | zero_copy;
        // SAFETY: send(2) only reads `len` bytes from `start`, which lie within the mapping, and
        // reports unreadable ones as EFAULT; no reference to them is made.
        let n = unsafe { libc::send(socket.as_raw_fd(), start, len, flags) };
        usize::try_from(n).map_err(|_| last_errno())
    }

    /// Where `range` of the window is.
    pub(crate) fn part(&self, range: Range<usize>) -> Result<(*const c_void, usize), Errno> {
        if range.start > range.end || range.end > self.len {
            return Err(Errno::INVAL);
        }
        let start = self.base.as_ptr().cast::<u8>().wrapping_add(range.start);
        Ok((start.cast_const().cast(), range.end - range.start))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: munmap(2): the range is exactly what mmap(2) returned, it is unmapped once, and
        // no reference into it was ever made.
        let answer = unsafe { rustix::mm::munmap(self.base.as_ptr(), self.len) };
        debug_assert_eq!(answer, Ok(()), "munmap of {} bytes", self.len);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn writing_from_a_truncated_window_is_an_error_not_a_signal() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[5; 12_288], 0).unwrap();
        let map = Map::new(file.as_fd(), 0, 12_288).unwrap();
        file.set_len(4_096).unwrap();
        let sink = tempfile::tempfile().unwrap();
        assert_eq!(map.write_at(sink.as_fd(), 0..12_288, 0), Ok(4_096));
        assert_eq!(map.write_at(sink.as_fd(), 4_096..12_288, 4_096), Err(Errno::FAULT));
    }

    #[test]
    fn a_part_goes_where_it_is_told_and_one_outside_goes_nowhere() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"0123456789", 4_096).unwrap();
        let map = Map::new(file.as_fd(), 4_096, 10).unwrap();
        let (mut read, write) = std::io::pipe().unwrap();
        assert_eq!(map.write_to(write.as_fd(), 3..7), Ok(4));
        assert_eq!(map.write_to(write.as_fd(), 7..11), Err(Errno::INVAL));
        drop(write);
        let mut got = Vec::new();
        read.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"3456");
        assert_eq!(Map::new(file.as_fd(), 1, 10).unwrap_err(), Errno::INVAL);
        assert_eq!(Map::new(file.as_fd(), 0, 0).unwrap_err(), Errno::INVAL);
    }
}
