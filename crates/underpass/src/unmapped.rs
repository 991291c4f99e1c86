//! Files that are read and not mapped, under the same policies about changes as those that are.
//!
//! Some file systems refuse shared mappings: FUSE with direct I/O, 9p without a cache, procfs,
//! sysfs. A process can also have as many mappings as it may have.
//!
//! Source: mmap(2), `ENODEV`; Linux, Documentation/filesystems/fuse/fuse-io.rst.

use std::ops::{Range, RangeBounds};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::file_bytes::{Broken, MapError, bounds};
use crate::note::Note;
use crate::stability::{Stability, Stamp};

/// A range of a file that is not mapped: it can be sent as copies, on any file system.
///
/// Cloning and slicing share the descriptor.
#[derive(Debug, Clone)]
pub struct UnmappedFile {
    shared: Arc<Shared>,
    /// Offsets in the file.
    range: Range<u64>,
}

#[derive(Debug)]
struct Shared {
    file: OwnedFd,
    note: Note,
}

impl UnmappedFile {
    /// Takes `range` of `file`; an open end means the file's size now.
    ///
    /// With [`Stability::Lease`] the lease is taken here and held until the last slice goes.
    ///
    /// # Errors
    ///
    /// [`MapError::Range`]; [`MapError::Call`] of fstat(2) and, for a lease, of fcntl(2).
    pub fn new(
        file: impl Into<OwnedFd>,
        range: impl RangeBounds<u64>,
        stability: Stability,
    ) -> Result<Self, MapError> {
        let file = file.into();
        let (range, stamp) = bounds(&file, range)?;
        let note = Note::take(&file, range.clone(), stamp, stability)?;
        Ok(Self { shared: Arc::new(Shared { file, note }), range })
    }

    /// Bytes in this piece.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether the piece has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset in the file of the piece's first byte.
    #[must_use]
    pub const fn file_offset(&self) -> u64 {
        self.range.start
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.shared.file.as_fd()
    }

    /// Part of this piece; `None` if `part` is not within it.
    #[must_use]
    pub fn slice(&self, part: Range<u64>) -> Option<Self> {
        let fits = part.start <= part.end && part.end <= self.len();
        let range = self.range.start + part.start..self.range.start + part.end;
        fits.then(|| Self { shared: Arc::clone(&self.shared), range })
    }

    /// As [`FileBytes::has_changed`](crate::FileBytes::has_changed).
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.shared.note.has_changed()
    }

    pub(crate) fn note(&self) -> &Note {
        &self.shared.note
    }

    pub(crate) fn check(&self) -> Result<(), Broken> {
        // What fstat(2) cannot tell, reading will.
        let stamp = Stamp::of(self.file()).ok();
        let size = stamp.map_or(u64::MAX, Stamp::size);
        if size >= self.range.end { Ok(()) } else { Err(Broken { offset: size }) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use underpass_testkit::wait::until_file_times_move;

    use super::*;
    use crate::error::ErrorKind;

    /// A file of 200,000 bytes, of which byte `i` is `i` mod 251.
    fn file() -> (tempfile::NamedTempFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&bytes, 0).unwrap();
        (file, bytes)
    }

    fn unmapped(file: &tempfile::NamedTempFile, range: Range<u64>) -> UnmappedFile {
        let file = File::open(file.path()).unwrap();
        UnmappedFile::new(file, .., Stability::Guard).unwrap().slice(range).unwrap()
    }

    #[test]
    fn its_pieces_are_the_range_and_nothing_is_mapped() {
        let (file, bytes) = file();
        for range in [0..200_000, 1..2, 65_535..131_073, 199_999..200_000, 7..7] {
            let pieces = unmapped(&file, range.clone()).into_copied_frames();
            assert!(pieces.are_copies() && pieces.cold().is_none());
            assert_eq!(pieces.remaining(), range.end - range.start);
            let whole: Vec<u8> = pieces.flat_map(|piece| piece.unwrap()).collect();
            let at = |at| usize::try_from(at).unwrap();
            assert!(whole == bytes[at(range.start)..at(range.end)], "{range:?}");
        }
        let beyond = unmapped(&file, 0..10).slice(5..11);
        assert!(beyond.is_none(), "not within the piece");
    }

    /// The error of pieces of which the first was taken before the change.
    fn error_after(change: impl FnOnce(&File)) -> ErrorKind {
        let (file, _) = file();
        let unmapped = unmapped(&file, 0..200_000);
        let mut pieces = unmapped.clone().into_copied_frames();
        assert_eq!(pieces.next().unwrap().unwrap().len(), 64 * 1024);
        until_file_times_move();
        change(file.as_file());
        let last = pieces.last().unwrap();
        assert!(unmapped.has_changed());
        last.unwrap_err().kind
    }

    #[test]
    fn a_file_that_lost_bytes_or_was_written_to_is_not_completed() {
        let shrunk = error_after(|file| file.set_len(100_000).unwrap());
        assert_eq!(shrunk, ErrorKind::Truncated { missing: 100_000 });
        let written = error_after(|file| file.write_all_at(b"x", 0).unwrap());
        assert_eq!(written, ErrorKind::Changed);
    }
}
