//! File-backed bytes: a range of a file that reads like memory and leaves by sendfile.
//!
//! [`FileBytes`] is a shared, sliceable piece of a mapping. Making, slicing and sending one is
//! safe: only its address is used. What needs a promise is a [`Bytes`] of it, since any holder
//! of a `Bytes` may read it and expects memory that does not change.
//!
//! Source: mmap(2).

use std::any::Any;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use rustix::io::Errno;
use underpass_sys::region::{Access, Order, Region, RegionSlice};

use crate::error::NamedErrno;
use crate::note::Note;
use crate::stability::{Stability, Stamp};

/// A range of a file, mapped.
///
/// Cloning and slicing share the mapping; it goes when the last of them goes.
#[derive(Debug, Clone)]
pub struct FileBytes {
    region: Arc<Region>,
    /// Counted from the region's start.
    range: Range<usize>,
}

/// Why a file could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The kernel or the arena refused.
    #[error("{call} failed for bytes {offset}..{end}: {}", NamedErrno(*errno))]
    Call {
        /// The system call that failed.
        call: &'static str,
        /// The first byte asked for.
        offset: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// What it answered. `ENOMEM` from mmap: no room in the arena.
        errno: Errno,
    },
    /// The range is not within the file.
    #[error("bytes {offset}..{end} are not within a file of {size} bytes")]
    Range {
        /// The first byte asked for.
        offset: u64,
        /// The byte after the last one asked for.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// The process has as many mappings as it may have.
    #[error(
        "{live} files are mapped, the most that {max} mappings a process (vm.max_map_count) allow"
    )]
    TooMany {
        /// Regions mapped now.
        live: usize,
        /// `vm.max_map_count`.
        max: usize,
    },
}

impl From<MapError> for io::Error {
    /// Keeps the error; the kind is that of the errno, `InvalidInput` for a range outside the
    /// file, `OutOfMemory` for too many mappings.
    fn from(error: MapError) -> Self {
        let kind = match error {
            MapError::Call { errno, .. } => errno.kind(),
            MapError::Range { .. } => io::ErrorKind::InvalidInput,
            MapError::TooMany { .. } => io::ErrorKind::OutOfMemory,
        };
        Self::new(kind, error)
    }
}

/// The file lost bytes that were mapped: it was truncated, or its disk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mapped file has lost its bytes from {offset} on: truncated, or its disk failed")]
pub struct Broken {
    /// Offset in the file of the first byte that is not there, or of the page it is in.
    pub offset: u64,
}

impl From<Broken> for io::Error {
    /// Keeps the error; the kind is `UnexpectedEof`.
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, broken)
    }
}

impl FileBytes {
    /// Maps `range` of `file`; an open end means the file's size now.
    ///
    /// With [`Stability::Lease`] the lease is taken here and held until the last slice goes.
    /// The descriptor is kept too. The file's own offset is neither used nor changed.
    ///
    /// # Errors
    ///
    /// [`MapError`]; for a lease, `EAGAIN` if a writer has the file open, `EACCES` if the file
    /// is somebody else's.
    pub fn map(
        file: impl Into<OwnedFd>,
        range: impl RangeBounds<u64>,
        stability: Stability,
    ) -> Result<Self, MapError> {
        Self::map_as(file.into(), range, stability, Access::Read)
    }

    pub(crate) fn map_as(
        file: OwnedFd,
        range: impl RangeBounds<u64>,
        stability: Stability,
        access: Access,
    ) -> Result<Self, MapError> {
        let (range, stamp) = bounds(&file, range)?;
        let Range { start: offset, end } = range;
        let failed = |call| move |errno| MapError::Call { call, offset, end, errno };
        let note = Note::take(&file, range, stamp, stability)?;
        let len = usize::try_from(end - offset).map_err(|_| failed("mmap")(Errno::NOMEM))?;
        let (live, max) = (Region::live(), max_map_count());
        if live >= max / MAPPINGS_A_REGION {
            return Err(MapError::TooMany { live, max });
        }
        let note: Box<dyn Any + Send + Sync> = Box::new(note);
        let region = Region::map(file, offset, len, access, note).map_err(failed("mmap"))?;
        Ok(Self { region, range: 0..len })
    }

    /// Bytes in this piece.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the piece has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The offset in the file of the piece's first byte.
    #[must_use]
    pub fn file_offset(&self) -> u64 {
        self.region.file_offset() + self.range.start as u64
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.region.file()
    }

    /// Part of this piece, without copying; `None` if `part` is not within it.
    #[must_use]
    pub fn slice(&self, part: Range<usize>) -> Option<Self> {
        let fits = part.start <= part.end && part.end <= self.len();
        let range = self.range.start + part.start..self.range.start + part.end;
        fits.then(|| Self { region: Arc::clone(&self.region), range })
    }

    /// Reads from the mapping: copies bytes from `at` on into `into`, up to the piece's end.
    ///
    /// Safe on a file that changes at the same time: the copy may then mix old and new bytes.
    ///
    /// # Errors
    ///
    /// [`Broken`] if the file lost some of these bytes; what was copied is then worthless. Bytes
    /// that it still has can be read after others were lost.
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> Result<usize, Broken> {
        let at = at.min(self.len());
        let n = into.len().min(self.len() - at);
        let into = &mut into[..n];
        self.region.copy_out(self.range.start + at, into);
        if self.lost_before(at + n).is_some() {
            self.note_change();
            self.read_by_call(at, into)?;
        }
        Ok(n)
    }

