//! A writable file mapping: bytes that are changed in memory and are then in the file.
//!
//! What is stored reaches the page cache at once, so every reader of the file sees it, and the
//! disk when the kernel writes it back or when [`FileBytesMut::flush`] waits for that. A store
//! past an end that the file lost, or for which its disk has no room, is survived and reported.
//!
//! Source: mmap(2), `MAP_SHARED`; msync(2).

use std::ops::RangeBounds;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use underpass_sys::region::Access;

use crate::file_bytes::{Broken, FileBytes, MapError};
use crate::stability::Stability;

/// A range of a file, mapped for reading and writing. Its length is fixed.
#[derive(Debug)]
pub struct FileBytesMut(FileBytes);

/// Why stored bytes are not in the file, or not on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The bytes do not lie within the mapping; none was stored.
    #[error("bytes {at}..{end} do not lie within a mapping of {len}")]
    Outside {
        /// The first byte's place.
        at: usize,
        /// The place after the last byte.
        end: usize,
        /// The mapping's length.
        len: usize,
    },
    /// The file lost bytes of the mapping, or its disk has no room for them.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The disk refused.
    #[error("msync failed")]
    Flush(#[source] Errno),
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
    /// [`Broken`] if the file lost bytes of the mapping.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<usize, Broken> {
        self.0.read_at(at, into)
    }

    /// Stores `bytes` from `at` on.
    ///
    /// # Errors
    ///
    /// [`StoreError::Outside`] before anything is stored; [`StoreError::Broken`] afterwards, if
    /// some of it is not in the file.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let (end, len) = (at.saturating_add(bytes.len()), self.len());
        if end > len {
            return Err(StoreError::Outside { at, end, len });
        }
        self.0.region().copy_in(at, bytes);
        Ok(self.0.check()?)
    }

    /// Waits until everything stored is on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Flush`] with `EIO` if the disk failed; [`StoreError::Broken`] if some of
    /// it went nowhere.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.region().sync().map_err(StoreError::Flush)?;
        Ok(self.0.check()?)
    }

    /// No more stores: the same mapping to be read and sent.
    #[must_use]
    pub fn freeze(self) -> FileBytes {
        self.0
    }
}
