//! A writable file mapping: bytes that are changed in memory and are then in the file.
//!
//! What is stored reaches the page cache at once, so every reader of the file sees it, and the
//! disk when the kernel writes it back or when [`FileBytesMut::flush`] waits for that. A store
//! past an end that the file lost, or for which its disk has no room, is survived and reported.
//! From that page on the mapping is not the file; reads and stores there become system
//! calls, so that the bytes which the file does have stay usable.
//!
//! Source: mmap(2), `MAP_SHARED`; msync(2).

use std::io;
use std::ops::RangeBounds;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use underpass_sys::region::Access;

use crate::error::NamedErrno;
use crate::file_bytes::{Broken, FileBytes, MapError};
use crate::stability::Stability;

/// A range of a file, mapped for reading and writing. Its length is fixed.
#[derive(Debug)]
pub struct FileBytesMut(FileBytes);

/// Why stored bytes are not in the file, or not on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The bytes are not within the mapping; none was stored.
    #[error("bytes {at}..{end} are not within a mapping of {len} bytes")]
    Outside {
        /// The first byte's place.
        at: usize,
        /// The place after the last byte.
        end: usize,
        /// The mapping's length.
        len: usize,
    },
    /// The file was truncated: it does not have these bytes any more, and they are not stored.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The kernel or the disk refused. `ENOSPC`: there is no room for these bytes.
    #[error("{call} failed at byte {offset} of the file: {}", NamedErrno(*errno))]
    Call {
        /// The system call that failed.
        call: &'static str,
        /// Offset in the file of the first byte it was about.
        offset: u64,
        /// What it answered.
        errno: Errno,
    },
}

impl From<StoreError> for io::Error {
    /// Keeps the error; the kind is that of the errno, `InvalidInput` outside the mapping,
    /// `UnexpectedEof` for a file that was truncated.
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Outside { .. } => io::ErrorKind::InvalidInput,
            StoreError::Broken(_) => io::ErrorKind::UnexpectedEof,
            StoreError::Call { errno, .. } => errno.kind(),
        };
        Self::new(kind, error)
    }
}

impl FileBytesMut {
    /// Maps `range` of `file`, which must be open for reading and writing; an open end means
    /// the file's size now. A file is not extended: set its length first.
    ///
    /// # Errors
    ///
    /// [`MapError`]; `EACCES` if the file is not open for both, or only for appending.
    pub fn map(file: impl Into<OwnedFd>, range: impl RangeBounds<u64>) -> Result<Self, MapError> {
        FileBytes::map_as(file.into(), range, Stability::None, Access::ReadWrite).map(Self)
    }

    /// Bytes in the mapping.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the mapping has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads from the mapping: copies bytes from `at` on into `into`, up to the mapping's end.
    ///
    /// # Errors
    ///
    /// [`Broken`] if the file lost some of these bytes.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<usize, Broken> {
        self.0.read_at(at, into)
    }

    /// Stores `bytes` from `at` on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outside`] before anything is stored; [`StoreError::Broken`] and
    /// [`StoreError::Call`] if some of these bytes are not in the file. A later store elsewhere is
    /// not affected.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let (end, len) = (at.saturating_add(bytes.len()), self.len());
        if end > len {
            return Err(StoreError::Outside { at, end, len });
        }
        self.0.region().copy_in(at, bytes);
        match self.0.lost_before(end) {
            Some(lost) => self.store_by_call(at.max(lost), &bytes[at.max(lost) - at..]),
            None => Ok(()),
        }
    }

    /// Stores in the file itself what the mapping lost; the file is not made longer.
    fn store_by_call(&self, at: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let mut done = 0;
        while done < bytes.len() {
            let offset = self.0.file_offset() + (at + done) as u64;
            let failed = |call| move |errno| StoreError::Call { call, offset, errno };
            let stat = rustix::fs::fstat(self.0.file()).map_err(failed("fstat"))?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let room = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let n = room.min(bytes.len() - done);
            if n == 0 {
                return Err(Broken { offset: size }.into());
            }
            match rustix::io::pwrite(self.0.file(), &bytes[done..done + n], offset) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("pwrite")(errno)),
                Ok(n) => done += n,
            }
        }
        Ok(())
    }

    /// Waits until everything stored is on the disk: all that [`write_at`](Self::write_at) did not
    /// report as lost. What a file loses by being truncated later is lost with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`] with `EIO` if the disk failed.
    pub fn flush(&self) -> Result<(), StoreError> {
        let offset = self.0.file_offset();
        let failed = |call| move |errno| StoreError::Call { call, offset, errno };
        self.0.region().sync().map_err(failed("msync"))?;
        if self.0.region().broken_at().is_some() {
            rustix::fs::fdatasync(self.0.file()).map_err(failed("fdatasync"))?;
        }
        Ok(())
    }

    /// No more stores: the same mapping to be read and sent.
    #[must_use]
    pub fn freeze(self) -> FileBytes {
        self.0
    }
}