    /// The same without a system call: only a fault on a page that the file lost is noticed.
    ///
    /// For bytes that a checksum covers. Of a file that was truncated within a page, the
    /// rest of that page reads as zeros; [`check`](Self::check) tells afterwards.
    ///
    /// # Errors
    ///
    /// [`Broken`] if the file lost a page of these bytes.
    pub fn copy_at(&self, at: usize, into: &mut [u8]) -> Result<usize, Broken> {
        let at = at.min(self.len());
        let n = into.len().min(self.len() - at);
        let into = &mut into[..n];
        self.region.copy_out(self.range.start + at, into);
        let end = self.file_offset() + (at + n) as u64;
        if self.region.broken_at().is_some_and(|lost| lost < end) {
            self.read_by_call(at, into)?;
        }
        Ok(n)
    }

    /// Tells the kernel in which order the bytes are going to be read: madvise(2).
    ///
    /// It is advice: a kernel that refuses it reads ahead as it always does.
    pub fn advise(&self, order: Order) {
        self.region.advise(order).unwrap_or_default();
    }

    /// The place in this piece of the first byte before `end` that the mapping lost.
    ///
    /// The rest of the page in which a file ends reads as zeros and does not fault, hence fstat(2).
    pub(crate) fn lost_before(&self, end: usize) -> Option<usize> {
        let there = self.region.broken_at().unwrap_or(u64::MAX).min(self.size());
        let lost = usize::try_from(there.saturating_sub(self.file_offset())).ok()?;
        (lost < end).then_some(lost)
    }

    /// The file's size now.
    pub(crate) fn size(&self) -> u64 {
        let stat = rustix::fs::fstat(self.file());
        stat.ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(u64::MAX)
    }

    /// Reads what the mapping lost from the file itself.
    fn read_by_call(&self, at: usize, into: &mut [u8]) -> Result<(), Broken> {
        let mut done = 0;
        while done < into.len() {
            let offset = self.file_offset() + (at + done) as u64;
            match rustix::io::pread(self.file(), &mut into[done..], offset) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return Err(Broken { offset: offset.min(self.size()) }),
                Ok(n) => done += n,
            }
        }
        Ok(())
    }

    /// Whether sending or reading found that the file is not what it was when it was mapped, if
    /// only longer: what is kept with it, such as a length or an entity-tag, is to be made anew.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.note().is_some_and(Note::has_changed) || self.region.broken_at().is_some()
    }

    /// Whether its policy vouches for the file now, as before the last bytes of it are sent. Costs
    /// one call: fstat(2), or fcntl(2) of a lease. [`Stability::None`] vouches for everything.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.note().is_none_or(|note| note.vouches(self.file()) == Ok(true))
    }

    pub(crate) fn note(&self) -> Option<&Note> {
        Note::of(&self.region)
    }

    pub(crate) fn note_change(&self) {
        if let Some(note) = self.note() {
            note.note_change();
        }
    }

    /// Whether the file still has every byte of this piece, and had every byte of the mapping
    /// that was touched so far.
    ///
    /// Ask it after reading a [`Bytes`] of it: bytes that the file lost read as zeros. A mapping
    /// that lost a byte stays broken.
    ///
    /// # Errors
    ///
    /// [`Broken`] with the offset of the first byte found missing, or of its page.
    pub fn check(&self) -> Result<(), Broken> {
        let there = self.region.broken_at().unwrap_or(u64::MAX).min(self.size());
        let end = self.file_offset() + self.len() as u64;
        let is_whole = there >= end && self.region.broken_at().is_none();
        if is_whole { Ok(()) } else { Err(Broken { offset: there }) }
    }

    /// The piece as [`Bytes`] if the kernel itself guarantees that its file cannot change: a
    /// memfd sealed against writing and shrinking (fcntl(2), `F_ADD_SEALS`), or a file with
    /// fs-verity (statx(2), `STATX_ATTR_VERITY`). The kernel is asked about this very file. For
    /// other files there is the unsafe [`into_bytes`](Self::into_bytes).
    ///
    /// # Errors
    ///
    /// Gives the piece back if there is no such guarantee.
    pub fn into_bytes_if_immutable(self) -> Result<Bytes, Self> {
        let Self { region, range } = self;
        match RegionSlice::by_kernel(region, range.clone()) {
            Ok(slice) => Ok(Bytes::from_owner(slice)),
            Err(region) => Err(Self { region, range }),
        }
    }

    pub(crate) const fn from_parts(region: Arc<Region>, range: Range<usize>) -> Self {
        Self { region, range }
    }

    pub(crate) fn into_parts(self) -> (Arc<Region>, Range<usize>) {
        (self.region, self.range)
    }

    pub(crate) const fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

/// Mappings one region can cost: its own, the reservation split off next to it, and the zeros
/// of a broken one. The fourth part is left to the rest of the process.
const MAPPINGS_A_REGION: usize = 4;

/// `vm.max_map_count`, looked up once; its default where /proc is not there.
fn max_map_count() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_530)
    })
}

/// The range with both of its ends, and the file as it is now.
pub(crate) fn bounds(
    file: &OwnedFd,
    range: impl RangeBounds<u64>,
) -> Result<(Range<u64>, Stamp), MapError> {
    let offset = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let given = match range.end_bound() {
        Bound::Included(&at) => Some(at.saturating_add(1)),
        Bound::Excluded(&at) => Some(at),
        Bound::Unbounded => None,
    };
    let stat = rustix::fs::fstat(file).map_err(|errno| MapError::Call {
        call: "fstat",
        offset,
        end: given.unwrap_or(offset),
        errno,
    })?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let end = given.unwrap_or(size);
    if offset > end || end > size {
        return Err(MapError::Range { offset, end, size });
    }
    Ok((offset..end, Stamp::from(&stat)))
}
